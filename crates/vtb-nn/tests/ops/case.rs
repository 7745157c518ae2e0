//! One operation on one set of inputs, and everything that must hold of it.

use std::array;
use std::fmt::{self, Debug};

use burn::tensor::{DType, Tensor, bf16};

use crate::support::{assert_aligned, assert_close, eighths, read, tensor};

/// A function of flat tensors; it gives them their shapes itself.
pub(crate) type Function<const N: usize> = Box<dyn Fn([Tensor<1>; N]) -> Tensor<1> + Sync>;

/// An operation and its textbook formula on given inputs.
pub(crate) struct Case<const N: usize> {
    pub(crate) name: String,
    pub(crate) inputs: [Vec<f32>; N],
    /// Inputs that stay f32 when the others are of another type.
    pub(crate) always_f32: [bool; N],
    pub(crate) ours: Function<N>,
    pub(crate) plain: Function<N>,
}

/// What a function answers, and its gradients by the tracked inputs for a fixed gradient of the output.
#[derive(Debug, PartialEq)]
struct Run {
    output: Vec<f64>,
    gradients: Vec<Option<Vec<f64>>>,
}

fn run<const N: usize>(
    function: &Function<N>,
    inputs: &[Vec<f32>; N],
    dtypes: [DType; N],
    tracked: [bool; N],
) -> Run {
    let leaves: [Tensor<1>; N] = array::from_fn(|i| {
        let leaf = tensor(&inputs[i], [inputs[i].len()], dtypes[i]);
        if tracked[i] {
            leaf.autodiff().require_grad()
        } else {
            leaf
        }
    });
    let output = function(leaves.clone());
    let values = read(output.clone());
    if !tracked.contains(&true) {
        assert!(
            !output.is_autodiff(),
            "a result of plain tensors takes part in autodiff"
        );
        return Run {
            output: values,
            gradients: vec![None; N],
        };
    }
    let weights = tensor(&eighths(values.len(), 99), [values.len()], output.dtype());
    let mut gradients = (output * weights).sum().backward();
    let gradient = |leaf: Tensor<1>| {
        let tracked = leaf.is_autodiff();
        tracked
            .then(|| leaf.grad_remove(&mut gradients))
            .flatten()
            .map(read)
    };
    Run {
        output: values,
        gradients: leaves.into_iter().map(gradient).collect(),
    }
}

impl<const N: usize> Debug for Case<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl<const N: usize> Case<N> {
    /// A case whose inputs are all of one type and all differentiable.
    pub(crate) fn new(
        name: impl Into<String>,
        inputs: [Vec<f32>; N],
        ours: impl Fn([Tensor<1>; N]) -> Tensor<1> + Sync + 'static,
        plain: impl Fn([Tensor<1>; N]) -> Tensor<1> + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            inputs,
            always_f32: [false; N],
            ours: Box::new(ours),
            plain: Box::new(plain),
        }
    }

    /// Everything below.
    pub(crate) fn check(&self) {
        self.check_kernel();
        self.check_portable();
        self.check_bf16();
        self.check_frozen_inputs();
        self.check_threads();
    }

    fn dtypes(&self, dtype: DType) -> [DType; N] {
        self.always_f32
            .map(|f32| if f32 { DType::F32 } else { dtype })
    }

    fn wanted(&self, inputs: &[Vec<f32>; N]) -> Run {
        run(&self.plain, inputs, [DType::F64; N], [true; N])
    }

    fn compare(&self, got: &Run, want: &Run, how: &str, assert: impl Fn(&[f64], &[f64], &str)) {
        assert(
            &got.output,
            &want.output,
            &format!("{} {how} output", self.name),
        );
        for (i, want) in want.gradients.iter().enumerate() {
            let what = format!("{} {how} gradient of input {i}", self.name);
            match (&got.gradients[i], want) {
                (Some(got), Some(want)) => assert(got, want, &what),
                (None, None) => {}
                (got, want) => panic!("{what}: {} but wanted {}", got.is_some(), want.is_some()),
            }
        }
    }

    /// The f32 kernels against the formula in f64, with and without autodiff.
    pub(crate) fn check_kernel(&self) {
        let want = self.wanted(&self.inputs);
        let dtypes = [DType::F32; N];
        let got = run(&self.ours, &self.inputs, dtypes, [true; N]);
        self.compare(&got, &want, "f32", |g, w, what| {
            assert_close(g, w, 1e-5, what)
        });
        let got = run(&self.ours, &self.inputs, dtypes, [false; N]);
        let what = format!("{} f32 output outside autodiff", self.name);
        assert_close(&got.output, &want.output, 1e-5, &what);
    }

    /// Other types have no kernels on the CPU and take the forms that GPUs use.
    pub(crate) fn check_portable(&self) {
        let want = self.wanted(&self.inputs);
        let dtypes = self.dtypes(DType::F64);
        let got = run(&self.ours, &self.inputs, dtypes, [true; N]);
        self.compare(&got, &want, "f64", |g, w, what| {
            assert_close(g, w, 1e-5, what)
        });
    }

    /// The same in bf16, whose rounding drowns gradients that nearly cancel: for chosen sizes only.
    fn check_bf16(&self) {
        let rounded = array::from_fn(|i| {
            let round = |x: &f32| {
                if self.always_f32[i] {
                    *x
                } else {
                    bf16::from_f32(*x).to_f32()
                }
            };
            self.inputs[i].iter().map(round).collect()
        });
        let dtypes = self.dtypes(DType::BF16);
        let got = run(&self.ours, &rounded, dtypes, [true; N]);
        self.compare(&got, &self.wanted(&rounded), "bf16", assert_aligned);
    }

    /// Whatever inputs are tracked: those get the gradient they would get together, the others get none.
    pub(crate) fn check_frozen_inputs(&self) {
        for dtype in [DType::F32, DType::F64] {
            let of = |tracked| run(&self.ours, &self.inputs, self.dtypes(dtype), tracked);
            let all = of([true; N]);
            for subset in 0..1usize << N {
                let tracked = array::from_fn(|i| subset >> i & 1 == 1);
                let got = of(tracked);
                let name = format!("{} {dtype:?} tracking {tracked:?}", self.name);
                assert_close(&got.output, &all.output, 1e-6, &name);
                for (i, got) in got.gradients.into_iter().enumerate() {
                    let want = if tracked[i] {
                        all.gradients[i].clone()
                    } else {
                        None
                    };
                    assert_eq!(got, want, "{name}: gradient of input {i}");
                }
            }
        }
    }

    /// Bit for bit the same on one thread and on two.
    pub(crate) fn check_threads(&self) {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| run(&self.ours, &self.inputs, [DType::F32; N], [true; N]))
        };
        assert!(
            on(1) == on(2),
            "{}: results depend on the number of threads",
            self.name
        );
    }
}
