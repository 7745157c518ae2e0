//! Checkpoint files as users meet them: round trips, shards, and files that are damaged or hostile.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use burn::tensor::{DType, TensorData, bf16};
use proptest::prelude::*;
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, MemorySource, TensorSource, save_safetensors, save_sharded};

fn tensors() -> BTreeMap<String, TensorData> {
    let halves: Vec<bf16> = (0..6).map(|i| bf16::from_f32(i as f32 / 3.0)).collect();
    BTreeMap::from([
        (
            "a.weight".into(),
            TensorData::new(vec![1.5f32, -2.0, f32::NAN, 0.0], [2, 2]),
        ),
        ("b.bias".into(), TensorData::new(halves, [3, 2])),
        (
            "c.flags".into(),
            TensorData::new(vec![true, false, true], [3]),
        ),
        ("d.ids".into(), TensorData::new(vec![i64::MIN, 7], [2])),
        (
            "e.scalar".into(),
            TensorData::new(vec![2.0f32], [] as [usize; 0]),
        ),
        ("f.empty".into(), TensorData::new(Vec::<f32>::new(), [0, 4])),
    ])
}

fn source() -> MemorySource {
    MemorySource::new("test tensors", tensors())
}

fn assert_holds(checkpoint: &Checkpoint, expected: &BTreeMap<String, TensorData>) {
    assert_eq!(
        checkpoint.names(),
        expected.keys().cloned().collect::<Vec<_>>()
    );
    for (name, data) in expected {
        let info = checkpoint.info(name).expect("known");
        assert_eq!(
            (info.dtype, info.shape.as_slice()),
            (data.dtype(), data.shape().as_slice())
        );
        let read = checkpoint.data(name).expect("reads");
        assert_eq!(read.as_bytes(), data.as_bytes(), "{name}");
    }
}

fn small_file(dir: &Path) -> Vec<u8> {
    let path = dir.join("model.safetensors");
    save_safetensors(&path, &source(), &BTreeMap::new()).expect("saves");
    fs::read(path).expect("reads")
}

/// Opens and reads everything; errors must name the file.
fn exercise(path: &Path) -> Result<(), NnError> {
    let checkpoint = Checkpoint::open(path)?;
    for name in checkpoint.names() {
        checkpoint.data(&name)?;
        if checkpoint.info(&name).is_some_and(|i| i.dtype.is_float()) {
            checkpoint.load_as(&name, DType::F32)?;
        }
    }
    Ok(())
}

#[test]
fn a_file_comes_back_bit_for_bit_and_is_written_the_same_every_time() {
    let dir = tempfile::tempdir().expect("dir");
    let first = small_file(dir.path());
    assert_eq!(first, small_file(dir.path()));
    assert_holds(&Checkpoint::open(dir.path()).expect("opens"), &tensors());
    let file = dir.path().join("model.safetensors");
    assert_holds(&Checkpoint::open(&file).expect("opens"), &tensors());
    // The reference implementation agrees with ours, metadata included.
    let (_, header) = safetensors::SafeTensors::read_metadata(&first).expect("valid");
    let metadata = header.metadata().as_ref().expect("metadata");
    assert_eq!(metadata.get("format").map(String::as_str), Some("pt"));
    let parsed = safetensors::SafeTensors::deserialize(&first).expect("valid");
    let bias = parsed.tensor("b.bias").expect("there");
    assert_eq!(
        (bias.dtype(), bias.shape()),
        (safetensors::Dtype::BF16, &[3usize, 2][..])
    );
    assert_eq!(bias.data(), tensors()["b.bias"].as_bytes());
}

#[test]
fn shards_round_trip_and_replace_each_other() {
    let dir = tempfile::tempdir().expect("dir");
    let one = save_sharded(dir.path(), &source(), u64::MAX, &BTreeMap::new()).expect("saves");
    assert_eq!(one, [dir.path().join("model.safetensors")]);
    fs::write(dir.path().join("config.json"), "{}").expect("write");

    let many = save_sharded(dir.path(), &source(), 20, &BTreeMap::new()).expect("saves");
    assert!(many.len() > 2, "{many:?}");
    assert!(!one[0].exists(), "a stale single file would be read first");
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    assert_eq!(checkpoint.files(), many);
    assert_holds(&checkpoint, &tensors());
    let index = fs::read(dir.path().join("model.safetensors.index.json")).expect("index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    let bytes: usize = tensors().values().map(|t| t.as_bytes().len()).sum();
    assert_eq!(index["metadata"]["total_size"], bytes);

    save_sharded(dir.path(), &source(), u64::MAX, &BTreeMap::new()).expect("saves");
    assert!(many.iter().all(|file| !file.exists()));
    assert!(dir.path().join("config.json").exists());
    // A reader of replaced files keeps what it mapped.
    assert_holds(&checkpoint, &tensors());
    assert_holds(&Checkpoint::open(dir.path()).expect("opens"), &tensors());
}

#[test]
fn every_truncation_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().expect("dir");
    let bytes = small_file(dir.path());
    let cut = dir.path().join("cut.safetensors");
    for length in 0..bytes.len() {
        fs::write(&cut, &bytes[..length]).expect("write");
        let error = Checkpoint::open(&cut).expect_err("truncated");
        assert!(
            matches!(&error, NnError::File { path, .. } if *path == cut),
            "{length}: {error}"
        );
    }
    fs::write(&cut, [&bytes[..], &[0]].concat()).expect("write");
    assert!(Checkpoint::open(&cut).is_err(), "trailing bytes");
}

#[test]
fn an_index_and_its_shards_must_agree() {
    let dir = tempfile::tempdir().expect("dir");
    let files = save_sharded(dir.path(), &source(), 20, &BTreeMap::new()).expect("saves");
    let index = dir.path().join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).expect("index");

    fs::write(&index, text.replace("a.weight", "z.weight")).expect("write");
    let error = Checkpoint::open(dir.path())
        .expect_err("lacking")
        .to_string();
    assert!(
        error.contains("`z.weight`") && error.contains("model-00001"),
        "{error}"
    );

    fs::write(&index, &text).expect("write");
    let last = files.last().expect("shards");
    let whole = fs::read(last).expect("read");
    fs::write(last, &whole[..whole.len() - 1]).expect("write");
    let error = Checkpoint::open(dir.path()).expect_err("truncated");
    assert!(
        matches!(&error, NnError::File { path, .. } if path == last),
        "{error}"
    );

    fs::remove_file(last).expect("remove");
    let error = Checkpoint::open(dir.path()).expect_err("absent");
    assert!(
        matches!(&error, NnError::Io { path, .. } if path == last),
        "{error}"
    );
}

#[test]
fn a_tensor_two_shards_claim_is_refused_unless_the_index_decides() {
    let dir = tempfile::tempdir().expect("dir");
    let one = |x: f32, name: &str| {
        let data = TensorData::new(vec![x], [1]);
        MemorySource::new(
            "m",
            BTreeMap::from([("w".to_owned(), data.clone()), (name.into(), data)]),
        )
    };
    for (file, x) in [("a.safetensors", 1.0), ("b.safetensors", 2.0)] {
        save_safetensors(dir.path().join(file), &one(x, file), &BTreeMap::new()).expect("saves");
    }
    let index = dir.path().join("model.safetensors.index.json");
    let listed = r#""a.safetensors":"a.safetensors","b.safetensors":"b.safetensors""#;
    fs::write(
        &index,
        format!(r#"{{"weight_map":{{{listed},"w":"b.safetensors"}}}}"#),
    )
    .expect("write");
    let w = Checkpoint::open(dir.path())
        .expect("opens")
        .data("w")
        .expect("reads");
    assert_eq!(w.as_slice::<f32>().expect("f32"), [2.0]);
    fs::write(&index, format!(r#"{{"weight_map":{{{listed}}}}}"#)).expect("write");
    let error = Checkpoint::open(dir.path())
        .expect_err("ambiguous")
        .to_string();
    assert!(
        error.contains("`w`") && error.contains("b.safetensors"),
        "{error}"
    );
}

#[test]
fn absent_tensors_and_directories_are_named() {
    let dir = tempfile::tempdir().expect("dir");
    small_file(dir.path());
    let checkpoint = Checkpoint::open(dir.path()).expect("opens");
    let error = checkpoint.data("nope").expect_err("absent");
    assert!(
        matches!(error, NnError::Missing { ref name, .. } if name == "nope"),
        "{error}"
    );
    let error = Checkpoint::open(dir.path().join("nowhere"))
        .expect_err("absent")
        .to_string();
    assert!(error.contains("nowhere"), "{error}");
    let unwritable = dir.path().join("no/such/model.safetensors");
    assert!(save_safetensors(unwritable, &source(), &BTreeMap::new()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Damage anywhere gives an error or other values, never a panic or a wild read.
    #[test]
    fn flipped_bits_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6)) {
        // Written once: every save waits for the disk.
        static WHOLE: LazyLock<Vec<u8>> =
            LazyLock::new(|| small_file(tempfile::tempdir().expect("dir").path()));
        let dir = tempfile::tempdir().expect("dir");
        let mut bytes = WHOLE.clone();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let path = dir.path().join("flipped.safetensors");
        fs::write(&path, &bytes).expect("write");
        if let Err(error) = exercise(&path) {
            prop_assert!(error.to_string().contains("flipped"), "{}", error);
        }
    }

    /// Arbitrary headers are refused or describe exactly the file.
    #[test]
    fn arbitrary_headers_never_panic(header in "[\\[\\]{}\":,a-cF0-9 ]{0,60}", data in 0usize..40) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        fs::write(&path, &bytes).expect("write");
        let _ = exercise(&path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Shards never exceed the limit unless one tensor does, and every name has one place.
    #[test]
    fn sharding_keeps_every_tensor(sizes in prop::collection::vec(0usize..30, 1..12), limit in 1u64..200) {
        let dir = tempfile::tempdir().expect("dir");
        let tensors: BTreeMap<String, TensorData> = sizes
            .iter()
            .enumerate()
            .map(|(i, n)| (format!("t{i:02}"), TensorData::new(vec![i as f32; *n], [*n])))
            .collect();
        let memory = MemorySource::new("m", tensors.clone());
        let files = save_sharded(dir.path(), &memory, limit, &BTreeMap::new()).expect("saves");
        let checkpoint = Checkpoint::open(dir.path()).expect("opens");
        assert_holds(&checkpoint, &tensors);
        for file in files {
            let shard = Checkpoint::open(&file).expect("opens");
            let names = shard.names();
            let bytes: u64 = names.iter().filter_map(|n| shard.info(n)).map(|i| i.byte_len()).sum();
            let sized = names.iter().filter(|n| shard.info(n).is_some_and(|i| i.byte_len() > 0)).count();
            prop_assert!(bytes <= limit || sized == 1, "{} bytes in {}", bytes, file.display());
        }
    }
}
