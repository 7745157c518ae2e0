//! Adapters on stacks of expert matrices: peft's `target_parameters`.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use vtb_nn::NnError;
use vtb_nn::ops::{Groups, grouped_linear};

use crate::linear::{draw, stream};
use crate::{Factor, Factors, LoraConfig, LoraError, StackInfo};

/// The factors of all experts of a stack, as peft lays them out.
///
/// Expert `e` has `A_e`, rows `e·r..(e+1)·r` of A, and `B_e`, columns `e, E+e, 2E+e, …` of B. A is `[E·r, in]`, B is
/// `[out, r·E]`.
///
/// In files peft names the wrappers, not the parameters: with one parameter of a module as target its factors are
/// `module.lora_A`; with several, the wrappers nest, and those of the first parameter are
/// `module.base_layer.lora_A`. Which wrapper belongs to which parameter is told by the shapes ([`Stacked::fits`]).
#[derive(Module, Debug)]
pub struct Stacked {
    /// First factor.
    pub lora_A: Factor,
    /// Second factor, zero at the start of training.
    pub lora_B: Factor,
    #[module(skip)]
    scaling: f64,
    #[module(skip)]
    experts: usize,
}

impl Stacked {
    /// Fresh factors: A drawn by the config's rule, B zero.
    pub fn fresh(
        stack: &StackInfo,
        config: &LoraConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, LoraError> {
        let rank = config.rules("lora")?.rank(&stack.path)?;
        let rows = rank * stack.experts;
        let mut rng = stream(seed, &stack.path);
        let a = (0..rows * stack.in_features)
            .map(|_| draw(config.init, rank, stack.in_features, &mut rng))
            .collect();
        let b = vec![0.0f32; stack.out_features * rows];
        let factors = Factors {
            a: TensorData::new::<f32, _>(a, [rows, stack.in_features]),
            b: TensorData::new(b, [stack.out_features, rows]),
        };
        Self::new(stack, config, factors, device)
    }

    /// Whether `factors` have the sizes of `stack`: as peft makes them for matrices stored `[out, in]`, or with both
    /// sides exchanged, as older releases do.
    pub fn fits(stack: &StackInfo, factors: &Factors) -> bool {
        let sides = sides(factors);
        sides == Some((stack.in_features, stack.out_features))
            || sides == Some((stack.out_features, stack.in_features))
    }

    /// Given factors, in f32.
    ///
    /// # Errors
    /// Other sizes than [`Stacked::fits`] accepts, or another rank than the settings give the parameter.
    pub fn new(
        stack: &StackInfo,
        config: &LoraConfig,
        factors: Factors,
        device: &Device,
    ) -> Result<Self, LoraError> {
        let rank = config.rules("lora")?.rank(&stack.path)?;
        let (a, b) = (factors.a.shape().to_vec(), factors.b.shape().to_vec());
        let rows = rank * stack.experts;
        if !Self::fits(stack, &factors) || a[0] != rows || b[1] != rows {
            return Err(NnError::input(format!(
                "adapter factors of `{}` have shapes {a:?} and {b:?}; rank {rank} on {} experts of {} inputs and {} outputs needs [{rows}, {}] and [{}, {rows}]",
                stack.path,
                stack.experts,
                stack.in_features,
                stack.out_features,
                stack.in_features,
                stack.out_features,
            ))
            .into());
        }
        let read = |data| Tensor::<2>::from_data(data, (device, DType::F32));
        let (mut a, mut b) = (read(factors.a), read(factors.b));
        if a.dims()[1] != stack.in_features {
            (a, b) = exchange(a, b, stack.experts);
        }
        let factor = |value| Factor {
            weight: Param::initialized(ParamId::new(), value),
        };
        Ok(Self {
            lora_A: factor(a),
            lora_B: factor(b),
            scaling: config.scaling(&stack.path)?,
            experts: stack.experts,
        })
    }

    /// A as `[experts, r, in]` and B as `[experts, out, r]`.
    fn stacks(&self) -> (Tensor<3>, Tensor<3>) {
        let (a, b) = (self.lora_A.weight.val(), self.lora_B.weight.val());
        let ([rows, inputs], [outputs, _]) = (a.dims(), b.dims());
        let r = rows / self.experts;
        (
            a.reshape([self.experts, r, inputs]),
            b.reshape([outputs, r, self.experts]).permute([2, 0, 1]),
        )
    }

    /// `y` with the delta of every row's expert added. The low-rank branch runs in f32; the result has the dtype of
    /// `y`.
    ///
    /// # Shapes
    /// `x` is `[rows, in]` and `y` `[rows, out]`, both grouped as `groups` says.
    pub fn add(&self, x: Tensor<2>, y: Tensor<2>, groups: &Groups) -> Tensor<2> {
        let (a, b) = self.stacks();
        let dtype = y.dtype();
        let thin = grouped_linear(x.cast(DType::F32), a, groups);
        let delta = grouped_linear(thin, b, groups).mul_scalar(self.scaling);
        (y.cast(DType::F32) + delta).cast(dtype)
    }

    /// `weight` `[experts, out, in]` with `scaling·B_e·A_e` added, computed in f32 and rounded once, expert by expert.
    pub fn merged(&self, weight: Tensor<3>) -> Tensor<3> {
        let (a, b) = self.stacks();
        let dtype = weight.dtype();
        let one = |e: usize| {
            let part = |t: &Tensor<3>| t.clone().narrow(0, e, 1);
            let delta = part(&b).matmul(part(&a)).mul_scalar(self.scaling);
            (part(&weight).cast(DType::F32) + delta).cast(dtype)
        };
        Tensor::cat((0..self.experts).map(one).collect(), 0)
    }

    /// The factors, as they stand in files.
    pub fn factors(&self) -> Factors {
        Factors {
            a: self.lora_A.weight.val().into_data(),
            b: self.lora_B.weight.val().into_data(),
        }
    }
}

/// Columns of A and rows of B.
fn sides(factors: &Factors) -> Option<(usize, usize)> {
    match (factors.a.shape().as_slice(), factors.b.shape().as_slice()) {
        (&[_, inputs], &[outputs, _]) => Some((inputs, outputs)),
        _ => None,
    }
}

/// Factors of the transposed matrices: `ΔW_e = (B_e·A_e)ᵀ` has `A_eᵀ` on the left and `B_eᵀ` on the right.
fn exchange(a: Tensor<2>, b: Tensor<2>, experts: usize) -> (Tensor<2>, Tensor<2>) {
    let ([rows, outputs], [inputs, _]) = (a.dims(), b.dims());
    let r = rows / experts;
    let new_a = b
        .reshape([inputs, r, experts])
        .permute([2, 1, 0])
        .reshape([rows, inputs]);
    let new_b = a
        .reshape([experts, r, outputs])
        .permute([2, 1, 0])
        .reshape([outputs, rows]);
    (new_a, new_b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModuleFilter;
    use vtb_nn::device::cpu_device;

    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7 + seed * 13) % 19) as f32 / 8.0 - 1.0)
            .collect()
    }

    fn stack() -> StackInfo {
        StackInfo {
            path: "layers.0.mlp.experts.down_proj".into(),
            experts: 3,
            in_features: 4,
            out_features: 5,
        }
    }

    fn config() -> LoraConfig {
        LoraConfig {
            r: 2,
            alpha: 3.0,
            targets: ModuleFilter::names(["q_proj"]),
            target_parameters: vec!["mlp.experts.down_proj".into()],
            ..LoraConfig::default()
        }
    }

    fn factors() -> Factors {
        Factors {
            a: TensorData::new(values(6 * 4, 1), [6, 4]),
            b: TensorData::new(values(5 * 6, 2), [5, 6]),
        }
    }

    fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn the_delta_has_the_layout_of_peft() {
        let device = cpu_device();
        let adapter = Stacked::new(&stack(), &config(), factors(), &device).expect("fits");
        let merged = read(adapter.merged(Tensor::zeros([3, 5, 4], &device)));
        let (a, b) = (values(6 * 4, 1), values(5 * 6, 2));
        for (e, out, input) in [(0, 0, 0), (1, 3, 2), (2, 4, 3), (2, 0, 1)] {
            // einsum("o r e, e r i -> e o i") · alpha/r
            let want: f32 = (0..2)
                .map(|k| b[out * 6 + k * 3 + e] * a[(e * 2 + k) * 4 + input])
                .sum();
            let got = merged[(e * 5 + out) * 4 + input];
            assert!((got - want * 1.5).abs() < 1e-6, "{e} {out} {input}");
        }
    }

    #[test]
    fn exchanged_sides_mean_the_same_stack_transposed() {
        let device = cpu_device();
        let mut swapped = stack();
        (swapped.in_features, swapped.out_features) = (5, 4);
        let plain = Stacked::new(&stack(), &config(), factors(), &device).expect("fits");
        let other = Stacked::new(&swapped, &config(), factors(), &device).expect("fits");
        let a = plain.merged(Tensor::zeros([3, 5, 4], &device));
        let b = other.merged(Tensor::zeros([3, 4, 5], &device));
        assert_eq!(read(a.swap_dims(1, 2)), read(b));
    }

    #[test]
    fn adding_is_merging() {
        let device = cpu_device();
        let adapter = Stacked::new(&stack(), &config(), factors(), &device).expect("fits");
        let groups = Groups::new(&[2, 0, 0, 2], 1, 3);
        let x = Tensor::<2>::from_data(TensorData::new(values(16, 3), [4, 4]), &device);
        let w = Tensor::<3>::from_data(TensorData::new(values(60, 4), [3, 5, 4]), &device);
        let x = groups.gather(x);
        let y = grouped_linear(x.clone(), w.clone(), &groups);
        let beside = read(adapter.add(x.clone(), y, &groups));
        let merged = read(grouped_linear(x, adapter.merged(w), &groups));
        for (a, b) in beside.iter().zip(&merged) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn other_ranks_and_sizes_are_named() {
        let device = cpu_device();
        let wide = StackInfo {
            in_features: 7,
            ..stack()
        };
        let text = Stacked::new(&wide, &config(), factors(), &device)
            .expect_err("size")
            .to_string();
        assert!(
            text.contains("down_proj") && text.contains("[6, 7]"),
            "{text}"
        );
        let other = LoraConfig { r: 1, ..config() };
        assert!(Stacked::new(&stack(), &other, factors(), &device).is_err());
    }
}
