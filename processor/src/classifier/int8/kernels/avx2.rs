//! Eight lanes a register and no products of bytes: weights and activations are numbers of 16 bits, multiplied by two (AVX2).
//!
//! The instruction that multiplies bytes in AVX2 adds pairs in 16 bits and saturates: it would need activations or weights of
//! one bit less, and verdicts would differ from those of other CPUs.

#[allow(
    clippy::wildcard_imports,
    reason = "some forty intrinsics, each with a prefix of its own"
)]
use std::arch::x86_64::*;

use super::super::{
    weights::{Columns, Heads, Layout, Line, Norm, Weights},
    work::{
        AttentionScratch, HIDDEN, Head, Mask, Place, Rounded, Rows, SHARE_STEPS, Scratch, Work,
        aligned, lines, reach, sized,
    },
};

/// Numbers are summed by two; eight sums of a tile and two halves of a line fit the sixteen registers.
pub(in super::super) const LAYOUT: Layout = Layout { depth: 2, lines: LINES, filled: 16 };
const LINES: usize = 1;
const ROWS: usize = 4;
const WORDS: usize = 8;
const BLOCKS: usize = 1;
/// Rows that go through a block together.
const ROWS_IN_HAND: usize = 64;
/// Added to the scores of what is no token.
const BEYOND: f32 = -1e30;

lanes_in_halves!("avx2,fma");
halves! { "avx2,fma",
    fn to_bytes(values: Lanes) -> [i32; WORDS] { bytemuck::cast(to_shorts(values)) }
    fn products_of_pairs(sums: Sums, word: __m256i, line: Sums) -> Sums { products(sums, word, line) }
    fn products(sums: Sums, word: __m256i, weights: Sums) -> Sums {
        [
            _mm256_add_epi32(sums[0], _mm256_madd_epi16(word, weights[0])),
            _mm256_add_epi32(sums[1], _mm256_madd_epi16(word, weights[1])),
        ]
    }
}
linear!("avx2,fma");
products_in_registers!("avx2,fma");
attention!("avx2,fma");
blocks!("avx2,fma");
