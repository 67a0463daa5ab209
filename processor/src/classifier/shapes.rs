//! The batch shapes that an engine has plans for: a few lengths, and a few row counts for each.
//!
//! A plan knows its shape: tract picks kernels by cost only when the size of a product is a number and not a symbol. So
//! texts are padded to the next length. Rows are not padded: what does not fill a shape goes into smaller ones.

use std::fmt;

/// The shape of one model call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// Token ids in each row, padding included.
    pub tokens: usize,
    /// Rows, padding included.
    pub rows: usize,
}

/// The shapes on offer, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shapes(Vec<Shape>);

impl Shape {
    /// Token ids that the model computes, padding included.
    pub fn tokens_total(self) -> usize {
        self.rows.saturating_mul(self.tokens)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.rows, self.tokens)
    }
}

impl Shapes {
    /// Every shape in `offered` that is of use to a model which reads `tokens_max` ids, and each of their lengths with one row,
    /// `tokens_max` included: so there is a shape for every text and for every number of rows.
    pub fn new(offered: impl IntoIterator<Item = Shape>, tokens_max: usize) -> Self {
        let is_of_use = |shape: &Shape| 0 < shape.rows && (1..=tokens_max).contains(&shape.tokens);
        let mut shapes: Vec<Shape> = offered.into_iter().filter(is_of_use).collect();
        shapes.push(Shape { tokens: tokens_max, rows: 1 });
        let lone: Vec<Shape> = shapes.iter().map(|shape| Shape { rows: 1, ..*shape }).collect();
        shapes.extend(lone);
        shapes.sort_unstable();
        shapes.dedup();
        Self(shapes)
    }

    /// All of them, shortest first, fewest rows first.
    pub fn iter(&self) -> impl Iterator<Item = Shape> + '_ {
        self.0.iter().copied()
    }

    /// The length that a text of `tokens` ids is padded to; the longest there is for one that is longer still.
    pub fn length_for(&self, tokens: usize) -> usize {
        let longest = self.0.last().map_or(1, |shape| shape.tokens);
        self.iter().map(|shape| shape.tokens).find(|&length| tokens <= length).unwrap_or(longest)
    }

    /// The shape of length `tokens` with the most rows that does not exceed `rows_max`; one row where there is none.
    pub fn shape_for(&self, tokens: usize, rows_max: usize) -> Shape {
        let allowed = self.iter().filter(|shape| shape.tokens == tokens && shape.rows <= rows_max);
        allowed.last().unwrap_or(Shape { tokens, rows: 1 })
    }
}
