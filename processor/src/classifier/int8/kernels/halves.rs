//! Sixteen lanes in two registers of 256 bits, for CPUs without AVX-512.

macro_rules! halves {
    ($features:literal, $(fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty $body:block)*) => { $(
        #[target_feature(enable = $features)]
        #[inline]
        fn $name($($argument: $kind),*) -> $result $body
    )* };
}

/// What is the same with and without AVX-VNNI.
macro_rules! lanes_in_halves {
    ($features:literal) => {
        type Lanes = [__m256; 2];
        type Sums = [__m256i; 2];

        halves! { $features,
            fn load(values: &[f32; 16]) -> Lanes { bytemuck::cast(*values) }
            fn store(values: Lanes) -> [f32; 16] { bytemuck::cast(values) }
            fn splat(value: f32) -> Lanes { [_mm256_set1_ps(value); 2] }
            fn plus(a: Lanes, b: Lanes) -> Lanes { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
            fn minus(a: Lanes, b: Lanes) -> Lanes { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
            fn times(a: Lanes, b: Lanes) -> Lanes { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
            fn fused(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
                [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])]
            }
            fn minimum(a: Lanes, b: Lanes) -> Lanes { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
            fn maximum(a: Lanes, b: Lanes) -> Lanes { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
            // The whole part and what is left. What is no number is -60, which `doubled` still makes a normal number of.
            fn parts(a: Lanes) -> (Lanes, Lanes) {
                let a = maximum(a, splat(-60.0));
                let whole = [
                    _mm256_round_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a[0]),
                    _mm256_round_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a[1]),
                ];
                (whole, minus(a, whole))
            }
            fn doubled(a: Lanes, times: Lanes) -> Lanes { [doubled_half(a[0], times[0]), doubled_half(a[1], times[1])] }
            // a * 2^times, where 2^times is a normal number.
            fn doubled_half(a: __m256, times: __m256) -> __m256 {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(times), _mm256_set1_epi32(127));
                _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
            }
            fn split(a: Lanes) -> [__m256; 2] { a }
            fn to_floats(sums: Sums) -> Lanes { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
            // Sixteen integers of 16 bits, 0 to 255, in order.
            fn to_shorts(values: Lanes) -> __m256i {
                let packed = _mm256_packs_epi32(_mm256_cvtps_epi32(values[0]), _mm256_cvtps_epi32(values[1]));
                let bounded = _mm256_max_epi16(_mm256_min_epi16(packed, _mm256_set1_epi16(255)), _mm256_setzero_si256());
                _mm256_permute4x64_epi64::<0b11_01_10_00>(bounded)
            }
            // Sixteen integers of 16 bits, in order, two a word.
            fn to_words(values: Sums) -> [i32; 8] {
                let packed = _mm256_packs_epi32(values[0], values[1]);
                bytemuck::cast(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed))
            }
            // One of 16 bits of either in each word.
            fn joined(first: Sums, second: Sums) -> [i32; 16] {
                let half = |index: usize| {
                    _mm256_blend_epi16::<0b1010_1010>(first[index], _mm256_slli_epi32::<16>(second[index]))
                };
                bytemuck::cast([half(0), half(1)])
            }
            fn rounded(values: Lanes) -> Sums { [_mm256_cvtps_epi32(values[0]), _mm256_cvtps_epi32(values[1])] }
            fn added(a: Sums, b: Sums) -> Sums { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
            fn words_of(line: &[i32; 16]) -> Sums { bytemuck::cast(*line) }
            fn no_sums() -> Sums { [_mm256_setzero_si256(); 2] }
            fn broadcast(word: i32) -> __m256i { _mm256_set1_epi32(word) }
            fn line(bytes: &Line) -> Sums { bytemuck::cast(bytes.0) }
        }
    };
}

/// Four bytes a lane, as AVX-VNNI multiplies them.
macro_rules! bytes_in_halves {
    ($features:literal) => {
        halves! { $features,
            fn to_bytes(values: Lanes) -> [i32; WORDS] {
                let shorts = to_shorts(values);
                let packed = _mm_packus_epi16(_mm256_castsi256_si128(shorts), _mm256_extracti128_si256::<1>(shorts));
                bytemuck::cast(packed)
            }
        }
    };
}
