//! `adapter convert`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use burn::tensor::DType;
use clap::{Args, ValueEnum};
use vtb_lora::{
    Adapter, AdapterFile, AdapterFormat, AdapterHeader, DIFFUSERS_FILE, DiffusionFamily,
    LinearInfo, LoraConfig, MergedSource, NameLayout, write_as,
};
use vtb_nn::device::cpu_device;

use super::base::open_base;
use super::find_adapter;
use super::output::NewDir;
use crate::ending::Usage;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// PEFT; language models by the names of transformers 4.52 and later: model.language_model.layers, model.visual. A
    /// file of another model keeps the names of that model
    Peft,
    /// PEFT with the names before 4.52, and of text models: model.layers, visual
    PeftLegacy,
    /// As peft, with --fold-scale: for vLLM and others that read only r and lora_alpha
    Vllm,
    /// Diffusion models: a file for load_lora_weights of diffusers, with ranks and alphas in its header
    Diffusers,
    /// Diffusion models: a file for ComfyUI, with an alpha where the scale is not 1
    Comfyui,
    /// Diffusion models: a file in the form of Kohya's trainers, with an alpha for each layer
    Kohya,
    /// Diffusion models: a file for DiffSynth, with the scale in factor A
    Diffsynth,
}

/// How factors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kept {
    /// 4 bytes a number
    F32,
    /// 2 bytes a number, the range of f32
    Bf16,
    /// 2 bytes a number, three more bits of precision than bf16, a smaller range
    F16,
}

#[derive(Debug, Args)]
pub(super) struct Convert {
    /// Adapter of any form: a PEFT directory with any of these names, org/name@revision of one, or a safetensors file
    #[arg(value_name = "ADAPTER")]
    adapter: String,
    /// Names and settings of the copy
    #[arg(long, value_enum)]
    to: To,
    /// Directory to write (PEFT, diffusers); must not be there yet
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "output",
        conflicts_with = "output"
    )]
    output_dir: Option<PathBuf>,
    /// File to write (all but PEFT); must not be there yet
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One rank and one alpha for all layers, without patterns and rsLoRA: alpha says the scale where it can, else it goes
    /// into factor B
    #[arg(long)]
    fold_scale: bool,
    /// How factors are stored
    #[arg(long, value_enum, default_value_t = Kept::F32)]
    dtype: Kept,
    /// Base model whose layers the adapter must fit, in either layout; needed for files of models other than Qwen-Image
    /// and Wan. Its weights are not read
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,
    /// Name this base model in the copy [default: the one the adapter names]
    #[arg(long, value_name = "DIR|NAME")]
    base_model: Option<String>,
}

impl Convert {
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let out = self.place()?;
        let path = find_adapter(&self.adapter)?;
        let base = self.model.as_deref().map(open_base).transpose()?;
        let modules = base.as_ref().map(|base| LinearInfo::of_checkpoint(base));
        let file = AdapterFile::open_any(&path, modules.as_deref())?;
        if let Some(base) = &base {
            MergedSource::new(base, &file, None, &cpu_device())?;
        }
        let mut header = file.header();
        if let Some(named) = &self.base_model {
            header.base_model = Some(named.clone());
        }
        let adapter = file.read()?;
        let before = adapter.config.clone();
        let adapter = self.rewritten(adapter, file.format(), &path)?;
        out.write(self.to.format(), &adapter, &header, self.dtype.dtype())?;
        println!(
            "wrote {} layers{} into {}",
            adapter.factors.len(),
            scale_told(&before, &adapter.config),
            out.shown().display()
        );
        Ok(ExitCode::SUCCESS)
    }

    /// The adapter, which was read from the form `from`, with the names and settings that are asked for.
    fn rewritten(
        &self,
        mut adapter: Adapter,
        from: AdapterFormat,
        origin: &Path,
    ) -> anyhow::Result<Adapter> {
        let diffusion = DiffusionFamily::of(adapter.factors.keys().map(String::as_str)).is_some();
        let known = |path: &String| NameLayout::Current.rename(path).is_some();
        // The names of a file are those of its model, which was asked whether it has them.
        let theirs = from != AdapterFormat::Peft && !adapter.factors.keys().all(known);
        let layout = match self.to {
            To::Peft if diffusion || theirs => None,
            To::Peft | To::Vllm => Some(NameLayout::Current),
            To::PeftLegacy => Some(NameLayout::Legacy),
            To::Diffusers | To::Comfyui | To::Kohya | To::Diffsynth => None,
        };
        if let Some(layout) = layout {
            adapter = adapter.renamed(layout, origin)?;
        }
        if self.fold_scale || self.to == To::Vllm {
            adapter = adapter.folded(origin)?;
        }
        Ok(adapter)
    }

    /// Where to write; refused before anything is read.
    fn place(&self) -> anyhow::Result<Place<'_>> {
        let to = self.to.format();
        match (&self.output_dir, &self.output) {
            (Some(dir), None) => match to {
                AdapterFormat::Peft | AdapterFormat::Diffusers => {
                    NewDir::check(dir)?;
                    Ok(Place::Dir(dir))
                }
                _ => bail!(Usage(format!(
                    "--output-dir: the form {to} is one file; name it with --output"
                ))),
            },
            (None, Some(file)) => {
                let shown = file.display();
                if to == AdapterFormat::Peft {
                    bail!(Usage(
                        "--output: an adapter of PEFT is a directory; name it with --output-dir"
                            .into()
                    ));
                }
                if file.extension().is_none_or(|end| end != "safetensors") {
                    bail!(Usage(format!(
                        "--output {shown}: name a file that ends in .safetensors"
                    )));
                }
                if fs::symlink_metadata(file).is_ok() {
                    bail!(Usage(format!(
                        "--output {shown}: is there already and is not overwritten; name a new file"
                    )));
                }
                Ok(Place::File(file))
            }
            _ => bail!(Usage("name either --output-dir or --output".into())),
        }
    }
}

impl To {
    fn format(self) -> AdapterFormat {
        match self {
            Self::Peft | Self::PeftLegacy | Self::Vllm => AdapterFormat::Peft,
            Self::Diffusers => AdapterFormat::Diffusers,
            Self::Comfyui => AdapterFormat::ComfyUi,
            Self::Kohya => AdapterFormat::Kohya,
            Self::Diffsynth => AdapterFormat::DiffSynth,
        }
    }
}

impl Kept {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// Where the copy goes.
enum Place<'a> {
    Dir(&'a Path),
    File(&'a Path),
}

impl Place<'_> {
    fn shown(&self) -> &Path {
        match self {
            Self::Dir(path) | Self::File(path) => path,
        }
    }

    fn write(
        &self,
        format: AdapterFormat,
        adapter: &Adapter,
        header: &AdapterHeader,
        dtype: DType,
    ) -> anyhow::Result<()> {
        let write = |path: &Path| {
            let (config, factors) = (&adapter.config, &adapter.factors);
            write_as(format, path, config, factors, header, dtype)
        };
        match self {
            Self::Dir(dir) => {
                let out = NewDir::begin(dir)?;
                match format {
                    AdapterFormat::Peft => write(out.path())?,
                    _ => write(&out.path().join(DIFFUSERS_FILE))?,
                }
                out.finish()
            }
            Self::File(file) => {
                let parent = file.parent().filter(|dir| !dir.as_os_str().is_empty());
                if let Some(parent) = parent {
                    fs::create_dir_all(parent).with_context(|| format!("{}", parent.display()))?;
                }
                Ok(write(file)?)
            }
        }
    }
}

/// What became of the scale.
fn scale_told(before: &LoraConfig, after: &LoraConfig) -> String {
    let patterns = |c: &LoraConfig| !c.rank_pattern.is_empty() || !c.alpha_pattern.is_empty();
    let folded = before.use_rslora != after.use_rslora || (patterns(before) && !patterns(after));
    match folded {
        true => format!(", all of rank {} and alpha {}", after.r, after.alpha),
        false => String::new(),
    }
}
