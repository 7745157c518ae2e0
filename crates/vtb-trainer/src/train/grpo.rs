//! Group-relative policy optimisation as an [`Objective`].

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vtb_data::{BatchPlan, Bucket, LastBatch};
use vtb_nn::lm::{
    AdapterState, BackwardOptions, CausalLm, LmRow, NamedTensors, SampleOptions, ScoreOptions,
};
use vtb_rewards::{Completion as Answer, RewardPart, WeightedRewards};

use super::grpo_batch::{Judged, Sample, StoredSample};
use super::loader::{Load, LoadOptions, Loader};
use super::objective::{Objective, Position, Prompt, PromptSource, StepOutput};
use super::router_loss::RouterLoss;
use crate::TrainError;
use crate::objectives::ConfigFault;
use crate::objectives::grpo::{
    CorrectionStats, DynamicSampling, GrpoConfig, LossRow, LossStats, Next, SamplingStats,
    StepCounts, advantages, collapse, completion_mask, completion_metrics, group_stats,
    grpo_loss_weighted, repetition_rate, reward_metrics,
};
use crate::optim::accumulate;
use crate::rng;
use crate::rollout::Rollout;

/// How batches are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoSettings {
    /// Completions per forward and backward pass.
    pub batch_size: usize,
    /// Passes per optimizer step.
    pub gradient_accumulation: usize,
    /// Optimizer steps that share one generation batch.
    pub steps_per_generation: usize,
    /// Completions sampled at a time; as one ends, the next begins. 0: all of a generation batch at once.
    pub max_num_seqs: usize,
    /// Recompute blocks in the backward pass instead of keeping their activations.
    pub recompute: bool,
    /// Weight of the loss that keeps the experts of a mixture equally busy; 0 is off.
    pub router_aux_loss_coef: f64,
}

impl Default for GrpoSettings {
    fn default() -> Self {
        Self {
            batch_size: 8,
            gradient_accumulation: 1,
            steps_per_generation: 1,
            max_num_seqs: 0,
            recompute: true,
            router_aux_loss_coef: 0.0,
        }
    }
}

/// GRPO over prompts, rewards and a rollout engine.
pub struct GrpoObjective<P: PromptSource, R> {
    prompts: Arc<Prompts<P>>,
    loader: Loader<Prompts<P>>,
    rollout: R,
    rewards: WeightedRewards,
    config: GrpoConfig,
    settings: GrpoSettings,
    stop_ids: Vec<u32>,
    seed: u64,
    dropout: bool,
    /// Unconsumed optimizer steps of the current generation batch: indices into `batch`, in order.
    queue: Vec<Vec<usize>>,
    batch: Vec<Sample>,
    /// Metrics of the current generation batch.
    generated: BTreeMap<String, f64>,
    tokens_seen: u64,
}

impl<P: PromptSource, R: Rollout> GrpoObjective<P, R> {
    /// Trains on `prompts` in the order of `seed`.
    ///
    /// # Errors
    /// Settings without meaning, or batch sizes that do not divide into groups of `num_generations`; all faults are
    /// named.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        prompts: P,
        load: LoadOptions,
        rollout: R,
        rewards: WeightedRewards,
        config: GrpoConfig,
        settings: GrpoSettings,
        stop_ids: Vec<u32>,
        seed: u64,
        dropout: bool,
    ) -> Result<Self, TrainError> {
        ConfigFault::refuse(&config.validate())?;
        if settings.batch_size * settings.gradient_accumulation * settings.steps_per_generation == 0
        {
            return Err(TrainError::Config(
                "batch_size, gradient_accumulation and steps_per_generation must be at least 1"
                    .into(),
            ));
        }
        let rows = generation_rows(&settings);
        if !rows.is_multiple_of(config.num_generations) {
            return Err(TrainError::Config(format!(
                "batch_size · gradient_accumulation · steps_per_generation = {rows} is not divisible by \
                 num_generations = {}; make it a multiple",
                config.num_generations
            )));
        }
        let order = rng::seed(seed, "data order", 0, 0);
        let plan = BatchPlan {
            batch: rows / config.num_generations,
            bucket: load.bucket,
            last: LastBatch::Wrap,
        };
        let len = prompts.len();
        let prompts = Arc::new(Prompts(prompts));
        // How many prompts a round takes is known only when it comes, so they are drawn one at a time.
        let loader = Loader::new(Arc::clone(&prompts), len, order, load, plan, 1)?;
        Ok(Self {
            prompts,
            loader,
            rollout,
            rewards,
            config,
            settings,
            stop_ids,
            seed,
            dropout,
            queue: Vec::new(),
            batch: Vec::new(),
            generated: BTreeMap::new(),
            tokens_seen: 0,
        })
    }

    /// Samples groups until the batch is full, sets groups without variance aside if asked.
    fn collect(&mut self, model: &dyn CausalLm, step: u64) -> Result<Vec<Judged>, TrainError> {
        let wanted = generation_rows(&self.settings) / self.config.num_generations;
        let rounds = if self.config.dynamic_sample {
            self.config.max_resample
        } else {
            0
        };
        let mut groups = DynamicSampling::new(wanted, rounds, self.config.zero_std_threshold);
        let mut missing = wanted;
        let mut round = 0;
        loop {
            let drawn = self.draw(model, step, round, missing)?;
            let offered = drawn.into_iter().map(|group| {
                let totals: Vec<Option<f64>> = group.iter().map(|j| Some(j.total)).collect();
                let stats = group_stats(&totals, self.config.num_generations)?;
                Ok((group, stats.first().map_or(0.0, |s| s.std)))
            });
            let offered = offered.collect::<Result<Vec<_>, TrainError>>()?;
            match groups.offer(offered) {
                Next::Draw(n) => missing = n,
                Next::Done => break,
            }
            round += 1;
        }
        let found = groups.finish();
        self.generated
            .insert("dynamic_sampling/resamples".into(), found.resamples as f64);
        self.generated
            .insert("dynamic_sampling/dropped".into(), found.dropped as f64);
        Ok(found.groups.into_iter().flatten().collect())
    }

    /// Completions and rewards of `count` fresh prompts, one list of `num_generations` each.
    fn draw(
        &mut self,
        model: &dyn CausalLm,
        step: u64,
        round: u64,
        count: usize,
    ) -> Result<Vec<Vec<Judged>>, TrainError> {
        let g = self.config.num_generations;
        let mut prompts = Vec::with_capacity(count);
        for _ in 0..count {
            prompts.extend(self.loader.next_batch()?);
        }
        let asked: Vec<&Prompt> = prompts
            .iter()
            .flat_map(|(_, p)| std::iter::repeat_n(p, g))
            .collect();
        let stream = rng::seed(self.seed, "rollout", step, round);
        let seeds: Vec<u64> = (0..asked.len() as u64)
            .map(|i| rng::seed(stream, "completion", i, 0))
            .collect();
        let completions = self
            .rollout
            .complete(model, &asked, &self.sample_options(), &seeds)?;
        let mut completions = completions.into_iter();
        let mut groups = Vec::with_capacity(count);
        for (prompt_index, prompt) in prompts {
            let mut group = Vec::with_capacity(g);
            for completion in completions.by_ref().take(g) {
                let text = self.prompts.0.decode(&completion.ids)?;
                let total = self
                    .rewards
                    .total(&Answer::new(text.clone()), &prompt.reference);
                let value = |part: &RewardPart| part.score.as_ref().map(|s| s.value);
                let parts = total.parts.iter().map(value).collect();
                let prompt = prompt.clone();
                let total = total.value - self.config.overlong_charge(completion.ids.len());
                group.push(Judged {
                    prompt_index,
                    prompt,
                    completion,
                    text,
                    total,
                    parts,
                });
            }
            groups.push(group);
        }
        Ok(groups)
    }

    fn sample_options(&self) -> SampleOptions {
        SampleOptions {
            max_new_tokens: self.config.max_completion_length,
            temperature: self.config.temperature as f32,
            top_k: self.config.top_k,
            top_p: self.config.top_p as f32,
            repetition_penalty: self.config.repetition_penalty as f32,
            stop_ids: self.stop_ids.clone(),
            max_num_seqs: self.settings.max_num_seqs,
        }
    }

    /// Makes a new generation batch and the order in which optimizer steps consume it.
    fn generate(&mut self, model: &dyn CausalLm, step: u64) -> Result<Vec<Value>, TrainError> {
        self.generated.clear();
        let judged = self.collect(model, step)?;
        let totals: Vec<Option<f64>> = judged.iter().map(|j| Some(j.total)).collect();
        let found = advantages(
            &totals,
            self.config.num_generations,
            self.config.scale_rewards,
            self.config.zero_std_threshold,
        )?;
        self.note_batch(&judged, &found)?;
        let shown = judged
            .iter()
            .zip(&found.values)
            .map(|(j, a)| self.shown(j, *a))
            .collect();
        self.batch = judged
            .into_iter()
            .zip(&found.values)
            .map(|(j, advantage)| {
                let mask = completion_mask(
                    &j.completion.ids,
                    &self.stop_ids,
                    self.config.mask_truncated_completions,
                );
                let mut sample = Sample::new(
                    j.prompt_index,
                    &j.prompt.row,
                    j.completion.ids,
                    j.completion.logprobs,
                );
                sample.loss.advantage = *advantage;
                sample.loss.mask = mask.mask;
                sample
            })
            .collect();
        self.add_fixed_scores(model)?;
        self.plan_steps(step);
        Ok(shown)
    }

    fn note_batch(
        &mut self,
        judged: &[Judged],
        found: &crate::objectives::grpo::Advantages,
    ) -> Result<(), TrainError> {
        let values: Vec<Vec<Option<f64>>> = judged.iter().map(|j| j.parts.clone()).collect();
        let names: Vec<&str> = self.rewards.names().collect();
        let rewards = reward_metrics(&names, &values, found, self.config.zero_std_threshold)?;
        self.generated.extend(rewards);
        let tokens: usize = judged
            .iter()
            .map(|j| j.prompt.row.ids.len() + j.completion.ids.len())
            .sum();
        self.tokens_seen += tokens as u64;
        let lengths: Vec<(usize, bool)> = judged
            .iter()
            .map(|j| (j.completion.ids.len(), j.terminated()))
            .collect();
        self.generated
            .extend(completion_metrics(&lengths, self.tokens_seen));
        let rate = repetition_rate(judged.iter().map(|j| j.completion.ids.as_slice()));
        self.generated
            .insert("completions/repetition_rate".into(), rate);
        if self.config.overlong_buffer > 0 {
            let charge = |j: &Judged| self.config.overlong_charge(j.completion.ids.len());
            let mean = judged.iter().map(charge).sum::<f64>() / judged.len().max(1) as f64;
            self.generated
                .insert("completions/overlong_penalty".into(), mean);
        }
        Ok(())
    }

    fn shown(&self, j: &Judged, advantage: f64) -> Value {
        let named = self.rewards.names().zip(&j.parts);
        let rewards: serde_json::Map<String, Value> =
            named.map(|(n, v)| (n.to_owned(), json!(v))).collect();
        json!({
            "row": j.prompt_index,
            "id": j.prompt.id,
            "prompt": j.prompt.text,
            "completion": j.text,
            "reward": j.total,
            "rewards": rewards,
            "advantage": advantage,
            "tokens": j.completion.ids.len(),
            "terminated": j.terminated(),
        })
    }

    /// Log-probabilities that stay fixed while the batch is consumed: old ones where several updates use it, those
    /// of the reference policy where the KL term has weight.
    fn add_fixed_scores(&mut self, model: &dyn CausalLm) -> Result<(), TrainError> {
        let old = self
            .config
            .needs_old_logp(self.settings.steps_per_generation);
        let reference = self.config.beta > 0.0;
        for chunk in self.batch.chunks_mut(self.settings.batch_size) {
            let rows: Vec<LmRow> = chunk.iter().map(|s| s.row.clone()).collect();
            let score = |adapter| {
                let temperature = self.config.temperature as f32;
                model.token_scores(
                    &rows,
                    &ScoreOptions {
                        temperature,
                        adapter,
                    },
                )
            };
            if old {
                for (sample, scores) in chunk.iter_mut().zip(score(AdapterState::On)?) {
                    sample.loss.old_logp = Some(scores.logp);
                }
            }
            if reference {
                for (sample, scores) in chunk.iter_mut().zip(score(AdapterState::Off)?) {
                    sample.loss.ref_logp = Some(scores.logp);
                }
            }
        }
        Ok(())
    }

    fn plan_steps(&mut self, step: u64) {
        let per_step = self.settings.batch_size * self.settings.gradient_accumulation;
        self.queue.clear();
        for pass in 0..self.config.num_iterations as u64 {
            let mut order: Vec<usize> = (0..self.batch.len()).collect();
            if self.settings.steps_per_generation > 1 {
                order.shuffle(&mut rng::stream(self.seed, "generation order", step, pass));
            }
            self.queue
                .extend(order.chunks(per_step).map(<[usize]>::to_vec));
        }
        self.queue.reverse();
    }

    /// The passes of one optimizer step over the samples `picked`.
    fn update(
        &self,
        model: &dyn CausalLm,
        picked: &[usize],
        step: u64,
    ) -> Result<Updated, TrainError> {
        let masks = |i: &usize| self.batch[*i].loss.mask.as_slice();
        let mut counts = StepCounts::whole(picked.iter().map(masks));
        counts.generation_tokens =
            StepCounts::whole(self.batch.iter().map(|s| s.loss.mask.as_slice())).tokens;
        let settings = self.config.loss_settings();
        let mut gradients = NamedTensors::new();
        let (mut stats, mut sampling) = (LossStats::default(), SamplingStats::default());
        let (correction, mut corrected) = (self.config.correction(), CorrectionStats::default());
        let length = |i: &usize| self.batch[*i].row.ids.len();
        let coefficient = self.settings.router_aux_loss_coef;
        let mut routers = RouterLoss::new(coefficient, picked.iter().map(length).sum());
        for (i, part) in picked.chunks(self.settings.batch_size).enumerate() {
            let samples: Vec<&Sample> = part.iter().map(|i| &self.batch[*i]).collect();
            let rows: Vec<LmRow> = samples.iter().map(|s| s.row.clone()).collect();
            let options = BackwardOptions {
                temperature: self.config.temperature as f32,
                dropout_seed: self
                    .dropout
                    .then(|| rng::seed(self.seed, "dropout", step, i as u64)),
                recompute: self.settings.recompute,
                router_loss: routers.weight(&rows),
            };
            let (more, report) = model.backward_with_report(&rows, &options, &mut |scores| {
                let joined: Vec<LossRow<'_>> = samples
                    .iter()
                    .zip(scores)
                    .map(|(s, scores)| s.loss.with(scores))
                    .collect();
                let mut weights = Vec::with_capacity(samples.len());
                for (row, (s, scores)) in samples.iter().zip(scores).enumerate() {
                    let mask = &s.loss.mask;
                    sampling.add(row, &scores.logp, &s.sampled, mask)?;
                    let old = s.loss.old_logp.as_ref().unwrap_or(&scores.logp);
                    let found = correction.weights(row, old, &s.sampled, mask)?;
                    corrected.add(&correction, &found, mask);
                    weights.push(found);
                }
                let loss = grpo_loss_weighted(&joined, &weights, &settings, &counts)?;
                stats.merge(&loss.stats);
                Ok(loss.gradients)
            })?;
            routers.add(&rows, &report);
            accumulate(&mut gradients, more);
        }
        let mut metrics = stats.metrics();
        metrics.extend(sampling.metrics());
        metrics.extend(corrected.metrics());
        metrics.extend(routers.metric());
        Ok(Updated { gradients, metrics })
    }
}

/// What the passes of one optimizer step give.
struct Updated {
    gradients: NamedTensors,
    metrics: BTreeMap<String, f64>,
}

/// Completions of a generation batch.
fn generation_rows(settings: &GrpoSettings) -> usize {
    settings.batch_size * settings.gradient_accumulation * settings.steps_per_generation
}

impl<M: CausalLm, P: PromptSource, R: Rollout> Objective<M> for GrpoObjective<P, R> {
    fn step(&mut self, model: &M, step: u64) -> Result<StepOutput, TrainError> {
        let mut completions = Vec::new();
        if self.queue.is_empty() {
            completions = self.generate(model, step)?;
        }
        let picked = self.queue.pop().unwrap_or_default();
        let (rows, waited) = self.loader.take_counts();
        let update = self.update(model, &picked, step)?;
        let mut metrics = self.generated.clone();
        metrics.extend(update.metrics);
        let stop = collapse(&self.config, &metrics);
        Ok(StepOutput {
            gradients: update.gradients,
            metrics,
            completions,
            stop,
            rows,
            waited,
        })
    }

    fn position(&self) -> Position {
        self.loader.position()
    }

    fn state(&self) -> Result<Value, TrainError> {
        // A consumed batch is not needed again.
        let live = !self.queue.is_empty();
        let batch: Vec<StoredSample> = self
            .batch
            .iter()
            .filter(|_| live)
            .map(StoredSample::of)
            .collect();
        let generated: BTreeMap<&String, u64> = self
            .generated
            .iter()
            .filter(|_| live)
            .map(|(k, v)| (k, v.to_bits()))
            .collect();
        let stored = json!({
            "queue": self.queue,
            "batch": serde_json::to_value(batch).map_err(TrainError::other)?,
            "generated": generated,
            "tokens_seen": self.tokens_seen,
        });
        Ok(stored)
    }

    fn restore(&mut self, position: &Position, state: &Value) -> Result<(), TrainError> {
        #[derive(Deserialize)]
        struct Stored {
            queue: Vec<Vec<usize>>,
            batch: Vec<StoredSample>,
            generated: BTreeMap<String, u64>,
            tokens_seen: u64,
        }
        self.loader.restore(&position.cursor)?;
        let stored: Stored = serde_json::from_value(state.clone()).map_err(TrainError::other)?;
        self.batch.clear();
        for sample in stored.batch {
            let prompt = self.prompts.0.prompt(sample.prompt())?;
            self.batch.push(sample.into_sample(&prompt.row));
        }
        let rows = self.batch.len();
        if stored.queue.iter().flatten().any(|i| *i >= rows) {
            return Err(TrainError::Input(
                "the checkpoint's generation batch is incomplete".into(),
            ));
        }
        self.queue = stored.queue;
        self.generated = stored
            .generated
            .into_iter()
            .map(|(k, v)| (k, f64::from_bits(v)))
            .collect();
        self.tokens_seen = stored.tokens_seen;
        Ok(())
    }
}

/// Prompts as a loader draws them, with their numbers.
struct Prompts<P>(P);

impl<P: PromptSource> Load for Prompts<P> {
    type Row = (usize, Prompt);

    fn load(&self, index: usize) -> Result<(usize, Prompt), TrainError> {
        Ok((index, self.0.prompt(index)?))
    }

    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        self.0.size(index, bucket)
    }
}
