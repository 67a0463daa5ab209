//! Counts between fixed edges, and the merging of bins too thin for a test.

use serde::{Deserialize, Serialize};

/// Most bins of one histogram.
pub const BINS_MAX: usize = 64;

/// Ascending edges: bin i holds `edges[i] <= x < edges[i + 1]`, the last one its right edge too. What lies outside counts
/// in the outermost bin, since a window may see what held-out data never had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Edges(Vec<f64>);

/// Why numbers are not edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEdges {
    /// Too few or too many.
    #[error("{0} edges, not 2 to 65")]
    Number(usize),
    /// Two in a row that do not ascend.
    #[error("edges that do not ascend")]
    Order,
}

impl Edges {
    /// Checks that there are bins and that the edges ascend.
    pub fn new(edges: Vec<f64>) -> Result<Self, InvalidEdges> {
        if !(2..=BINS_MAX + 1).contains(&edges.len()) {
            return Err(InvalidEdges::Number(edges.len()));
        }
        if !edges.is_sorted_by(|left, right| left < right) {
            return Err(InvalidEdges::Order);
        }
        Ok(Self(edges))
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.0.len() - 1
    }

    /// The bin of `value`; the first one if it is not a number.
    pub fn bin(&self, value: f64) -> usize {
        let inner = self.0.get(1..self.bins()).unwrap_or_default();
        inner.partition_point(|&edge| edge <= value)
    }
}

impl TryFrom<Vec<f64>> for Edges {
    type Error = InvalidEdges;

    fn try_from(edges: Vec<f64>) -> Result<Self, Self::Error> {
        Self::new(edges)
    }
}

impl From<Edges> for Vec<f64> {
    fn from(edges: Edges) -> Self {
        edges.0
    }
}

/// Two histograms on the same bins: what is compared, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Counts of the reference.
    pub reference: Vec<u64>,
    /// Counts of the window.
    pub observed: Vec<u64>,
}

/// Merges neighbouring bins until each of them expects `expected_min` of the window's counts or there is but one: what is
/// asymptotically chi-square is not so where nothing is expected (Cochran 1954, Some Methods for Strengthening the Common
/// Chi-Square Tests, section 2). Depends on the reference's shape and the window's size only, never on what the window saw.
pub fn merge_neighbours(reference: &[u64], observed: &[u64], expected_min: u64) -> Pair {
    let enough = Enough::new(reference, observed, expected_min);
    let mut pair = Pair { reference: Vec::new(), observed: Vec::new() };
    let (mut expected, mut seen) = (0, 0);
    for (&next_expected, &next_seen) in reference.iter().zip(observed) {
        expected += next_expected;
        seen += next_seen;
        if enough.holds(expected) {
            pair.push(std::mem::take(&mut expected), std::mem::take(&mut seen));
        }
    }
    // What is left over at the end is too thin for a bin of its own.
    pair.add_to_last(expected, seen);
    pair
}

/// Puts all categories that expect less than `expected_min` of the window's counts together into one, which comes last.
/// If even that one expects too little, it joins the smallest of the others, unless that is the only one: a single category
/// differs from nothing, and held-out data in one language would make any other invisible. The test is too sure of itself
/// then; what a signal must move by at the least keeps a handful of reviews from counting.
pub fn merge_rare(reference: &[u64], observed: &[u64], expected_min: u64) -> Pair {
    let enough = Enough::new(reference, observed, expected_min);
    let mut kept: Vec<(u64, u64)> = Vec::new();
    let (mut expected, mut seen) = (0, 0);
    for (&next_expected, &next_seen) in reference.iter().zip(observed) {
        if enough.holds(next_expected) {
            kept.push((next_expected, next_seen));
        } else {
            expected += next_expected;
            seen += next_seen;
        }
    }
    kept.sort_unstable_by_key(|&(expected, _)| std::cmp::Reverse(expected));
    let mut pair = Pair { reference: Vec::new(), observed: Vec::new() };
    for (expected, seen) in kept {
        pair.push(expected, seen);
    }
    if enough.holds(expected) || pair.reference.len() == 1 {
        pair.push(expected, seen);
    } else {
        pair.add_to_last(expected, seen);
    }
    pair
}

impl Pair {
    fn push(&mut self, reference: u64, observed: u64) {
        self.reference.push(reference);
        self.observed.push(observed);
    }

    fn add_to_last(&mut self, reference: u64, observed: u64) {
        match (self.reference.last_mut(), self.observed.last_mut()) {
            (Some(last_reference), Some(last_observed)) => {
                *last_reference += reference;
                *last_observed += observed;
            }
            _no_bin_yet => self.push(reference, observed),
        }
    }
}

/// Whether a bin of the reference expects enough of a window: `count / total * n >= expected_min`, without division.
struct Enough {
    observations: u128,
    bound: u128,
}

impl Enough {
    fn new(reference: &[u64], observed: &[u64], expected_min: u64) -> Self {
        let total = |counts: &[u64]| counts.iter().map(|&count| u128::from(count)).sum::<u128>();
        let bound = total(reference).saturating_mul(u128::from(expected_min));
        Self { observations: total(observed), bound }
    }

    fn holds(&self, count: u64) -> bool {
        0 < count && self.bound <= u128::from(count).saturating_mul(self.observations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_holds_its_left_edge_and_the_outermost_ones_hold_the_rest() {
        let edges = Edges::new(vec![0.0, 1.0, 2.0, 4.0]).unwrap();
        for (value, bin) in [(-9.0, 0), (0.0, 0), (0.99, 0), (1.0, 1), (2.0, 2), (4.0, 2), (9.0, 2)]
        {
            assert_eq!(edges.bin(value), bin, "{value}");
        }
        assert_eq!(edges.bin(f64::NAN), 0);
        assert_eq!(Edges::new(vec![0.0, 1.0]).unwrap().bin(5.0), 0);
    }

    #[test]
    fn edges_ascend_and_are_neither_few_nor_many() {
        for wrong in [vec![], vec![0.0], vec![1.0, 1.0], vec![0.0, f64::NAN], vec![0.0; 66]] {
            assert!(Edges::new(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn thin_neighbours_are_merged_and_nothing_is_lost() {
        let pair = merge_neighbours(&[1, 9, 40, 45, 5], &[0, 10, 50, 30, 10], 10);
        assert_eq!(pair, Pair { reference: vec![10, 40, 50], observed: vec![10, 50, 40] });
        let pair = merge_neighbours(&[1, 1], &[3, 4], 10);
        assert_eq!(pair, Pair { reference: vec![2], observed: vec![7] });
    }

    #[test]
    fn rare_categories_become_one_and_nothing_is_lost() {
        let pair = merge_rare(&[5, 60, 8, 27], &[10, 60, 10, 20], 10);
        assert_eq!(pair, Pair { reference: vec![60, 27, 13], observed: vec![60, 20, 20] });
        let pair = merge_rare(&[1, 60, 0, 39], &[5, 60, 5, 30], 10);
        assert_eq!(pair, Pair { reference: vec![60, 40], observed: vec![60, 40] });
    }

    #[test]
    fn one_category_is_still_compared_with_all_others() {
        let pair = merge_rare(&[0, 99, 1], &[8, 90, 2], 10);
        assert_eq!(pair, Pair { reference: vec![99, 1], observed: vec![90, 10] });
        // Too few to expect anything of anything.
        let pair = merge_rare(&[50, 50], &[1, 1], 10);
        assert_eq!(pair, Pair { reference: vec![100], observed: vec![2] });
    }
}
