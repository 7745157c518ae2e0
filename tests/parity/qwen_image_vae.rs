//! Our Qwen-Image autoencoder against diffusers, on tiny random models (`tests/fixtures/qwen_image/vae`).

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use vtb_models_diffusion::DiffusionError;
use vtb_models_diffusion::qwen_image::vae::{Picture, QwenImageVae, VaeConfig, tensors};
use vtb_nn::checkpoint::{
    Checkpoint, MemorySource, RenamedSource, TensorInfo, TensorSource, save_safetensors,
};
use vtb_nn::device::cpu_device;
use vtb_nn::velocity::Latent;

/// Published stages, time resampled in the last two halvings; three stages, time resampled in the first.
const MODELS: [(&str, [&str; 2]); 2] = [
    ("deep", ["64x48", "40x56"]),
    ("shallow", ["64x48", "36x20"]),
];
const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    root.join("qwen_image/vae").join(name)
}

fn load(name: &str, dtype: DType) -> QwenImageVae {
    QwenImageVae::load(fixture(name), &cpu_device(), dtype).unwrap()
}

/// The reference values of one model.
struct Reference(Checkpoint);

impl Reference {
    fn open(name: &str) -> Self {
        Self(Checkpoint::open(fixture(name).join("cases.safetensors")).unwrap())
    }

    fn data(&self, key: &str) -> (Vec<f32>, Vec<usize>) {
        let data = self.0.data(key).unwrap();
        (data.iter::<f32>().collect(), data.shape().to_vec())
    }

    fn picture(&self, key: &str) -> Picture {
        let (values, shape) = self.data(key);
        let shape = [shape[0], shape[1], shape[2]];
        Picture { shape, values }
    }

    fn latent(&self, key: &str) -> Latent {
        let (values, shape) = self.data(key);
        let shape = [shape[0], shape[1], shape[2], shape[3]];
        Latent { shape, values }
    }
}

/// The largest difference over the largest value of the reference.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let apart = ours.iter().zip(theirs);
    apart.fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

fn close(what: &str, ours: &[f32], theirs: &[f32], bound: f32) {
    let found = difference(ours, theirs);
    assert!(found <= bound, "{what}: {found} is above {bound}");
}

#[test]
fn latents_and_pictures_are_theirs() {
    for (name, sizes) in MODELS {
        let (vae, reference) = (load(name, DType::F32), Reference::open(name));
        for size in sizes {
            let key = |k: &str| format!("{size}.{k}");
            let picture = reference.picture(&key("picture"));
            for (k, ours) in [
                ("mean", vae.encode_raw(&picture).unwrap()),
                ("encoded", vae.encode(&picture).unwrap()),
            ] {
                let theirs = reference.latent(&key(k));
                assert_eq!(ours.shape, theirs.shape);
                close(
                    &format!("{name} {size} {k}"),
                    &ours.values,
                    &theirs.values,
                    1e-5,
                );
            }
            let mut theirs = reference.picture(&key("unclamped"));
            let latent = reference.latent(&key("latent"));
            let ours = vae.decode(&latent).unwrap();
            assert_eq!(ours.shape, theirs.shape);
            let largest = theirs.values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let mut inside = 0;
            for value in &mut theirs.values {
                inside += usize::from(value.abs() < 1.0);
                *value = value.clamp(-1.0, 1.0);
            }
            assert!(inside > 0 && inside < theirs.values.len());
            // Clamping made the largest value smaller; the network's is what rounding goes by.
            let what = format!("{name} {size} decoded");
            close(&what, &ours.values, &theirs.values, 1e-5 * largest);
        }
    }
}

#[test]
fn values_before_the_clamp_are_theirs() {
    for (name, sizes) in MODELS {
        let (vae, reference) = (load(name, DType::F32), Reference::open(name));
        let (mean, std) = (&vae.config().latents_mean, &vae.config().latents_std);
        for size in sizes {
            let mut latent = reference.latent(&format!("{size}.latent"));
            let len = latent.frame_len();
            for (i, value) in latent.values.iter_mut().enumerate() {
                *value = *value * std[i / len] as f32 + mean[i / len] as f32;
            }
            let ours = vae.decode_raw(&latent).unwrap();
            let theirs = reference.picture(&format!("{size}.unclamped"));
            close(
                &format!("{name} {size}"),
                &ours.values,
                &theirs.values,
                1e-5,
            );
        }
    }
}

#[test]
fn half_precision_stays_near() {
    // Another path: nothing here is f32, so no kernel of the CPU runs.
    let (vae, reference) = (load("deep", DType::BF16), Reference::open("deep"));
    let ours = vae.encode(&reference.picture("64x48.picture")).unwrap();
    let theirs = reference.latent("64x48.encoded");
    close("encoded", &ours.values, &theirs.values, 0.05);
    let mut theirs = reference.picture("64x48.unclamped");
    theirs
        .values
        .iter_mut()
        .for_each(|v| *v = v.clamp(-1.0, 1.0));
    let ours = vae.decode(&reference.latent("64x48.latent")).unwrap();
    let apart = ours.values.iter().zip(&theirs.values);
    let mean = apart.map(|(a, b)| (a - b).abs()).sum::<f32>() / ours.values.len() as f32;
    assert!(mean < 0.02, "decoded: {mean} on average");
}

#[test]
fn names_of_wan_give_the_same() {
    let text = std::fs::read_to_string(fixture("deep").join("names.json")).unwrap();
    let table: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let stored = Checkpoint::open(fixture("deep")).unwrap();
    assert_eq!(table.len(), stored.names().len());
    let renamed = RenamedSource::new(&stored, |name| table[name].clone()).unwrap();
    assert!(
        renamed
            .info("decoder.upsamples.14.residual.6.weight")
            .is_some()
    );
    let dir = tempfile::tempdir().unwrap();
    let config = VaeConfig::read(fixture("deep").join("config.json")).unwrap();
    config.write(dir.path().join("config.json")).unwrap();
    save_safetensors(dir.path().join(WEIGHTS), &renamed, &BTreeMap::new()).unwrap();
    let theirs = QwenImageVae::load(dir.path(), &cpu_device(), DType::F32).unwrap();
    let (ours, reference) = (load("deep", DType::F32), Reference::open("deep"));
    let picture = reference.picture("40x56.picture");
    assert_eq!(
        ours.encode(&picture).unwrap(),
        theirs.encode(&picture).unwrap()
    );
    let latent = reference.latent("40x56.latent");
    assert_eq!(
        ours.decode(&latent).unwrap(),
        theirs.decode(&latent).unwrap()
    );
}

#[test]
fn listed_tensors_are_those_of_the_file() {
    for (name, _) in MODELS {
        let stored = Checkpoint::open(fixture(name)).unwrap();
        let shapes = stored.names().into_iter().map(|n| {
            let shape = stored.info(&n).unwrap().shape;
            (n, shape)
        });
        let config = VaeConfig::read(fixture(name).join("config.json")).unwrap();
        assert_eq!(tensors(&config).unwrap(), shapes.collect());
    }
}

#[test]
fn only_the_last_tap_along_time_counts() {
    let stored = Checkpoint::open(fixture("shallow")).unwrap();
    let config = VaeConfig::read(fixture("shallow").join("config.json")).unwrap();
    let other = Changed(
        &stored,
        |name: &str, shape: &[usize], values: &mut [f32]| {
            // Rows of nine values are the planes of a tap.
            let planes = if name.contains("time_conv") { 1 } else { 9 };
            let taps = shape.len() == 5 && shape[2] == 3;
            for (i, plane) in values.chunks_mut(planes).enumerate().filter(|_| taps) {
                if i % 3 < 2 || planes == 1 {
                    plane.fill(1e3);
                }
            }
        },
    );
    let other = QwenImageVae::from_source(&other, config, &cpu_device(), DType::F32).unwrap();
    let (ours, reference) = (load("shallow", DType::F32), Reference::open("shallow"));
    let picture = reference.picture("36x20.picture");
    assert_eq!(
        ours.encode(&picture).unwrap(),
        other.encode(&picture).unwrap()
    );
    let latent = reference.latent("36x20.latent");
    assert_eq!(
        ours.decode(&latent).unwrap(),
        other.decode(&latent).unwrap()
    );
}

/// A checkpoint whose values something was done to.
struct Changed<'a, F>(&'a Checkpoint, F);

impl<F: Fn(&str, &[usize], &mut [f32])> TensorSource for Changed<'_, F> {
    fn origin(&self) -> String {
        self.0.origin()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let shape = self.0.info(name)?.shape;
        let dtype = DType::F32;
        Some(TensorInfo { dtype, shape })
    }

    fn load(&self, name: &str) -> Result<TensorData, vtb_nn::NnError> {
        let data = self.0.load_as(name, DType::F32)?;
        let shape = data.shape().to_vec();
        let mut values: Vec<f32> = data.iter::<f32>().collect();
        (self.1)(name, &shape, &mut values);
        Ok(TensorData::new(values, shape))
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let vae = load("deep", DType::F32);
    let picture = |shape: [usize; 3], len: usize| Picture {
        shape,
        values: vec![0.5; len],
    };
    let latent = |shape: [usize; 4], len: usize| Latent {
        shape,
        values: vec![0.5; len],
    };
    let huge = usize::MAX - 7;
    for (shape, len, words) in [
        ([4, 16, 16], 1024, "4 colours"),
        ([3, 20, 16], 960, "20×16"),
        ([3, 16, 4], 192, "multiples of 8"),
        ([3, 0, 16], 0, "0×16"),
        ([3, 16, 16], 767, "767"),
        ([3, huge, huge], 3, "comes with 3"),
    ] {
        let error = vae.encode(&picture(shape, len)).unwrap_err();
        assert!(matches!(error, DiffusionError::Input(_)));
        assert!(error.to_string().contains(words), "{error}");
    }
    for (shape, len, words) in [
        ([5, 1, 2, 2], 20, "5 channels"),
        ([4, 2, 2, 2], 32, "2 frames"),
        ([4, 1, 0, 2], 0, "0×2"),
        ([4, 1, 2, 2], 17, "17"),
        ([4, 1, huge, huge], 4, "comes with 4"),
    ] {
        for way in [QwenImageVae::decode, QwenImageVae::decode_raw] {
            let error = way(&vae, &latent(shape, len)).unwrap_err();
            assert!(matches!(error, DiffusionError::Input(_)));
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}

#[test]
fn faulty_folders_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        let error = QwenImageVae::load(path, &cpu_device(), DType::F32);
        error.err().unwrap().to_string()
    };
    let error = open(&dir.path().join("vae"));
    assert!(error.contains("vae: is no directory"), "{error}");
    let error = open(dir.path());
    assert!(error.contains("config.json"), "{error}");
    let config = fixture("shallow").join("config.json");
    std::fs::copy(&config, dir.path().join("config.json")).unwrap();
    let error = open(dir.path());
    assert!(error.contains("safetensors"), "{error}");

    let stored = Checkpoint::open(fixture("shallow")).unwrap();
    let all: BTreeMap<String, TensorData> = stored
        .names()
        .into_iter()
        .map(|n| (n.clone(), stored.data(&n).unwrap()))
        .collect();
    let time = "decoder.up_blocks.1.upsamplers.0.time_conv.weight";
    let conv = "encoder.down_blocks.0.conv1.weight";
    let wrong = TensorData::new(vec![0.5f32; 12 * 12 * 9], [12, 12, 3, 3]);
    let stray = TensorData::new(vec![0.5f32], [1]);
    for (name, change, words) in [
        (time, None, "missing"),
        (conv, None, "missing"),
        (conv, Some(wrong.clone()), "[12, 12, 3, 3]"),
        (time, Some(wrong), "[48, 24, 3, 1, 1]"),
        ("stray", Some(stray.clone()), "does not have"),
        ("conv1.bias", Some(stray), "two names"),
    ] {
        let mut tensors = all.clone();
        match change {
            Some(data) => tensors.insert(name.to_owned(), data),
            None => tensors.remove(name),
        };
        let source = MemorySource::new("here", tensors);
        save_safetensors(dir.path().join(WEIGHTS), &source, &BTreeMap::new()).unwrap();
        let error = open(dir.path());
        assert!(
            error.contains(words) && error.contains(name),
            "{name}: {error}"
        );
    }

    // A configuration of another size, however large, is an error before it is memory.
    let mut config = VaeConfig::read(&config).unwrap();
    config.base_dim = 4096;
    config.write(dir.path().join("config.json")).unwrap();
    let source = MemorySource::new("here", all);
    save_safetensors(dir.path().join(WEIGHTS), &source, &BTreeMap::new()).unwrap();
    let error = open(dir.path());
    assert!(
        error.contains("faults") && error.contains("4096"),
        "{error}"
    );
}
