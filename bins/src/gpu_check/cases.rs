//! The operations of `vtb-nn`, each on a lane: results and gradients by every input.

use burn::tensor::{DType, Gradients, Tensor};
use vtb_nn::ops::head::{head_backward, head_scores};
use vtb_nn::ops::rope::{MRope, RopeTable};
use vtb_nn::ops::{
    AttentionMask, Gelu, attention, gelu, layer_norm, linear, low_rank_linear, rms_norm, rope,
    swiglu,
};

use super::compare::{Kind, Output};
use super::lane::{Lane, read};

/// One operation in one setting.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Runs it; small sizes if the flag is set.
    pub(super) run: fn(&Lane, bool) -> Vec<Output>,
}

/// Every operation. Narrow products and one-row products have kernels of their own on GPUs.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "rms_norm",
        run: rms,
    },
    Case {
        name: "layer_norm",
        run: layer,
    },
    Case {
        name: "gelu exact",
        run: |lane, small| gelu_of(lane, small, Gelu::Exact),
    },
    Case {
        name: "gelu tanh",
        run: |lane, small| gelu_of(lane, small, Gelu::Tanh),
    },
    Case {
        name: "swiglu",
        run: gated,
    },
    Case {
        name: "rope",
        run: rotation,
    },
    Case {
        name: "linear",
        run: |lane, small| product(lane, small, 96, 1024),
    },
    Case {
        name: "linear one row",
        run: |lane, small| product(lane, small, 1, 1024),
    },
    Case {
        name: "linear to 7",
        run: |lane, small| product(lane, small, 96, 7),
    },
    Case {
        name: "linear to 1",
        run: |lane, small| product(lane, small, 96, 1),
    },
    Case {
        name: "low_rank_linear",
        run: |lane, small| low_rank(lane, small, false),
    },
    Case {
        name: "low_rank_linear dropout",
        run: |lane, small| low_rank(lane, small, true),
    },
    Case {
        name: "attention causal gqa",
        run: causal,
    },
    Case {
        name: "attention padding",
        run: padded,
    },
    Case {
        name: "attention segments",
        run: |lane, small| segments(lane, small, false),
    },
    Case {
        name: "attention causal segments",
        run: |lane, small| segments(lane, small, true),
    },
    Case {
        name: "attention continued",
        run: continued,
    },
    Case {
        name: "attention one query",
        run: decode,
    },
    Case {
        name: "head scores and gradient",
        run: head,
    },
];

/// A result with its graph run backwards from a random gradient.
struct Trace {
    kind: Kind,
    gradients: Gradients,
    outputs: Vec<Output>,
}

impl Trace {
    fn of<const D: usize>(lane: &Lane, kind: Kind, y: Tensor<D>) -> Self {
        let values = read(y.clone().inner());
        let gradients = (y.clone() * lane.random(y.dims(), 99, 1.0))
            .sum()
            .backward();
        Self {
            kind,
            gradients,
            outputs: vec![Output {
                name: "y",
                kind,
                values,
            }],
        }
    }

    /// Adds the gradient by a leaf; one that is missing is left empty and passes nowhere.
    fn by<const D: usize>(mut self, name: &'static str, leaf: &Tensor<D>) -> Self {
        let values = leaf
            .grad_remove(&mut self.gradients)
            .map(read)
            .unwrap_or_default();
        self.outputs.push(Output {
            name,
            kind: self.kind,
            values,
        });
        self
    }
}

fn rows(small: bool) -> usize {
    if small { 6 } else { 96 }
}

fn width(small: bool) -> usize {
    if small { 48 } else { 2560 }
}

fn rms(lane: &Lane, small: bool) -> Vec<Output> {
    let (x, w) = (
        lane.leaf([rows(small), width(small)], 1),
        lane.leaf([width(small)], 2),
    );
    let y = rms_norm(x.clone(), w.clone(), 1e-6);
    Trace::of(lane, Kind::Elementwise, y)
        .by("dx", &x)
        .by("dw", &w)
        .outputs
}

fn layer(lane: &Lane, small: bool) -> Vec<Output> {
    let x = lane.leaf([rows(small), width(small)], 1);
    let (w, b) = (lane.leaf([width(small)], 2), lane.leaf([width(small)], 3));
    let y = layer_norm(x.clone(), w.clone(), b.clone(), 1e-6);
    Trace::of(lane, Kind::Elementwise, y)
        .by("dx", &x)
        .by("dw", &w)
        .by("db", &b)
        .outputs
}

fn gelu_of(lane: &Lane, small: bool, kind: Gelu) -> Vec<Output> {
    let x = lane.leaf([rows(small), width(small)], 1);
    Trace::of(lane, Kind::Elementwise, gelu(x.clone(), kind))
        .by("dx", &x)
        .outputs
}

fn gated(lane: &Lane, small: bool) -> Vec<Output> {
    let shape = [rows(small), width(small)];
    let (gate, up) = (lane.leaf(shape, 1), lane.leaf(shape, 2));
    let y = swiglu(gate.clone(), up.clone());
    Trace::of(lane, Kind::Elementwise, y)
        .by("dgate", &gate)
        .by("dup", &up)
        .outputs
}

fn rotation(lane: &Lane, small: bool) -> Vec<Output> {
    let (heads, dim, sections) = if small {
        (2, 16, [4, 2, 2])
    } else {
        (32, 128, [24, 20, 20])
    };
    let positions: Vec<[i32; 3]> = (0..rows(small) as i32)
        .map(|i| [i * 37, i % 11, i % 7])
        .collect();
    let angles = MRope::Interleaved(sections).angles(&positions, dim, 5e6);
    let table = RopeTable::from_angles(&angles, dim / 2, &lane.device);
    let x = lane.leaf([rows(small), heads, dim], 1);
    Trace::of(lane, Kind::Elementwise, rope(x.clone(), &table))
        .by("dx", &x)
        .outputs
}

fn product(lane: &Lane, small: bool, rows: usize, out: usize) -> Vec<Output> {
    let (rows, out) = if small {
        (rows.min(9), out.min(40))
    } else {
        (rows, out)
    };
    let x = lane.leaf([rows, width(small)], 1);
    let (w, b) = (lane.leaf([out, width(small)], 2), lane.leaf([out], 3));
    let y = linear(x.clone(), w.clone(), Some(b.clone()));
    Trace::of(lane, Kind::Product, y)
        .by("dx", &x)
        .by("dw", &w)
        .by("db", &b)
        .outputs
}

fn low_rank(lane: &Lane, small: bool, dropout: bool) -> Vec<Output> {
    let (rows, width) = (rows(small), width(small));
    let (out, rank) = if small { (40, 4) } else { (1024, 16) };
    let x = lane.leaf([rows, width], 1);
    let w = lane.random([out, width], 2, 1.0);
    let factor = |shape, seed| {
        lane.random_as(shape, seed, 1.0, DType::F32)
            .autodiff()
            .require_grad()
    };
    let (a, b) = (factor([rank, width], 3), factor([out, rank], 4));
    let mask = dropout.then(|| {
        let drawn: Tensor<2> = lane.random_as([rows, width], 5, 1.0, DType::F32);
        drawn
            .greater_elem(0.0)
            .float()
            .cast(DType::F32)
            .mul_scalar(2.0)
    });
    let y = low_rank_linear(x.clone(), w, a.clone(), b.clone(), 0.5, mask);
    Trace::of(lane, Kind::Product, y)
        .by("dx", &x)
        .by("da", &a)
        .by("db", &b)
        .outputs
}

/// Shape of an attention case.
struct Shape {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
}

impl Shape {
    fn square(batch: usize, small: bool, group: usize, dim: usize) -> Self {
        let (n, heads) = if small { (24, 4) } else { (320, 16) };
        let dim = if small { 8 } else { dim };
        Self {
            batch,
            queries: n,
            keys: n,
            heads,
            kv_heads: heads / group,
            dim,
        }
    }

    fn run(&self, lane: &Lane, mask: &AttentionMask) -> Vec<Output> {
        let Self {
            batch,
            queries,
            keys,
            heads,
            kv_heads,
            dim,
        } = *self;
        let q = lane.leaf([batch, queries, heads, dim], 1);
        let k = lane.leaf([batch, keys, kv_heads, dim], 2);
        let v = lane.leaf([batch, keys, kv_heads, dim], 3);
        let y = attention(
            q.clone(),
            k.clone(),
            v.clone(),
            mask,
            (dim as f32).sqrt().recip(),
        );
        Trace::of(lane, Kind::Product, y)
            .by("dq", &q)
            .by("dk", &k)
            .by("dv", &v)
            .outputs
    }
}

fn causal(lane: &Lane, small: bool) -> Vec<Output> {
    let shape = Shape::square(2, small, 4, 128);
    let n = shape.queries;
    shape.run(lane, &AttentionMask::causal(n, &[0, 0], &[n, n]))
}

fn padded(lane: &Lane, small: bool) -> Vec<Output> {
    let shape = Shape::square(2, small, 2, 128);
    let n = shape.queries;
    shape.run(
        lane,
        &AttentionMask::causal(n, &[n / 3, 0], &[n, n - n / 4]),
    )
}

fn segments(lane: &Lane, small: bool, causal: bool) -> Vec<Output> {
    // 72 is the head width of the vision towers: no power of two.
    let shape = Shape::square(1, small, 1, 72);
    let n = shape.queries;
    shape.run(
        lane,
        &AttentionMask::segments(&[n / 4, n / 2, n - n / 4 - n / 2], causal),
    )
}

fn continued(lane: &Lane, small: bool) -> Vec<Output> {
    let shape = Shape {
        queries: 7,
        ..Shape::square(2, small, 4, 128)
    };
    let n = shape.keys;
    shape.run(lane, &AttentionMask::causal(7, &[0, 3], &[n, n]))
}

/// The decoding form: one query, outside autodiff.
fn decode(lane: &Lane, small: bool) -> Vec<Output> {
    let Shape {
        batch,
        keys,
        heads,
        kv_heads,
        dim,
        ..
    } = Shape::square(2, small, 4, 128);
    let q = lane.random([batch, 1, heads, dim], 1, 1.0);
    let kv = [batch, keys, kv_heads, dim];
    let mask = AttentionMask::causal(1, &[0, 5], &[keys, keys]);
    let (k, v) = (lane.random(kv, 2, 1.0), lane.random(kv, 3, 1.0));
    let y = attention(q, k, v, &mask, (dim as f32).sqrt().recip());
    vec![Output {
        name: "y",
        kind: Kind::Product,
        values: read(y),
    }]
}

fn head(lane: &Lane, small: bool) -> Vec<Output> {
    let (rows, width, vocab) = if small {
        (6, 48, 320)
    } else {
        (64, 1024, 16_384)
    };
    let hidden = lane.random([rows, width], 1, 1.0);
    let w = lane.random([vocab, width], 2, 1.0 / 16.0);
    let targets: Vec<u32> = (0..rows).map(|i| (i * 97 % vocab) as u32).collect();
    let weights: Vec<f32> = (0..rows).map(|i| (i as f32 + 1.0) / rows as f32).collect();
    let scores = head_scores(&hidden, &w, &targets, 0.75);
    let (d_hidden, d_w) = head_backward(&hidden, &w, &targets, &scores.lse, &weights, 0.75, true);
    let output = |name, values| Output {
        name,
        kind: Kind::Product,
        values,
    };
    vec![
        output("logp", scores.logp),
        output("entropy", scores.entropy),
        output("dhidden", read(d_hidden)),
        output("dw", d_w.map(read).unwrap_or_default()),
    ]
}
