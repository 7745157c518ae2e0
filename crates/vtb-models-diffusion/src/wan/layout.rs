//! Where the tokens of a batch stand.
//!
//! A batch is one packed sequence, never padded but for the text, whose padding the model was trained to see. Its rows are
//! `[levels | modulations | texts | tokens]`: the embeddings of the distinct noise levels, six rows of modulation for each
//! of them, [`text_len`](super::WanConfig::text_len) rows of text for every sample, and the tokens of every sample.

use burn::tensor::{DType, Device, Tensor, TensorData};
use vtb_nn::NnError;
use vtb_nn::ops::{AttentionMask, RopeTable, RowRuns};
use vtb_nn::velocity::FlowRow;

use super::WanConfig;
use super::patches::{Grid, grid_of, pack, positions};
use crate::transformer::{axis_angles, check_text, sinusoid};

/// Shift, scale and gate of self-attention and MLP.
pub(super) const MODULATIONS: usize = 6;

/// Everything of a batch that does not depend on weights.
#[derive(Debug)]
pub struct WanBatch {
    pub(super) grids: Vec<Grid>,
    /// Distinct noise levels: one per sample, and 0 where frames are given clean.
    pub(super) levels: usize,
    pub(super) text_rows: usize,
    pub(super) tokens: usize,
    /// Noise level of every token.
    pub(super) runs: RowRuns,
    pub(super) rope: RopeTable,
    /// Tokens see the tokens of their sample.
    pub(super) mask: AttentionMask,
    /// Tokens see the text of their sample.
    pub(super) text_mask: AttentionMask,
    pub(super) inputs: Inputs,
}

/// Inputs on the device, in the model's type but for noise levels.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    /// `[tokens, in channels · p²]`.
    pub(super) tokens: Tensor<2>,
    /// `[text rows, text width]`.
    pub(super) texts: Tensor<2>,
    /// `[levels, frequencies]`, f32.
    pub(super) times: Tensor<2>,
}

impl WanBatch {
    /// Plans a batch and puts it on the device.
    ///
    /// # Errors
    /// A row that does not fit the model, named by its place in the batch.
    pub(super) fn of(
        rows: &[FlowRow],
        config: &WanConfig,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, NnError> {
        if rows.is_empty() {
            return Err(NnError::input("a batch without rows"));
        }
        let mut grids = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            let grid = check(row, config)
                .map_err(|fault| NnError::input(format!("row {i} of the batch: {fault}")))?;
            grids.push(grid);
        }
        let clean = |row: &FlowRow, grid: &Grid| row.condition.clean_frames.min(grid[0]);
        let any_clean = rows.iter().any(|row| row.condition.clean_frames > 0);
        let zero = rows.len();
        let runs = RowRuns::new(rows.iter().zip(&grids).enumerate().flat_map(
            |(i, (row, grid))| {
                let (frame, clean) = (grid[1] * grid[2], clean(row, grid));
                [(clean * frame, zero), ((grid[0] - clean) * frame, i)]
            },
        ));
        let lengths: Vec<usize> = grids.iter().map(|grid| grid.iter().product()).collect();
        let text_of = |(i, tokens): (usize, &usize)| {
            let (first, len) = (i * config.text_len, config.text_len);
            std::iter::repeat_n((first as u32, (first + len) as u32), *tokens)
        };
        let text_mask = lengths.iter().enumerate().flat_map(text_of).collect();
        let places: Vec<_> = grids.iter().flat_map(|grid| positions(*grid)).collect();
        let angles = axis_angles(&places, config.axes());
        Ok(Self {
            levels: zero + usize::from(any_clean),
            text_rows: rows.len() * config.text_len,
            tokens: runs.rows(),
            rope: RopeTable::from_angles(&angles, config.attention_head_dim / 2, device),
            mask: AttentionMask::segments(&lengths, false),
            text_mask: AttentionMask::from_ranges(text_mask),
            inputs: inputs(rows, any_clean, config, device, dtype),
            runs,
            grids,
        })
    }

    /// Rows before the texts.
    pub(super) fn condition_rows(&self) -> usize {
        self.levels * (1 + MODULATIONS)
    }
}

fn check(row: &FlowRow, config: &WanConfig) -> Result<Grid, NnError> {
    if !row.condition.references.is_empty() {
        return Err(NnError::input(
            "this model sees pictures as clean frames, not as references",
        ));
    }
    let text = &row.condition.text;
    check_text(row.sigma, text, config.text_dim)?;
    if text.rows > config.text_len {
        return Err(NnError::input(format!(
            "text states of {} tokens: the model sees {} at most",
            text.rows, config.text_len
        )));
    }
    grid_of(&row.noisy, config.in_channels, config.patch_size[1])
}

fn inputs(
    rows: &[FlowRow],
    any_clean: bool,
    config: &WanConfig,
    device: &Device,
    dtype: DType,
) -> Inputs {
    let patch = config.patch_size[1];
    let (mut tokens, mut texts, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        pack(&row.noisy, patch, &mut tokens);
        texts.extend_from_slice(&row.condition.text.values);
        let missing = config.text_len - row.condition.text.rows;
        texts.extend(std::iter::repeat_n(0.0, missing * config.text_dim));
        times.extend(time_features(row.sigma, config.freq_dim));
    }
    if any_clean {
        times.extend(time_features(0.0, config.freq_dim));
    }
    let exact = |values: Vec<f32>, width: usize| {
        let shape = [values.len() / width, width];
        Tensor::<2>::from_data(TensorData::new(values, shape), (device, DType::F32))
    };
    let tensor = |values: Vec<f32>, width: usize| exact(values, width).cast(dtype);
    Inputs {
        tokens: tensor(tokens, config.in_channels * patch * patch),
        texts: tensor(texts, config.text_dim),
        times: exact(times, config.freq_dim),
    }
}

/// Features of the timestep `1000·σ`. Samplers of the reference round timesteps to whole numbers; as a noise level in f32
/// such a number is off by up to 3e-5, which is taken away again.
fn time_features(sigma: f32, values: usize) -> Vec<f32> {
    let time = 1000.0 * f64::from(sigma);
    let whole = time.round();
    let time = if (time - whole).abs() < 1e-4 {
        whole
    } else {
        time
    };
    sinusoid(values, |frequency| time as f32 * frequency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_timesteps_survive_as_noise_levels() {
        for time in [0.0f32, 1.0, 625.0, 833.0, 937.0, 999.0, 1000.0] {
            let direct = sinusoid(8, |frequency| time * frequency);
            assert_eq!(time_features((f64::from(time) / 1000.0) as f32, 8), direct);
        }
        let between = sinusoid(8, |frequency| 0.937_25f32 * 1000.0 * frequency);
        let found = time_features(0.937_25, 8);
        assert!(
            found
                .iter()
                .zip(&between)
                .all(|(a, b)| (a - b).abs() < 1e-4)
        );
    }
}
