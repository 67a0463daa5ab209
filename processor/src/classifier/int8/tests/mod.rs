//! The kernels of every tier that this CPU has, against plain arithmetic, and the passes against graphs of our own.

mod pieces;
mod plain;
mod rewriting;
#[cfg(target_arch = "x86_64")]
mod tiles;

use super::{
    Tier,
    weights::{Heads, Matrix, Norm, Weights},
    work::{Mask, Scratch, Work},
};

/// Numbers that look random, the same for the same seed: between -1 and 1, now and then ten times as large, as activations are.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count)
        .map(|_| {
            #[expect(clippy::cast_precision_loss, reason = "a made-up number")]
            let number = (next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0;
            if next() % 61 == 0 { number * 10.0 } else { number }
        })
        .collect()
}

fn matrix(inputs: usize, outputs: usize, seed: u64) -> Matrix {
    #[expect(clippy::cast_precision_loss, reason = "a width")]
    let scale = 1.0 / (inputs as f32).sqrt();
    let values = numbers(inputs * outputs, seed).into_iter().map(|value| value * scale).collect();
    Matrix { inputs, outputs, values, bias: numbers(outputs, seed + 1) }
}

fn norm(width: usize, seed: u64) -> Norm {
    Norm { gain: numbers(width, seed), shift: numbers(width, seed + 1), epsilon: 1e-12 }
}

/// A mask of `rows` sequences of up to `tokens` tokens, each of another length.
fn ragged(rows: usize, tokens: usize) -> Vec<f32> {
    let length = |row: usize| tokens - row * 7 % tokens;
    let lines = (0..rows).flat_map(|row| (0..tokens).map(move |token| (row, token)));
    lines.map(|(row, token)| if token < length(row) { 0.0 } else { -10_000.0 }).collect()
}

fn linear(tier: Tier, rows: &[f32], matrix: &Matrix, gelu: bool) -> Vec<f32> {
    let weights = Weights::round(matrix, tier.layout()).unwrap();
    let mut output = vec![0.0; rows.len() / matrix.inputs * matrix.outputs];
    let work = Work::Linear { rows, weights: &weights, gelu, output: &mut output };
    tier.run(work, &mut Scratch::default());
    output
}

fn normalised(tier: Tier, rows: &[f32], residual: &[f32], norm: &Norm) -> Vec<f32> {
    let mut rows = rows.to_vec();
    tier.run(Work::Norm { rows: &mut rows, residual, norm }, &mut Scratch::default());
    rows
}

fn attended(tier: Tier, inputs: [&[f32]; 3], heads: Heads, mask: Mask<'_>) -> Vec<f32> {
    let mut output = vec![0.0; inputs[0].len()];
    let work = Work::Attention { inputs, heads, mask, output: &mut output };
    tier.run(work, &mut Scratch::default());
    output
}

/// Columns `from..from + width` of `rows` of `all`.
fn columns(rows: &[f32], all: usize, from: usize, width: usize) -> Vec<f32> {
    rows.chunks_exact(all).flat_map(|row| &row[from..from + width]).copied().collect()
}

#[track_caller]
fn assert_same_bits(found: &[f32], expected: &[f32]) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert!(
        bits(found) == bits(expected),
        "{:?}\n{:?}",
        &found[..found.len().min(8)],
        &expected[..expected.len().min(8)]
    );
}
