//! Defaults: those of runs of real models, and of the default runs without one.

use vtb_data::{Bucket, RowCheck};
use vtb_lora::ModuleFilter;
use vtb_rewards::RewardSpec;
use vtb_trainer::objectives::grpo::GrpoConfig;
use vtb_trainer::schedule::Decay;
use vtb_trainer::train::{GrpoSettings, SftSettings};

use super::{
    DataSection, DemoSection, EvalSection, GrpoRun, LogSection, LoraSection, ModelSection,
    RolloutSection, SaveSection, SftRun, TrainSection,
};

fn common_train(max_steps: u64, learning_rate: f64) -> TrainSection {
    TrainSection {
        mode: "lora".into(),
        freeze_vit: true,
        freeze_aligner: true,
        max_steps,
        learning_rate,
        vit_lr: None,
        aligner_lr: None,
        schedule: Decay::Cosine,
        warmup_steps: 0,
        warmup_ratio: 0.05,
        min_lr_ratio: 0.0,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.0,
        max_grad_norm: 1.0,
        eval_steps: 0,
        probe: true,
        max_skipped_steps: 5,
    }
}

fn common_demo() -> DemoSection {
    DemoSection {
        task: "color_grid".into(),
        params: serde_json::json!({
            "canvas": 96,
            "list_options": false,
            "prompt_style": "short",
            "tints": 4,
            "offset": 0.02,
            "radius_min": 0.1,
            "radius_max": 0.1,
            "spacing_min": 0.26,
            "spacing_max": 0.26,
        }),
        train_puzzles: 40_000,
        eval_puzzles: 500,
        warm_steps: 220,
        warm_batch: 32,
        warm_learning_rate: 1e-3,
    }
}

fn common_eval() -> EvalSection {
    EvalSection {
        max_rows: 0,
        max_new_tokens: 0,
        num_samples: 0,
        temperature: 1.0,
        batch_size: 64,
    }
}

pub(super) fn common_model() -> ModelSection {
    ModelSection {
        path: None,
        adapter: None,
        device: "auto".into(),
        precision: "auto".into(),
        max_length: 4096,
        truncation_strategy: "raise".into(),
    }
}

fn common_data() -> DataSection {
    DataSection {
        train: None,
        eval: None,
        eval_split: 0.0,
        max_bad_rows: 0,
        check: RowCheck::Background,
        image_root: None,
        loss_scale: "default".into(),
        bucket: Bucket::None,
        threads: 2,
        ahead: 32,
        cache_dir: None,
        cache_gib: 20.0,
    }
}

fn common_save() -> SaveSection {
    SaveSection {
        steps: 100,
        keep_last: 2,
        keep_best: true,
    }
}

fn common_log(completion_steps: u64) -> LogSection {
    LogSection {
        completion_steps,
        completion_pictures: false,
        seconds: 5.0,
    }
}

impl GrpoRun {
    /// Defaults; those of the default run where `demo` is set, those for real models otherwise.
    pub fn defaults(demo: bool) -> Self {
        let mut run = Self {
            output_dir: "runs/grpo".into(),
            seed: 42,
            model: common_model(),
            data: common_data(),
            lora: LoraSection::default(),
            train: common_train(500, 1e-5),
            batch: GrpoSettings::default(),
            grpo: GrpoConfig::default(),
            rollout: RolloutSection::default(),
            rewards: vec![
                reward("auto", 1.0, serde_json::json!({})),
                reward("format", 1.0, serde_json::json!({})),
            ],
            demo: common_demo(),
            eval: common_eval(),
            save: common_save(),
            log: common_log(10),
        };
        if demo {
            run.train = TrainSection {
                probe: false,
                warmup_ratio: 0.02,
                ..common_train(500, 2e-3)
            };
            run.lora = LoraSection {
                targets: ModuleFilter::all_linear(),
                ..run.lora
            };
            run.batch = GrpoSettings {
                batch_size: 256,
                recompute: false,
                ..run.batch
            };
            run.grpo.max_completion_length = 8;
            run.rewards = vec![reward("auto", 1.0, serde_json::json!({}))];
        }
        run
    }
}

fn reward(name: &str, weight: f64, params: serde_json::Value) -> RewardSpec {
    RewardSpec {
        name: name.into(),
        weight,
        params,
    }
}

impl SftRun {
    /// Defaults; those of the default run where `demo` is set, those for real models otherwise.
    pub fn defaults(demo: bool) -> Self {
        let mut run = Self {
            output_dir: "runs/sft".into(),
            seed: 42,
            model: common_model(),
            data: common_data(),
            lora: LoraSection::default(),
            train: common_train(500, 1e-4),
            batch: SftSettings::default(),
            demo: common_demo(),
            eval: common_eval(),
            save: common_save(),
            log: common_log(0),
        };
        if demo {
            run.train = TrainSection {
                mode: "full".into(),
                freeze_vit: false,
                freeze_aligner: false,
                probe: false,
                ..common_train(400, 1e-3)
            };
            run.batch = SftSettings {
                batch_size: 32,
                recompute: false,
                ..run.batch
            };
        }
        run
    }
}
