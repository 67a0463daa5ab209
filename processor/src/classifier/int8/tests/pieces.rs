//! Piece by piece: each against plain arithmetic, the larger ones against the smaller, all tiers against each other.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn assert_near(found: &[f32], expected: &[f64], within: impl Fn(usize) -> f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(
            off <= within(index),
            "{index}: {found} is {off} off {expected}, more than {}",
            within(index)
        );
    }
}

/// Sizes of a tile and around them, and sizes of none.
fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..=70, Just(96), Just(128), Just(312), Just(384), 400_usize..=500]
}

/// Head sizes and head counts that make widths of 128 to 1024.
fn heads() -> impl Strategy<Value = Heads> {
    prop_oneof![
        (4_usize..=12).prop_map(|count| (count, 32)),
        (2_usize..=16).prop_map(|count| (count, 64)),
        Just((8, 16))
    ]
    .prop_map(|(count, size)| Heads {
        count,
        size,
        scale: 0.1 / f32::from(u8::try_from(size).unwrap()).sqrt(),
    })
}

/// Rows and tokens of a batch, up to 512 tokens a row; less where the width makes that slow.
fn batch(width: usize) -> impl Strategy<Value = (usize, usize)> {
    let tokens_max = (100_000 / width).clamp(24, 512);
    (1..=tokens_max)
        .prop_flat_map(move |tokens| (1..=(tokens_max / tokens).clamp(1, 9), Just(tokens)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_linear_layer_is_off_by_no_more_than_rounding(rows in 1_usize..=21, inputs in sizes(), outputs in sizes(), seed: u64) {
        let (values, matrix) = (numbers(rows * inputs, seed), matrix(inputs, outputs, seed ^ 5));
        let (expected, bounds) = (plain::linear(&values, &matrix), plain::linear_error(&values, &matrix));
        for tier in Tier::all() {
            assert_near(&linear(tier, &values, &matrix, false), &expected, |index| bounds[index]);
        }
    }

    #[test]
    fn normalisation_is_that_of_its_definition(rows in 1_usize..=9, width in sizes(), adds: bool, seed: u64) {
        prop_assume!(1 < width);
        let (values, norm) = (numbers(rows * width, seed), norm(width, seed ^ 5));
        let residual = if adds { numbers(rows * width, seed ^ 9) } else { Vec::new() };
        let expected = plain::normalised(&values, &residual, &norm);
        for tier in Tier::all() {
            let found = normalised(tier, &values, &residual, &norm);
            assert_near(&found, &expected, |index| 2e-4 * expected[index].abs().max(1.0));
        }
    }

    #[test]
    fn attention_is_that_of_its_definition(
        (heads, (rows, tokens)) in heads().prop_flat_map(|heads| (Just(heads), batch(heads.count * heads.size))),
        seed: u64,
    ) {
        let count = rows * tokens * heads.count * heads.size;
        let inputs = [numbers(count, seed), numbers(count, seed ^ 3), numbers(count, seed ^ 5)];
        let inputs = [&*inputs[0], &*inputs[1], &*inputs[2]];
        let masked = ragged(rows, tokens);
        let mask = Mask { values: &masked, tokens, queries: 1 };
        let (expected, bounds) = (plain::attended(inputs, heads, mask), plain::attention_error(inputs, heads, mask));
        // What padding attends to is some number, and nobody looks at it.
        let is_seen = |index: usize| masked[index / (heads.count * heads.size)] == 0.0;
        for tier in Tier::all() {
            let found = attended(tier, inputs, heads, mask);
            assert_near(&found, &expected, |index| if is_seen(index) { bounds[index] } else { f64::MAX });
            // Rounding is to either side, so that all together are much nearer than the worst.
            let seen = found.iter().zip(&expected).enumerate().filter(|(index, _)| is_seen(*index));
            let off: Vec<f64> = seen.map(|(_, (found, expected))| (f64::from(*found) - expected).abs()).collect();
            let mean = off.iter().sum::<f64>() / f64::from(u32::try_from(off.len()).unwrap());
            assert!(mean < 2e-3, "off by {mean} in the mean");
        }
    }

    #[test]
    fn half_a_layer_is_what_its_pieces_are(
        (heads, (rows, tokens)) in heads().prop_flat_map(|heads| (Just(heads), batch(4 * heads.count * heads.size))),
        seed: u64,
    ) {
        let width = heads.count * heads.size;
        let values = numbers(rows * tokens * width, seed);
        let [qkv, out] = [matrix(width, 3 * width, seed ^ 3), matrix(width, width, seed ^ 5)];
        let (norm, masked) = (norm(width, seed ^ 7), ragged(rows, tokens));
        let mask = Mask { values: &masked, tokens, queries: 1 };
        for tier in Tier::all() {
            let projected = linear(tier, &values, &qkv, false);
            let parts = [0, 1, 2].map(|part| columns(&projected, 3 * width, part * width, width));
            let mixed = attended(tier, [&parts[0], &parts[1], &parts[2]], heads, mask);
            let expected = normalised(tier, &linear(tier, &mixed, &out, false), &values, &norm);
            let mut found = values.clone();
            let [qkv, out] = [&qkv, &out].map(|matrix| Weights::round(matrix, tier.layout()).unwrap());
            let work = Work::AttentionBlock { rows: &mut found, qkv: &qkv, heads, mask, out: &out, norm: &norm };
            tier.run(work, &mut Scratch::default());
            assert_same_bits(&found, &expected);
        }
    }

    #[test]
    fn the_other_half_too(rows in 1_usize..=150, inputs in 2_usize..=130, inner in sizes(), seed: u64) {
        let values = numbers(rows * inputs, seed);
        let (up, down) = (matrix(inputs, inner, seed ^ 3), matrix(inner, inputs, seed ^ 5));
        let norm = norm(inputs, seed ^ 7);
        for tier in Tier::all() {
            let fed = linear(tier, &linear(tier, &values, &up, true), &down, false);
            let expected = normalised(tier, &fed, &values, &norm);
            let mut found = values.clone();
            let [up, down] = [&up, &down].map(|matrix| Weights::round(matrix, tier.layout()).unwrap());
            tier.run(Work::FeedForward { rows: &mut found, up: &up, down: &down, norm: &norm }, &mut Scratch::default());
            assert_same_bits(&found, &expected);
        }
    }

    #[test]
    fn every_tier_gives_the_same_bits_and_so_does_a_row_alone(
        rows in 1_usize..=9, tokens in 1_usize..=40, count in 1_usize..=6, seed: u64,
    ) {
        let heads = Heads { count, size: 32, scale: 0.2 };
        let width = count * 32;
        let values = numbers(rows * tokens * width, seed);
        let (qkv, out, norm) = (matrix(width, 3 * width, seed ^ 3), matrix(width, width, seed ^ 5), norm(width, seed ^ 7));
        let masked = ragged(rows, tokens);
        let half = |tier: Tier, values: &[f32], masked: &[f32], scratch: &mut Scratch| {
            let mut rows = values.to_vec();
            let [qkv, out] = [&qkv, &out].map(|matrix| Weights::round(matrix, tier.layout()).unwrap());
            let mask = Mask { values: masked, tokens, queries: 1 };
            tier.run(Work::AttentionBlock { rows: &mut rows, qkv: &qkv, heads, mask, out: &out, norm: &norm }, scratch);
            rows
        };
        let mut together: Option<Vec<f32>> = None;
        for tier in Tier::all() {
            // What was computed before in the same memory does not show.
            let mut scratch = Scratch::default();
            let found = half(tier, &values, &masked, &mut scratch);
            for ((values, masked), found) in
                values.chunks(tokens * width).zip(masked.chunks(tokens)).zip(found.chunks(tokens * width))
            {
                assert_same_bits(&half(tier, values, masked, &mut scratch), found);
            }
            assert_same_bits(&found, together.get_or_insert_with(|| found.clone()));
        }
    }
}

/// Scores that hardly differ are powers of two just below one, where the last bit of what is subtracted decides.
#[test]
fn every_tier_shares_out_the_same_however_far_scores_are_apart() {
    let (tokens, count) = (70, 3);
    let inputs = [1, 2, 3].map(|seed| numbers(tokens * count * 32, seed));
    let masked = vec![0.0; tokens];
    let mask = Mask { values: &masked, tokens, queries: 1 };
    for exponent in -12_i32..=2 {
        let heads = Heads { count, size: 32, scale: 10.0_f32.powi(exponent) };
        let [queries, keys, values] = &inputs;
        let all: Vec<_> = Tier::all()
            .into_iter()
            .map(|tier| attended(tier, [queries, keys, values], heads, mask))
            .collect();
        for found in &all {
            assert_same_bits(found, &all[0]);
        }
    }
}

#[test]
fn gelu_is_near() {
    // One input of weight one: the layer's output is its input, rounded, and the same both times.
    let values: Vec<f32> = (-800_i16..=800).map(|step| f32::from(step) / 100.0).collect();
    let identity = Matrix { inputs: 1, outputs: 1, values: vec![1.0], bias: vec![0.0] };
    for tier in Tier::all() {
        let [before, after] = [false, true].map(|gelu| linear(tier, &values, &identity, gelu));
        for (before, after) in before.iter().zip(after) {
            let expected = plain::gelu(f64::from(*before));
            assert!(
                (f64::from(after) - expected).abs() < 2e-4,
                "gelu({before}) is {after}, expected {expected}"
            );
        }
    }
}

#[test]
fn a_mask_may_differ_from_query_to_query() {
    let (rows, tokens) = (3, 21);
    let heads = Heads { count: 2, size: 32, scale: 0.05 };
    let inputs = [1, 2, 3].map(|seed| numbers(rows * tokens * 64, seed));
    let inputs = [&*inputs[0], &*inputs[1], &*inputs[2]];
    let cells = (0..rows * tokens * tokens).map(|cell| (cell / tokens % tokens, cell % tokens));
    let causal: Vec<f32> =
        cells.map(|(query, key)| if key <= query { 0.0 } else { f32::MIN }).collect();
    let mask = Mask { values: &causal, tokens, queries: tokens };
    for tier in Tier::all() {
        assert_near(
            &attended(tier, inputs, heads, mask),
            &plain::attended(inputs, heads, mask),
            |_| 2e-3,
        );
    }
    // Spread over the queries, a mask is what it was.
    let once = ragged(rows, tokens);
    let spread: Vec<f32> = once.chunks(tokens).flat_map(|row| row.repeat(tokens)).collect();
    for tier in Tier::all() {
        let found =
            attended(tier, inputs, heads, Mask { values: &spread, tokens, queries: tokens });
        assert_same_bits(
            &found,
            &attended(tier, inputs, heads, Mask { values: &once, tokens, queries: 1 }),
        );
    }
}

#[test]
fn numbers_that_are_none_are_not_hidden() {
    let matrix = matrix(40, 20, 1);
    for tier in Tier::all() {
        let mut rows = numbers(80, 2);
        rows[3] = f32::INFINITY;
        let found = linear(tier, &rows, &matrix, false);
        assert!(
            found[..20].iter().all(|value| !value.is_finite())
                && found[20..].iter().all(|value| value.is_finite())
        );
        rows[3] = f32::NAN;
        assert!(
            linear(tier, &rows, &matrix, false)[..20].iter().all(|value| value.is_nan()),
            "{tier:?}"
        );
    }
    let mut broken = matrix;
    broken.values[7] = f32::NAN;
    for tier in Tier::all() {
        assert!(Weights::round(&broken, tier.layout()).is_none());
    }
}

#[test]
fn rows_of_zeros_and_huge_numbers_are_rounded_too() {
    let matrix = matrix(33, 17, 1);
    let zeros = vec![0.0; 33];
    let huge = vec![1e30; 33];
    for tier in Tier::all() {
        assert_same_bits(&linear(tier, &zeros, &matrix, false), &matrix.bias);
        assert!(linear(tier, &huge, &matrix, false).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn sums_of_the_largest_numbers_fit() {
    for (tokens, size) in [(1, 16), (3, 128), (512, 32), (700, 64)] {
        let heads = Heads { count: 1, size, scale: 1e-3 };
        let (same, masked) = (vec![-3.0; tokens * size], vec![0.0; tokens]);
        let mask = Mask { values: &masked, tokens, queries: 1 };
        for tier in Tier::all() {
            let found = attended(tier, [&same, &same, &same], heads, mask);
            assert_near(&found, &vec![-3.0; tokens * size], |_| 1e-5);
        }
    }
}

#[test]
fn sums_of_the_longest_rows_fit() {
    // Of what is rounded to 0 and 255, with the zero point at either end, times the largest weights of either sign.
    let inputs = 1 << 15;
    for (value, weight) in [(3.0, 1.0), (3.0, -1.0), (-3.0, 1.0), (-3.0, -1.0)] {
        let matrix =
            |inputs| Matrix { inputs, outputs: 1, values: vec![weight; inputs], bias: vec![0.5] };
        let expected = plain::linear(&vec![value; inputs], &matrix(inputs));
        for tier in Tier::all() {
            let found = linear(tier, &vec![value; inputs], &matrix(inputs), false);
            assert_near(&found, &expected, |_| 1.0);
            assert!(Weights::round(&matrix(inputs + 1), tier.layout()).is_none());
        }
    }
}

#[test]
fn padding_does_not_show() {
    let (tokens, heads) = (21, Heads { count: 2, size: 32, scale: 0.2 });
    let inputs = [1, 2, 3].map(|seed| numbers(tokens * 64, seed));
    for (padded, hidden) in [(21, -1e4), (24, -1e4), (40, f32::MIN), (90, f32::NEG_INFINITY)] {
        // Larger than any of the text, so that scales would be theirs.
        let wide = inputs.clone().map(|mut input| {
            input.resize(padded * 64, 1e3);
            input
        });
        let masked: Vec<f32> =
            (0..padded).map(|token| if token < tokens { 0.0 } else { hidden }).collect();
        let mask = Mask { values: &masked, tokens: padded, queries: 1 };
        for tier in Tier::all() {
            let alone = {
                let masked = vec![0.0; tokens];
                let mask = Mask { values: &masked, tokens, queries: 1 };
                attended(tier, [&inputs[0], &inputs[1], &inputs[2]], heads, mask)
            };
            let found = attended(tier, [&wide[0], &wide[1], &wide[2]], heads, mask);
            assert_same_bits(&found[..tokens * 64], &alone);
        }
    }
}

#[test]
fn no_number_in_a_query_a_key_or_a_value_shows() {
    let heads = Heads { count: 2, size: 32, scale: 0.1 };
    let broken = [f32::NAN, f32::INFINITY];
    let cases = [5, 20, 40].into_iter().flat_map(|tokens| {
        [0, 1, 2].into_iter().flat_map(move |input| broken.map(|broken| (tokens, input, broken)))
    });
    for (tokens, input, broken) in cases {
        let masked = vec![0.0; tokens];
        let mask = Mask { values: &masked, tokens, queries: 1 };
        let mut inputs = [1, 2, 3].map(|seed| numbers(tokens * 64, seed));
        inputs[input][5] = broken;
        for tier in Tier::all() {
            let found = attended(tier, [&inputs[0], &inputs[1], &inputs[2]], heads, mask);
            // Of this sequence and head everything; of the other head nothing.
            for row in found.chunks(64) {
                assert!(
                    row[..32].iter().all(|value| !value.is_finite()),
                    "{tier:?} {input} {broken}"
                );
                assert!(
                    row[32..].iter().all(|value| value.is_finite()),
                    "{tier:?} {input} {broken}"
                );
            }
        }
    }
}
