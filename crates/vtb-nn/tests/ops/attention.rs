//! Attention over contiguous runs of keys, against scores written out in full.

use burn::tensor::{DType, Tensor};
use proptest::prelude::*;
use vtb_nn::ops::attention::Dims;
use vtb_nn::ops::{AttentionMask, attention};

use crate::case::Case;
use crate::support::{assert_close, random, read, tensor};

/// `exp(scale·q·kᵀ)` times a table of what is visible, normalised: no running maxima, no ranges, every score kept.
fn plain([q, k, v]: [Tensor<1>; 3], d: Dims, ranges: &[(u32, u32)], scale: f32) -> Tensor<1> {
    let group = d.heads / d.kv_heads;
    let every_head = |x: Tensor<1>| {
        let x: Tensor<5> = x.reshape([d.batch, d.keys, d.kv_heads, 1, d.dim]);
        let x = x
            .repeat_dim(3, group)
            .reshape([d.batch, d.keys, d.heads, d.dim]);
        x.swap_dims(1, 2)
    };
    let sees = |(lo, hi): &(u32, u32), key: usize| (*lo as usize..*hi as usize).contains(&key);
    let visible: Vec<f32> = ranges
        .iter()
        .flat_map(|r| (0..d.keys).map(|key| f32::from(sees(r, key))))
        .collect();
    let blind: Vec<f32> = ranges
        .iter()
        .map(|r| f32::from(!(0..d.keys).any(|key| sees(r, key))))
        .collect();
    let visible = tensor(&visible, [d.batch, 1, d.queries, d.keys], q.dtype());
    let blind = tensor(&blind, [d.batch, 1, d.queries, 1], q.dtype());
    let q: Tensor<4> = q
        .reshape([d.batch, d.queries, d.heads, d.dim])
        .swap_dims(1, 2);
    let scores = q.matmul(every_head(k).swap_dims(2, 3)) * scale as f64;
    let p = scores.exp() * visible;
    let p = p.clone() / (p.sum_dim(3) + blind);
    p.matmul(every_head(v))
        .swap_dims(1, 2)
        .reshape([d.batch * d.queries * d.heads * d.dim])
}

fn case(name: &str, d: Dims, mask: AttentionMask, seed: u64) -> Case<3> {
    let scale = 0.8 / (d.dim as f32).sqrt();
    let (nq, nk) = (
        d.batch * d.queries * d.heads * d.dim,
        d.batch * d.keys * d.kv_heads * d.dim,
    );
    let inputs = [random(nq, seed), random(nk, seed + 1), random(nk, seed + 2)];
    let ranges = mask.ranges().to_vec();
    let ours = move |[q, k, v]: [Tensor<1>; 3]| {
        let q = q.reshape([d.batch, d.queries, d.heads, d.dim]);
        let [k, v] = [k, v].map(|x| x.reshape([d.batch, d.keys, d.kv_heads, d.dim]));
        attention(q, k, v, &mask, scale).reshape([nq])
    };
    Case::new(format!("{name} {d:?}"), inputs, ours, move |x| {
        plain(x, d, &ranges, scale)
    })
}

fn dims(
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
) -> Dims {
    Dims {
        batch,
        queries,
        keys,
        heads,
        kv_heads,
        dim,
    }
}

#[test]
fn full_attention_of_every_head_grouping_and_width() {
    for (d, seed) in [
        (dims(1, 1, 1, 1, 1, 1), 100),
        (dims(2, 5, 9, 4, 4, 8), 103),
        (dims(1, 6, 6, 4, 2, 5), 106),
        (dims(2, 3, 7, 8, 2, 17), 109),
        (dims(1, 4, 3, 4, 1, 24), 112),
        (dims(1, 9, 9, 2, 1, 33), 115),
    ] {
        case(
            "full",
            d,
            AttentionMask::full(d.batch, d.queries, d.keys),
            seed,
        )
        .check();
    }
}

#[test]
fn causal_attention_inside_one_block_and_across_several() {
    // Queries are handled in blocks of 64.
    for queries in [1, 2, 63, 64, 65, 130] {
        let d = dims(1, queries, queries, 4, 2, 6);
        case(
            "causal",
            d,
            AttentionMask::causal(queries, &[0], &[queries]),
            120,
        )
        .check();
    }
}

#[test]
fn left_padding_hides_keys_and_silences_rows() {
    let d = dims(3, 9, 9, 4, 2, 7);
    case(
        "left",
        d,
        AttentionMask::causal(9, &[0, 4, 8], &[9, 9, 9]),
        130,
    )
    .check();
    // A whole block of queries that see nothing.
    let d = dims(2, 130, 130, 2, 1, 4);
    case(
        "left, long",
        d,
        AttentionMask::causal(130, &[0, 70], &[130, 130]),
        133,
    )
    .check();
}

#[test]
fn rows_without_keys_are_zero_and_pass_no_gradient() {
    let d = dims(1, 3, 4, 2, 1, 4);
    let mask = AttentionMask::from_ranges(vec![(0, 0), (1, 3), (4, 2)]);
    case("blind rows", d, mask.clone(), 136).check();
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let q = tensor(&random(24, 137), [1, 3, 2, 4], dtype)
            .autodiff()
            .require_grad();
        let kv = tensor(&random(16, 138), [1, 4, 1, 4], dtype)
            .autodiff()
            .require_grad();
        let y = attention(q.clone(), kv.clone(), kv.clone(), &mask, 0.5);
        let gradients = y.clone().sum().backward();
        let (y, dq) = (read(y), read(q.grad(&gradients).unwrap()));
        for row in [0..8, 16..24] {
            assert_eq!(y[row.clone()], [0.0; 8], "{dtype:?}");
            assert_eq!(dq[row], [0.0; 8], "{dtype:?}");
        }
        let dkv = read(kv.grad(&gradients).unwrap());
        assert!(dkv.iter().all(|g| g.is_finite()));
        for hidden in [0..4, 12..16] {
            assert_eq!(dkv[hidden], [0.0; 4], "{dtype:?}: a key nobody sees");
        }
    }
}

#[test]
fn no_row_sees_anything() {
    let d = dims(2, 2, 3, 2, 2, 3);
    case(
        "nothing visible",
        d,
        AttentionMask::from_ranges(vec![(0, 0); 4]),
        139,
    )
    .check();
}

#[test]
fn right_padding_and_packed_segments() {
    let lengths = [9u32, 5];
    let ranges = lengths
        .iter()
        .flat_map(|len| (0..9).map(move |i| (0, (i + 1).min(*len))));
    let d = dims(2, 9, 9, 4, 1, 6);
    case(
        "right",
        d,
        AttentionMask::from_ranges(ranges.collect()),
        140,
    )
    .check();

    let lengths = [3, 5, 1, 60, 8];
    let n = lengths.iter().sum();
    for causal in [false, true] {
        let d = dims(1, n, n, 2, 2, 9);
        case(
            "segments",
            d,
            AttentionMask::segments(&lengths, causal),
            143,
        )
        .check();
    }
}

#[test]
fn segments_do_not_see_each_other() {
    let of = |values: &[f32], lengths: &[usize]| {
        let n = values.len() / 3;
        let x = tensor(values, [1, n, 1, 3], DType::F32);
        read(attention(
            x.clone(),
            x.clone(),
            x,
            &AttentionMask::segments(lengths, true),
            0.6,
        ))
    };
    let values = random(21, 146);
    let packed = of(&values, &[4, 3]);
    assert_close(
        &packed[..12],
        &of(&values[..12], &[4]),
        1e-6,
        "first segment",
    );
    assert_close(
        &packed[12..],
        &of(&values[12..], &[3]),
        1e-6,
        "second segment",
    );
}

#[test]
fn new_positions_against_a_cache() {
    let d = dims(2, 3, 10, 4, 2, 8);
    case("cache", d, AttentionMask::causal(3, &[0, 2], &[10, 7]), 150).check();
    // One new token has a kernel of its own outside autodiff; the long one is split over threads.
    for (keys, dim) in [(10, 5), (400, 32)] {
        for (heads, kv_heads) in [(2, 2), (4, 2), (4, 1)] {
            let d = dims(3, 1, keys, heads, kv_heads, dim);
            let mask = AttentionMask::causal(1, &[0, 2, keys], &[keys, 7, keys]);
            case("one token", d, mask, 153).check();
        }
    }
}

#[test]
fn decoding_does_not_depend_on_threads() {
    let d = dims(3, 1, 400, 4, 2, 32);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let q = tensor(&random(3 * 128, 160), [3, 1, 4, 32], DType::F32);
            let kv = tensor(&random(3 * 400 * 64, 161), [3, 400, 2, 32], DType::F32);
            read(attention(
                q,
                kv.clone(),
                kv,
                &AttentionMask::full(3, 1, d.keys),
                0.2,
            ))
        })
    };
    assert!(run(1) == run(2));
}

#[test]
fn ranges_past_the_last_key_end_there() {
    for queries in [1, 3] {
        let d = dims(1, queries, 4, 2, 1, 5);
        let wide = vec![(1, 9), (0, u32::MAX), (7, 9)][..queries].to_vec();
        case("past the end", d, AttentionMask::from_ranges(wide), 163).check();
    }
}

#[test]
fn large_scores_neither_overflow_nor_lose_the_largest() {
    // Scores 0, 1e4 and -1e4: the softmax is one-hot.
    for dtype in [DType::F32, DType::F64] {
        for queries in [1, 2] {
            let q = tensor(&vec![100.0; queries], [1, queries, 1, 1], dtype);
            let q = q.autodiff().require_grad();
            let k = tensor(&[0.0, 100.0, -100.0], [1, 3, 1, 1], dtype);
            let v = tensor(&[1.0, 2.0, 3.0], [1, 3, 1, 1], dtype);
            let y = attention(q.clone(), k, v, &AttentionMask::full(1, queries, 3), 1.0);
            let dq = read(q.grad(&y.clone().sum().backward()).unwrap());
            assert_eq!(read(y), vec![2.0; queries], "{dtype:?}");
            assert_eq!(dq, vec![0.0; queries], "{dtype:?}");
        }
    }
}

#[test]
fn slices_of_a_fused_projection_are_read_in_place() {
    let fused = tensor(&random(2 * 5 * 3 * 8, 166), [2, 5, 6, 4], DType::F32);
    let [q, k, v] = [0, 2, 4].map(|first| fused.clone().narrow(2, first, 2));
    let mask = AttentionMask::causal(5, &[0, 1], &[5, 5]);
    let copy = |x: &Tensor<4>| {
        let values: Vec<f32> = x.clone().into_data().iter::<f32>().collect();
        tensor(&values, x.dims(), DType::F32)
    };
    let apart = attention(copy(&q), copy(&k), copy(&v), &mask, 0.5);
    assert_eq!(read(attention(q, k, v, &mask, 0.5)), read(apart));
}

prop_compose! {
    fn any_case()(
        batch in 1usize..3, queries in 1usize..6, keys in 1usize..8,
        kv_heads in 1usize..3, group in 1usize..4, dim in 1usize..6,
    )(
        // Inverted and overlong ranges included.
        ranges in prop::collection::vec((0..=keys as u32 + 1, 0..=keys as u32 + 2), batch * queries),
        dims in Just(dims(batch, queries, keys, kv_heads * group, kv_heads, dim)),
        seed in any::<u32>(),
    ) -> Case<3> {
        case(&format!("{ranges:?}"), dims, AttentionMask::from_ranges(ranges), u64::from(seed))
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        rng_seed: proptest::test_runner::RngSeed::Fixed(2026),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_ranges_give_the_formula(case in any_case()) {
        case.check_kernel();
        case.check_portable();
    }
}
