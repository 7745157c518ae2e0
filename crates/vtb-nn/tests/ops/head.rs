//! Token log-probabilities, entropies and their gradients, against `log_softmax` under autodiff.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor, TensorData};
use vtb_nn::device::cpu_device;
use vtb_nn::ops::head::{HeadScores, chunk_rows, head_backward, head_scores};

use crate::support::{assert_aligned, assert_close, eighths, random, read, tensor};

struct Problem {
    rows: usize,
    width: usize,
    vocab: usize,
    temperature: f32,
    hidden: Vec<f32>,
    w: Vec<f32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

/// Everything the head answers, or what it should.
struct Answer {
    logp: Vec<f64>,
    entropy: Vec<f64>,
    lse: Vec<f64>,
    d_hidden: Vec<f64>,
    d_w: Vec<f64>,
}

impl Problem {
    fn new([rows, width, vocab]: [usize; 3], temperature: f32, seed: u64) -> Self {
        let targets = (0..rows).map(|i| ((i * 7919 + 3) % vocab) as u32).collect();
        Self {
            rows,
            width,
            vocab,
            temperature,
            // Multiples of 1/8, so that bf16 scores the very same numbers.
            hidden: eighths(rows * width, seed),
            w: eighths(vocab * width, seed + 1),
            targets,
            weights: random(rows, seed + 2),
        }
    }

    fn tensors(&self, dtype: DType) -> (Tensor<2>, Tensor<2>) {
        let hidden = tensor(&self.hidden, [self.rows, self.width], dtype);
        (hidden, tensor(&self.w, [self.vocab, self.width], dtype))
    }

    fn plain(&self) -> Answer {
        let (hidden, w) = self.tensors(DType::F64);
        let (hidden, w) = (
            hidden.autodiff().require_grad(),
            w.autodiff().require_grad(),
        );
        let logits = hidden.clone().matmul(w.clone().transpose()) / self.temperature as f64;
        let all = log_softmax(logits.clone(), 1);
        let targets: Vec<i32> = self.targets.iter().map(|t| *t as i32).collect();
        let targets = TensorData::new(targets, [self.rows, 1]);
        let targets = Tensor::<2, Int>::from_data(targets, &hidden.device());
        let logp = all.clone().gather(1, targets);
        let weights = tensor(&self.weights, [self.rows, 1], DType::F64);
        let gradients = (logp.clone() * weights).sum().backward();
        let entropy = -(all.clone().exp() * all.clone()).sum_dim(1);
        let lse = (logits - all).mean_dim(1);
        Answer {
            logp: read(logp),
            entropy: read(entropy),
            lse: read(lse),
            d_hidden: read(hidden.grad(&gradients).unwrap()),
            d_w: read(w.grad(&gradients).unwrap()),
        }
    }

    fn scores(&self, dtype: DType) -> HeadScores {
        let (hidden, w) = self.tensors(dtype);
        head_scores(&hidden, &w, &self.targets, self.temperature)
    }

    /// Which targets no other token beats: numbers in eighths are exact, whatever the type.
    fn likeliest(&self) -> Vec<bool> {
        let logit = |row: &[f32], token: usize| -> f32 {
            let column = &self.w[token * self.width..][..self.width];
            row.iter().zip(column).map(|(x, w)| x * w).sum()
        };
        let top = |(row, target): (&[f32], &u32)| {
            let own = logit(row, *target as usize);
            (0..self.vocab).all(|token| logit(row, token) <= own)
        };
        let rows = self.hidden.chunks(self.width);
        rows.zip(&self.targets).map(top).collect()
    }

    fn ours(&self, dtype: DType) -> Answer {
        let (hidden, w) = self.tensors(dtype);
        let scores = self.scores(dtype);
        // Rounded logits may be equal where the true ones are not.
        if dtype != DType::BF16 {
            assert_eq!(scores.top, self.likeliest(), "which targets are on top");
        }
        let (lse, weights) = (&scores.lse, &self.weights);
        let back = |weight_gradient| {
            let t = self.temperature;
            head_backward(&hidden, &w, &self.targets, lse, weights, t, weight_gradient)
        };
        let (d_hidden, d_w) = back(true);
        let (alone, none) = back(false);
        assert_eq!(read(alone), read(d_hidden.clone()));
        assert!(none.is_none(), "a weight gradient nobody asked for");
        assert_eq!(d_hidden.dtype(), dtype);
        let d_w = d_w.unwrap();
        assert_eq!(d_w.dtype(), DType::F32);
        let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect();
        Answer {
            logp: wide(&scores.logp),
            entropy: wide(&scores.entropy),
            lse: wide(&scores.lse),
            d_hidden: read(d_hidden),
            d_w: read(d_w),
        }
    }
}

impl Answer {
    fn compare(&self, want: &Self, name: &str, assert: impl Fn(&[f64], &[f64], &str)) {
        for (what, got, want) in [
            ("logp", &self.logp, &want.logp),
            ("entropy", &self.entropy, &want.entropy),
            ("lse", &self.lse, &want.lse),
            ("d_hidden", &self.d_hidden, &want.d_hidden),
            ("d_w", &self.d_w, &want.d_w),
        ] {
            assert(got, want, &format!("{name} {what}"));
        }
    }
}

#[test]
fn scores_and_gradients_are_those_of_log_softmax() {
    let sizes = [
        [1, 1, 2],
        [1, 3, 7],
        [5, 8, 33],
        [16, 5, 100],
        [20, 9, 257],
        [40, 65, 200],
    ];
    for (i, size) in sizes.into_iter().enumerate() {
        for temperature in [1.0, 0.6, 2.5] {
            let problem = Problem::new(size, temperature, 200 + 3 * i as u64);
            let want = problem.plain();
            let name = format!("head {size:?} at {temperature}");
            let close = |g: &[f64], w: &[f64], what: &str| assert_close(g, w, 1e-5, what);
            problem
                .ours(DType::F32)
                .compare(&want, &format!("{name} f32"), close);
            problem
                .ours(DType::F64)
                .compare(&want, &format!("{name} f64"), close);
            let name = format!("{name} bf16");
            problem
                .ours(DType::BF16)
                .compare(&want, &name, assert_aligned);
        }
    }
}

#[test]
fn chunks_change_nothing() {
    // So large a vocabulary that two rows fill a chunk: five rows make three, the last one short.
    let vocab = (1 << 23) - 5;
    assert_eq!(chunk_rows(vocab), 2);
    assert_eq!(chunk_rows(usize::MAX), 1);
    let problem = Problem::new([5, 1, vocab], 0.9, 250);
    let got = problem.ours(DType::F32);
    let (mut d_hidden, mut d_w) = (Vec::new(), vec![0.0f64; vocab]);
    for (row, h) in problem.hidden.iter().enumerate() {
        let t = f64::from(problem.temperature);
        let logits: Vec<f64> = problem
            .w
            .iter()
            .map(|w| f64::from(*w) * f64::from(*h) / t)
            .collect();
        let lse = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
        let target = problem.targets[row] as usize;
        assert!(
            (got.lse[row] - lse).abs() < 1e-4,
            "row {row}: {} {lse}",
            got.lse[row]
        );
        assert!(
            (got.logp[row] - (logits[target] - lse)).abs() < 1e-4,
            "row {row}"
        );
        let entropy = lse - logits.iter().map(|x| (x - lse).exp() * x).sum::<f64>();
        assert!((got.entropy[row] - entropy).abs() < 1e-4, "row {row}");
        let weight = f64::from(problem.weights[row]) / t;
        let mut slope = 0.0;
        for (token, x) in logits.iter().enumerate() {
            let d = weight * (f64::from(u8::from(token == target)) - (x - lse).exp());
            slope += d * f64::from(problem.w[token]);
            d_w[token] += d * f64::from(*h);
        }
        d_hidden.push(slope);
    }
    assert_close(&got.d_hidden, &d_hidden, 1e-4, "d_hidden");
    assert_close(&got.d_w, &d_w, 1e-5, "d_w");
}

#[test]
fn certainty_has_no_entropy_and_no_gradient() {
    for dtype in [DType::F32, DType::F64] {
        // Logits 1e4, 0 and -1e4, on the first of which the target lies.
        let hidden = tensor(&[1e4], [1, 1], dtype);
        let w = tensor(&[1.0, 0.0, -1.0], [3, 1], dtype);
        let scores = head_scores(&hidden, &w, &[0], 1.0);
        assert_eq!(
            (scores.logp[0], scores.entropy[0], scores.lse[0]),
            (0.0, 0.0, 1e4)
        );
        let (d, _) = head_backward(&hidden, &w, &[0], &scores.lse, &[1.0], 1.0, false);
        assert_eq!(read(d), [0.0]);
        // An impossible target is very unlikely, not minus infinity or NaN.
        assert_eq!(head_scores(&hidden, &w, &[2], 1.0).logp, [-2e4]);
    }
}

#[test]
fn equal_logits_have_the_entropy_of_the_vocabulary() {
    let hidden = tensor(&[0.0, 0.0], [1, 2], DType::F32);
    let w = tensor(&random(100, 260), [50, 2], DType::F32);
    let scores = head_scores(&hidden, &w, &[49], 0.3);
    assert!((scores.entropy[0] - 50f32.ln()).abs() < 1e-5);
    assert!((scores.logp[0] + 50f32.ln()).abs() < 1e-5);
}

#[test]
fn nothing_scored_is_nothing_to_do() {
    let hidden = Tensor::<2>::zeros([0, 4], (&cpu_device(), DType::F32));
    let w = tensor(&random(12, 261), [3, 4], DType::F32);
    let scores = head_scores(&hidden, &w, &[], 1.0);
    assert!(scores.logp.is_empty() && scores.entropy.is_empty() && scores.lse.is_empty());
    let (d_hidden, d_w) = head_backward(&hidden, &w, &[], &[], &[], 1.0, true);
    assert_eq!(d_hidden.dims(), [0, 4]);
    assert_eq!(read(d_w.unwrap()), [0.0; 12]);
}

#[test]
fn scores_do_not_depend_on_threads() {
    let problem = Problem::new([40, 65, 200], 0.8, 262);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let answer = pool.install(|| problem.ours(DType::F32));
        (
            answer.logp,
            answer.entropy,
            answer.lse,
            answer.d_hidden,
            answer.d_w,
        )
    };
    assert!(on(1) == on(2));
}
