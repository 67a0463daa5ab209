//! The count of outcomes against reviews: pure, a bit for each offset and a number for each key.
//!
//! Outcomes are noted first and reviews last, so that a review without an outcome is at hand when it is found to be lost.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use broker::Delivery;
use jiff::Timestamp;
use models::ModelName;
use schemas::{DeathNote, ModelRef, Review, Verdict, review::Place};
use sha2::{Digest as _, Sha256};

use super::{
    bits::Bits,
    findings::{Fault, Findings},
};

/// What is known of one partition of the reviews before anything is read.
///
/// A running line moves on meanwhile. So `settled` is asked before the ends of the outcomes, and `committed` after: below the
/// one every outcome is within sight, at or above the other none may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The offsets that are kept.
    pub(crate) kept: Range<i64>,
    /// The group's offset before the ends of the outcomes were asked for.
    pub(crate) settled: i64,
    /// The group's offset afterwards.
    pub(crate) committed: i64,
}

/// What was counted, besides faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) reviews: u64,
    pub(crate) verdicts: u64,
    pub(crate) dead_letters: u64,
    /// Reviews at or above the group's offset.
    pub(crate) pending: u64,
    /// Reviews without an outcome, where as many outcomes were deleted.
    pub(crate) forgotten: u64,
}

/// Outcomes against reviews.
#[derive(Debug)]
pub(crate) struct Tally {
    topic: String,
    partitions: BTreeMap<i32, (Bounds, Bits)>,
    models: Vec<ModelName>,
    digests: HashMap<(String, String), String>,
    /// By partition of the verdict, partition of the review and key: the review of the last verdict.
    last: HashMap<u128, i64>,
    /// By partition and offset of a review: of whose id and text its first verdict is.
    judged: HashMap<(i32, i64), u128>,
    acknowledged: HashSet<String>,
    pub(crate) counts: Counts,
    pub(crate) findings: Findings,
}

impl Tally {
    /// Of the reviews in `topic`. No `models` are any; `acknowledged` are keys that must be among the reviews.
    pub(crate) fn new(
        topic: &str,
        bounds: BTreeMap<i32, Bounds>,
        models: Vec<ModelName>,
        acknowledged: HashSet<String>,
    ) -> Self {
        let with_bits = |(partition, bounds): (i32, Bounds)| {
            let bits = Bits::new(bounds.kept.clone());
            (partition, (bounds, bits))
        };
        Self {
            topic: topic.to_owned(),
            partitions: bounds.into_iter().map(with_bits).collect(),
            models,
            digests: HashMap::new(),
            last: HashMap::new(),
            judged: HashMap::new(),
            acknowledged,
            counts: Counts::default(),
            findings: Findings::default(),
        }
    }

    /// Notes a record of the verdicts; the verdict, if it is one. Records of one partition come in their order.
    pub(crate) fn verdict(&mut self, delivery: &Delivery) -> Option<Verdict> {
        self.counts.verdicts += 1;
        let at = || place(delivery);
        let verdict = match Verdict::from_record(&delivery.record) {
            Ok(verdict) => verdict,
            Err(error) => {
                self.findings.note(Fault::Unexplained, || format!("{}: {error}", at()));
                return None;
            }
        };
        self.model(&verdict.model, || format!("{} ({})", at(), verdict.id));
        let Some(origin) = &verdict.origin else {
            let example = || format!("{} ({}) has no origin", at(), verdict.id);
            self.findings.note(Fault::Unexplained, example);
            return Some(verdict);
        };
        if self.outcome(delivery, &origin.topic, origin.partition, origin.offset) {
            let key = delivery.record.key.as_deref().unwrap_or_default();
            self.order(delivery, key, origin.partition, origin.offset);
            // A second one is a duplicate, and counted as one.
            let place = (origin.partition, origin.offset);
            self.judged
                .entry(place)
                .or_insert_with(|| own(verdict.id.as_str(), &verdict.review_sha256));
        }
        Some(verdict)
    }

    /// Notes a record of the dead letters.
    pub(crate) fn dead_letter(&mut self, delivery: &Delivery) {
        self.counts.dead_letters += 1;
        match DeathNote::read(&delivery.record) {
            Some(DeathNote { place, .. }) => {
                self.outcome(delivery, place.topic, place.partition, place.offset);
            }
            None => self.findings.note(Fault::Unexplained, || {
                format!("{} does not say which record was refused", place(delivery))
            }),
        }
    }

    /// Notes a review. All outcomes must have been noted.
    pub(crate) fn review(&mut self, delivery: &Delivery) {
        self.counts.reviews += 1;
        if let Some(key) = delivery.record.key.as_deref()
            && !self.acknowledged.is_empty()
            && let Ok(key) = std::str::from_utf8(key)
        {
            self.acknowledged.remove(key);
        }
        let Some((bounds, outcomes)) = self.partitions.get_mut(&delivery.partition) else { return };
        // What is left afterwards are outcomes of no review.
        let has_outcome = outcomes.clear(delivery.offset);
        if has_outcome {
            let judged = self.judged.remove(&(delivery.partition, delivery.offset));
            if judged.is_some_and(|judged| own_of(delivery).is_some_and(|own| own != judged)) {
                self.findings.note(Fault::Swapped, || {
                    format!(
                        "{}{} has the verdict of another review",
                        place(delivery),
                        key_of(delivery)
                    )
                });
            }
            return;
        }
        if delivery.offset < bounds.settled {
            let settled = bounds.settled;
            self.findings.note(Fault::Lost, || {
                format!("{}{}, below offset {settled}", place(delivery), key_of(delivery))
            });
        } else {
            self.counts.pending += 1;
        }
    }

    /// The end: `deleted` offsets of the outcomes' topics are no longer kept, so that as many outcomes may have been there.
    pub(crate) fn finish(&mut self, deleted: u64) {
        self.counts.forgotten = self.findings.excuse(Fault::Lost, deleted);
        for (partition, (bounds, outcomes)) in &self.partitions {
            // The others are torn already.
            for offset in outcomes.offsets().take_while(|offset| *offset < bounds.committed) {
                self.findings.note(Fault::Unexplained, || {
                    format!("{}-{partition}@{offset} has an outcome and is no record", self.topic)
                });
            }
        }
        for id in &self.acknowledged {
            self.findings.note(Fault::Unacknowledged, || id.clone());
        }
    }

    /// Whether everything that the line read from `partition` before `offset` was settled when reading began.
    pub(crate) fn is_settled(&self, partition: i32, offset: i64) -> bool {
        self.partitions.get(&partition).is_some_and(|(bounds, _)| offset < bounds.settled)
    }

    /// Notes the model of a verdict or of a row.
    pub(crate) fn model(&mut self, model: &ModelRef, at: impl Fn() -> String) {
        let ModelRef { name, version, digest } = model;
        let is_it = |expected: &ModelName| {
            expected.name() == name && expected.version().to_string() == *version
        };
        if !self.models.is_empty() && !self.models.iter().any(is_it) {
            self.findings.note(Fault::WrongVersion, || format!("{} is of {name}@{version}", at()));
        }
        match self.digests.get(&(name.clone(), version.clone())) {
            None => {
                self.digests.insert((name.clone(), version.clone()), digest.clone());
            }
            Some(first) if first != digest => self.findings.note(Fault::WrongVersion, || {
                format!("{} is of {name}@{version} {digest}, others of {first}", at())
            }),
            Some(_) => {}
        }
    }

    /// Notes an outcome of the record at a place; whether that may be a review that is kept.
    fn outcome(&mut self, delivery: &Delivery, topic: &str, partition: i32, offset: i64) -> bool {
        let named = || {
            format!("{}{} names {topic}-{partition}@{offset}", place(delivery), key_of(delivery))
        };
        let known = (self.topic == topic).then(|| self.partitions.get_mut(&partition)).flatten();
        let Some((bounds, outcomes)) = known else {
            self.findings.note(Fault::Unexplained, || format!("{}, which is no review", named()));
            return false;
        };
        if offset < 0 {
            self.findings.note(Fault::Unexplained, || format!("{}, which is no review", named()));
            return false;
        }
        if offset < bounds.kept.start {
            // The review is no longer kept, so its outcomes cannot be told apart.
            return true;
        }
        if bounds.committed <= offset {
            let committed = bounds.committed;
            self.findings.note(Fault::Torn, || {
                format!("{}, but the group's offset is {committed}", named())
            });
        }
        if outcomes.set(offset) {
            self.findings.note(Fault::Duplicated, || format!("{}, which had an outcome", named()));
        }
        true
    }

    /// Notes where the review of a verdict was, among those of its key.
    fn order(&mut self, delivery: &Delivery, key: &[u8], partition: i32, offset: i64) {
        let lane = [delivery.partition.to_be_bytes(), partition.to_be_bytes()].concat();
        let last = self.last.entry(hash(&[&lane, key])).or_insert(offset);
        // Equal is a duplicate, and counted as one.
        if *last <= offset {
            *last = offset;
            return;
        }
        let last = *last;
        self.findings.note(Fault::OutOfOrder, || {
            let (at, key) = (place(delivery), key_of(delivery));
            format!("{at}{key} is of offset {offset}, after one of offset {last}")
        });
    }
}

/// 128 bits that stand for a key: among a million keys two are the same with a chance of 10^-27.
pub(crate) fn hash(parts: &[&[u8]]) -> u128 {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part);
    }
    let digest = sha.finalize();
    digest.iter().take(16).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

/// What a verdict must have in common with its review.
fn own(id: &str, text_sha256: &str) -> u128 {
    hash(&[id.as_bytes(), b"\0", text_sha256.as_bytes()])
}

/// [`own`] of a review; `None` where the record is none.
fn own_of(delivery: &Delivery) -> Option<u128> {
    let Delivery { topic, partition, offset, record } = delivery;
    let place = Place { topic, partition: *partition, offset: *offset };
    // No time matters here.
    let review = Review::from_record(record, place, Timestamp::UNIX_EPOCH).ok()?;
    let hex = Sha256::digest(review.text.as_str()).iter().fold(String::new(), |mut hex, byte| {
        hex.extend(
            [byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')),
        );
        hex
    });
    Some(own(review.id.as_str(), &hex))
}

/// `topic-partition@offset`.
pub(crate) fn place(delivery: &Delivery) -> String {
    format!("{}-{}@{}", delivery.topic, delivery.partition, delivery.offset)
}

fn key_of(delivery: &Delivery) -> String {
    let key = delivery.record.key.as_deref();
    key.map_or_else(String::new, |key| format!(" ({})", String::from_utf8_lossy(key)))
}

#[cfg(test)]
pub(crate) mod tests;
