//! The tier of AVX-VNNI with AVX-512's spelling of its one instruction, so that tests run it on CPUs that only have that.

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

/// Bytes are summed by four; eight sums of a tile and two halves of a line fit the sixteen registers.
pub(in super::super) const LAYOUT: Layout = Layout { depth: 4, lines: LINES, filled: 16 };
const LINES: usize = 1;
const ROWS: usize = 4;
const WORDS: usize = 4;
const BLOCKS: usize = 1;
/// Rows that go through a block together.
const ROWS_IN_HAND: usize = 64;
/// Added to the scores of what is no token.
const BEYOND: f32 = -1e30;

lanes_in_halves!("avx2,fma,avx512f,avx512vl,avx512vnni");
bytes_in_halves!("avx2,fma,avx512f,avx512vl,avx512vnni");
halves! { "avx2,fma,avx512f,avx512vl,avx512vnni",
    fn products_of_pairs(sums: Sums, word: __m256i, line: Sums) -> Sums {
        [_mm256_dpwssd_epi32(sums[0], word, line[0]), _mm256_dpwssd_epi32(sums[1], word, line[1])]
    }
    fn products(sums: Sums, word: __m256i, weights: Sums) -> Sums {
        [_mm256_dpbusd_epi32(sums[0], word, weights[0]), _mm256_dpbusd_epi32(sums[1], word, weights[1])]
    }
}
linear!("avx2,fma,avx512f,avx512vl,avx512vnni");
products_in_registers!("avx2,fma,avx512f,avx512vl,avx512vnni");
attention!("avx2,fma,avx512f,avx512vl,avx512vnni");
blocks!("avx2,fma,avx512f,avx512vl,avx512vnni");
