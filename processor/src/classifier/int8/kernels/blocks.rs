//! A layer's two halves: a few rows at a time go through all of one, so that what lies between stays in the cache.

macro_rules! blocks {
    ($features:literal) => {
        /// Does one piece of a network.
        #[target_feature(enable = $features)]
        pub(in super::super) fn run(work: Work<'_>, scratch: &mut Scratch) {
            match work {
                Work::Linear { rows, weights, gelu, output } => {
                    for (rows, output) in rows
                        .chunks(ROWS_IN_HAND * weights.inputs)
                        .zip(output.chunks_mut(ROWS_IN_HAND * weights.outputs))
                    {
                        round(rows, weights.inputs, &mut scratch.rounded);
                        if gelu {
                            multiply::<true, false>(&scratch.rounded, weights, &[], output);
                        } else {
                            multiply::<false, false>(&scratch.rounded, weights, &[], output);
                        }
                    }
                }
                Work::Norm { rows, residual, norm } => normalise_in_place(rows, residual, norm),
                Work::Attention { inputs, heads, mask, output } => {
                    let (width, tokens) = (heads.count * heads.size, mask.tokens);
                    for (position, output) in output.chunks_exact_mut(tokens * width).enumerate() {
                        let inputs = inputs.map(|input| &input[position * tokens * width..]);
                        attend(
                            inputs,
                            width,
                            heads,
                            mask.of(position),
                            &mut scratch.attention,
                            output,
                        );
                    }
                }
                Work::AttentionBlock { rows, qkv, heads, mask, out, norm } => {
                    let sequence = mask.tokens * qkv.inputs;
                    let sequences = (ROWS_IN_HAND / mask.tokens).max(1);
                    for (index, rows) in rows.chunks_mut(sequences * sequence).enumerate() {
                        let position = index * sequences;
                        attention_block(rows, position, [qkv, out], heads, mask, norm, scratch);
                    }
                }
                Work::FeedForward { rows, up, down, norm } => {
                    for rows in rows.chunks_mut(ROWS_IN_HAND * up.inputs) {
                        let count = rows.len() / up.inputs;
                        let wide = aligned(&mut scratch.wide, count * up.outputs);
                        let narrow = aligned(&mut scratch.narrow, rows.len());
                        round(rows, up.inputs, &mut scratch.rounded);
                        multiply::<true, false>(&scratch.rounded, up, &[], wide);
                        round(wide, up.outputs, &mut scratch.rounded);
                        multiply::<false, true>(&scratch.rounded, down, rows, narrow);
                        normalise(narrow, norm, rows);
                    }
                }
            }
        }

        /// The attention half for the sequences in `rows`, the first of which is at `position` in the batch.
        #[target_feature(enable = $features)]
        fn attention_block(
            rows: &mut [f32],
            position: usize,
            [qkv, out]: [&Weights; 2],
            heads: Heads,
            mask: Mask<'_>,
            norm: &Norm,
            scratch: &mut Scratch,
        ) {
            let (tokens, width) = (mask.tokens, qkv.inputs);
            let inner = heads.count * heads.size;
            let count = rows.len() / width;
            let Scratch { rounded, wide, narrow, attention } = scratch;
            let wide = aligned(wide, count * qkv.outputs);
            round(rows, width, rounded);
            multiply::<false, false>(rounded, qkv, &[], wide);
            let mixed = aligned(narrow, count * inner.max(width));
            let sequences = wide.chunks_exact(tokens * qkv.outputs);
            for (index, (wide, mixed)) in
                sequences.zip(mixed.chunks_exact_mut(tokens * inner)).enumerate()
            {
                let inputs = [wide, &wide[inner..], &wide[2 * inner..]];
                attend(inputs, qkv.outputs, heads, mask.of(position + index), attention, mixed);
            }
            round(&mixed[..count * inner], inner, rounded);
            let narrow = &mut mixed[..rows.len()];
            multiply::<false, true>(rounded, out, rows, narrow);
            normalise(narrow, norm, rows);
        }

        #[target_feature(enable = $features)]
        fn normalise_in_place(rows: &mut [f32], residual: &[f32], norm: &Norm) {
            let width = norm.gain.len();
            for (index, row) in rows.chunks_exact_mut(width).enumerate() {
                if let Some(residual) = residual.get(index * width..(index + 1) * width) {
                    for (value, residual) in row.iter_mut().zip(residual) {
                        *value += residual;
                    }
                }
                let (mean, scale) = moments(row, norm.epsilon);
                for (values, (gain, shift)) in
                    row.chunks_mut(16).zip(norm.gain.chunks(16).zip(norm.shift.chunks(16)))
                {
                    let centred = times(minus(any(values), splat(mean)), splat(scale));
                    put(fused(centred, any(gain), any(shift)), values);
                }
            }
        }

        /// Layer normalisation of each of `rows`.
        #[target_feature(enable = $features)]
        fn normalise(rows: &[f32], norm: &Norm, into: &mut [f32]) {
            let width = norm.gain.len();
            for (row, into) in rows.chunks_exact(width).zip(into.chunks_exact_mut(width)) {
                let (mean, scale) = moments(row, norm.epsilon);
                let (mean, scale) = (splat(mean), splat(scale));
                let (whole, rest) = row.as_chunks::<16>();
                let (into, into_rest) = into.as_chunks_mut::<16>();
                let (gains, gains_rest) = norm.gain.as_chunks::<16>();
                let (shifts, shifts_rest) = norm.shift.as_chunks::<16>();
                for ((values, into), (gain, shift)) in
                    whole.iter().zip(into).zip(gains.iter().zip(shifts))
                {
                    let centred = times(minus(load(values), mean), scale);
                    *into = store(fused(centred, load(gain), load(shift)));
                }
                if !rest.is_empty() {
                    let centred = times(minus(any(rest), mean), scale);
                    put(fused(centred, any(gains_rest), any(shifts_rest)), into_rest);
                }
            }
        }

        /// Mean of a row, and one over its standard deviation.
        #[target_feature(enable = $features)]
        #[inline]
        fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
            let (whole, rest) = row.as_chunks::<16>();
            let mut sums = [splat(0.0); 4];
            for values in whole.chunks(4) {
                for (sum, values) in sums.iter_mut().zip(values) {
                    *sum = plus(*sum, load(values));
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a width")]
            let width = row.len() as f32;
            let mut sum = total(plus(plus(sums[0], sums[1]), plus(sums[2], sums[3])));
            for value in rest {
                sum += value;
            }
            let mean = sum / width;
            let mut sums = [splat(0.0); 4];
            for values in whole.chunks(4) {
                for (sum, values) in sums.iter_mut().zip(values) {
                    let away = minus(load(values), splat(mean));
                    *sum = fused(away, away, *sum);
                }
            }
            let mut sum = total(plus(plus(sums[0], sums[1]), plus(sums[2], sums[3])));
            for value in rest {
                sum += (value - mean) * (value - mean);
            }
            (mean, 1.0 / (sum / width + epsilon).sqrt())
        }
    };
}
