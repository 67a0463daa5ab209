//! What drift counts of reviews as a table, for whoever studies the decisions: a line a review, and no text.

use std::path::Path;

use drift::reference::profile::HeldOut;

const HEADER: [&str; 10] = [
    "truth",
    "label",
    "confidence",
    "tokens",
    "truncated",
    "unknown",
    "cross_entropy",
    "projection",
    "language",
    "words",
];

/// Writes `reviews`. Numbers have as many digits as it takes to read them back; what is absent is empty.
pub(super) fn write(path: &Path, reviews: &[HeldOut]) -> csv::Result<()> {
    let mut table = csv::Writer::from_path(path)?;
    table.write_record(HEADER)?;
    for review in reviews {
        table.write_record(line(review))?;
    }
    table.flush()?;
    Ok(())
}

fn line(HeldOut { features, truth }: &HeldOut) -> [String; 10] {
    let projection = features.projection.iter().flatten();
    let words = features.words.iter().flatten();
    let words: Vec<_> = words.map(|bucket| format!("{bucket:03x}")).collect();
    let hex: Vec<_> = projection.map(|&coordinate| format!("{coordinate:02x}")).collect();
    [
        truth.clone(),
        features.label.clone(),
        features.confidence.to_string(),
        features.tokens.to_string(),
        u8::from(features.truncated).to_string(),
        features.unknown_tokens.to_string(),
        features.cross_entropy.map(|bits| bits.to_string()).unwrap_or_default(),
        hex.concat(),
        features.language.clone().unwrap_or_default(),
        words.concat(),
    ]
}

#[cfg(test)]
mod tests {
    use drift::Features;

    use super::*;

    #[test]
    fn a_line_has_every_number_and_no_text() {
        let features = Features {
            label: "positive".to_owned(),
            confidence: 0.75,
            probabilities: [].into(),
            tokens: 12,
            special_tokens: 2,
            unknown_tokens: 1,
            truncated: true,
            cross_entropy: None,
            projection: Some([-1; 16]),
            language: Some("en".to_owned()),
            words: Some(vec![1, 2_047]),
        };
        let review = HeldOut { features, truth: "negative".to_owned() };
        let projection = "ff".repeat(16);
        let expected =
            ["negative", "positive", "0.75", "12", "1", "1", "", &projection, "en", "0017ff"];
        assert_eq!(line(&review), expected);
    }
}
