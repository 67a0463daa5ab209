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
    /// Memory of [`aligned`]: see [`Rounded::words`].
    pub(super) memory: Vec<i32>,
    pub(super) words_per_row: usize,
    pub(super) scales: Vec<f32>,
    /// As two numbers of 16 bits: itself, and 128 times itself above.
    pub(super) zeros: Vec<i32>,
}

impl Rounded {
    /// Row after row.
    pub(super) fn words(&self) -> &[i32] {
        self.memory.get(to_line(&self.memory)..).unwrap_or_default()
    }
}

/// Where a tile of a product lies: its first row of `count`, its first column of `outputs`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) count: usize,
    pub(super) column: usize,
    pub(super) outputs: usize,
}

/// Rows of one head among those of all heads, `stride` apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    /// A multiple of sixteen.
    pub(super) width: usize,
    pub(super) count: usize,
}

impl<'a> Rows<'a> {
    /// The row of a token, by sixteen.
    pub(super) fn row(&self, token: usize) -> &'a [[f32; 16]] {
        let from = token * self.stride;
        self.values.get(from..from + self.width).unwrap_or_default().as_chunks().0
    }
}

/// One head of one sequence in integers: see [`AttentionScratch`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) queries: &'a [i32],
    pub(super) keys: &'a [[i32; 16]],
    pub(super) values: &'a [[i32; 16]],
    pub(super) masks: &'a [[f32; 16]],
    /// Lines of a row of the mask.
    pub(super) blocks: usize,
    /// Of a query or a key.
    pub(super) words: usize,
    /// Of tokens.
    pub(super) pairs: usize,
    /// 1 where all queries share a row of the mask.
    pub(super) mask_rows: usize,
    /// What an integer score stands for, as the power of two that it is made.
    pub(super) scale: f32,
    /// What an integer of the values stands for.
    pub(super) value_scale: f32,
}

/// What attention works in, for one head of one sequence. Two numbers of 16 bits are a word.
#[derive(Debug, Default)]
pub(super) struct AttentionScratch {
    /// A row of words for each query.
    pub(super) queries: Vec<i32>,
    /// For each block of sixteen keys, a line for each of their words.
    pub(super) keys: Vec<i32>,
    /// For each sixteen columns of the values, a line for each two tokens.
    pub(super) values: Vec<i32>,
    /// For each block of keys, a line of scores for each query of the tile.
    pub(super) scores: Vec<f32>,
    /// For each query of the tile, how much it takes of each token's values, in [`SHARE_STEPS`].
    pub(super) shares: Vec<i32>,
    /// For each row of the mask, a line for each block of keys.
    pub(super) mask: Vec<f32>,
}

/// The largest share of a query in integers: that leaves the values of 512 tokens 9 bits, and those of 64 tokens 12.
pub(super) const SHARE_STEPS: f32 = 8192.0;

/// Up to which magnitude integers of 16 bits may go, so that a sum of `count` products fits 32 bits: of two such integers, or of one and
/// another up to `other`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small numbers, and ones below 2^31"
)]
pub(super) fn reach(count: usize, other: Option<f32>) -> f32 {
    let each = i32::MAX as usize / count.max(1);
    let reach = match other {
        Some(other) => each / other as usize,
        None => each.isqrt(),
    };
    reach.clamp(1, i16::MAX as usize) as f32
}

/// Memory that is used again from call to call, as large as the largest needed.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) rounded: Rounded,
    pub(super) wide: Vec<f32>,
    pub(super) narrow: Vec<f32>,
    pub(super) attention: AttentionScratch,
}

/// What is added to the score of a token that is not to be seen is less. Exporters add -10,000 to the scores of padding, or the least number there is.
pub(super) const HIDDEN: f32 = -5_000.0;

/// The first `length` of `buffer`, which grows if it has to.
pub(super) fn sized<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    buffer.split_at_mut(length).0
}

/// The same, of numbers of 32 bits, from where a cache line begins: loads of sixteen lanes would otherwise touch two.
pub(super) fn aligned<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    let spare = sized(buffer, length + 16);
    let at = to_line(spare);
    spare.split_at_mut(at).1.split_at_mut(length).0
}

/// How many of `buffer` lie before a cache line begins.
fn to_line<T>(buffer: &[T]) -> usize {
    buffer.as_ptr().align_offset(64).min(16)
}

/// Lines of sixteen, each in one cache line.
pub(super) fn lines<T: Copy + Default>(buffer: &mut Vec<T>, count: usize) -> &mut [[T; 16]] {
    aligned(buffer, count * 16).as_chunks_mut::<16>().0
}

impl Mask<'_> {
    /// Whether no query of the sequence sees `token`: scores are never so far apart that it could have a share.
    pub(super) fn hides(self, token: usize) -> bool {
        self.queries == 1 && self.values.get(token).is_some_and(|value| *value < HIDDEN)
    }

    /// How many tokens of the sequence may have a share.
    pub(super) fn seen(self) -> usize {
        (0..self.tokens).filter(|token| !self.hides(*token)).count()
    }

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
