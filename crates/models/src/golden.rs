//! Golden cases: texts and what an independent runtime (ONNX Runtime and Hugging Face tokenizers, in Python) made of them.
//! A processor reproduces every one before it is ready.

use serde::Deserialize;

/// One line of `golden.jsonl`. Keys that it does not know are ignored, so that later bundles can say more.
#[derive(Clone, Debug, Deserialize)]
pub struct GoldenCase {
    /// What the case is about, unique in its bundle.
    pub name: String,
    /// The text as an upstream would send it: to be normalised like any review.
    pub text: String,
    /// Tokens that the model reads, special ones included, after truncation.
    pub tokens: usize,
    /// Of these, tokens that are not in the vocabulary.
    pub unknown: usize,
    /// Whether the text had more tokens than the model reads.
    pub truncated: bool,
    /// The most probable label.
    pub label: String,
    /// The network's output, before calibration.
    pub logits: Vec<f32>,
    /// Calibrated, in the order of the manifest's labels.
    pub probabilities: Vec<f32>,
}

/// What a runtime made of a case's text.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Tokens after truncation, special ones included, padding not.
    pub tokens: usize,
    /// Of these, tokens that are not in the vocabulary.
    pub unknown: usize,
    /// Whether tokens were cut.
    pub truncated: bool,
    /// Calibrated, in the order of the manifest's labels.
    pub probabilities: &'a [f32],
}

/// How a runtime differs from the one that the bundle was measured with: it would answer as another model.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum GoldenMismatch {
    /// The text was cut into other tokens.
    #[error(
        "golden case `{case}`: {what} is {observed}, expected {expected}; the tokenizer or the truncation is not the bundle's"
    )]
    Tokens {
        /// The case's name.
        case: String,
        /// What was counted.
        what: &'static str,
        /// The count found.
        observed: String,
        /// The count in the bundle.
        expected: String,
    },
    /// There are more or fewer probabilities than labels.
    #[error(
        "golden case `{case}`: {observed} probabilities, expected {expected}; the network is not the bundle's"
    )]
    Shape {
        /// The case's name.
        case: String,
        /// How many were found.
        observed: usize,
        /// How many labels the bundle has.
        expected: usize,
    },
    /// A probability is off by more than the bundle allows.
    #[error(
        "golden case `{case}`: probability of label {label} is {observed}, expected {expected} within {tolerance}; the runtime does not compute what the bundle was measured with"
    )]
    Probability {
        /// The case's name.
        case: String,
        /// Position of the label.
        label: usize,
        /// The probability found.
        observed: f32,
        /// The probability in the bundle.
        expected: f32,
        /// Most that they may differ.
        tolerance: f32,
    },
    /// No probability is off by too much, but all together are.
    #[error(
        "golden cases: probabilities are {observed} off on average, at most {expected} is what rounding does; the runtime does not compute what the bundle was measured with"
    )]
    Mean {
        /// Mean over the cases of what their probabilities are off at most.
        observed: f32,
        /// Most that it may be.
        expected: f32,
    },
}

impl GoldenCase {
    /// Reads `golden.jsonl`, where each case has as many probabilities as there are `labels`. The error names the line.
    pub fn parse_all(text: &str, labels: &[String]) -> Result<Vec<Self>, String> {
        let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered
            .map(|(number, line)| {
                let case = serde_json::from_str::<Self>(line)
                    .map_err(|error| format!("line {number} is not a golden case: {error}; pack the bundle again"))?;
                let counts = [case.logits.len(), case.probabilities.len()];
                if counts != [labels.len(); 2] || !labels.contains(&case.label) {
                    return Err(format!(
                        "line {number} (`{}`) has {} logits, {} probabilities and label `{}`, but the manifest's labels are {labels:?}; pack the bundle again",
                        case.name, counts[0], counts[1], case.label
                    ));
                }
                Ok(case)
            })
            .collect()
    }

    /// Compares what a runtime made of [`Self::text`] with what the bundle says. A probability that is not a number differs.
    pub fn check(&self, observed: Observed<'_>, tolerance: f32) -> Result<(), GoldenMismatch> {
        self.check_tokens(observed)?;
        if observed.probabilities.len() != self.probabilities.len() {
            return Err(GoldenMismatch::Shape {
                case: self.name.clone(),
                observed: observed.probabilities.len(),
                expected: self.probabilities.len(),
            });
        }
        for (label, (observed, expected)) in
            observed.probabilities.iter().zip(&self.probabilities).enumerate()
        {
            let agrees = (observed - expected).abs() <= tolerance;
            if !agrees {
                return Err(GoldenMismatch::Probability {
                    case: self.name.clone(),
                    label,
                    observed: *observed,
                    expected: *expected,
                    tolerance,
                });
            }
        }
        Ok(())
    }

    /// What the probability that differs most is off.
    pub fn off(&self, probabilities: &[f32]) -> f32 {
        let pairs = probabilities.iter().zip(&self.probabilities);
        pairs.map(|(observed, expected)| (observed - expected).abs()).fold(0.0, f32::max)
    }

    fn check_tokens(&self, observed: Observed<'_>) -> Result<(), GoldenMismatch> {
        let counts = [
            ("tokens", observed.tokens.to_string(), self.tokens.to_string()),
            ("unknown tokens", observed.unknown.to_string(), self.unknown.to_string()),
            ("truncated", observed.truncated.to_string(), self.truncated.to_string()),
        ];
        match counts.into_iter().find(|(_, observed, expected)| observed != expected) {
            None => Ok(()),
            Some((what, observed, expected)) => {
                Err(GoldenMismatch::Tokens { case: self.name.clone(), what, observed, expected })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"name":"seed","text":"Fine.","tokens":4,"unknown":0,"truncated":false,"label":"positive","logits":[-1.0,1.0],"probabilities":[0.12,0.88],"later":1}"#;

    fn labels() -> Vec<String> {
        ["negative", "positive"].map(str::to_owned).to_vec()
    }

    fn seed() -> GoldenCase {
        GoldenCase::parse_all(LINE, &labels()).unwrap().remove(0)
    }

    #[test]
    fn a_runtime_agrees_within_the_tolerance_and_in_every_count() {
        let good =
            Observed { tokens: 4, unknown: 0, truncated: false, probabilities: &[0.1205, 0.8795] };
        let check = |observed: Observed<'_>, expected: &str| {
            let found = seed().check(observed, 0.001).map_err(|error| error.to_string());
            match found {
                Ok(()) => assert_eq!(expected, ""),
                Err(message) => {
                    assert!(!expected.is_empty() && message.contains(expected), "{message}");
                }
            }
        };
        check(good, "");
        check(Observed { tokens: 5, ..good }, "tokens is 5, expected 4");
        check(Observed { unknown: 1, ..good }, "unknown tokens is 1, expected 0");
        check(Observed { truncated: true, ..good }, "truncated is true, expected false");
        check(Observed { probabilities: &[1.0], ..good }, "1 probabilities, expected 2");
        check(Observed { probabilities: &[0.12, 0.89], ..good }, "label 1 is 0.89, expected 0.88");
        check(Observed { probabilities: &[f32::NAN, 0.88], ..good }, "label 0 is NaN");
    }

    #[test]
    fn a_bad_line_is_named() {
        let check = |text: &str, expected: &str| {
            let message = GoldenCase::parse_all(text, &labels()).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        check(&format!("{LINE}\n{{}}"), "line 2 is not a golden case");
        check(
            &LINE.replace("[0.12,0.88]", "[1.0]"),
            "line 1 (`seed`) has 2 logits, 1 probabilities",
        );
        check(&LINE.replace("\"positive\"", "\"glad\""), "label `glad`");
    }
}
