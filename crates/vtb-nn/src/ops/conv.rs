//! 3×3 convolutions of channel-last pictures, for inference.
//!
//! A picture is `[height, width, channels]`: norms over channels and 1×1 convolutions are then operations on rows. On the
//! CPU the convolution works in bands of lines and unfolds nothing; on other devices it is burn's, whose kernels are
//! channel-last and unfold nothing either.

use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

use super::norm::rms_norm;
#[cfg(feature = "flex")]
use crate::cpu;

/// Which pixels the kernel stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grid {
    /// Every pixel; one line of zeros on each side. The size stays.
    Same,
    /// Every second pixel, starting inside the picture; one line of zeros below and on the right. Sides halve, rounded
    /// down.
    Halved,
    /// Every pixel of the picture with each of its pixels doubled along both axes; one line of zeros on each side. Sides
    /// double.
    Doubled,
}

/// A convolution and what surrounds it.
#[derive(Debug, Clone)]
pub struct Conv3x3<'a> {
    /// `[out, 3, 3, in]`.
    pub weight: &'a Tensor<4>,
    /// `[out]`.
    pub bias: &'a Tensor<1>,
    /// Where it looks.
    pub grid: Grid,
    /// Gain `[in]` and epsilon of an [`rms_norm`] over channels, followed by SiLU, that every pixel passes first.
    pub norm: Option<(&'a Tensor<1>, f32)>,
    /// Added to the result; has its shape.
    pub add: Option<Tensor<3>>,
}

impl Conv3x3<'_> {
    /// `add + bias + weight ∗ silu(rms_norm(x))`, the norm and the sum where there is one.
    ///
    /// Nothing is kept for a backward pass of its own: under autodiff the portable form runs, with the memory that takes.
    ///
    /// # Shapes
    /// `x` is `[height, width, in]`, the result `[height', width', out]` with sides as the grid says. All of one dtype.
    pub fn forward(self, x: Tensor<3>) -> Tensor<3> {
        let [height, width, channels] = x.dims();
        let [out, rows, columns, inputs] = self.weight.dims();
        assert_eq!(
            [rows, columns, inputs],
            [3, 3, channels],
            "conv3x3: weight against the picture's channels"
        );
        assert_eq!(self.bias.dims(), [out], "conv3x3: length of the bias");
        let sides = match self.grid {
            Grid::Same => [height, width],
            Grid::Halved => [height / 2, width / 2],
            Grid::Doubled => [2 * height, 2 * width],
        };
        let shape = [sides[0], sides[1], out];
        assert!(!shape.contains(&0), "conv3x3: nothing to compute");
        if let Some((gain, _)) = self.norm {
            assert_eq!(gain.dims(), [channels], "conv3x3: length of the gain");
        }
        if let Some(add) = &self.add {
            assert_eq!(add.dims(), shape, "conv3x3: shape of what is added");
        }
        #[cfg(feature = "flex")]
        if let Some(y) = self.on_cpu(&x, shape) {
            return y;
        }
        self.portable(x)
    }

    #[cfg(feature = "flex")]
    fn on_cpu(&self, x: &Tensor<3>, shape: [usize; 3]) -> Option<Tensor<3>> {
        let [height, width, channels] = x.dims();
        let (xv, weight, bias) = (
            cpu::View::of(x)?,
            cpu::View::of(self.weight)?,
            cpu::View::of(self.bias)?,
        );
        let norm = match self.norm {
            Some((gain, eps)) => Some((cpu::View::of(gain)?, eps)),
            None => None,
        };
        let add = match &self.add {
            Some(add) => Some(cpu::View::of(add)?),
            None => None,
        };
        let picture = cpu::conv::Picture {
            values: xv.values(),
            height,
            width,
            channels,
        };
        let kernel = cpu::conv::Kernel {
            weight: weight.values(),
            bias: bias.values(),
            grid: self.grid,
            norm: norm.as_ref().map(|(gain, eps)| (gain.values(), *eps)),
            add: add.as_ref().map(cpu::View::values),
        };
        Some(cpu::tensor(cpu::conv::conv3x3(picture, kernel), shape))
    }

    fn portable(self, x: Tensor<3>) -> Tensor<3> {
        let [height, width, channels] = x.dims();
        let mut x = x;
        if let Some((gain, eps)) = self.norm {
            let rows = x.reshape([height * width, channels]);
            let normed = silu(rms_norm(rows, gain.clone(), eps));
            x = normed.reshape([height, width, channels]);
        }
        if self.grid == Grid::Doubled {
            x = x
                .reshape([height, 1, width, 1, channels])
                .expand([height, 2, width, 2, channels])
                .reshape([2 * height, 2 * width, channels]);
        }
        let (stride, padding) = match self.grid {
            Grid::Same | Grid::Doubled => (1, (1, 1)),
            Grid::Halved => (2, (0, 1)),
        };
        let options = ConvOptions::new_with_padding([stride; 2], [padding; 2], [1; 2], 1);
        let planes = x.permute([2, 0, 1]).unsqueeze::<4>();
        let weight = self.weight.clone().permute([0, 3, 1, 2]);
        let y = conv2d(planes, weight, Some(self.bias.clone()), options);
        let y = y.squeeze_dim::<3>(0).permute([1, 2, 0]);
        match self.add {
            Some(add) => y + add,
            None => y,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};

    use super::*;
    use crate::device::cpu_device;

    fn values(len: usize, seed: f64) -> Vec<f64> {
        let wave = |i: usize| (i as f64 * 0.737 + seed).sin() * (i as f64 * 0.119 + seed).cos();
        (0..len).map(wave).collect()
    }

    fn tensor<const D: usize>(v: &[f64], shape: [usize; D], dtype: DType) -> Tensor<D> {
        Tensor::from_data(TensorData::new(v.to_vec(), shape), (&cpu_device(), dtype))
    }

    fn read(x: Tensor<3>) -> Vec<f64> {
        x.into_data().iter::<f64>().collect()
    }

    /// Value by value, from the definition.
    #[allow(clippy::too_many_arguments)]
    fn defined(
        x: &[f64],
        [h, w, c]: [usize; 3],
        weight: &[f64],
        bias: &[f64],
        grid: Grid,
        gain: Option<&[f64]>,
        eps: f64,
        add: Option<&[f64]>,
    ) -> Vec<f64> {
        let pixel = |y: isize, x_: isize, k: usize| {
            if y < 0 || x_ < 0 || y >= h as isize || x_ >= w as isize {
                return 0.0;
            }
            let row = &x[(y as usize * w + x_ as usize) * c..][..c];
            let Some(gain) = gain else { return row[k] };
            let mean = row.iter().map(|v| v * v).sum::<f64>() / c as f64;
            let v = row[k] / (mean + eps).sqrt() * gain[k];
            v / (1.0 + (-v).exp())
        };
        let (hh, ww) = match grid {
            Grid::Same => (h, w),
            Grid::Halved => (h / 2, w / 2),
            Grid::Doubled => (2 * h, 2 * w),
        };
        let mut y = Vec::new();
        for (i, j) in (0..hh).flat_map(|i| (0..ww).map(move |j| (i as isize, j as isize))) {
            for (o, bias) in bias.iter().enumerate() {
                let mut sum = *bias + add.map_or(0.0, |add| add[y.len()]);
                for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
                    let at = match grid {
                        Grid::Same => [i + dy - 1, j + dx - 1],
                        Grid::Halved => [2 * i + dy, 2 * j + dx],
                        // Outside the doubled picture is outside the picture: -1 halves to -1.
                        Grid::Doubled => [(i + dy - 1) >> 1, (j + dx - 1) >> 1],
                    };
                    for k in 0..c {
                        let tap = ((o * 3 + dy as usize) * 3 + dx as usize) * c + k;
                        sum += weight[tap] * pixel(at[0], at[1], k);
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    #[test]
    fn every_grid_is_its_definition() {
        // Odd and even sides, single lines and pixels, more lines than a band has.
        let shapes = [
            [1, 1, 1],
            [1, 5, 2],
            [6, 4, 3],
            [7, 9, 5],
            [40, 3, 2],
            [2, 33, 4],
        ];
        for ([h, w, c], grid) in shapes
            .into_iter()
            .flat_map(|s| [Grid::Same, Grid::Halved, Grid::Doubled].map(|g| (s, g)))
        {
            let out = 3;
            let shape = match grid {
                Grid::Same => [h, w, out],
                Grid::Halved if h < 2 || w < 2 => continue,
                Grid::Halved => [h / 2, w / 2, out],
                Grid::Doubled => [2 * h, 2 * w, out],
            };
            let (x, weight) = (values(h * w * c, 0.3), values(out * 9 * c, 1.9));
            let (bias, gain) = (values(out, 0.7), values(c, 2.3));
            let add = values(shape.iter().product(), 4.1);
            for (norm, sum) in [(false, false), (true, false), (true, true)] {
                let gain = norm.then_some(&gain);
                let added = sum.then_some(&add);
                let eps = 1e-6;
                let want = defined(
                    &x,
                    [h, w, c],
                    &weight,
                    &bias,
                    grid,
                    gain.map(Vec::as_slice),
                    eps,
                    added.map(Vec::as_slice),
                );
                for (dtype, bound) in [(DType::F32, 2e-6), (DType::BF16, 4e-2)] {
                    let weight = tensor(&weight, [out, 3, 3, c], dtype);
                    let bias = tensor(&bias, [out], dtype);
                    let gain = gain.map(|g| tensor(g, [c], dtype));
                    let conv = Conv3x3 {
                        weight: &weight,
                        bias: &bias,
                        grid,
                        norm: gain.as_ref().map(|g| (g, eps as f32)),
                        add: added.map(|a| tensor(a, shape, dtype)),
                    };
                    let input = tensor(&x, [h, w, c], dtype);
                    let portable = conv.clone().portable(input.clone());
                    let y = conv.forward(input);
                    assert_eq!(y.dims(), shape);
                    let scale = want.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
                    for (way, y) in [("forward", y), ("portable", portable)] {
                        for (i, (y, want)) in read(y).iter().zip(&want).enumerate() {
                            assert!(
                                (y - want).abs() <= bound * scale,
                                "{way} {grid:?} {h}x{w}x{c} norm {norm} {dtype:?} at {i}: {y} for {want}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let [weight, input] = [values(8 * 9 * 24, 1.9), values(50 * 30 * 24, 0.3)];
        let weight = tensor(&weight, [8, 3, 3, 24], DType::F32);
        let bias = tensor(&values(8, 0.7), [8], DType::F32);
        for grid in [Grid::Same, Grid::Halved, Grid::Doubled] {
            let run = || {
                let conv = Conv3x3 {
                    weight: &weight,
                    bias: &bias,
                    grid,
                    norm: None,
                    add: None,
                };
                read(conv.forward(tensor(&input, [50, 30, 24], DType::F32)))
            };
            let [one, three] = [1, 3].map(|n| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
                pool.unwrap().install(run)
            });
            assert_eq!(one, three, "{grid:?}");
        }
    }
}
