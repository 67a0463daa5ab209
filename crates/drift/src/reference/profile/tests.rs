//! Profiles of a few made-up verdicts, by hand.

use serde_json::json;

use super::*;

/// A verdict with label and confidence, and so many tokens, of which people say `truth`.
fn held_out(truth: &str, label: &str, confidence: f32, tokens: u32) -> HeldOut {
    let other = if label == "positive" { "negative" } else { "positive" };
    let features = Features {
        label: label.to_owned(),
        confidence,
        probabilities: [(label.to_owned(), confidence), (other.to_owned(), 1.0 - confidence)]
            .into(),
        tokens,
        special_tokens: 2,
        unknown_tokens: 1,
        truncated: tokens == 64,
        cross_entropy: (tokens != 2).then_some(8.5),
        projection: Some([i8::try_from(tokens).unwrap(); 16]),
        language: (tokens != 2).then(|| "en".to_owned()),
        words: (tokens != 2).then(|| vec![3, 2_047]),
    };
    HeldOut { features, truth: truth.to_owned() }
}

#[test]
fn deciles_lie_between_reviews_in_proportion_and_equal_ones_are_one_edge() {
    let edges = |confidences: &[f32]| {
        let all: Vec<HeldOut> = confidences
            .iter()
            .map(|&confidence| held_out("negative", "negative", confidence, 9))
            .collect();
        confidence_edges(&all.iter().collect::<Vec<_>>(), 2)
    };
    let even: Vec<f32> = (0..=10_u8).map(|n| 0.5 + f32::from(n) / 20.0).collect();
    assert_eq!(edges(&even), [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0]);
    assert_eq!(edges(&[0.75; 7]), [0.5, 0.75, 1.0]);
    assert_eq!(edges(&[1.0; 7]), [0.5, 1.0]);
    // numpy.quantile([0.6, 0.8], 0.1) and so on.
    let two = edges(&[0.6, 0.8]);
    assert_eq!(two[1..3], [0.62, 0.64]);
}

#[test]
fn edges_of_lengths_end_where_the_model_does() {
    assert_eq!(token_edges(256).last(), Some(&256));
    assert_eq!(token_edges(256).len(), 13);
    assert_eq!(token_edges(24), [0, 8, 16, 24]);
    assert_eq!(token_edges(30), [0, 8, 16, 24, 30]);
}

#[test]
fn a_profile_counts_what_windows_count() {
    let all = [
        held_out("negative", "negative", 0.9, 10),
        held_out("positive", "negative", 0.55, 64),
        held_out("positive", "positive", 0.8, 2),
        held_out("positive", "positive", 1.0, 12),
    ];
    let all: Vec<&HeldOut> = all.iter().collect();
    let form = Form {
        labels: vec!["negative".to_owned(), "positive".to_owned()],
        confidence_edges: vec![0.5, 0.8, 1.0],
        token_edges: token_edges(64),
        counts_languages: true,
        fourier: fourier(&all, 4).unwrap(),
    };
    let profile = form.profile("all", "by hand", &all).unwrap();
    let json = serde_json::to_value(&profile).unwrap();
    for (pointer, expected) in [
        ("/n", json!(4)),
        ("/labels", json!({"negative": 2, "positive": 2})),
        ("/true_labels", json!({"negative": 1, "positive": 3})),
        ("/correct", json!(3)),
        ("/confidence_sum", json!(3.25)),
        ("/truncated", json!(1)),
        ("/text_tokens", json!(80)),
        ("/unknown_tokens", json!(4)),
        ("/uncertain", json!(1)),
        ("/languages", json!({"en": 3})),
        ("/cross_entropy", json!({"n": 3, "sum": 25.5, "squares": 216.75})),
        ("/words", json!({"n": 3, "counts": "-3 3 -2043 3"})),
        // The last bin takes its right edge too; 0.8 as a single is a little more than 0.8.
        ("/histograms/confidence/counts", json!([1, 3])),
        ("/histograms/confidence/correct", json!([0, 3])),
        ("/histograms/tokens/counts", json!([1, 2, 0, 0, 0, 1])),
        ("/embedding/n", json!(4)),
    ] {
        assert_eq!(json.pointer(pointer), Some(&expected), "{pointer}");
    }
    // What was written is what drift reads.
    let document = json!({ "profiles": [profile] }).to_string();
    let reference = crate::Reference::from_json(document.as_bytes(), "all").unwrap();
    assert!(reference.counts_languages() && reference.counts_words());
    assert!(reference.embedding().is_some());
}

#[test]
fn the_bandwidth_is_the_median_distance() {
    let at = |coordinates: &[i8]| -> Vec<Projected> {
        coordinates.iter().map(|&coordinate| [coordinate; 16]).collect()
    };
    // Distances 4 times 1, 2, 3; the median is the second.
    assert_eq!(median_distance(&at(&[0, 1, 3])), Some(8.0));
    assert_eq!(median_distance(&at(&[-128, 127])), Some(4.0 * 255.0));
    assert_eq!(median_distance(&at(&[5, 5, 5])), None);
    assert_eq!(median_distance(&at(&[5])), None);
}
