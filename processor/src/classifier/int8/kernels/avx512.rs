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
pub(in super::super) const LAYOUT: Layout = Layout { depth: 4, lines: LINES };
const LINES: usize = 3;
const ROWS: usize = 8;
const WORDS: usize = 4;
const BLOCKS: usize = 2;
/// Rows that go through a block together.
const ROWS_IN_HAND: usize = 64;
/// Added to the scores of what is no token.
const BEYOND: f32 = -1e30;

type Lanes = __m512;
type Sums = __m512i;

macro_rules! lanes {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block)*) => { $(
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
        #[inline]
        fn $name($($argument: $kind),*) -> $result $body
    )* };
}

lanes! {
    fn load(values: &[f32; 16]) -> Lanes { bytemuck::cast(*values) }
    fn store(values: Lanes) -> [f32; 16] { bytemuck::cast(values) }
    fn splat(value: f32) -> Lanes { _mm512_set1_ps(value) }
    fn plus(a: Lanes, b: Lanes) -> Lanes { _mm512_add_ps(a, b) }
    fn minus(a: Lanes, b: Lanes) -> Lanes { _mm512_sub_ps(a, b) }
    fn times(a: Lanes, b: Lanes) -> Lanes { _mm512_mul_ps(a, b) }
    fn fused(a: Lanes, b: Lanes, c: Lanes) -> Lanes { _mm512_fmadd_ps(a, b, c) }
    fn minimum(a: Lanes, b: Lanes) -> Lanes { _mm512_min_ps(a, b) }
    fn maximum(a: Lanes, b: Lanes) -> Lanes { _mm512_max_ps(a, b) }
    // The whole part and what is left, by subtraction: the instruction for the latter rounds another way. What is no number is -60.
    fn parts(a: Lanes) -> (Lanes, Lanes) {
        let a = maximum(a, splat(-60.0));
        let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a);
        (whole, minus(a, whole))
    }
    fn doubled(a: Lanes, times: Lanes) -> Lanes { _mm512_scalef_ps(a, times) }
    fn split(a: Lanes) -> [__m256; 2] { [_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)] }
    fn to_floats(sums: Sums) -> Lanes { _mm512_cvtepi32_ps(sums) }
    fn to_bytes(values: Lanes) -> [i32; WORDS] {
        let whole = _mm512_max_epi32(_mm512_cvtps_epi32(values), _mm512_setzero_si512());
        bytemuck::cast(_mm512_cvtusepi32_epi8(whole))
    }
    fn no_sums() -> Sums { _mm512_setzero_si512() }
    fn without(sums: Sums, zero: i32, columns: &[i32; 16]) -> Sums {
        _mm512_sub_epi32(sums, _mm512_mullo_epi32(_mm512_set1_epi32(zero), bytemuck::cast(*columns)))
    }
    fn broadcast(word: i32) -> __m512i { _mm512_set1_epi32(word) }
    fn line(bytes: &Line) -> __m512i { bytemuck::cast(bytes.0) }
    // Sixteen integers of 16 bits, in order, two a word.
    fn to_words(values: Sums) -> [i32; 8] { bytemuck::cast(_mm512_cvtsepi32_epi16(values)) }
    // One of 16 bits of either in each word.
    fn joined(first: Sums, second: Sums) -> [i32; 16] {
        bytemuck::cast(_mm512_mask_blend_epi16(0xaaaa_aaaa, first, _mm512_slli_epi32::<16>(second)))
    }
    fn rounded(values: Lanes) -> Sums { _mm512_cvtps_epi32(values) }
    fn added(a: Sums, b: Sums) -> Sums { _mm512_add_epi32(a, b) }
    fn words_of(line: &[i32; 16]) -> Sums { bytemuck::cast(*line) }
    fn products_of_pairs(sums: Sums, word: __m512i, line: Sums) -> Sums { _mm512_dpwssd_epi32(sums, word, line) }
    fn products(sums: Sums, word: __m512i, weights: __m512i) -> Sums { _mm512_dpbusd_epi32(sums, word, weights) }
}

linear!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
attention!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
blocks!("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma");
