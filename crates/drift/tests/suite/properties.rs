//! What holds for every pair of histograms or samples, whatever they are.

use drift::{
    histogram::{Pair, merge_neighbours, merge_rare},
    statistics::{
        chi_square::ChiSquare,
        divergence::{jensen_shannon_distance, jensen_shannon_divergence, l_infinity},
        kolmogorov_smirnov::KolmogorovSmirnov,
        stability::StabilityIndex,
    },
};
use proptest::prelude::*;

const ROUNDING: f64 = 1e-9;

type Merge = fn(&[u64], &[u64], u64) -> Pair;

type Statistic = (&'static str, fn(&[u64], &[u64]) -> f64);

fn index(reference: &[u64], observed: &[u64]) -> f64 {
    StabilityIndex::of(reference, observed).unwrap().index
}

fn chi_square(reference: &[u64], observed: &[u64]) -> f64 {
    ChiSquare::of(reference, observed).unwrap().statistic
}

fn steps(reference: &[u64], observed: &[u64]) -> f64 {
    KolmogorovSmirnov::of_histograms(reference, observed).unwrap().distance
}

/// All distances of two histograms.
const STATISTICS: [Statistic; 6] = [
    ("stability index", index),
    ("divergence", |one, other| jensen_shannon_divergence(one, other).unwrap()),
    ("distance", |one, other| jensen_shannon_distance(one, other).unwrap()),
    ("l-infinity", |one, other| l_infinity(one, other).unwrap()),
    ("chi-square", chi_square),
    ("kolmogorov-smirnov", steps),
];

/// Two histograms on up to twelve bins, none of them empty.
fn pairs() -> impl Strategy<Value = (Vec<u64>, Vec<u64>)> {
    (2_usize..12).prop_flat_map(|bins| {
        let counts = || prop::collection::vec(1_u64..1_000, bins);
        (counts(), counts())
    })
}

fn scaled(counts: &[u64], factor: u64) -> Vec<u64> {
    counts.iter().map(|count| count * factor).collect()
}

proptest! {
    #[test]
    fn equal_shares_are_no_distance_apart((counts, _) in pairs(), factor in 1_u64..50) {
        for (name, statistic) in STATISTICS {
            // A distance is the root of a divergence, and rounding grows with it.
            prop_assert!(statistic(&counts, &scaled(&counts, factor)) < ROUNDING.sqrt(), "{name}");
        }
    }

    #[test]
    fn every_distance_is_the_same_from_both_sides((one, other) in pairs()) {
        for (name, statistic) in STATISTICS {
            let (there, back) = (statistic(&one, &other), statistic(&other, &one));
            prop_assert!((there - back).abs() <= ROUNDING * there.max(1.0), "{name}");
        }
    }

    #[test]
    fn no_distance_is_negative_and_bounded_ones_keep_their_bound((one, other) in pairs()) {
        for (name, statistic) in STATISTICS {
            let is_bounded = !["stability index", "chi-square"].contains(&name);
            let distance = statistic(&one, &other);
            prop_assert!(0.0 <= distance && (!is_bounded || distance <= 1.0), "{name}: {distance}");
        }
    }

    /// All of them are convex and zero where both agree, so they grow along the line from one to the other.
    #[test]
    fn the_further_a_window_goes_the_larger_every_distance((one, other) in pairs()) {
        let (total, other_total): (u64, u64) = (one.iter().sum(), other.iter().sum());
        let (from, to) = (scaled(&one, other_total), scaled(&other, total));
        let at = |tenths: u64| -> Vec<u64> {
            let mix = |(from, to): (&u64, &u64)| (10 - tenths) * from + tenths * to;
            from.iter().zip(&to).map(mix).collect()
        };
        for (name, statistic) in STATISTICS {
            let path: Vec<f64> = (0..=10).map(|tenths| statistic(&at(0), &at(tenths))).collect();
            let grows = path.windows(2).all(|pair| pair[0] <= pair[1] * (1.0 + ROUNDING) + ROUNDING);
            prop_assert!(grows, "{name}: {path:?}");
        }
    }

    #[test]
    fn more_of_the_same_difference_is_more_significant((one, other) in pairs(), factor in 2_u64..20) {
        let (more, others) = (scaled(&one, factor), scaled(&other, factor));
        let stability = |one: &[u64], other: &[u64]| StabilityIndex::of(one, other).unwrap();
        let (few, many) = (stability(&one, &other), stability(&more, &others));
        prop_assert!((few.index - many.index).abs() <= ROUNDING * few.index.max(1.0));
        prop_assert!(many.p() <= few.p() + ROUNDING);
        prop_assert!(many.threshold(0.001) < few.threshold(0.001));
        let test = |one: &[u64], other: &[u64]| ChiSquare::of(one, other).unwrap().p();
        prop_assert!(test(&more, &others) <= test(&one, &other) + ROUNDING);
        let test = |one: &[u64], other: &[u64]| KolmogorovSmirnov::of_histograms(one, other).unwrap().p;
        prop_assert!(test(&more, &others) <= test(&one, &other) + ROUNDING);
    }

    #[test]
    fn a_threshold_is_where_its_probability_is((one, other) in pairs(), alpha in 1e-4_f64..0.5) {
        let stability = StabilityIndex::of(&one, &other).unwrap();
        let at = StabilityIndex { index: stability.threshold(alpha), ..stability };
        prop_assert!((at.p() - alpha).abs() < 1e-7);
        let test = ChiSquare::of(&one, &other).unwrap();
        let at = ChiSquare { statistic: test.threshold(alpha), ..test };
        prop_assert!((at.p() - alpha).abs() < 1e-7);
    }

    #[test]
    fn samples_may_come_in_any_order(
        reference in prop::collection::vec(-5_i32..5, 1..40),
        observed in prop::collection::vec(-5_i32..5, 1..40),
    ) {
        let real = |values: &[i32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
        let (one, other) = (real(&reference), real(&observed));
        let reversed: Vec<f64> = one.iter().rev().copied().collect();
        let test = |one: &[f64], other: &[f64]| KolmogorovSmirnov::of_samples(one, other).unwrap();
        prop_assert_eq!(test(&one, &other), test(&reversed, &other));
        // One bin a value loses nothing; one bin for two values hides what is between them.
        let counts = |values: &[i32], width: i32| -> Vec<u64> {
            let count = |at: i32| values.iter().filter(|&&value| (value + 5) / width == at).count();
            (0..10 / width).map(|at| u64::try_from(count(at)).unwrap()).collect()
        };
        let binned = |width| {
            let (reference, observed) = (counts(&reference, width), counts(&observed, width));
            KolmogorovSmirnov::of_histograms(&reference, &observed).unwrap()
        };
        prop_assert!((test(&one, &other).distance - binned(1).distance).abs() < ROUNDING);
        prop_assert!(binned(2).distance <= test(&one, &other).distance + ROUNDING);
        prop_assert!(test(&one, &other).p <= binned(2).p + ROUNDING);
    }

    #[test]
    fn merging_bins_loses_nothing_and_leaves_none_too_thin((one, other) in pairs(), least in 1_u64..200) {
        // One category and the rest are two, however thin the rest is.
        let merges: [(Merge, usize); 2] = [(merge_neighbours, 1), (merge_rare, 2)];
        for (merge, thin_max) in merges {
            let pair = merge(&one, &other, least);
            let total = |counts: &[u64]| counts.iter().sum::<u64>();
            prop_assert_eq!(total(&pair.reference), total(&one));
            prop_assert_eq!(total(&pair.observed), total(&other));
            let bound = total(&one) * least;
            let is_full = pair.reference.iter().all(|&count| bound <= count * total(&other));
            prop_assert!(is_full || pair.reference.len() <= thin_max, "{pair:?}");
        }
    }
}
