//! Attention, in integers of 16 bits: rounding them is not seen beside that of the bytes around them, and two products are summed in one
//! instruction where float32 does one.
//!
//! Queries, keys and values of a head and a sequence have a scale each, and softmax is in float32. Sums of 32 bits never
//! overflow: with [`reach`](super::super::work::reach) steps on either side not even those of largest magnitudes do.

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
            // Two numbers of 16 bits are a word: of a query or key, and of a query's shares or a column of values.
            let (words, pairs) = (heads.size / 2, blocks * 8);
            let AttentionScratch { queries, keys, values, scores, shares, mask: masks } = scratch;
            let queries = sized(queries, tokens * words);
            let keys = lines(keys, blocks * words);
            let values = lines(values, heads.size / 16 * pairs);
            let scores = lines(scores, blocks * ROWS);
            let shares = sized(shares, ROWS * pairs);
            let masks = lines(masks, blocks * mask.queries);
            spread(mask, masks, blocks);
            for head in 0..heads.count {
                let head_rows = |input: usize| {
                    let rows = inputs[input][head * heads.size..].chunks(stride);
                    rows.take(tokens).map(|row| &row[..heads.size])
                };
                let even = reach(heads.size, None);
                // Padding has no say in the scales, so that a text is the same whatever it is padded to. What of it does not fit is cut
                // off, or wraps around in a sum, and has a share of zero.
                let counted = |input: usize| {
                    let rows = head_rows(input).enumerate();
                    rows.filter(|(token, _)| !mask.hides(*token)).map(|(_, row)| row)
                };
                let (query_steps, query_scale) = steps_of(counted(0), even);
                let (key_steps, key_scale) = steps_of(counted(1), even);
                let (value_steps, value_scale) =
                    steps_of(counted(2), reach(mask.seen(), Some(SHARE_STEPS)));
                for (row, words) in head_rows(0).zip(queries.chunks_exact_mut(words)) {
                    into_words(row, query_steps, words);
                }
                turn(head_rows(1), key_steps, words, keys);
                pair(head_rows(2), value_steps, pairs, values);
                let scale = query_scale * key_scale * heads.scale * std::f32::consts::LOG2_E;
                for first in (0..tokens).step_by(ROWS) {
                    let mut rows = [&queries[..0]; ROWS];
                    for (index, row) in rows.iter_mut().enumerate() {
                        *row = &queries[(first + index).min(tokens - 1) * words..][..words];
                    }
                    let mut at = 0;
                    while at + BLOCKS <= blocks {
                        score::<BLOCKS>(&rows, &keys[at * words..], &mut scores[at * ROWS..]);
                        at += BLOCKS;
                    }
                    while at < blocks {
                        score::<1>(&rows, &keys[at * words..], &mut scores[at * ROWS..]);
                        at += 1;
                    }
                    let mut scales = [0.0; ROWS];
                    for (index, of_row) in scales.iter_mut().enumerate() {
                        let row =
                            if mask.queries == 1 { 0 } else { (first + index).min(tokens - 1) };
                        let masks = &masks[row * blocks..][..blocks];
                        let shares = &mut shares[index * pairs..][..pairs];
                        *of_row = value_scale / soften(index, scores, masks, scale, shares);
                    }
                    let mut rows = [&shares[..0]; ROWS];
                    for (row, shares) in rows.iter_mut().zip(shares.chunks_exact(pairs)) {
                        *row = shares;
                    }
                    let into = &mut output[first * width + head * heads.size..];
                    let scales = &scales[..ROWS.min(tokens - first)];
                    let mut from = 0;
                    while from + 16 * BLOCKS <= heads.size {
                        let values = &values[from / 16 * pairs..];
                        weigh::<BLOCKS>(&rows, values, scales, &mut into[from..], width);
                        from += 16 * BLOCKS;
                    }
                    while from < heads.size {
                        let values = &values[from / 16 * pairs..];
                        weigh::<1>(&rows, values, scales, &mut into[from..], width);
                        from += 16;
                    }
                }
            }
        }

        /// What `rows` are multiplied by to be integers up to `reach`, and what such an integer stands for.
        #[target_feature(enable = $features)]
        #[inline]
        fn steps_of<'a>(rows: impl Iterator<Item = &'a [f32]>, reach: f32) -> (f32, f32) {
            let (mut low, mut high, mut nothing) = (splat(0.0), splat(0.0), splat(0.0));
            for row in rows {
                for values in row.as_chunks::<16>().0 {
                    let values = load(values);
                    low = minimum(low, values);
                    high = maximum(high, values);
                    // Zero, unless one of the values is no number: least and most do not tell.
                    nothing = fused(values, splat(0.0), nothing);
                }
            }
            let most = largest(maximum(high, minus(splat(0.0), low))).max(1e-12);
            (reach / most, most / reach + total(nothing))
        }

        /// One row, two values a word.
        #[target_feature(enable = $features)]
        #[inline]
        fn into_words(row: &[f32], steps: f32, words: &mut [i32]) {
            for (values, words) in row.as_chunks::<16>().0.iter().zip(words.as_chunks_mut().0) {
                *words = to_words(rounded(times(load(values), splat(steps))));
            }
        }

        /// Keys of one head with sixteen tokens side by side: a line for each word.
        #[target_feature(enable = $features)]
        #[inline]
        fn turn<'a>(
            keys: impl Iterator<Item = &'a [f32]>,
            steps: f32,
            words: usize,
            into: &mut [[i32; 16]],
        ) {
            for (token, key) in keys.enumerate() {
                let into = &mut into[token / 16 * words..][..words];
                let values = key.as_chunks::<16>().0;
                for (values, into) in values.iter().zip(into.as_chunks_mut::<8>().0) {
                    let words = to_words(rounded(times(load(values), splat(steps))));
                    for (line, word) in into.iter_mut().zip(words) {
                        line[token % 16] = word;
                    }
                }
            }
        }

        /// Values of one head with two tokens in a word: for sixteen columns, a line for each pair of tokens. Zero beyond the last.
        #[target_feature(enable = $features)]
        #[inline]
        fn pair<'a>(
            mut rows: impl Iterator<Item = &'a [f32]>,
            steps: f32,
            pairs: usize,
            into: &mut [[i32; 16]],
        ) {
            for at in 0..pairs {
                let [first, second] = [rows.next(), rows.next()]
                    .map(|row| row.unwrap_or_default().as_chunks::<16>().0);
                for (column, into) in into.iter_mut().skip(at).step_by(pairs).enumerate() {
                    let [first, second] = [first, second].map(|row| match row.get(column) {
                        Some(values) => times(load(values), splat(steps)),
                        None => splat(0.0),
                    });
                    *into = joined(rounded(first), rounded(second));
                }
            }
        }

        /// The mask as lines, for scores that are powers of two; what stands beyond the last token is masked.
        #[target_feature(enable = $features)]
        #[inline]
        fn spread(mask: Mask<'_>, into: &mut [[f32; 16]], blocks: usize) {
            into.fill([BEYOND; 16]);
            for (row, into) in
                mask.values.chunks_exact(mask.tokens).zip(into.chunks_exact_mut(blocks))
            {
                for (values, into) in row.chunks(16).zip(into) {
                    for (value, into) in values.iter().zip(into) {
                        if HIDDEN <= *value {
                            *into = *value * std::f32::consts::LOG2_E;
                        }
                    }
                }
            }
        }

        /// Products of the tile's queries with `N` blocks of keys.
        #[target_feature(enable = $features)]
        #[inline]
        fn score<const N: usize>(
            queries: &[&[i32]; ROWS],
            keys: &[[i32; 16]],
            scores: &mut [[f32; 16]],
        ) {
            for (row, sums) in sums_of_pairs::<N>(queries, keys).iter().enumerate() {
                for (block, sum) in sums.iter().enumerate() {
                    scores[block * ROWS + row] = store(to_floats(*sum));
                }
            }
        }

        /// Shares of the tile's `row`: powers of two of its scores, the largest of them [`SHARE_STEPS`]. Returns what they sum to.
        #[target_feature(enable = $features)]
        #[inline]
        fn soften(
            row: usize,
            scores: &mut [[f32; 16]],
            mask: &[[f32; 16]],
            scale: f32,
            shares: &mut [i32],
        ) -> f32 {
            let scores = scores.as_chunks_mut::<ROWS>().0;
            let mut most = splat(f32::MIN);
            for (scores, mask) in scores.iter_mut().zip(mask) {
                let masked = fused(load(&scores[row]), splat(scale), load(mask));
                scores[row] = store(masked);
                most = maximum(most, masked);
            }
            let most = splat(largest(most));
            let mut sum = no_sums();
            for (scores, shares) in scores.iter().zip(shares.as_chunks_mut().0) {
                let share = rounded(power(minus(load(&scores[row]), most)));
                *shares = to_words(share);
                sum = added(sum, share);
            }
            total(to_floats(sum))
        }

        /// The values that queries of the tile attend to, `16 N` columns of them.
        #[target_feature(enable = $features)]
        #[inline]
        fn weigh<const N: usize>(
            shares: &[&[i32]; ROWS],
            values: &[[i32; 16]],
            scales: &[f32],
            into: &mut [f32],
            width: usize,
        ) {
            let sums = sums_of_pairs::<N>(shares, values);
            for (row, (sums, scale)) in sums.iter().zip(scales).enumerate() {
                let into = into[row * width..][..16 * N].as_chunks_mut::<16>().0;
                for (into, sum) in into.iter_mut().zip(sums) {
                    *into = store(times(to_floats(*sum), splat(*scale)));
                }
            }
        }

        /// Sums of `rows` times `N` blocks of sixteen columns, one after the other, of as many lines as a row has words.
        #[target_feature(enable = $features)]
        #[inline]
        fn sums_of_pairs<const N: usize>(
            rows: &[&[i32]; ROWS],
            lines: &[[i32; 16]],
        ) -> [[Sums; N]; ROWS] {
            let words = rows[0].len();
            let mut blocks = [&lines[..0]; N];
            for (index, block) in blocks.iter_mut().enumerate() {
                *block = &lines[index * words..][..words];
            }
            for row in rows {
                assert!(row.len() == words);
            }
            let mut sums = [[no_sums(); N]; ROWS];
            for word in 0..words {
                let mut lines = [no_sums(); N];
                for (line, block) in lines.iter_mut().zip(&blocks) {
                    *line = words_of(&block[word]);
                }
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let word = broadcast(row[word]);
                    for (sum, line) in sums.iter_mut().zip(lines) {
                        *sum = products_of_pairs(*sum, word, line);
                    }
                }
            }
            sums
        }

        /// [`SHARE_STEPS`] times 2^x for x of 0 and below, within three millionths of itself; for x below -30 nothing that would not be
        /// rounded to zero. The coefficients are those that make the largest relative error least (Lawson's algorithm).
        #[target_feature(enable = $features)]
        #[inline]
        fn power(values: Lanes) -> Lanes {
            let values = maximum(values, splat(-30.0));
            let whole = floor(values);
            let rest = minus(values, whole);
            let mut sum = splat(0.013_534_168);
            for coefficient in [0.052_011_46, 0.241_442_76, 0.693_003_83, 1.000_002_6] {
                sum = fused(sum, rest, splat(coefficient));
            }
            doubled(sum, plus(whole, splat(SHARE_BITS)))
        }
    };
}
