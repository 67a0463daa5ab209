//! The same operations in plain arithmetic, in float64, straight from their definitions.

use super::super::{
    weights::{Heads, Matrix, Norm},
    work::{Mask, SHARE_STEPS, reach},
};

fn wide(value: f32) -> f64 {
    f64::from(value)
}

pub(super) fn linear(rows: &[f32], matrix: &Matrix) -> Vec<f64> {
    let product = |row: &[f32], output: usize| {
        let column = matrix.values.iter().skip(output).step_by(matrix.outputs);
        row.iter().zip(column).map(|(value, weight)| wide(*value) * wide(*weight)).sum::<f64>()
    };
    let outputs = |row| {
        (0..matrix.outputs).map(move |output| product(row, output) + wide(matrix.bias[output]))
    };
    rows.chunks_exact(matrix.inputs).flat_map(outputs).collect()
}

/// How far int8 may be off [`linear()`]: half a step of either factor, for every product.
pub(super) fn linear_error(rows: &[f32], matrix: &Matrix) -> Vec<f64> {
    let mut bounds = Vec::new();
    for row in rows.chunks_exact(matrix.inputs) {
        let (low, high) = row
            .iter()
            .fold((0.0_f32, 0.0_f32), |(low, high), value| (low.min(*value), high.max(*value)));
        let step = wide(high - low) / 255.0;
        for output in 0..matrix.outputs {
            let column = || matrix.values.iter().skip(output).step_by(matrix.outputs);
            let coarse = column().fold(0.0_f32, |most, weight| most.max(weight.abs()));
            let coarse = wide(coarse) / 127.0;
            let each = row.iter().zip(column()).map(|(value, weight)| {
                // An activation may be off by half a step, and its zero point by another half at the ends of the range.
                wide(value.abs()) * coarse / 2.0 + wide(weight.abs()) * step + coarse * step / 2.0
            });
            bounds.push(each.sum::<f64>() + 1e-5);
        }
    }
    bounds
}

pub(super) fn gelu(value: f64) -> f64 {
    value / 2.0 * (1.0 + erf(value / std::f64::consts::SQRT_2))
}

/// By its series, which has lost no more than 1e-10 at 4.
fn erf(value: f64) -> f64 {
    if 4.0 < value.abs() {
        return value.signum();
    }
    let (mut term, mut sum) = (value, value);
    for n in 1..80 {
        let n = f64::from(n);
        term *= -value * value / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

pub(super) fn normalised(rows: &[f32], residual: &[f32], norm: &Norm) -> Vec<f64> {
    let width = norm.gain.len();
    let mut output = Vec::new();
    for (index, row) in rows.chunks_exact(width).enumerate() {
        let added = |column: usize| residual.get(index * width + column).copied().unwrap_or(0.0);
        let row: Vec<f64> =
            row.iter().enumerate().map(|(column, value)| wide(value + added(column))).collect();
        #[expect(clippy::cast_precision_loss, reason = "a width")]
        let count = width as f64;
        let mean = row.iter().sum::<f64>() / count;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance + wide(norm.epsilon)).sqrt();
        let parts = row.iter().zip(norm.gain.iter().zip(&norm.shift));
        output.extend(
            parts.map(|(value, (gain, shift))| (value - mean) * scale * wide(*gain) + wide(*shift)),
        );
    }
    output
}

pub(super) fn attended(inputs: [&[f32]; 3], heads: Heads, mask: Mask<'_>) -> Vec<f64> {
    let (tokens, width) = (mask.tokens, heads.count * heads.size);
    let rows = inputs[0].len() / (tokens * width);
    let at = |input: usize, row: usize, token: usize, column: usize| {
        wide(inputs[input][(row * tokens + token) * width + column])
    };
    let mut output = vec![0.0; inputs[0].len()];
    for row in 0..rows {
        for head in 0..heads.count {
            for query in 0..tokens {
                let line =
                    (row * mask.queries + if mask.queries == 1 { 0 } else { query }) * tokens;
                let scores: Vec<f64> = (0..tokens)
                    .map(|key| {
                        let dot = (0..heads.size).map(|dimension| {
                            let column = head * heads.size + dimension;
                            at(0, row, query, column) * at(1, row, key, column)
                        });
                        dot.sum::<f64>() * wide(heads.scale) + wide(mask.values[line + key])
                    })
                    .collect();
                let most = scores.iter().copied().fold(f64::MIN, f64::max);
                let raised: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let sum: f64 = raised.iter().sum();
                for dimension in 0..heads.size {
                    let column = head * heads.size + dimension;
                    let value =
                        (0..tokens).map(|key| raised[key] / sum * at(2, row, key, column)).sum();
                    output[(row * tokens + query) * width + column] = value;
                }
            }
        }
    }
    output
}

/// How far 16 bits may be off [`attended()`]: half a step of each number, in the scores, the shares and the values.
pub(super) fn attention_error(inputs: [&[f32]; 3], heads: Heads, mask: Mask<'_>) -> Vec<f64> {
    let (tokens, width) = (mask.tokens, heads.count * heads.size);
    let even = wide(reach(heads.size, None));
    let reaches = [even, even, wide(reach(tokens, Some(SHARE_STEPS)))];
    let mut bounds = vec![0.0; inputs[0].len()];
    for row in 0..inputs[0].len() / (tokens * width) {
        for head in 0..heads.count {
            let part = |input: usize, token: usize| {
                let at = (row * tokens + token) * width + head * heads.size;
                &inputs[input][at..at + heads.size]
            };
            let most = [0, 1, 2].map(|input| {
                let all = (0..tokens).flat_map(|token| part(input, token));
                wide(all.fold(0.0_f32, |most, value| most.max(value.abs())))
            });
            let step = |input: usize| most[input] / reaches[input] / 2.0;
            let size = |input: usize, token: usize| {
                part(input, token).iter().map(|value| wide(value.abs())).sum::<f64>()
            };
            let longest =
                |input: usize| (0..tokens).map(|token| size(input, token)).fold(0.0_f64, f64::max);
            let dimensions = f64::from(u32::try_from(heads.size).unwrap());
            let score =
                longest(0) * step(1) + longest(1) * step(0) + dimensions * step(0) * step(1);
            let weights = (2.0 * score * wide(heads.scale)).exp_m1();
            // The largest share is a whole one, so that all of them together are at least one.
            let shares = f64::from(u32::try_from(tokens).unwrap()) / wide(SHARE_STEPS);
            let bound = step(2) + (2.0 * weights + shares) * most[2] + 1e-4;
            for token in 0..tokens {
                let at = (row * tokens + token) * width + head * heads.size;
                bounds[at..at + heads.size].fill(bound);
            }
        }
    }
    bounds
}
