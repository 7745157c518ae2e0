//! A stand-in for `cubecl-llvm`, put in its place by `[patch.crates-io]` in the workspace's
//! `Cargo.toml`.
//!
//! # Why it exists
//!
//! `cubecl-cuda` can turn kernels into GPU code in two ways: through LLVM, or as CUDA C++ compiled
//! at run time by NVRTC. It always links both. The real `cubecl-llvm` fetches a prebuilt LLVM from
//! outside the package registry when it is built, so a CUDA build fails wherever that download is
//! not reachable, and the LLVM way also hides hardware features (TMA, asynchronous copies,
//! clusters) that the C++ way offers. This workspace switches on `cubecl/cuda-cpp`, after which
//! nothing of the LLVM way ever runs. What is left to provide is the handful of names that
//! `cubecl-cuda` mentions, so that it compiles.
//!
//! # What it does
//!
//! Nothing at run time: asked to compile a kernel, [`PlironCompiler`] answers with an error that
//! names the missing feature. The items that no value can be made of are empty enums, so that the
//! type system knows it too.
//!
//! # When it can go
//!
//! As soon as `cubecl-cuda` makes its dependency on `cubecl-llvm` optional, or `cubecl-llvm` builds
//! without a download. Then delete this directory and the `[patch.crates-io]` section, keep
//! `cuda-cpp`, and run the gate. A new cubecl version needs this crate's version raised to match;
//! cargo warns about an unused patch and the CUDA check of the gate fails if it was forgotten.

use cubecl_core::ir::nvidia::SmArch;
use cubecl_server::compiler::{CompilationError, Compiler};
use cubecl_server::kernel::{BufferIOAttr, KernelDefinition};
use std::convert::Infallible;
use std::ffi::c_char;
use std::fmt;

use nvptx::ptx_version::PtxVersion;

/// The processor family code is generated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA GPUs.
    Nvptx,
}

/// The compiler that is not here: every call of [`Compiler::compile`] is refused.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    /// What the real compiler would generate code for.
    pub target: LlvmTarget,
}

/// What the caller tells the compiler about the device. Nothing reads it.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// AMD architecture: this stand-in knows none.
    pub arch: Option<Infallible>,
    /// NVIDIA architecture, as the runtime read it from the driver.
    pub sm_arch: Option<SmArch>,
    /// PTX version to emit: none is ever emitted.
    pub ptx_version: Option<PtxVersion>,
    /// Whether scalars travel in the kernel's parameter block.
    pub grid_constants: bool,
}

/// A compiled kernel. None is ever made.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// NUL-terminated PTX.
    pub ptx: Vec<c_char>,
    /// Name of the kernel's entry point.
    pub entrypoint: String,
    /// Intermediate code, for logs.
    pub ir: String,
    /// Bytes of shared memory a launch reserves.
    pub shared_memory_size: usize,
    /// How each buffer is accessed, in binding order.
    pub io: Vec<BufferIOAttr>,
}

/// What the compiler hands back. None is ever made.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    /// Code for an NVIDIA GPU.
    NvptxCode(NvptxModule),
    /// Any other target: the real crate has more variants, and `cubecl-cuda` matches on the rest.
    Other(Infallible),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NvptxCode(module) => f.write_str(&module.ir),
            Self::Other(never) => match *never {},
        }
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        // The error's backtrace has a type this crate has no other reason to depend on; its
        // default is the empty one.
        Err(CompilationError::Generic {
            reason: "this build compiles CUDA kernels with NVRTC and holds no LLVM: \
                     enable the feature `cuda-cpp` of `cubecl`"
                .to_owned(),
            backtrace: Default::default(),
        })
    }

    fn buffer_io(artifact: &PlironArtifact) -> Option<Vec<BufferIOAttr>> {
        match artifact {
            PlironArtifact::NvptxCode(module) => Some(module.io.clone()),
            PlironArtifact::Other(never) => match *never {},
        }
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

/// What concerns NVIDIA GPUs.
pub mod nvptx {
    /// PTX versions.
    pub mod ptx_version {
        use std::fmt;

        /// A version of PTX that LLVM emits: there is none, so no value exists.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum PtxVersion {}

        impl PtxVersion {
            /// The newest version this compiler emits for a driver: none.
            #[must_use]
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {}
            }
        }
    }
}

/// What all targets share.
pub mod shared {
    /// Which hardware features survive.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// The GPU family whose features are narrowed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA GPUs.
            Nvptx,
        }

        /// Narrows a device to what LLVM can use of it. Called only when LLVM is the chosen way,
        /// in which case no kernel compiles at all: nothing is changed.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}
