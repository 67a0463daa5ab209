//! The pure middle of the line: what becomes of each review. Bad ones never fail good ones.
//!
//! Three steps, so that the worker can put them on different threads: [`Pipeline::prepare`] reads and tokenises,
//! [`Pipeline::infer`] calls the model on one batch, [`Pipeline::conclude`] writes the verdicts. No step blocks on anything but
//! the processor, and none reads a clock.
//!
//! # Layout
//! - [`round`]: what is known of the reviews of one round
//! - [`records`]: from records and back to records
//! - [`steps`]: where each record is in its trace

pub mod records;
pub mod round;
pub mod steps;

#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use models::manifest::{Calibration, Precision};
use schemas::{ModelRef, Refusal, Review, Stage, Verdict, verdict::SCHEMA_VERSION};

use crate::{
    batcher::{self, BatchLimits},
    classifier::{Classifier, ClassifyError, Scores, Shape},
    features::Extractor,
    pipeline::round::{Answer, Entry, Facts, Judgement, Round},
    response_cache::ResponseCache,
    tokenizer::{Encoding, Tokenizer},
};

/// One model and the rules around it. Shared by all threads; swapped as a whole between rounds.
#[derive(Debug)]
pub struct Pipeline {
    /// From text to ids.
    pub tokenizer: Tokenizer,
    /// From ids to logits.
    pub classifier: Arc<dyn Classifier>,
    /// From logits to probabilities.
    pub calibration: Calibration,
    /// Names of the labels, in the order of the logits.
    pub labels: Vec<String>,
    /// Stamped on each verdict.
    pub model: ModelRef,
    /// In what numbers the network is computed; stamped on each verdict.
    pub precision: Precision,
    /// What bounds a batch.
    pub limits: BatchLimits,
    /// From ids and embeddings to what drift needs.
    pub extractor: Extractor,
    /// Whether verdicts carry the text.
    pub store_text: bool,
}

/// Texts that are inferred together: owned, so that it can go to another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    shape: Shape,
    /// Position of the text among the round's texts, and its ids.
    rows: Vec<(usize, Vec<u32>)>,
}

/// What the model said of one batch.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// What the model computed.
    pub shape: Shape,
    /// Ids in the batch that were not padding.
    pub tokens: usize,
    judged: Vec<(usize, Result<Answer, Refusal>)>,
}

/// When and how long a batch was inferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the model began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
}

impl Batch {
    /// What the model will compute.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The token ids of each row.
    pub fn rows(&self) -> Vec<&[u32]> {
        self.rows.iter().map(|(_, ids)| ids.as_slice()).collect()
    }
}

impl Inferred {
    /// Share of what the model computed that was padding, 0 to 1.
    pub fn padding_ratio(&self) -> f64 {
        let total = u32::try_from(self.shape.tokens_total()).map_or(f64::INFINITY, f64::from);
        let tokens = u32::try_from(self.tokens).map_or(total, f64::from);
        1.0 - tokens / total.max(1.0)
    }
}

impl Pipeline {
    /// Tokenises `reviews` and forms batches. Refusals keep their places.
    ///
    /// Equal texts are tokenised and inferred once.
    pub fn prepare(
        &self,
        reviews: impl IntoIterator<Item = Result<Review, Refusal>>,
    ) -> (Round, Vec<Batch>) {
        self.prepare_with(reviews, &mut ResponseCache::default(), Timestamp::UNIX_EPOCH)
    }

    /// As [`prepare`](Self::prepare) at `now`, but what `cache` knows needs neither.
    pub(crate) fn prepare_with(
        &self,
        reviews: impl IntoIterator<Item = Result<Review, Refusal>>,
        cache: &mut ResponseCache,
        now: Timestamp,
    ) -> (Round, Vec<Batch>) {
        let mut round = Round::default();
        let mut encodings = Vec::new();
        for review in reviews {
            round.push(review, cache, now, |text, position| {
                let encoding = self.tokenizer.encode(text)?;
                let facts = Facts {
                    tokens: encoding.ids.len(),
                    truncated: encoding.truncated,
                    features: self.extractor.of_text(text, &encoding),
                };
                encodings.push((position, encoding));
                Ok(facts)
            });
        }
        let batches = self.batches(encodings);
        round.expect(batches.len());
        (round, batches)
    }

    /// Of texts and their positions in the round.
    fn batches(&self, mut encodings: Vec<(usize, Encoding)>) -> Vec<Batch> {
        let counts: Vec<usize> = encodings.iter().map(|(_, encoding)| encoding.ids.len()).collect();
        let planned = batcher::plan(&counts, self.classifier.shapes(), self.limits);
        let mut take = |index: usize| {
            let taken = encodings.get_mut(index);
            taken.map(|(position, encoding)| (*position, std::mem::take(&mut encoding.ids)))
        };
        planned
            .into_iter()
            .map(|planned| Batch {
                shape: planned.shape,
                rows: planned.positions.into_iter().filter_map(&mut take).collect(),
            })
            .collect()
    }

    /// Calls the model on one batch. Where the model fails, the batch is halved until the text at fault is alone: that one is
    /// refused and its neighbours are not. Blocks for as long as the model computes.
    pub fn infer(&self, batch: &Batch) -> Inferred {
        let mut judged = Vec::with_capacity(batch.rows.len());
        self.infer_rows(batch.shape, &batch.rows, &mut judged);
        let tokens = batch.rows.iter().map(|(_, ids)| ids.len()).sum();
        Inferred { shape: batch.shape, tokens, judged }
    }

    fn infer_rows(
        &self,
        shape: Shape,
        rows: &[(usize, Vec<u32>)],
        judged: &mut Vec<(usize, Result<Answer, Refusal>)>,
    ) {
        let ids: Vec<&[u32]> = rows.iter().map(|(_, ids)| ids.as_slice()).collect();
        match (self.classify(shape, &ids), rows) {
            (Ok(scores), _) => {
                let answers = scores.iter().map(|scores| self.answer(scores));
                judged.extend(rows.iter().map(|&(position, _)| position).zip(answers));
            }
            (Err(_), []) => {}
            (Err(refusal), [(position, _)]) => judged.push((*position, Err(refusal))),
            (Err(_), rows) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                for half in [left, right] {
                    // Fewer rows in the same plan: no plan is made for a case that should not happen.
                    self.infer_rows(shape, half, judged);
                }
            }
        }
    }

    /// As many scores as rows, or a refusal.
    fn classify(&self, shape: Shape, rows: &[&[u32]]) -> Result<Vec<Scores>, Refusal> {
        let call = || Ok(self.classifier.classify(shape, rows));
        let outcome = crate::classifier::catch(call)
            .map_err(ClassifyError::Failed)
            .and_then(std::convert::identity);
        let scores = outcome.map_err(|error| Refusal::new(Stage::Infer, "ModelFailed", error))?;
        if scores.len() != rows.len() {
            let message =
                format!("the model gave {} answers to {} texts", scores.len(), rows.len());
            return Err(Refusal::new(Stage::Infer, "ModelFailed", message));
        }
        Ok(scores)
    }

    fn answer(&self, scores: &Scores) -> Result<Answer, Refusal> {
        let projection = self.extractor.project(&scores.embedding);
        self.probabilities(scores).map(|probabilities| Answer { probabilities, projection })
    }

    /// Calibrated, in the order of the labels.
    fn probabilities(&self, scores: &Scores) -> Result<Vec<f32>, Refusal> {
        let probabilities = self.calibration.probabilities(&scores.logits);
        if probabilities.len() != self.labels.len() || !probabilities.iter().all(|p| p.is_finite())
        {
            let message = format!("the model gave no probabilities: logits {:?}", scores.logits);
            return Err(Refusal::new(Stage::Infer, "NotANumber", message));
        }
        Ok(probabilities)
    }

    /// The verdict or the refusal of each review, in the order in which they came.
    ///
    /// Where the model began before the review was received, by whichever clock, the wait counts as none.
    pub fn conclude(&self, round: Round) -> Vec<Result<Verdict, Refusal>> {
        let (entries, judgements) = round.into_parts();
        let verdict = |entry: Entry| match entry {
            Entry::Refused(refusal) => Err(refusal),
            Entry::Review(review, position) => match judgements.get(position) {
                Some(judgement) => self.verdict(review, judgement),
                None => Err(unanswered()),
            },
        };
        entries.into_iter().map(verdict).collect()
    }

    fn verdict(&self, review: Review, judgement: &Judgement) -> Result<Verdict, Refusal> {
        let (answer, timing, rows) = match &judgement.outcome {
            Some((Ok(answer), timing, rows)) => (answer, timing, *rows),
            Some((Err(refusal), ..)) => return Err(refusal.clone()),
            None => return Err(unanswered()),
        };
        let labelled = self.labels.iter().zip(answer.probabilities.iter().copied());
        let best = labelled.clone().max_by(|(_, a), (_, b)| a.total_cmp(b));
        let (label, confidence) = best.ok_or_else(unanswered)?;
        // A negative wait is one that two clocks disagree about.
        let queued = timing.started_at.duration_since(review.received_at);
        let queued = Duration::try_from(queued).unwrap_or_default();
        Ok(Verdict {
            schema_version: SCHEMA_VERSION,
            id: review.id,
            review_sha256: hex(&judgement.sha256),
            review: self.store_text.then(|| String::from(review.text)),
            label: label.clone(),
            confidence,
            probabilities: labelled.map(|(l, p)| (l.clone(), p)).collect::<BTreeMap<_, _>>(),
            model: self.model.clone(),
            precision: Some(self.precision.to_string()),
            tokens: u32::try_from(judgement.facts.tokens).unwrap_or(u32::MAX),
            truncated: judgement.facts.truncated,
            drift: Some(
                self.extractor.features(judgement.facts.features.clone(), answer.projection),
            ),
            source: review.source,
            language: review.language,
            metadata: review.metadata,
            origin: None,
            occurred_at: review.occurred_at,
            received_at: review.received_at,
            scored_at: timing.ended_at(),
            queue_ms: milliseconds(queued),
            inference_ms: milliseconds(timing.took),
            batch_size: u32::try_from(rows).unwrap_or(u32::MAX),
            trace_id: None,
        })
    }

    /// All three steps in one, on the caller's thread, as if the model took no time.
    pub fn judge(
        &self,
        reviews: impl IntoIterator<Item = Result<Review, Refusal>>,
        now: Timestamp,
    ) -> Vec<Result<Verdict, Refusal>> {
        let (mut round, batches) = self.prepare(reviews);
        for batch in &batches {
            round.accept(self.infer(batch), Timing { started_at: now, took: Duration::ZERO });
        }
        self.conclude(round)
    }
}

impl Timing {
    /// When the model was done.
    pub(crate) fn ended_at(&self) -> Timestamp {
        let took = jiff::SignedDuration::try_from(self.took).unwrap_or_default();
        self.started_at.checked_add(took).unwrap_or(self.started_at)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// A text that came back from no batch. Cannot happen while every batch is accepted; costs a review and not the process.
fn unanswered() -> Refusal {
    Refusal::new(Stage::Infer, "Unanswered", "no batch answered for this text")
}

/// In whole microseconds, so that people read `1.784` and not `1.7844540000000002`.
fn milliseconds(duration: Duration) -> f64 {
    let microseconds = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(microseconds) / 1_000.0
}
