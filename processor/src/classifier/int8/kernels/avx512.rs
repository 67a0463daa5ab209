//! Sixteen lanes of 32 bits in one register, and four products of bytes a lane in one instruction (AVX-512 VNNI).

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

/// Bytes are summed by four; 24 sums of a tile and three lines fill the 32 registers.
pub(in super::super) const LAYOUT: Layout = Layout { depth: 4, lines: LINES, filled: 16 };
const LINES: usize = 3;
const ROWS: usize = 8;
const WORDS: usize = 4;
const BLOCKS: usize = 2;
/// Rows that go through a block together.
const ROWS_IN_HAND: usize = 64;
/// Added to the scores of what is no token.
const BEYOND: f32 = -1e30;

lanes_in_one!();
lanes! {
    fn line(bytes: &Line) -> __m512i { bytemuck::cast(bytes.0) }
    fn products(sums: Sums, word: __m512i, weights: __m512i) -> Sums { _mm512_dpbusd_epi32(sums, word, weights) }
}
linear!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
products_in_registers!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
attention!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
blocks!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
