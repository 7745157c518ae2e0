//! What a run is going to do.

use crate::memory::{Lanes, States};
use crate::plan::Plan;
use crate::rollout;
use crate::settings::GrpoRun;
use crate::source::Inputs;

/// Completions that decode at a time.
pub(super) fn lanes(run: &GrpoRun) -> Lanes {
    let batch = &run.batch;
    let all = batch.batch_size * batch.gradient_accumulation * batch.steps_per_generation;
    let all = all.min(rollout::BATCH) as u64;
    let lanes = match batch.max_num_seqs as u64 {
        0 => all,
        most => most.min(all),
    };
    Lanes { lanes, all }
}

/// Everything but memory.
pub(super) fn plan(run: &GrpoRun, inputs: &Inputs, states: Option<&States>) -> Plan {
    let mut plan = Plan::default();
    plan.model(inputs.model.as_ref(), states, &run.lora, &run.train);
    match &inputs.train {
        Some(source) => plan.line("data", source.in_plan()),
        None => plan.line(
            "data",
            format!(
                "{} generated {} puzzles, {} held out (no scene in both)",
                run.demo.train_puzzles, run.demo.task, run.demo.eval_puzzles
            ),
        ),
    }
    plan.inputs(inputs);
    if run.model.path.is_none() {
        plan.line(
            "warm start",
            format!("{} supervised steps", run.demo.warm_steps),
        );
    }
    let rows = run.batch.batch_size * run.batch.gradient_accumulation;
    plan.line(
        "steps",
        format!(
            "{} × {rows} completions ({} per prompt, at most {} tokens)",
            run.train.max_steps, run.grpo.num_generations, run.grpo.max_completion_length
        ),
    );
    plan.line(
        "objective",
        format!(
            "{:?}, scale {:?}, level {:?}, beta {}, epsilon {}..{}, temperature {}",
            run.grpo.loss_type,
            run.grpo.scale_rewards,
            run.grpo.importance_sampling_level,
            run.grpo.beta,
            run.grpo.epsilon,
            run.grpo.epsilon_high(),
            run.grpo.temperature
        ),
    );
    plan.line("rollouts", rollout::in_plan(run));
    let rewards: Vec<String> = run
        .rewards
        .iter()
        .map(|r| format!("{} × {}", r.weight, r.name))
        .collect();
    plan.line("rewards", rewards.join(", "));
    plan.line(
        "learning rate",
        format!("{} ({:?})", run.train.learning_rate, run.train.schedule),
    );
    plan.line("seed", run.seed);
    plan.line("output", &run.output_dir);
    plan
}
