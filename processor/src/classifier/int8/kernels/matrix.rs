//! Products of which the sums are made in matrix registers, and finished in the others.
//!
//! The two do not work at the same time: both multiply on the same ports. So first come all products of a tile, then what is made of them.

macro_rules! products_in_matrices {
    ($features:literal) => {
        /// `output = rounded x weights`, scaled, with the bias, and GELU or a residual of the output's shape.
        #[target_feature(enable = $features)]
        fn multiply<const GELU: bool, const RESIDUAL: bool>(
            rounded: &Rounded,
            weights: &Weights,
            residual: &[f32],
            output: &mut [f32],
        ) {
            let (words, outputs) = (rounded.words_per_row, weights.outputs);
            let count = output.len() / outputs;
            assert!(words == weights.steps() && (!RESIDUAL || residual.len() == output.len()));
            let tiles = Tiles::held();
            let mut sums = [no_sums(); TILE_ROWS * 2];
            let (lines, columns) = (weights.lines(), weights.columns().as_chunks::<LINES>().0);
            for first in (0..count).step_by(TILE_ROWS) {
                let rows = &rounded.words()[first * words..];
                let is_double = 16 < count - first;
                for (pair, columns) in columns.chunks(2).enumerate() {
                    let factors = Factors { rows, words, lines: &lines[2 * pair * words..] };
                    // Four registers of sums at a time where there are as many: one waits for three others.
                    match (is_double, columns.len()) {
                        (true, 2) => tiles.sums::<2, 2>(factors, &mut sums),
                        (true, _) => tiles.sums::<2, 1>(factors, &mut sums),
                        (false, 2) => tiles.sums::<1, 2>(factors, &mut sums),
                        (false, _) => tiles.sums::<1, 1>(factors, &mut sums),
                    }
                    let tile = if is_double { TILE_ROWS } else { TILE_ROWS / 2 };
                    for (index, (columns, sums)) in
                        columns.iter().zip(sums.chunks(tile)).enumerate()
                    {
                        let place =
                            Place { row: first, count, column: (2 * pair + index) * 16, outputs };
                        put_rows::<GELU, RESIDUAL>(sums, columns, rounded, place, residual, output);
                    }
                }
            }
        }

        /// What sums of sixteen columns stand for, a line for each row, in their place.
        #[target_feature(enable = $features)]
        #[inline]
        fn put_rows<const GELU: bool, const RESIDUAL: bool>(
            sums: &[Sums],
            columns: &[Columns; LINES],
            rounded: &Rounded,
            place: Place,
            residual: &[f32],
            output: &mut [f32],
        ) {
            let Place { row: first, count, column, outputs } = place;
            let rows = sums.len().min(count - first);
            let is_whole = column + 16 <= outputs;
            let together = if is_whole { rows / TOGETHER } else { 0 };
            for (index, sums) in sums.as_chunks::<TOGETHER>().0.iter().enumerate().take(together) {
                let first = first + index * TOGETHER;
                let own = &rounded.scales[first..][..TOGETHER];
                let mut scales = [splat(0.0); TOGETHER];
                for (scale, own) in scales.iter_mut().zip(own) {
                    *scale = splat(*own);
                }
                let own = &rounded.zeros[first..][..TOGETHER];
                let mut zeros = [0; TOGETHER];
                zeros.copy_from_slice(own);
                let values =
                    finish::<GELU, TOGETHER>(*sums, [&columns[0]; TOGETHER], scales, zeros);
                let all = first * outputs + column..(first + TOGETHER - 1) * outputs + column + 16;
                let beside = if RESIDUAL { &residual[all.clone()] } else { &residual[..0] };
                let into = &mut output[all];
                for (row, mut values) in values.into_iter().enumerate() {
                    let place = row * outputs..row * outputs + 16;
                    if RESIDUAL {
                        values = plus(values, any(&beside[place.clone()]));
                    }
                    put(values, &mut into[place]);
                }
            }
            for (index, sums) in sums.iter().enumerate().take(rows).skip(together * TOGETHER) {
                let place = Place { row: first + index, ..place };
                if is_whole {
                    put_row::<GELU, RESIDUAL>(&[*sums], columns, rounded, place, residual, output);
                } else {
                    put_part::<GELU, RESIDUAL>(&[*sums], columns, rounded, place, residual, output);
                }
            }
        }
    };
}
