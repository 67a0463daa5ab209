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
            let even = reach(heads.size, None);
            let beside_shares = reach(mask.seen(), Some(SHARE_STEPS));
            for head in 0..heads.count {
                let from = head * heads.size;
                let of_head = |input: usize| Rows {
                    values: &inputs[input][from..],
                    stride,
                    width: heads.size,
                    count: tokens,
                };
                let (query_steps, query_scale) = steps_of(of_head(0), mask, even);
                let (key_steps, key_scale) = steps_of(of_head(1), mask, even);
                let (value_steps, value_scale) = steps_of(of_head(2), mask, beside_shares);
                into_words(of_head(0), query_steps, queries);
                turn(of_head(1), key_steps, keys);
                pair(of_head(2), value_steps, pairs, values);
                let head = Head {
                    queries,
                    keys,
                    values,
                    masks,
                    blocks,
                    words,
                    pairs,
                    mask_rows: mask.queries,
                    scale: query_scale * key_scale * heads.scale * std::f32::consts::LOG2_E,
                    value_scale,
                };
                let mut first = 0;
                while first < tokens {
                    let into = &mut output[first * width + from..];
                    let left = tokens - first;
                    first +=
                        by_quarters!(left, attend_rows(&head, first, scores, shares, into, width));
                }
            }
        }

        /// What up to `N` queries from the `first` one on attend to.
        #[target_feature(enable = $features)]
        fn attend_rows<const N: usize>(
            head: &Head<'_>,
            first: usize,
            scores: &mut [[f32; 16]],
            shares: &mut [i32],
            into: &mut [f32],
            width: usize,
        ) {
            let &Head { words, pairs, blocks, .. } = head;
            let tokens = head.queries.len() / words;
            let count = N.min(tokens - first);
            // The last tile may be short: its last row is done again and dropped.
            let mut rows = [&head.queries[..0]; N];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = &head.queries[(first + index).min(tokens - 1) * words..][..words];
            }
            let mut masks = [&head.masks[..0]; N];
            for (index, mask) in masks.iter_mut().enumerate() {
                let row = (first + index).min(head.mask_rows - 1);
                *mask = &head.masks[row * blocks..][..blocks];
            }
            let scores = &mut scores.as_chunks_mut::<N>().0[..blocks];
            let mut most = [splat(f32::MIN); N];
            let mut at = 0;
            while at + BLOCKS <= blocks {
                score::<N, BLOCKS>(&rows, head, at, &masks, scores, &mut most);
                at += BLOCKS;
            }
            while at < blocks {
                score::<N, 1>(&rows, head, at, &masks, scores, &mut most);
                at += 1;
            }
            let scales = soften(scores, most, head, &mut shares[..N * pairs]);
            let mut rows = [&shares[..0]; N];
            for (row, shares) in rows.iter_mut().zip(shares.chunks_exact(pairs)) {
                *row = shares;
            }
            let mut from = 0;
            let size = 2 * words;
            while from + 16 * BLOCKS <= size {
                let values = &head.values[from / 16 * pairs..];
                weigh::<N, BLOCKS>(&rows, values, &scales[..count], &mut into[from..], width);
                from += 16 * BLOCKS;
            }
            while from < size {
                let values = &head.values[from / 16 * pairs..];
                weigh::<N, 1>(&rows, values, &scales[..count], &mut into[from..], width);
                from += 16;
            }
        }

        /// What `rows` are multiplied by to be integers up to `reach`, and what such an integer stands for.
        ///
        /// Padding has no say in it, so that a text is the same whatever it is padded to. What of it does not fit is cut off, or wraps
        /// around in a sum, and has a share of zero.
        #[target_feature(enable = $features)]
        fn steps_of(rows: Rows<'_>, mask: Mask<'_>, reach: f32) -> (f32, f32) {
            let (mut low, mut high) = ([splat(0.0); 2], [splat(0.0); 2]);
            // Zero, unless one of the values is no number: least and most do not tell.
            let mut nothing = [splat(0.0); 2];
            for token in 0..rows.count {
                if mask.hides(token) {
                    continue;
                }
                let (doubles, last) = rows.row(token).as_chunks::<2>();
                for double in doubles {
                    for side in 0..2 {
                        let values = load(&double[side]);
                        low[side] = minimum(low[side], values);
                        high[side] = maximum(high[side], values);
                        nothing[side] = fused(values, splat(0.0), nothing[side]);
                    }
                }
                for values in last {
                    low[0] = minimum(low[0], load(values));
                    high[0] = maximum(high[0], load(values));
                    nothing[0] = fused(load(values), splat(0.0), nothing[0]);
                }
            }
            let low = minimum(low[0], low[1]);
            let high = maximum(high[0], high[1]);
            let most = largest(maximum(high, minus(splat(0.0), low))).max(1e-12);
            (reach / most, most / reach + total(plus(nothing[0], nothing[1])))
        }

        /// Two values a word.
        #[target_feature(enable = $features)]
        fn into_words(rows: Rows<'_>, steps: f32, into: &mut [i32]) {
            for (token, into) in into.chunks_exact_mut(rows.width / 2).enumerate() {
                for (values, words) in rows.row(token).iter().zip(into.as_chunks_mut().0) {
                    *words = to_words(rounded(times(load(values), splat(steps))));
                }
            }
        }

        /// Keys of one head with sixteen tokens side by side: a line for each word.
        #[target_feature(enable = $features)]
        fn turn(rows: Rows<'_>, steps: f32, into: &mut [[i32; 16]]) {
            for token in 0..rows.count {
                let words = rows.width / 2;
                let into = &mut into[token / 16 * words..][..words];
                for (values, into) in rows.row(token).iter().zip(into.as_chunks_mut::<8>().0) {
                    let words = to_words(rounded(times(load(values), splat(steps))));
                    for (line, word) in into.iter_mut().zip(words) {
                        line[token % 16] = word;
                    }
                }
            }
        }

        /// Values of one head with two tokens in a word: for sixteen columns, a line for each pair of tokens. Zero beyond the last.
        #[target_feature(enable = $features)]
        fn pair(rows: Rows<'_>, steps: f32, pairs: usize, into: &mut [[i32; 16]]) {
            for (column, into) in into.chunks_exact_mut(pairs).enumerate() {
                for (at, into) in into.iter_mut().enumerate() {
                    let mut both = [no_sums(); 2];
                    for (side, integers) in both.iter_mut().enumerate() {
                        let token = 2 * at + side;
                        if token < rows.count {
                            let values = load(&rows.row(token)[column]);
                            *integers = rounded(times(values, splat(steps)));
                        }
                    }
                    *into = joined(both[0], both[1]);
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

        /// Scores of the tile's queries on `B` blocks of keys from block `at` on, masked, and the largest in each lane.
        #[target_feature(enable = $features)]
        #[inline]
        fn score<const N: usize, const B: usize>(
            queries: &[&[i32]; N],
            head: &Head<'_>,
            at: usize,
            masks: &[&[[f32; 16]]; N],
            scores: &mut [[[f32; 16]; N]],
            most: &mut [Lanes; N],
        ) {
            let sums = sums_of_pairs::<N, B>(queries, &head.keys[at * head.words..]);
            for (block, scores) in scores[at..][..B].iter_mut().enumerate() {
                for row in 0..N {
                    let mask = load(&masks[row][at + block]);
                    let masked = fused(to_floats(sums[row][block]), splat(head.scale), mask);
                    scores[row] = store(masked);
                    most[row] = maximum(most[row], masked);
                }
            }
        }

        /// Shares of the tile's rows: powers of two of their scores, the largest of them [`SHARE_STEPS`]. Returns what the values that
        /// they weigh are to be multiplied by.
        ///
        /// One step for all rows after the other: a row's own steps wait for each other.
        #[target_feature(enable = $features)]
        #[inline]
        fn soften<const N: usize>(
            scores: &[[[f32; 16]; N]],
            most: [Lanes; N],
            head: &Head<'_>,
            shares: &mut [i32],
        ) -> [f32; N] {
            let mut peaks = [0.0; N];
            for (peak, most) in peaks.iter_mut().zip(most) {
                *peak = largest(most);
            }
            let mut sums = [no_sums(); N];
            for (block, scores) in scores.iter().enumerate() {
                let each = scores.iter().zip(&peaks).zip(&mut sums);
                for (row, ((scores, peak), sum)) in each.enumerate() {
                    let share = rounded(power(minus(load(scores), splat(*peak))));
                    let shares = &mut shares[row * head.pairs..][..head.pairs];
                    shares.as_chunks_mut().0[block] = to_words(share);
                    *sum = added(*sum, share);
                }
            }
            let mut scales = [0.0; N];
            for (scale, sum) in scales.iter_mut().zip(sums) {
                *scale = head.value_scale / total(to_floats(sum));
            }
            scales
        }

        /// The values that queries of the tile attend to, `16 B` columns of them.
        #[target_feature(enable = $features)]
        #[inline]
        fn weigh<const N: usize, const B: usize>(
            shares: &[&[i32]; N],
            values: &[[i32; 16]],
            scales: &[f32],
            into: &mut [f32],
            width: usize,
        ) {
            let sums = sums_of_pairs::<N, B>(shares, values);
            for (row, (sums, scale)) in sums.iter().zip(scales).enumerate() {
                let into = into[row * width..][..16 * B].as_chunks_mut::<16>().0;
                for (into, sum) in into.iter_mut().zip(sums) {
                    *into = store(times(to_floats(*sum), splat(*scale)));
                }
            }
        }

        /// Sums of `rows` times `B` blocks of sixteen columns, one after the other, of as many lines as a row has words.
        #[target_feature(enable = $features)]
        #[inline]
        fn sums_of_pairs<const N: usize, const B: usize>(
            rows: &[&[i32]; N],
            lines: &[[i32; 16]],
        ) -> [[Sums; B]; N] {
            let words = rows[0].len();
            let mut blocks = [&lines[..0]; B];
            for (index, block) in blocks.iter_mut().enumerate() {
                *block = &lines[index * words..][..words];
            }
            for row in rows {
                assert!(row.len() == words);
            }
            let mut sums = [[no_sums(); B]; N];
            for word in 0..words {
                let mut lines = [no_sums(); B];
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

        /// [`SHARE_STEPS`] times 2^x for x of 0 and below, within three millionths of itself; what rounds to zero for x below -30 and for what
        /// is no number, so that such a row's shares sum to zero and it is none either. The coefficients are those that make the largest relative
        /// error least (Lawson's algorithm).
        #[target_feature(enable = $features)]
        #[inline]
        fn power(values: Lanes) -> Lanes {
            let (whole, rest) = parts(values);
            let mut sum = splat(0.013_534_168 * SHARE_STEPS);
            for coefficient in [0.052_011_46, 0.241_442_76, 0.693_003_83, 1.000_002_6] {
                sum = fused(sum, rest, splat(coefficient * SHARE_STEPS));
            }
            doubled(sum, whole)
        }
    };
}
