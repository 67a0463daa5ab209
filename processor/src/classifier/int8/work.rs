//! What a tier is asked to do, and the memory that it does it in.

use super::weights::{Heads, Norm, Weights};

/// One piece of a network. Tensors are row after row, float32.
#[derive(Debug)]
pub(super) enum Work<'a> {
    /// `output = rows x weights + bias`, and the Gaussian error linear unit of that if `gelu`.
    Linear { rows: &'a [f32], weights: &'a Weights, gelu: bool, output: &'a mut [f32] },
    /// `rows = norm(rows + residual)`; an empty residual is none.
    Norm { rows: &'a mut [f32], residual: &'a [f32], norm: &'a Norm },
    /// Attention of each sequence of `tokens` rows, of queries, keys and values that lie in tensors of their own.
    Attention { inputs: [&'a [f32]; 3], heads: Heads, mask: Mask<'a>, output: &'a mut [f32] },
    /// `rows = norm(rows + attention(rows))`, where `qkv` makes queries, keys and values, and `out` mixes the heads.
    AttentionBlock {
        rows: &'a mut [f32],
        qkv: &'a Weights,
        heads: Heads,
        mask: Mask<'a>,
        out: &'a Weights,
        norm: &'a Norm,
    },
    /// `rows = norm(rows + down(gelu(up(rows))))`.
    FeedForward { rows: &'a mut [f32], up: &'a Weights, down: &'a Weights, norm: &'a Norm },
}

/// What is added to the scores before softmax: for each sequence, `queries` rows of `tokens`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask<'a> {
    pub(super) values: &'a [f32],
    pub(super) tokens: usize,
    /// 1 where all queries share a row, else `tokens`.
    pub(super) queries: usize,
}

/// Rows of activations in integers: each value is `scale * (integer - zero)`.
#[derive(Debug, Default)]
pub(super) struct Rounded {
    pub(super) words: Vec<i32>,
    pub(super) words_per_row: usize,
    pub(super) scales: Vec<f32>,
    pub(super) zeros: Vec<i32>,
}

/// What attention works in.
#[derive(Debug, Default)]
pub(super) struct AttentionScratch {
    /// Keys of one head, sixteen side by side: for each block of sixteen, a line for each dimension.
    pub(super) keys: Vec<f32>,
    /// For each block of keys, a line of scores for each query of the tile.
    pub(super) scores: Vec<f32>,
    /// For each row of the mask, a line for each block of keys.
    pub(super) mask: Vec<f32>,
}

/// Memory that is used again from call to call, as large as the largest needed.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) rounded: Rounded,
    pub(super) wide: Vec<f32>,
    pub(super) narrow: Vec<f32>,
    pub(super) attention: AttentionScratch,
}

/// The first `length` of `buffer`, which grows if it has to.
pub(super) fn sized<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    buffer.split_at_mut(length).0
}

/// The same, from where a cache line begins: loads of sixteen lanes would otherwise touch two.
pub(super) fn aligned(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    let spare = sized(buffer, length + 16);
    let at = spare.as_ptr().align_offset(64).min(16);
    spare.split_at_mut(at).1.split_at_mut(length).0
}

/// Lines of sixteen, each in one cache line.
pub(super) fn lines(buffer: &mut Vec<f32>, count: usize) -> &mut [[f32; 16]] {
    aligned(buffer, count * 16).as_chunks_mut::<16>().0
}

impl Mask<'_> {
    /// The part of the sequence at `position`, with one row if all its rows are the same: exporters spread a mask over the
    /// queries that does not depend on them.
    pub(super) fn of(self, position: usize) -> Self {
        let (size, row) = (self.queries * self.tokens, self.tokens);
        let values = self.values.get(position * size..(position + 1) * size).unwrap_or_default();
        let first = values.get(..row).unwrap_or_default();
        if values.chunks_exact(row.max(1)).all(|row| row == first) {
            return Self { values: first, tokens: row, queries: 1 };
        }
        Self { values, ..self }
    }
}
