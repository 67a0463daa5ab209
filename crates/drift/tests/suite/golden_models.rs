//! Golden numbers of what has a state or a model of its own: vocabulary, embeddings, series, accuracy.

use drift::{
    FourierMap, FourierSettings, Projected, Projection, Vocabulary,
    statistics::{
        accuracy::{self, Calibration, Estimate, Labelled},
        adwin::{Adwin, AdwinSettings},
        ddm::{Ddm, DdmSettings, ErrorRate},
        mmd::EmbeddingMoments,
    },
};
use serde::Deserialize;

use crate::golden::{assert_near, read};

#[test]
fn cross_entropies_are_those_of_scipy() {
    #[derive(Deserialize)]
    struct Golden {
        counts: Vec<u64>,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        ids: Vec<u32>,
        bits: f64,
    }
    let golden: Golden = read(include_str!("../golden/cross_entropy.json"));
    let vocabulary = Vocabulary::from_counts(golden.counts).unwrap();
    for Case { ids, bits } in golden.cases {
        assert_near(vocabulary.cross_entropy(&ids).unwrap(), bits);
    }
}

#[derive(Deserialize)]
struct Discrepancies {
    settings: FourierSettings,
    projection: Projecting,
    reference: Vec<Projected>,
    first_features: Vec<f64>,
    mean: Vec<f64>,
    covariance_traces: [f64; 3],
    cases: Vec<Crowd>,
}

#[derive(Deserialize)]
struct Projecting {
    seed: u64,
    embedding: Vec<f32>,
    projected: Projected,
}

#[derive(Deserialize)]
struct Crowd {
    window: Vec<Projected>,
    squared: f64,
    kernel: f64,
    null: Vec<Tail>,
}

#[derive(Deserialize)]
struct Tail {
    squared: f64,
    p: f64,
}

fn mean_features(map: &FourierMap, crowd: &[Projected]) -> Vec<f64> {
    let size = f64::from(u32::try_from(crowd.len()).unwrap());
    let mut mean = vec![0.0; map.settings().features];
    for one in crowd {
        for (sum, feature) in mean.iter_mut().zip(map.features(one)) {
            *sum += feature / size;
        }
    }
    mean
}

#[test]
fn embeddings_are_mapped_and_compared_as_numpy_does() {
    let golden: Discrepancies = read(include_str!("../golden/mmd.json"));
    let Projecting { seed, embedding, projected } = golden.projection;
    assert_eq!(Projection::seeded(seed, embedding.len()).project(&embedding), Some(projected));

    let map = FourierMap::new(golden.settings).unwrap();
    let moments = EmbeddingMoments::of_sample(&map, seed, &golden.reference).unwrap();
    for (found, golden) in map.features(&golden.reference[0]).iter().zip(&golden.first_features) {
        assert_near(*found, *golden);
    }
    for (found, golden) in moments.mean.iter().zip(&golden.mean) {
        assert_near(*found, *golden);
    }
    for (found, golden) in moments.covariance_traces.iter().zip(&golden.covariance_traces) {
        assert_near(*found, *golden);
    }
    for Crowd { window, squared, kernel, null } in golden.cases {
        let n = u64::try_from(window.len()).unwrap();
        let discrepancy = moments.discrepancy(&mean_features(&map, &window), n).unwrap();
        assert_near(discrepancy.squared, squared);
        // 64 features against the exact kernel: within the error that Rahimi and Recht's claim 1 allows.
        assert!((discrepancy.squared - kernel).abs() < 0.05, "{squared} for {kernel}");
        for Tail { squared, p } in null {
            let found = moments.judged(squared, n).unwrap().p();
            // Three moments against the exact null distribution: further out a threshold stays near where the probability
            // no longer does.
            assert!((found - p).abs() < 0.02, "{found} for {p}");
            let threshold = discrepancy.threshold(p);
            assert!((threshold / squared - 1.0).abs() < 0.06, "{threshold} for {squared} at {p}");
        }
    }
}

#[test]
fn adaptive_windows_are_those_of_river() {
    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        settings: AdwinSettings,
        values: Vec<f64>,
        changes: Vec<usize>,
        states: Vec<(u64, f64, f64)>,
    }
    let golden: Golden = read(include_str!("../golden/adwin.json"));
    for Case { settings, values, changes, states } in golden.cases {
        let mut window = Adwin::new(settings);
        let mut found = Vec::new();
        let mut states = states.into_iter();
        for (index, &value) in values.iter().enumerate() {
            if window.update(value) {
                found.push(index);
            }
            if index % 25 == 24 {
                let (width, mean, deviations) = states.next().unwrap();
                assert_eq!(window.width(), width, "at {index}");
                assert_near(window.mean(), mean);
                let size = f64::from(u32::try_from(width).unwrap());
                assert_near(window.variance() * size, deviations);
            }
        }
        assert!(!changes.is_empty());
        assert_eq!(found, changes);
    }
}

#[test]
fn error_rates_drift_where_those_of_river_do() {
    #[derive(Deserialize)]
    struct Golden {
        errors: Vec<u8>,
        warnings: Vec<usize>,
        drifts: Vec<usize>,
    }
    let golden: Golden = read(include_str!("../golden/ddm.json"));
    let mut detector = Ddm::new(DdmSettings::default());
    let (mut warnings, mut drifts) = (Vec::new(), Vec::new());
    for (index, &error) in golden.errors.iter().enumerate() {
        match detector.update(error == 1) {
            ErrorRate::Stable => {}
            ErrorRate::Warning => warnings.push(index),
            ErrorRate::Drifted => drifts.push(index),
        }
    }
    assert!(!golden.drifts.is_empty());
    assert_eq!(drifts, golden.drifts);
    assert_eq!(warnings, golden.warnings);
}

#[test]
fn accuracies_are_those_of_nannyml_and_numpy() {
    #[derive(Deserialize)]
    struct Golden {
        confidence_sum: f64,
        n: u64,
        reference_correct: u64,
        reference_n: u64,
        estimated: Estimate,
        calibration: Bins,
        window: Vec<u64>,
        binned: Estimate,
        labelled: Vec<u64>,
        labelled_correct: u64,
        realised: Estimate,
        gap: accuracy::Gap,
    }
    #[derive(Deserialize)]
    struct Bins {
        counts: Vec<u64>,
        correct: Vec<u64>,
    }
    let near = |found: Estimate, golden: Estimate| {
        assert_near(found.value, golden.value);
        assert_near(found.standard_error, golden.standard_error);
    };
    let golden: Golden = read(include_str!("../golden/accuracy.json"));
    let reference = (golden.reference_correct, golden.reference_n);
    let estimated = accuracy::mean_confidence(golden.confidence_sum, golden.n, reference).unwrap();
    near(estimated, golden.estimated);
    let labels = golden.labelled.iter().sum();
    near(accuracy::realised(golden.labelled_correct, labels).unwrap(), golden.realised);
    let Bins { counts, correct } = golden.calibration;
    let calibration = Calibration { counts: &counts, correct: &correct };
    near(calibration.estimated(&golden.window).unwrap(), golden.binned);
    let labelled = Labelled { counts: &golden.labelled, correct: golden.labelled_correct };
    let gap = calibration.gap(labelled).unwrap();
    assert_near(gap.estimated, golden.gap.estimated);
    assert_near(gap.realised, golden.gap.realised);
    assert_near(gap.standard_error, golden.gap.standard_error);
}
