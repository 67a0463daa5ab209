//! Splits a round into batches whose shapes the engine has plans for.
//!
//! A batch is a rectangle: every row is padded to the same length, so its cost is rows × length and not the sum of the
//! lengths. Sorting by length first keeps the padding small. Pure: no clock, no channel.

use std::num::NonZeroUsize;

use crate::classifier::{Shape, Shapes};

/// How large one batch may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most rows.
    pub rows_max: NonZeroUsize,
    /// Most tokens, padding included. A single longer text still gets a batch of its own.
    pub tokens_max: NonZeroUsize,
}

/// Texts that are inferred together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What the model computes.
    pub shape: Shape,
    /// Positions in the round, shortest text first; as many as the shape has rows.
    pub positions: Vec<usize>,
}

/// Assigns each text, given by its token count, to exactly one batch. Longest batches first: the round is then complete soonest,
/// because no thread begins the largest piece when the others are already done.
pub fn plan(token_counts: &[usize], shapes: &Shapes, limits: BatchLimits) -> Vec<Planned> {
    let mut shortest_first: Vec<(usize, usize)> =
        token_counts.iter().enumerate().map(|(position, &tokens)| (tokens, position)).collect();
    shortest_first.sort_unstable();

    let mut batches = Vec::new();
    let same_length =
        |a: &(usize, usize), b: &(usize, usize)| shapes.length_for(a.0) == shapes.length_for(b.0);
    for texts in shortest_first.chunk_by(same_length) {
        let tokens = shapes.length_for(texts.first().map_or(0, |&(tokens, _)| tokens));
        let rows_max = limits.rows_max.get().min(limits.tokens_max.get() / tokens.max(1)).max(1);
        let mut rest = texts;
        while !rest.is_empty() {
            // Every row of a shape is filled, so padding is only ever at the end of rows.
            let shape = shapes.shape_for(tokens, rows_max.min(rest.len()));
            let (now, later) = rest.split_at(shape.rows.clamp(1, rest.len()));
            let positions = now.iter().map(|&(_, position)| position).collect();
            batches.push(Planned { shape, positions });
            rest = later;
        }
    }
    batches.reverse();
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(rows_max: usize, tokens_max: usize) -> BatchLimits {
        BatchLimits {
            rows_max: NonZeroUsize::new(rows_max).unwrap(),
            tokens_max: NonZeroUsize::new(tokens_max).unwrap(),
        }
    }

    fn shapes() -> Shapes {
        let offered =
            [8, 16, 32].into_iter().flat_map(|tokens| [1, 4].map(|rows| Shape { tokens, rows }));
        Shapes::new(offered, 64)
    }

    #[track_caller]
    fn check(token_counts: &[usize], limits: BatchLimits, expected: &[(&str, &[usize])]) {
        let planned = plan(token_counts, &shapes(), limits);
        let shown: Vec<(String, &[usize])> = planned
            .iter()
            .map(|batch| (batch.shape.to_string(), batch.positions.as_slice()))
            .collect();
        let shown: Vec<(&str, &[usize])> =
            shown.iter().map(|(shape, positions)| (shape.as_str(), *positions)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn texts_go_with_their_likes() {
        check(&[], limits(8, 1_000), &[]);
        check(&[5], limits(8, 1_000), &[("1x8", &[0])]);
        check(
            &[30, 2, 30, 2, 30, 30],
            limits(8, 1_000),
            &[("4x32", &[0, 2, 4, 5]), ("1x8", &[3]), ("1x8", &[1])],
        );
        check(&[8, 8, 8, 8, 8], limits(8, 1_000), &[("1x8", &[4]), ("4x8", &[0, 1, 2, 3])]);
    }

    #[test]
    fn limits_make_batches_smaller_and_drop_nothing() {
        check(&[8, 8], limits(3, 1_000), &[("1x8", &[1]), ("1x8", &[0])]);
        check(&[32, 32], limits(8, 64), &[("1x32", &[1]), ("1x32", &[0])]);
        check(&[64], limits(8, 8), &[("1x64", &[0])]);
    }

    proptest! {
        #[test]
        fn every_text_lands_in_one_batch_within_limits(
            token_counts in prop::collection::vec(0_usize..=64, 0..200),
            rows_max in 1_usize..20,
            tokens_max in 1_usize..1_000,
        ) {
            let batches = plan(&token_counts, &shapes(), limits(rows_max, tokens_max));

            let mut positions: Vec<usize> =
                batches.iter().flat_map(|batch| batch.positions.clone()).collect();
            positions.sort_unstable();
            prop_assert_eq!(positions, (0..token_counts.len()).collect::<Vec<_>>());
            for batch in &batches {
                prop_assert!(shapes().iter().any(|shape| shape == batch.shape));
                prop_assert!(!batch.positions.is_empty());
                prop_assert_eq!(batch.positions.len(), batch.shape.rows);
                prop_assert!(batch.shape.rows <= rows_max);
                prop_assert!(batch.shape.rows == 1 || batch.shape.tokens_total() <= tokens_max);
                for &position in &batch.positions {
                    prop_assert!(token_counts[position] <= batch.shape.tokens);
                }
            }
        }
    }
}
