//! The tier of AMX with loops in the place of matrix registers, so that tests run the rest of it on CPUs that only have AVX-512.

#[allow(
    clippy::wildcard_imports,
    reason = "some forty intrinsics, each with a prefix of its own"
)]
use std::arch::x86_64::*;

use super::super::{
    tier::Factors,
    weights::{Columns, Heads, Layout, Line, Norm, Weights},
    work::{
        AttentionScratch, HIDDEN, Head, Mask, Place, Rounded, Rows, SHARE_STEPS, Scratch, Work,
        aligned, lines, reach, sized,
    },
};

/// What matrix registers would do, number by number.
struct Tiles;

impl Tiles {
    fn held() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "it stands for one that has registers")]
    fn sums<const R: usize, const C: usize>(
        &self,
        Factors { rows, words, lines }: Factors<'_>,
        into: &mut [Sums],
    ) {
        for column in 0..C {
            for (row, own) in rows.chunks_exact(words).take(16 * R).enumerate() {
                let mut sums = [0_i32; 16];
                for (word, Line(line)) in own.iter().zip(&lines[column * words..]) {
                    for (sum, weights) in sums.iter_mut().zip(line.as_chunks::<4>().0) {
                        for (value, weight) in word.to_le_bytes().into_iter().zip(weights) {
                            *sum += i32::from(value) * i32::from(weight.cast_signed());
                        }
                    }
                }
                into[column * 16 * R + row] = bytemuck::cast(sums);
            }
        }
    }
}

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
