//! Statistics against the numbers of evidently, nannyml, river and scipy. `tests/golden/make.py` makes them and says how.

use drift::{
    statistics::{
        chi_square::ChiSquare,
        divergence::{jensen_shannon_distance, jensen_shannon_divergence, l_infinity},
        kolmogorov_smirnov::KolmogorovSmirnov,
        mean::{RatioSums, Sample},
        stability::StabilityIndex,
    },
    tail,
};
use serde::Deserialize;

/// Both compute the same formula in double precision; what differs is the order of a few operations.
pub(crate) const TOLERANCE: f64 = 1e-9;

/// Reads a golden file.
pub(crate) fn read<T: for<'a> Deserialize<'a>>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// Relative to the larger of both, absolute below 1e-3 so that a tail of 1e-12 need not have nine digits of its own.
#[track_caller]
pub(crate) fn assert_near(found: f64, golden: f64) {
    let scale = found.abs().max(golden.abs()).max(1e-3);
    assert!((found - golden).abs() <= TOLERANCE * scale, "{found} for {golden}");
}

#[derive(Deserialize)]
struct Cases<T> {
    cases: Vec<T>,
}

#[test]
fn stability_indices_are_those_of_evidently() {
    #[derive(Deserialize)]
    struct Case {
        reference: Vec<u64>,
        observed: Vec<u64>,
        index: f64,
        threshold: f64,
        p: f64,
    }
    let Cases { cases } = read::<Cases<Case>>(include_str!("../golden/stability.json"));
    for case in cases {
        let found = StabilityIndex::of(&case.reference, &case.observed).unwrap();
        assert_near(found.index, case.index);
        assert_near(found.threshold(0.001), case.threshold);
        assert_near(found.p(), case.p);
    }
}

#[test]
fn divergences_are_those_of_scipy_and_nannyml() {
    #[derive(Deserialize)]
    struct Case {
        reference: Vec<u64>,
        observed: Vec<u64>,
        divergence: f64,
        distance: f64,
        l_infinity: f64,
    }
    let Cases { cases } = read::<Cases<Case>>(include_str!("../golden/divergence.json"));
    for Case { reference, observed, divergence, distance, l_infinity: largest } in cases {
        assert_near(jensen_shannon_divergence(&reference, &observed).unwrap(), divergence);
        assert_near(jensen_shannon_distance(&reference, &observed).unwrap(), distance);
        assert_near(l_infinity(&reference, &observed).unwrap(), largest);
    }
}

#[test]
fn chi_square_tests_are_those_of_scipy() {
    #[derive(Deserialize)]
    struct Case {
        reference: Vec<u64>,
        observed: Vec<u64>,
        statistic: f64,
        freedom: u64,
        p: f64,
        threshold: f64,
    }
    let Cases { cases } = read::<Cases<Case>>(include_str!("../golden/chi_square.json"));
    for case in cases {
        let found = ChiSquare::of(&case.reference, &case.observed).unwrap();
        assert_near(found.statistic, case.statistic);
        assert_eq!(found.freedom, case.freedom);
        assert_near(found.p(), case.p);
        assert_near(found.threshold(0.001), case.threshold);
    }
}

#[test]
fn kolmogorov_smirnov_tests_are_those_of_scipy() {
    #[derive(Deserialize)]
    struct Golden {
        samples: Vec<Case<f64>>,
        histograms: Vec<Case<u64>>,
    }
    #[derive(Deserialize)]
    struct Case<T> {
        reference: Vec<T>,
        observed: Vec<T>,
        distance: f64,
        p: f64,
    }
    let golden: Golden = read(include_str!("../golden/kolmogorov_smirnov.json"));
    for Case { reference, observed, distance, p } in golden.samples {
        let found = KolmogorovSmirnov::of_samples(&reference, &observed).unwrap();
        assert_near(found.distance, distance);
        assert_near(found.p, p);
    }
    for Case { reference, observed, distance, p } in golden.histograms {
        let found = KolmogorovSmirnov::of_histograms(&reference, &observed).unwrap();
        assert_near(found.distance, distance);
        assert_near(found.p, p);
    }
}

#[test]
fn tails_are_those_of_scipy() {
    #[derive(Deserialize)]
    struct Golden {
        chi_square: Vec<Point>,
        chi_square_critical: Vec<Point>,
        normal: Vec<Point>,
        normal_critical: Vec<Point>,
        kolmogorov: Vec<Point>,
        binomial: Vec<Trials>,
    }
    #[derive(Deserialize)]
    struct Point {
        x: f64,
        #[serde(alias = "alpha")]
        p: f64,
        #[serde(default)]
        freedom: f64,
    }
    #[derive(Deserialize)]
    struct Trials {
        successes: u64,
        n: u64,
        chance: f64,
        p: f64,
    }
    let golden: Golden = read(include_str!("../golden/tails.json"));
    for Trials { successes, n, chance, p } in golden.binomial {
        assert_near(tail::binomial(successes, n, chance), p);
    }
    for Point { x, p, freedom } in golden.chi_square {
        assert_near(tail::chi_square(x, freedom), p);
    }
    for Point { x, p, freedom } in golden.chi_square_critical {
        assert_near(tail::chi_square_critical(p, freedom), x);
    }
    for Point { x, p, .. } in golden.normal {
        assert_near(tail::normal_both_sides(x), p);
    }
    for Point { x, p, .. } in golden.normal_critical {
        assert_near(tail::normal_both_sides_critical(p), x);
    }
    for Point { x, p, .. } in golden.kolmogorov {
        assert_near(tail::kolmogorov(x), p);
    }
}

#[test]
fn differences_of_means_are_those_of_welch_in_scipy() {
    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
        ratios: Vec<Reviews>,
    }
    #[derive(Deserialize)]
    struct Case {
        reference: (f64, f64, f64),
        observed: (f64, f64, f64),
        deviations: f64,
        p: f64,
        effect: f64,
    }
    #[derive(Deserialize)]
    struct Reviews {
        tokens: Vec<u32>,
        unknown: Vec<u32>,
        ratio: f64,
        variance: f64,
    }
    let golden: Golden = read(include_str!("../golden/means.json"));
    let sample = |(size, sum, squares)| Sample::from_sums(size, sum, squares).unwrap();
    for case in golden.cases {
        let (reference, observed) = (sample(case.reference), sample(case.observed));
        let deviations = observed.deviations_from(&reference).unwrap();
        assert_near(deviations.0, case.deviations);
        assert_near(deviations.p(), case.p);
        assert_near(observed.effect_against(&reference).unwrap(), case.effect);
    }
    for Reviews { tokens, unknown, ratio, variance } in golden.ratios {
        let mut sums = RatioSums::default();
        for (tokens, unknown) in tokens.into_iter().zip(unknown) {
            let (tokens, unknown) = (f64::from(tokens), f64::from(unknown));
            sums.size += 1.0;
            sums.numerator += unknown;
            sums.denominator += tokens;
            sums.numerator_squares += unknown * unknown;
            sums.denominator_squares += tokens * tokens;
            sums.products += unknown * tokens;
        }
        assert_near(sums.ratio(), ratio);
        assert_near(sums.variance().unwrap(), variance);
    }
}
