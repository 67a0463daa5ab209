//! Sixteen lanes in one register, and sixteen rows of a matrix in another: products of bytes of sixteen rows and sixteen columns in one
//! instruction (AMX).

#[allow(
    clippy::wildcard_imports,
    reason = "some forty intrinsics, each with a prefix of its own"
)]
use std::arch::x86_64::*;

use super::super::{
    tier::{Factors, Tiles},
    weights::{Columns, Heads, Layout, Norm, Weights},
    work::{
        AttentionScratch, HIDDEN, Head, Mask, Place, Rounded, Rows, SHARE_STEPS, Scratch, Work,
        aligned, lines, reach, sized,
    },
};

/// A matrix register holds 64 rows of a matrix in sixteen rows of its own.
pub(in super::super) const LAYOUT: Layout = Layout { depth: 4, lines: LINES, filled: 64 };
const LINES: usize = 1;
const ROWS: usize = 8;
const WORDS: usize = 4;
const BLOCKS: usize = 2;
/// Rows that go through a block together.
const ROWS_IN_HAND: usize = 128;
/// Sums that are finished together.
const TOGETHER: usize = 4;
/// Rows that are multiplied together: two registers of them, times two of columns.
const TILE_ROWS: usize = 32;
/// Added to the scores of what is no token.
const BEYOND: f32 = -1e30;

lanes_in_one!();
linear!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
attention!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
products_in_matrices!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
blocks!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
