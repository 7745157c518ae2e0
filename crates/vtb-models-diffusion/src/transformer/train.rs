//! A training pass, one block at a time.

use burn::tensor::{DType, Tensor, TensorData};
use vtb_lora::AdapterPass;
use vtb_nn::NnError;
use vtb_nn::lm::NamedTensors;
use vtb_nn::recompute::{Keep, Role, Segment};
use vtb_nn::velocity::{FlowBackwardOptions, FlowRow, Latent, VelocityGradient};

use super::{FlowNetwork, FlowTransformer};

/// Forward, objective, backward.
///
/// # Errors
/// A row does not fit the model, or the objective fails or answers other shapes.
pub(super) fn backward<N: FlowNetwork>(
    model: &FlowTransformer<N>,
    rows: &[FlowRow],
    options: &FlowBackwardOptions,
    objective: &mut VelocityGradient<'_>,
) -> Result<NamedTensors, NnError> {
    let adapter = AdapterPass {
        on: true,
        dropout_seed: options.dropout_seed,
    };
    let keep = if options.recompute {
        Keep::Input
    } else {
        Keep::Graph
    };
    let net = &model.net;
    let batch = N::batch(rows, &model.config, &model.device, model.dtype)?;
    let trains = |path: &str| model.trainable.contains(path);
    let stem_trains = N::STEM.iter().any(|place| model.trainable.any_below(place));
    let pass = model.pass(adapter, stem_trains);
    let block_place = |i: usize| format!("{}.{i}", N::BLOCKS);
    let trains_under = |block: usize| {
        let any = |i| model.trainable.any_below(&(block_place(i) + "."));
        stem_trains || (0..block).any(any)
    };
    let role = |prefix: String, input_gradient: bool| Role {
        prefix,
        trainable: &trains,
        input_gradient,
    };
    let count = net.blocks().len();
    let run_stem = |s: &N::Stem, x| N::run_stem(s, x, &batch, &pass);
    let run_block = |i: usize| {
        let (batch, pass) = (&batch, &pass);
        move |b: &N::Block, x| N::run_block(b, x, batch, pass, i + 1 == count)
    };
    let run_head = |h: &N::Head, x| N::run_head(h, x, &batch, &pass);

    let (stem, head) = (net.stem(), net.head());
    let (stem_role, head_role) = (
        role(String::new(), false),
        role(String::new(), trains_under(count)),
    );
    let (mut x, stem_segment) =
        Segment::forward(&stem, N::tokens(&batch), keep, &stem_role, run_stem);
    let mut segments = Vec::with_capacity(count);
    for (i, block) in net.blocks().iter().enumerate() {
        let role = role(block_place(i), trains_under(i));
        let (y, segment) = Segment::forward(block, x, keep, &role, run_block(i));
        segments.push(segment);
        x = y;
    }
    let (velocity, head_segment) = Segment::forward(&head, x, keep, &head_role, run_head);

    let gradient = ask(model, &batch, velocity, objective)?;
    let mut gradients = NamedTensors::new();
    let found = head_segment.backward(&head, gradient, &head_role, run_head, &mut gradients);
    let Some(mut gradient) = found else {
        return Ok(gradients);
    };
    for (i, segment) in segments.into_iter().enumerate().rev() {
        let block = &net.blocks()[i];
        let role = role(block_place(i), trains_under(i));
        match segment.backward(block, gradient, &role, run_block(i), &mut gradients) {
            Some(next) => gradient = next,
            None => return Ok(gradients),
        }
    }
    if stem_trains {
        stem_segment.backward(&stem, gradient, &stem_role, run_stem, &mut gradients);
    }
    Ok(gradients)
}

/// Asks the objective for the gradient by the velocities, as a tensor of tokens.
fn ask<N: FlowNetwork>(
    model: &FlowTransformer<N>,
    batch: &N::Batch,
    velocity: Tensor<2>,
    objective: &mut VelocityGradient<'_>,
) -> Result<Tensor<2>, NnError> {
    let shape = velocity.dims();
    let predicted = model.latents(batch, velocity)?;
    let answer = objective(&predicted)?;
    let same = |(a, b): (&Latent, &Latent)| a.shape == b.shape && a.values.len() == b.values.len();
    if answer.len() != predicted.len() || !answer.iter().zip(&predicted).all(same) {
        return Err(NnError::input(
            "the objective must answer a derivative for every value of every velocity",
        ));
    }
    let mut values = Vec::with_capacity(shape[0] * shape[1]);
    for latent in &answer {
        N::pack(latent, &model.config, &mut values);
    }
    let data = TensorData::new(values, shape);
    Ok(Tensor::<2>::from_data(data, (&model.device, DType::F32)).cast(model.dtype))
}
