//! Attention in float32: the share of the work is small, and scores are where rounding would be seen.

macro_rules! attention {
    ($features:literal) => {
        /// Attention of one sequence: queries, keys and values are rows of `inputs` at `stride`, the heads side by side.
        #[target_feature(enable = $features)]
        pub(super) fn attend(
            inputs: [&[f32]; 3],
            stride: usize,
            heads: Heads,
            mask: Mask<'_>,
            scratch: &mut AttentionScratch,
            output: &mut [f32],
        ) {
            let (tokens, width) = (mask.tokens, heads.count * heads.size);
            let blocks = tokens.div_ceil(16);
            let AttentionScratch { keys, scores, mask: masks } = scratch;
            let keys = lines(keys, blocks * heads.size);
            let scores = lines(scores, blocks * ROWS);
            let masks = lines(masks, blocks * mask.queries);
            spread(mask, masks, blocks);
            for head in 0..heads.count {
                let [queries, head_keys, values] = inputs.map(|input| &input[head * heads.size..]);
                turn(head_keys, stride, tokens, heads.size, keys);
                for first in (0..tokens).step_by(ROWS) {
                    let mut rows = [&queries[..0]; ROWS];
                    for (index, row) in rows.iter_mut().enumerate() {
                        *row = &queries[(first + index).min(tokens - 1) * stride..][..heads.size];
                    }
                    let mut at = 0;
                    while at + BLOCKS <= blocks {
                        score::<BLOCKS>(
                            &rows,
                            &keys[at * heads.size..],
                            heads.size,
                            &mut scores[at * ROWS..],
                        );
                        at += BLOCKS;
                    }
                    while at < blocks {
                        score::<1>(
                            &rows,
                            &keys[at * heads.size..],
                            heads.size,
                            &mut scores[at * ROWS..],
                        );
                        at += 1;
                    }
                    let mut shares = [0.0; ROWS];
                    for (index, share) in shares.iter_mut().enumerate() {
                        let row =
                            if mask.queries == 1 { 0 } else { (first + index).min(tokens - 1) };
                        *share =
                            soften(index, scores, &masks[row * blocks..][..blocks], heads.scale);
                    }
                    let into = &mut output[first * width + head * heads.size..];
                    let rows = ROWS.min(tokens - first);
                    let mut from = 0;
                    while from + 16 * BLOCKS <= heads.size {
                        weigh::<BLOCKS>(
                            scores,
                            &shares,
                            &values[from..],
                            stride,
                            tokens,
                            &mut into[from..],
                            width,
                            rows,
                        );
                        from += 16 * BLOCKS;
                    }
                    while from < heads.size {
                        weigh::<1>(
                            scores,
                            &shares,
                            &values[from..],
                            stride,
                            tokens,
                            &mut into[from..],
                            width,
                            rows,
                        );
                        from += 16;
                    }
                }
            }
        }

        /// Keys of one head with sixteen tokens side by side.
        #[target_feature(enable = $features)]
        #[inline]
        fn turn(keys: &[f32], stride: usize, tokens: usize, size: usize, into: &mut [[f32; 16]]) {
            for (block, into) in into.chunks_exact_mut(size).enumerate() {
                for lane in 0..16.min(tokens - block * 16) {
                    let key = &keys[(block * 16 + lane) * stride..][..size];
                    for (into, value) in into.iter_mut().zip(key) {
                        into[lane] = *value;
                    }
                }
            }
        }

        /// The mask as lines; what stands beyond the last token is masked.
        #[target_feature(enable = $features)]
        #[inline]
        fn spread(mask: Mask<'_>, into: &mut [[f32; 16]], blocks: usize) {
            into.fill([BEYOND; 16]);
            for (row, into) in
                mask.values.chunks_exact(mask.tokens).zip(into.chunks_exact_mut(blocks))
            {
                for (values, into) in row.chunks(16).zip(into) {
                    for (value, into) in values.iter().zip(into) {
                        *into = *value;
                    }
                }
            }
        }

        /// Products of the tile's queries with `N` blocks of keys.
        #[target_feature(enable = $features)]
        #[inline]
        fn score<const N: usize>(
            queries: &[&[f32]; ROWS],
            keys: &[[f32; 16]],
            size: usize,
            scores: &mut [[f32; 16]],
        ) {
            let mut sums = [[splat(0.0); N]; ROWS];
            let mut blocks = [&keys[..0]; N];
            for (index, block) in blocks.iter_mut().enumerate() {
                *block = &keys[index * size..][..size];
            }
            for query in queries {
                assert!(query.len() == size);
            }
            for dimension in 0..size {
                let mut lines = [splat(0.0); N];
                for (line, block) in lines.iter_mut().zip(&blocks) {
                    *line = load(&block[dimension]);
                }
                for (sums, query) in sums.iter_mut().zip(queries) {
                    let query = splat(query[dimension]);
                    for (sum, line) in sums.iter_mut().zip(lines) {
                        *sum = fused(query, line, *sum);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (block, sum) in sums.iter().enumerate() {
                    scores[block * ROWS + row] = store(*sum);
                }
            }
        }

        /// Makes the scores of the tile's `row` exponentials, the largest 1, and returns what makes them sum to one.
        #[target_feature(enable = $features)]
        #[inline]
        fn soften(row: usize, scores: &mut [[f32; 16]], mask: &[[f32; 16]], scale: f32) -> f32 {
            let scores = scores.as_chunks_mut::<ROWS>().0;
            let mut most = splat(f32::MIN);
            for (scores, mask) in scores.iter_mut().zip(mask) {
                let masked = fused(load(&scores[row]), splat(scale), load(mask));
                scores[row] = store(masked);
                most = maximum(most, masked);
            }
            let most = splat(largest(most));
            let mut sum = splat(0.0);
            for scores in scores {
                let raised = exponential(minus(load(&scores[row]), most));
                scores[row] = store(raised);
                sum = plus(sum, raised);
            }
            1.0 / total(sum)
        }

        /// The values that `rows` queries of the tile attend to, `16 N` columns of them.
        #[target_feature(enable = $features)]
        #[inline]
        #[expect(clippy::too_many_arguments, reason = "an inner loop, inlined")]
        fn weigh<const N: usize>(
            scores: &[[f32; 16]],
            shares: &[f32; ROWS],
            values: &[f32],
            stride: usize,
            tokens: usize,
            into: &mut [f32],
            width: usize,
            rows: usize,
        ) {
            let mut sums = [[splat(0.0); N]; ROWS];
            for (block, scores) in scores.as_chunks::<ROWS>().0.iter().enumerate() {
                for lane in 0..16.min(tokens - block * 16) {
                    let value =
                        values[(block * 16 + lane) * stride..][..16 * N].as_chunks::<16>().0;
                    let mut lines = [splat(0.0); N];
                    for (line, value) in lines.iter_mut().zip(value) {
                        *line = load(value);
                    }
                    for (sums, scores) in sums.iter_mut().zip(scores) {
                        let score = splat(scores[lane]);
                        for (sum, line) in sums.iter_mut().zip(lines) {
                            *sum = fused(score, line, *sum);
                        }
                    }
                }
            }
            for (row, (sums, share)) in sums.iter().zip(shares).enumerate().take(rows) {
                let into = into[row * width..][..16 * N].as_chunks_mut::<16>().0;
                for (into, sum) in into.iter_mut().zip(sums) {
                    *into = store(times(*sum, splat(*share)));
                }
            }
        }

        /// e^x for x of 0 and below, within a millionth of itself; never less than e^-87.
        #[target_feature(enable = $features)]
        #[inline]
        fn exponential(values: Lanes) -> Lanes {
            let powers = times(maximum(values, splat(-87.0)), splat(std::f32::consts::LOG2_E));
            let whole = floor(powers);
            let rest = minus(powers, whole);
            let mut sum = splat(1.877_576_7e-3);
            for coefficient in
                [8.989_34e-3, 5.582_631_8e-2, 2.401_536_1e-1, 6.931_531e-1, 9.999_999_4e-1]
            {
                sum = fused(sum, rest, splat(coefficient));
            }
            doubled(sum, whole)
        }
    };
}
