//! Which of many counts rose, where each is small: a word that stands in far more reviews than it did.

use std::collections::BTreeMap;

use super::{Comparable, Incomparable};
use crate::{
    number::{count, real, share},
    tail,
};

/// Two samples: of how many reviews, and in how many of these each word is.
#[derive(Clone, Copy, Debug)]
pub struct Occurrences<'a> {
    /// Reviews.
    pub n: u64,
    /// Reviews by bucket.
    pub counts: &'a [u64],
}

/// The bucket whose count rose most surprisingly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rise {
    /// Which one.
    pub bucket: usize,
    /// Its share of the reference's reviews.
    pub reference: f64,
    /// Its share of the window's reviews.
    pub observed: f64,
    /// Probability that any bucket of a clean window rose as surprisingly: that of this one, times buckets (Bonferroni 1936).
    pub p: f64,
}

impl Rise {
    /// The rise of `observed` over `reference`; none where nothing rose.
    ///
    /// Given both counts of a bucket together, the window's is binomial with the window's part of all reviews (the C-test:
    /// Przyborowski & Wilenski 1940, Homogeneity of Results in Testing Samples from Poisson Series), one-sided. Counts of
    /// reviews are less dispersed than Poisson's, so it errs on the side of silence.
    pub fn of(
        reference: Occurrences<'_>,
        observed: Occurrences<'_>,
    ) -> Result<Option<Self>, Incomparable> {
        let pair = Comparable::new(reference.counts, observed.counts)?;
        let part = share(observed.n, reference.n.saturating_add(observed.n));
        // Of buckets with one count in the reference, that with the largest in the window is the most surprising, so that few
        // tails are computed.
        let mut largest: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
        for (bucket, (before, now)) in pair.counts().enumerate() {
            if share(before, reference.n) < share(now, observed.n) {
                let found = largest.entry(before).or_insert((now, bucket));
                if found.0 < now {
                    *found = (now, bucket);
                }
            }
        }
        let buckets = real(count(reference.counts.len()));
        let rises = largest.into_iter().map(|(before, (now, bucket))| Self {
            bucket,
            reference: share(before, reference.n),
            observed: share(now, observed.n),
            p: (buckets * tail::binomial(now, before.saturating_add(now), part))
                .clamp(f64::MIN_POSITIVE, 1.0),
        });
        Ok(rises.min_by(|one, other| {
            one.p.total_cmp(&other.p).then(other.difference().total_cmp(&one.difference()))
        }))
    }

    /// `-log10 p`: larger is more surprising, and never infinite.
    pub fn score(&self) -> f64 {
        (-self.p.log10()).max(0.0)
    }

    /// The score that a clean window exceeds with probability `alpha` at most. Infinite where there is none.
    pub fn threshold(alpha: f64) -> f64 {
        if 0.0 < alpha && alpha < 1.0 { -alpha.log10() } else { f64::INFINITY }
    }

    /// By how much its share rose.
    pub fn difference(&self) -> f64 {
        self.observed - self.reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rise(reference: &[u64], observed: &[u64]) -> Option<Rise> {
        let sample = |n, counts| Occurrences { n, counts };
        Rise::of(sample(1_000, reference), sample(500, observed)).unwrap()
    }

    #[test]
    fn the_most_surprising_rise_is_found() {
        let found = rise(&[10, 0, 40, 1], &[5, 20, 40, 2]).unwrap();
        assert_eq!(found.bucket, 1);
        assert!((found.difference() - 0.04).abs() < 1e-12);
        // Twenty of twenty in a third of all reviews, times four buckets.
        assert!((found.p / (4.0 * 3.0_f64.powi(-20)) - 1.0).abs() < 1e-9);
        assert!(Rise::threshold(0.01) < found.score());
    }

    #[test]
    fn what_fell_or_stayed_is_no_rise() {
        assert_eq!(rise(&[10, 20], &[5, 3]), None);
        assert!(Rise::threshold(0.0).is_infinite() && Rise::threshold(f64::NAN).is_infinite());
    }

    #[test]
    fn what_is_beyond_doubt_has_a_score_that_can_be_written() {
        let sample = |n, counts| Occurrences { n, counts };
        let found = Rise::of(sample(1 << 30, &[0, 1]), sample(1 << 30, &[1 << 30, 1]));
        assert!(found.unwrap().unwrap().score().is_finite());
    }
}
