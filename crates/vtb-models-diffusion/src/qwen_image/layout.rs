//! Where the tokens of a batch stand.
//!
//! A batch is one packed sequence, never padded. Its rows are `[levels | texts | pictures]`: the embeddings of the distinct
//! noise levels, then all text tokens, then the picture tokens of every sample, target first. Attention runs over
//! `[text | pictures]` of each sample.

use burn::tensor::{DType, Device, Tensor, TensorData};
use vtb_nn::NnError;
use vtb_nn::ops::{AttentionMask, RopeTable, RowRuns};
use vtb_nn::velocity::FlowRow;

use super::TransformerConfig;
use super::packing::{Grid, grid_of, pack, picture_positions, text_positions};
use crate::transformer::{axis_angles, cat, check_text, sinusoid};

/// Values of the sinusoidal embedding of a noise level.
pub(super) const TIME_FEATURES: usize = 256;

/// Tokens of one sample.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Text tokens.
    pub(super) text: usize,
    /// Grid of the target.
    pub(super) target: Grid,
    /// Tokens of the references.
    pub(super) references: usize,
}

impl Sample {
    pub(super) fn target_len(&self) -> usize {
        self.target[0] * self.target[1]
    }

    pub(super) fn picture_len(&self) -> usize {
        self.target_len() + self.references
    }
}

/// Everything of a batch that does not depend on weights.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) samples: Vec<Sample>,
    /// Distinct noise levels: one per sample, and 0 for references where the model asks for it.
    pub(super) levels: usize,
    pub(super) text_rows: usize,
    pub(super) picture_rows: usize,
    /// Noise level of every text token.
    pub(super) text_runs: RowRuns,
    /// Noise level of every picture token.
    pub(super) picture_runs: RowRuns,
    /// Noise level of the target tokens alone.
    pub(super) target_runs: RowRuns,
    pub(super) text_rope: RopeTable,
    pub(super) picture_rope: RopeTable,
    pub(super) mask: AttentionMask,
}

/// Inputs of a batch on the device, in the model's type.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    /// `[picture rows, in channels]`.
    pub(super) pictures: Tensor<2>,
    /// `[text rows, text width]`.
    pub(super) texts: Tensor<2>,
    /// `[levels, 256]`.
    pub(super) times: Tensor<2>,
}

impl Layout {
    /// Plans a batch.
    ///
    /// # Errors
    /// A row that does not fit the model, named by its place in the batch.
    pub(super) fn of(
        rows: &[FlowRow],
        config: &TransformerConfig,
        device: &Device,
    ) -> Result<Self, NnError> {
        if rows.is_empty() {
            return Err(NnError::input("a batch without rows"));
        }
        let mut samples = Vec::with_capacity(rows.len());
        let (mut text_positions_all, mut picture_positions_all) = (Vec::new(), Vec::new());
        for (i, row) in rows.iter().enumerate() {
            let placed = place(row, config)
                .map_err(|fault| NnError::input(format!("row {i} of the batch: {fault}")))?;
            text_positions_all.extend(placed.text);
            picture_positions_all.extend(placed.pictures);
            samples.push(placed.sample);
        }
        let zero = samples.len();
        let reference_level = |i: usize| if config.zero_cond_t { zero } else { i };
        let each = || samples.iter().enumerate();
        let text_runs = RowRuns::new(each().map(|(i, s)| (s.text, i)));
        let picture_runs = RowRuns::new(
            each().flat_map(|(i, s)| [(s.target_len(), i), (s.references, reference_level(i))]),
        );
        let target_runs = RowRuns::new(each().map(|(i, s)| (s.target_len(), i)));
        let lengths: Vec<usize> = samples.iter().map(|s| s.text + s.picture_len()).collect();
        let half = config.attention_head_dim / 2;
        let table = |positions: &[[i32; 3]]| {
            RopeTable::from_angles(&axis_angles(positions, config.axes_dims_rope), half, device)
        };
        Ok(Self {
            levels: zero + usize::from(config.zero_cond_t),
            text_rows: text_runs.rows(),
            picture_rows: picture_runs.rows(),
            text_rope: table(&text_positions_all),
            picture_rope: table(&picture_positions_all),
            mask: AttentionMask::segments(&lengths, false),
            text_runs,
            picture_runs,
            target_runs,
            samples,
        })
    }

    /// Puts the values of the rows on the device.
    pub(super) fn inputs(
        &self,
        rows: &[FlowRow],
        config: &TransformerConfig,
        device: &Device,
        dtype: DType,
    ) -> Inputs {
        let mut pictures = Vec::with_capacity(self.picture_rows * config.in_channels);
        let mut texts = Vec::with_capacity(self.text_rows * config.joint_attention_dim);
        let mut times = Vec::with_capacity(self.levels * TIME_FEATURES);
        for row in rows {
            pack(&row.noisy, config.patch_size, &mut pictures);
            for reference in &row.condition.references {
                pack(reference, config.patch_size, &mut pictures);
            }
            texts.extend_from_slice(&row.condition.text.values);
            times.extend(time_features(row.sigma));
        }
        if config.zero_cond_t {
            times.extend(time_features(0.0));
        }
        let tensor = |values: Vec<f32>, shape| {
            Tensor::<2>::from_data(TensorData::new(values, shape), (device, DType::F32)).cast(dtype)
        };
        Inputs {
            pictures: tensor(pictures, [self.picture_rows, config.in_channels]),
            texts: tensor(texts, [self.text_rows, config.joint_attention_dim]),
            times: tensor(times, [self.levels, TIME_FEATURES]),
        }
    }

    /// Text and picture rows of every sample after one another, from all text rows and all picture rows.
    pub(super) fn join<const D: usize>(&self, texts: Tensor<D>, pictures: Tensor<D>) -> Tensor<D> {
        if self.samples.len() == 1 {
            return Tensor::cat(vec![texts, pictures], 0);
        }
        let (mut text, mut picture) = (0, 0);
        let mut parts = Vec::with_capacity(2 * self.samples.len());
        for sample in &self.samples {
            parts.push(texts.clone().narrow(0, text, sample.text));
            parts.push(pictures.clone().narrow(0, picture, sample.picture_len()));
            text += sample.text;
            picture += sample.picture_len();
        }
        Tensor::cat(parts, 0)
    }

    /// All text rows of a joined tensor.
    pub(super) fn texts_of(&self, joined: &Tensor<2>) -> Tensor<2> {
        self.rows_of(joined, |s| [(0, s.text)])
    }

    /// All picture rows of a joined tensor.
    pub(super) fn pictures_of(&self, joined: &Tensor<2>) -> Tensor<2> {
        self.rows_of(joined, |s| [(s.text, s.picture_len())])
    }

    fn rows_of(
        &self,
        joined: &Tensor<2>,
        of: impl Fn(&Sample) -> [(usize, usize); 1],
    ) -> Tensor<2> {
        let mut start = 0;
        let mut parts = Vec::with_capacity(self.samples.len());
        for sample in &self.samples {
            for (at, rows) in of(sample) {
                parts.push(joined.clone().narrow(0, start + at, rows));
            }
            start += sample.text + sample.picture_len();
        }
        cat(parts)
    }

    /// The target rows of all picture rows.
    pub(super) fn targets_of(&self, pictures: &Tensor<2>) -> Tensor<2> {
        let mut start = 0;
        let mut parts = Vec::with_capacity(self.samples.len());
        for sample in &self.samples {
            parts.push(pictures.clone().narrow(0, start, sample.target_len()));
            start += sample.picture_len();
        }
        cat(parts)
    }
}

struct Placed {
    sample: Sample,
    text: Vec<[i32; 3]>,
    pictures: Vec<[i32; 3]>,
}

fn place(row: &FlowRow, config: &TransformerConfig) -> Result<Placed, NnError> {
    let grid = |latent| grid_of(latent, config.out_channels, config.patch_size);
    if row.condition.clean_frames > 0 {
        return Err(NnError::input("pictures have no clean frames"));
    }
    let text = &row.condition.text;
    check_text(row.sigma, text, config.joint_attention_dim)?;
    let mut grids = vec![grid(&row.noisy)?];
    for reference in &row.condition.references {
        grids.push(grid(reference)?);
    }
    let pictures: Vec<_> = grids
        .iter()
        .enumerate()
        .flat_map(|(k, grid)| picture_positions(k, *grid))
        .collect();
    let target = grids[0];
    Ok(Placed {
        text: text_positions(text.rows, &grids),
        sample: Sample {
            text: text.rows,
            target,
            references: pictures.len() - target[0] * target[1],
        },
        pictures,
    })
}

/// Features of a noise level. The reference multiplies by it before it multiplies by 1000.
fn time_features(sigma: f32) -> Vec<f32> {
    sinusoid(TIME_FEATURES, |frequency| 1000.0 * (sigma * frequency))
}
