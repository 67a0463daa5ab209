//! `model.toml`: what a bundle says of itself. Every key is known or the bundle is refused: a mistyped key must not pass
//! for a default.

use std::{collections::BTreeSet, fmt};

use serde::Deserialize;

use crate::{Digest, ModelName};

/// The version of the bundle's layout that this crate reads, `bundle_format` in the manifest.
pub const BUNDLE_FORMAT: u32 = 1;
/// Fewest tokens a model may read: `[CLS]`, `[SEP]` and two of the text.
pub const TOKENS_MIN: usize = 4;
/// Most tokens a model may read, special ones included.
pub const TOKENS_MAX: usize = 8_192;
/// Most labels a model may have.
pub const LABELS_MAX: usize = 64;

/// What a bundle says of itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the bundle's layout; [`BUNDLE_FORMAT`].
    pub bundle_format: u32,
    /// The model's name, as in [`ModelName`].
    pub name: String,
    /// The model's version, from 1.
    pub version: u32,
    /// One sentence for people.
    pub description: String,
    /// The labels, in the order of the network's output.
    pub labels: Vec<String>,
    /// Most tokens the network is given, special ones included.
    pub max_tokens: usize,
    /// What is kept of a text that has more.
    pub truncation: Truncation,
    /// Names of the network's inputs, both int64 of shape [batch, tokens].
    pub inputs: Inputs,
    /// Names of the network's outputs, all float32.
    pub outputs: Outputs,
    /// How the network is stored.
    pub format: Format,
    /// What the tokenizer adds and how it calls it.
    pub tokenizer: Tokenizer,
    /// How exactly a runtime reproduces the golden cases.
    pub golden: Golden,
    /// From logits to probabilities that mean what they say.
    pub calibration: Calibration,
    /// Digests of the other files.
    pub digests: Digests,
    /// Where the weights come from.
    pub training: Training,
    /// What the weights may be used for.
    pub licence: Licence,
    /// Measured accuracy, a row a data set.
    pub accuracy: Vec<Accuracy>,
}

/// What is kept of a text with more than `max_tokens` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truncation {
    /// The first `max_tokens / 2` tokens and the last `max_tokens - max_tokens / 2`, `[CLS]` and `[SEP]` counted: a review's
    /// judgement tends to stand at its beginning or its end.
    FirstAndLast,
}

/// Names of the network's inputs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Token ids, int64 [batch, tokens].
    pub token_ids: String,
    /// 1 for a token, 0 for padding, int64 [batch, tokens].
    pub attention_mask: String,
    /// 0 for a first text, 1 for a second, int64 [batch, tokens], for a network that asks: a review is one text.
    pub token_types: Option<String>,
}

/// Names of the network's outputs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outputs {
    /// Unnormalised scores, float32 [batch, labels].
    pub logits: String,
    /// The pooled state that drift reads, float32 [batch, `embedding_size`].
    pub embedding: String,
    /// Width of the embedding.
    pub embedding_size: usize,
}

/// How the network is stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// `onnx`.
    pub kind: String,
    /// ONNX operator set.
    pub opset: u32,
    /// How weights are stored, for people.
    pub weights: String,
    /// What the network computes in, for people.
    pub arithmetic: String,
    /// The least precise numbers that the network may be computed in. A runtime may compute in float32 all the same.
    #[serde(default)]
    pub precision: Precision,
    /// Transformer layers.
    pub layers: u32,
}

/// What a network is computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// float32, as it was trained.
    #[default]
    F32,
    /// Linear layers in int8, with activations rounded as they come; all else in float32.
    Int8,
}

/// What the tokenizer adds and how it calls it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokenizer {
    /// How many special tokens it puts around a text.
    pub special_tokens: usize,
    /// The token for what is not in the vocabulary.
    pub unknown: String,
    /// The token for padding.
    pub padding: String,
}

/// How exactly a runtime reproduces the golden cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Lines of `golden.jsonl`.
    pub cases: usize,
    /// Most that any probability may differ, in float32 arithmetic.
    pub tolerance: f32,
    /// The same for a runtime that computes in int8; absent where nobody measured it.
    pub tolerance_int8: Option<f32>,
}

/// Temperature scaling (Guo et al. 2017) and what it did.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// For people.
    pub method: String,
    /// What logits are divided by before softmax; positive, so no label changes.
    pub temperature: f32,
    /// What it was fitted on.
    pub fitted_on: String,
    /// On how many texts.
    pub fitted_n: u64,
    /// What the reports were made on: other texts than those.
    pub reported_on: String,
    /// Calibration before and after, a row a data set.
    pub reports: Vec<CalibrationReport>,
}

/// Calibration of one data set before and after.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationReport {
    /// The data set's name.
    pub data: String,
    /// Its texts that took no part in fitting.
    pub n: u64,
    /// Expected calibration error at temperature 1, 0 to 1.
    pub ece_before: f64,
    /// Expected calibration error at the fitted temperature, 0 to 1.
    pub ece_after: f64,
    /// Mean negative log-likelihood at temperature 1, in nats.
    pub nll_before: f64,
    /// Mean negative log-likelihood at the fitted temperature, in nats.
    pub nll_after: f64,
}

/// Digests of the bundle's other files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// The network.
    #[serde(rename = "model.onnx")]
    pub model: Digest,
    /// Its tokenizer.
    #[serde(rename = "tokenizer.json")]
    pub tokenizer: Digest,
    /// The reference profile.
    #[serde(rename = "reference.json")]
    pub reference: Digest,
    /// The golden cases.
    #[serde(rename = "golden.jsonl")]
    pub golden: Digest,
}

/// Where the weights come from, for people.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// What training started from.
    pub base: String,
    /// What it was trained on.
    pub data: Vec<String>,
    /// How.
    pub recipe: String,
    /// Most tokens of a text in training.
    pub training_tokens_max: usize,
    /// What a user should know before believing the figures.
    pub caveats: Vec<String>,
}

/// What the weights may be used for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// SPDX expression.
    pub spdx: String,
    /// Whom to name.
    pub attribution: Vec<String>,
}

/// Measured accuracy on one data set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// The data set's name.
    pub data: String,
    /// What it is.
    pub source: String,
    /// Its texts.
    pub n: u64,
    /// Of these, judged right.
    pub correct: u64,
    /// `correct / n`, rounded.
    pub accuracy: f64,
}

/// Read before the rest, so that a bundle of another age is told so rather than that it has an unknown key.
#[derive(Deserialize)]
struct FormatOnly {
    bundle_format: u32,
}

impl Manifest {
    /// Reads a manifest. The error says what is wrong, where, and what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        let explain = |error: toml::de::Error| {
            format!(
                "{}; the model.toml of a shipped bundle shows every key",
                error.to_string().trim_end()
            )
        };
        let FormatOnly { bundle_format } = toml::from_str(text).map_err(explain)?;
        if bundle_format != BUNDLE_FORMAT {
            return Err(format!(
                "bundle_format is {bundle_format}, this version of Verdict reads {BUNDLE_FORMAT}; pack the bundle for it or upgrade"
            ));
        }
        let manifest: Self = toml::from_str(text).map_err(explain)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The model's name and version.
    pub fn model(&self) -> Result<ModelName, String> {
        ModelName::new(&self.name, &self.version.to_string()).map_err(|error| error.to_string())
    }

    fn check(&self) -> Result<(), String> {
        self.model()?;
        check_labels(&self.labels)?;
        if !(TOKENS_MIN..=TOKENS_MAX).contains(&self.max_tokens) {
            return Err(format!(
                "max_tokens is {}; it must be {TOKENS_MIN} to {TOKENS_MAX}",
                self.max_tokens
            ));
        }
        if self.format.kind != "onnx" {
            return Err(format!("format.kind is `{}`; only onnx is served", self.format.kind));
        }
        if self.format.precision == Precision::Int8 && self.golden.tolerance_int8.is_none() {
            return Err(
                "format.precision is int8, but golden.tolerance_int8 is absent: measure how far int8 is off the golden cases and say so"
                    .to_owned(),
            );
        }
        if !(self.calibration.temperature.is_finite() && 0.0 < self.calibration.temperature) {
            return Err(format!(
                "calibration.temperature is {}; it must be above 0, and 1 for none",
                self.calibration.temperature
            ));
        }
        for tolerance in
            [Some(self.golden.tolerance), self.golden.tolerance_int8].into_iter().flatten()
        {
            if !(0.0 < tolerance && tolerance < 0.5) {
                return Err(format!(
                    "golden.tolerance is {tolerance}; it must be above 0 and below 0.5"
                ));
            }
        }
        Ok(())
    }
}

fn check_labels(labels: &[String]) -> Result<(), String> {
    if !(2..=LABELS_MAX).contains(&labels.len()) {
        return Err(format!(
            "labels has {} entries; name 2 to {LABELS_MAX}, one an output of the network",
            labels.len()
        ));
    }
    let distinct = labels.iter().filter(|label| !label.is_empty()).collect::<BTreeSet<_>>();
    if distinct.len() < labels.len() {
        return Err(format!("labels is {labels:?}; each must be distinct and not empty"));
    }
    Ok(())
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        })
    }
}

impl Golden {
    /// Most that any probability may differ in a runtime of `precision`. In int8, whose tolerance has to be wide enough for the one text
    /// that the model is least sure of, the mean over the cases may be a quarter of it.
    pub fn within(&self, precision: Precision) -> f32 {
        match precision {
            Precision::F32 => self.tolerance,
            Precision::Int8 => self.tolerance_int8.unwrap_or(self.tolerance),
        }
    }
}

impl Calibration {
    /// softmax(logits / temperature): as many probabilities as logits, in their order, summing to 1.
    ///
    /// A logit that is not a number makes probabilities that are none; the caller refuses these.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        // The largest is subtracted, so that no exponential overflows.
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponential = |logit: &f32| ((logit - largest) / self.temperature).exp();
        let exponentials = logits.iter().map(exponential).collect::<Vec<_>>();
        let sum = exponentials.iter().sum::<f32>();
        exponentials.iter().map(|exponential| exponential / sum).collect()
    }
}
