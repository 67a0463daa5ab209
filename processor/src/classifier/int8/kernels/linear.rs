//! Rows times a matrix in integers.
//!
//! Activations are rounded row by row to 0..=255 with a zero point of their own, so that what is never far below zero (the
//! output of GELU) loses no step to it. `sum((a - zero) * w)` is `sum(a * w) - zero * sum(w)`, and the last sum is known.

macro_rules! linear {
    ($features:literal) => {
        /// Rounds `rows` of `width`.
        #[target_feature(enable = $features)]
        pub(super) fn round(rows: &[f32], width: usize, into: &mut Rounded) {
            let words_per_row = width.next_multiple_of(LAYOUT.filled) / LAYOUT.depth;
            let count = rows.len() / width;
            into.words_per_row = words_per_row;
            // Whole tiles of sixteen rows: what stands in the last one's other rows is multiplied and dropped.
            let room = count.next_multiple_of(16) * words_per_row;
            let words = aligned(&mut into.memory, room).chunks_exact_mut(words_per_row);
            let scales = sized(&mut into.scales, count).iter_mut();
            let zeros = sized(&mut into.zeros, count).iter_mut();
            for (((row, words), scale), zero) in
                rows.chunks_exact(width).zip(words).zip(scales).zip(zeros)
            {
                let (whole, rest) = row.as_chunks::<16>();
                let rest = if rest.is_empty() { None } else { Some(part(rest)) };
                // Zero is among the values, so that padding and the zero point are exact.
                let (mut low, mut high) = ([splat(0.0); 2], [splat(0.0); 2]);
                // Zero, unless one of the values is no number: least and most do not tell.
                let mut nothing = [splat(0.0); 2];
                let (pairs, last) = whole.as_chunks::<2>();
                for pair in pairs {
                    for side in 0..2 {
                        let values = load(&pair[side]);
                        low[side] = minimum(low[side], values);
                        high[side] = maximum(high[side], values);
                        nothing[side] = fused(values, splat(0.0), nothing[side]);
                    }
                }
                for values in last.iter().chain(&rest) {
                    low[0] = minimum(low[0], load(values));
                    high[0] = maximum(high[0], load(values));
                    nothing[0] = fused(load(values), splat(0.0), nothing[0]);
                }
                let low = smallest(minimum(low[0], low[1]));
                let range = (largest(maximum(high[0], high[1])) - low).max(1e-12);
                let steps = 255.0 / range;
                let at_zero = (-low * steps).round_ties_even();
                let (steps, at_zero_lanes) = (splat(steps), splat(at_zero));
                let words = words.as_chunks_mut::<WORDS>().0;
                for (values, words) in whole.iter().chain(&rest).zip(words) {
                    *words = to_bytes(fused(load(values), steps, at_zero_lanes));
                }
                *scale = range / 255.0 + total(plus(nothing[0], nothing[1]));
                #[expect(clippy::cast_possible_truncation, reason = "0 to 255")]
                let whole = at_zero as i32;
                *zero = whole | whole << 23;
            }
        }

        /// What the sums of a row and a panel stand for, in their place.
        #[target_feature(enable = $features)]
        #[inline]
        fn put_row<const GELU: bool, const RESIDUAL: bool>(
            sums: &[Sums; LINES],
            columns: &[Columns; LINES],
            rounded: &Rounded,
            Place { row, column, outputs, .. }: Place,
            residual: &[f32],
            output: &mut [f32],
        ) {
            let (scales, zeros) =
                ([splat(rounded.scales[row]); LINES], [rounded.zeros[row]; LINES]);
            let values = finish::<GELU, LINES>(*sums, columns.each_ref(), scales, zeros);
            let place = row * outputs + column..row * outputs + column + LINES * 16;
            let beside = if RESIDUAL { &residual[place.clone()] } else { &residual[..0] };
            let (beside, into) = (beside.as_chunks().0, &mut output[place]);
            for (line, into) in into.as_chunks_mut().0.iter_mut().enumerate() {
                let values =
                    if RESIDUAL { plus(values[line], load(&beside[line])) } else { values[line] };
                *into = store(values);
            }
        }

        /// The same of a panel that is wider than what is left of the row.
        #[target_feature(enable = $features)]
        fn put_part<const GELU: bool, const RESIDUAL: bool>(
            sums: &[Sums; LINES],
            columns: &[Columns; LINES],
            rounded: &Rounded,
            Place { row, column, outputs, .. }: Place,
            residual: &[f32],
            output: &mut [f32],
        ) {
            let (scales, zeros) =
                ([splat(rounded.scales[row]); LINES], [rounded.zeros[row]; LINES]);
            let values = finish::<GELU, LINES>(*sums, columns.each_ref(), scales, zeros);
            let at = row * outputs + column;
            let width = (outputs - column).min(LINES * 16);
            let into = &mut output[at..at + width];
            let beside = if RESIDUAL { &residual[at..at + width] } else { &residual[..0] };
            for (line, (into, mut values)) in into.chunks_mut(16).zip(values).enumerate() {
                if RESIDUAL {
                    values = plus(values, any(&beside[line * 16..][..into.len()]));
                }
                put(values, into);
            }
        }

        /// Sums of sixteen columns each as what they stand for, with bias and GELU: each step for all of them, as one's steps wait for
        /// each other.
        #[target_feature(enable = $features)]
        #[inline]
        fn finish<const GELU: bool, const N: usize>(
            sums: [Sums; N],
            columns: [&Columns; N],
            scales: [Lanes; N],
            zeros: [i32; N],
        ) -> [Lanes; N] {
            let mut values = [splat(0.0); N];
            for index in 0..N {
                let Columns { less, scale, bias } = columns[index];
                let sums = products_of_pairs(sums[index], broadcast(zeros[index]), words_of(less));
                let scale = times(load(scale), scales[index]);
                values[index] = fused(to_floats(sums), scale, load(bias));
            }
            if GELU { gelu(values) } else { values }
        }

        /// x Phi(x), where Phi(x) - 1/2 is an odd polynomial up to four and constant beyond: within 2e-4 up to eight and
        /// 2e-5 |x| beyond, a hundredth of what rounding the result to 8 bits does. The coefficients are those that make the largest error least (Lawson's algorithm).
        /// No division: it takes as long as ten multiplications.
        #[target_feature(enable = $features)]
        #[inline]
        fn gelu<const N: usize>(values: [Lanes; N]) -> [Lanes; N] {
            let near = values.map(|values| maximum(minimum(values, splat(4.0)), splat(-4.0)));
            let square = near.map(|near| times(near, near));
            let mut sums = [splat(2.278_096_7e-8); N];
            for coefficient in [
                -1.598_578_6e-6,
                4.795_505_4e-5,
                -0.000_814_011_1,
                0.008_772_368,
                -0.064_573_064,
                0.397_883_33,
            ] {
                for (sum, square) in sums.iter_mut().zip(square) {
                    *sum = fused(*sum, square, splat(coefficient));
                }
            }
            let mut all = values;
            for ((values, near), sum) in all.iter_mut().zip(near).zip(sums) {
                *values = times(*values, fused(near, sum, splat(0.5)));
            }
            all
        }

        /// Up to sixteen values, zeros after them.
        #[target_feature(enable = $features)]
        #[inline]
        fn part(values: &[f32]) -> [f32; 16] {
            let mut lanes = [0.0; 16];
            for (lane, value) in lanes.iter_mut().zip(values) {
                *lane = *value;
            }
            lanes
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn any(values: &[f32]) -> Lanes {
            match <&[f32; 16]>::try_from(values) {
                Ok(whole) => load(whole),
                Err(_) => load(&part(values)),
            }
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn put(values: Lanes, into: &mut [f32]) {
            match <&mut [f32; 16]>::try_from(&mut *into) {
                Ok(whole) => *whole = store(values),
                Err(_) => {
                    for (into, value) in into.iter_mut().zip(store(values)) {
                        *into = value;
                    }
                }
            }
        }

        /// Lane 0 of a tree over eight lanes: halves, quarters, eighths. The same order in every tier.
        #[target_feature(enable = $features)]
        #[inline]
        fn reduced(values: __m256, both: impl Fn(__m128, __m128) -> __m128) -> f32 {
            let four = both(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
            let two = both(four, _mm_movehl_ps(four, four));
            let one = both(two, _mm_shuffle_ps::<0b01>(two, two));
            _mm_cvtss_f32(one)
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn smallest(values: Lanes) -> f32 {
            let [low, high] = split(values);
            reduced(_mm256_min_ps(low, high), |a, b| _mm_min_ps(a, b))
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn largest(values: Lanes) -> f32 {
            let [low, high] = split(values);
            reduced(_mm256_max_ps(low, high), |a, b| _mm_max_ps(a, b))
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn total(values: Lanes) -> f32 {
            let [low, high] = split(values);
            reduced(_mm256_add_ps(low, high), |a, b| _mm_add_ps(a, b))
        }
    };
}

/// Products of which the sums stay in registers.
macro_rules! products_in_registers {
    ($features:literal) => {
        /// `output = rounded x weights`, scaled, with the bias, and GELU or a residual of the output's shape.
        #[target_feature(enable = $features)]
        pub(super) fn multiply<const GELU: bool, const RESIDUAL: bool>(
            rounded: &Rounded,
            weights: &Weights,
            residual: &[f32],
            output: &mut [f32],
        ) {
            let (steps, words, outputs) = (weights.steps(), rounded.words_per_row, weights.outputs);
            let count = output.len() / outputs;
            assert!(
                words == steps
                    && count * words <= rounded.words().len()
                    && (!RESIDUAL || residual.len() == output.len())
            );
            let columns = weights.columns().as_chunks::<LINES>().0;
            for (panel, (lines, columns)) in weights.panels().zip(columns).enumerate() {
                let lines = &lines.as_chunks::<LINES>().0[..steps];
                let mut first = 0;
                while first < count {
                    let column = panel * LINES * 16;
                    let place = Place { row: first, count, column, outputs };
                    let left = count - first;
                    first += by_quarters!(
                        left,
                        multiply_rows::<GELU, RESIDUAL>(
                            rounded, lines, columns, place, residual, output
                        )
                    );
                }
            }
        }

        /// Up to `N` rows times the columns of one panel.
        #[target_feature(enable = $features)]
        fn multiply_rows<const N: usize, const GELU: bool, const RESIDUAL: bool>(
            rounded: &Rounded,
            lines: &[[Line; LINES]],
            columns: &[Columns; LINES],
            place: Place,
            residual: &[f32],
            output: &mut [f32],
        ) {
            let Place { row: first, count, column, outputs } = place;
            let words = rounded.words_per_row;
            let all = rounded.words();
            let mut rows = [&all[..0]; N];
            for (index, row) in rows.iter_mut().enumerate() {
                // The last tile may be short: its last row is multiplied again and dropped.
                *row = &all[(first + index).min(count - 1) * words..][..words];
            }
            let sums = tile(rows, lines);
            let place = |index: usize| Place { row: first + index, ..place };
            if N <= count - first && column + LINES * 16 <= outputs {
                // All bounds are known here, so the sums need not leave their registers.
                for index in 0..N {
                    put_row::<GELU, RESIDUAL>(
                        &sums[index],
                        columns,
                        rounded,
                        place(index),
                        residual,
                        output,
                    );
                }
                return;
            }
            for (index, sums) in sums.iter().enumerate().take(count - first) {
                put_part::<GELU, RESIDUAL>(sums, columns, rounded, place(index), residual, output);
            }
        }

        /// Sums of one tile: `N` rows times the columns of [`LINES`] lines.
        #[target_feature(enable = $features)]
        #[inline]
        fn tile<const N: usize>(rows: [&[i32]; N], lines: &[[Line; LINES]]) -> [[Sums; LINES]; N] {
            let mut sums = [[no_sums(); LINES]; N];
            for row in rows {
                assert!(row.len() == lines.len());
            }
            for (step, lines) in lines.iter().enumerate() {
                let mut weights = [line(&lines[0]); LINES];
                for (weights, bytes) in weights.iter_mut().zip(lines) {
                    *weights = line(bytes);
                }
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    let word = broadcast(row[step]);
                    for (sums, weights) in sums.iter_mut().zip(weights) {
                        *sums = products(*sums, word, weights);
                    }
                }
            }
            sums
        }
    };
}
