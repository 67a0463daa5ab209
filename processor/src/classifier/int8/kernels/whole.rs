//! Sixteen lanes in one register of 512 bits.

macro_rules! lanes {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block)*) => { $(
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")]
        #[inline]
        fn $name($($argument: $kind),*) -> $result $body
    )* };
}

/// What is the same with and without AMX.
macro_rules! lanes_in_one {
    () => {
        type Lanes = __m512;
        type Sums = __m512i;

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
            fn broadcast(word: i32) -> __m512i { _mm512_set1_epi32(word) }
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
        }
    };
}
