//! From records to reviews, and from verdicts and refusals back to records.

use std::sync::Arc;

use broker::{Delivery, OUTBOX_RECORD_BYTES_MAX, Outgoing};
use chassis::Tracer;
use jiff::Timestamp;
use schemas::{
    Origin, Record, Refusal, Review, Stage, Verdict, dead_letter::BYTES_DROPPED, headers,
    record::Header, review::Place, topics,
};

use crate::pipeline::{Pipeline, steps::Steps};

/// Most characters of a dead letter's message.
const MESSAGE_CHARACTERS_MAX: usize = 1_000;

/// The topics that the line writes, shared so that a record does not carry a copy of its topic's name.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Verdicts.
    pub verdicts: Arc<str>,
    /// Refused records.
    pub dead_letters: Arc<str>,
}

impl Default for Topics {
    fn default() -> Self {
        Self { verdicts: topics::VERDICTS.into(), dead_letters: topics::DEAD_LETTERS.into() }
    }
}

/// Keeps times of scoring in the order of the reviews, a microsecond apart at least: of two verdicts of one id the store keeps that
/// of the later time. A batch has one time for all that is in it, and batches are of like length, not of like age.
#[derive(Clone, Copy, Debug)]
pub struct ScoringOrder {
    last_us: i64,
}

impl Default for ScoringOrder {
    fn default() -> Self {
        Self { last_us: i64::MIN }
    }
}

impl ScoringOrder {
    /// Moves the times of `outcomes`, which come in the order of their reviews, to where they are due at the earliest.
    pub fn keep(&mut self, outcomes: &mut [Result<Verdict, Refusal>]) {
        for verdict in outcomes.iter_mut().flatten() {
            let next_us = self.last_us.saturating_add(1);
            if verdict.scored_at.as_microsecond() < next_us
                && let Ok(next) = Timestamp::from_microsecond(next_us)
            {
                verdict.scored_at = next;
            }
            self.last_us = verdict.scored_at.as_microsecond();
        }
    }
}

/// Reads each record as a review. `now` stands in for times that nobody gave.
pub fn read(
    deliveries: &[Delivery],
    now: Timestamp,
) -> impl Iterator<Item = Result<Review, Refusal>> + '_ {
    deliveries
        .iter()
        .map(move |delivery| Review::from_record(&delivery.record, place(delivery), now))
}

/// One record for each delivery, in order: its verdict or its dead letter. A verdict is completed with where it came from and
/// with its trace; the headers that the line does not know travel on. A dead letter keeps the `traceparent` that its record came with.
///
/// `steps` and `outcomes` are those of the same deliveries; a verdict that is too large to be written becomes a refusal in there.
pub fn write(
    deliveries: Vec<Delivery>,
    steps: &[Steps],
    outcomes: &mut [Result<Verdict, Refusal>],
    topics: &Topics,
    now: Timestamp,
) -> Vec<Outgoing> {
    let each = deliveries.into_iter().zip(steps).zip(outcomes);
    each.map(|((delivery, steps), outcome)| write_one(&delivery, steps, outcome, topics, now))
        .collect()
}

fn write_one(
    delivery: &Delivery,
    steps: &Steps,
    outcome: &mut Result<Verdict, Refusal>,
    topics: &Topics,
    now: Timestamp,
) -> Outgoing {
    let refusal = match outcome {
        Ok(verdict) => match verdict_record(delivery, steps, verdict) {
            Ok(record) => return Outgoing { topic: Arc::clone(&topics.verdicts), record },
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal.clone(),
    };
    let record = dead_letter(delivery, &refusal, now);
    *outcome = Err(refusal);
    Outgoing { topic: Arc::clone(&topics.dead_letters), record }
}

/// The record as it came, with the reason. What came is kept whole unless the broker could not take it: then its value goes,
/// and if need be its headers, and a header says so; its place in the topic is in the headers that are added.
fn dead_letter(delivery: &Delivery, refusal: &Refusal, now: Timestamp) -> Record {
    // The message may quote the record at length, as serde does with a value of the wrong type.
    let refusal = Refusal { message: shortened(&refusal.message), ..*refusal };
    let letter = refusal.to_dead_letter(&delivery.record, place(delivery), now);
    let bytes_came = bytes(&letter);
    if bytes_came <= OUTBOX_RECORD_BYTES_MAX {
        return letter;
    }
    let dropped = Header::text(BYTES_DROPPED, bytes_came.to_string());
    let mut without_value = Record { value: None, ..letter };
    without_value.headers.push(dropped.clone());
    if bytes(&without_value) <= OUTBOX_RECORD_BYTES_MAX {
        return without_value;
    }
    let bare = Record { timestamp_ms: delivery.record.timestamp_ms, ..Record::default() };
    let mut letter = refusal.to_dead_letter(&bare, place(delivery), now);
    letter.headers.push(dropped);
    letter
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

/// What a broker counts of a record, near enough.
fn bytes(record: &Record) -> usize {
    let part = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter().map(|header| header.name.len() + part(&header.value));
    part(&record.key) + part(&record.value) + headers.sum::<usize>()
}

impl Pipeline {
    /// The verdict record or the dead letter of each delivery, in order, on the caller's thread, as if the model took no time.
    pub fn process(&self, deliveries: &[Delivery], now: Timestamp) -> Vec<Outgoing> {
        let mut outcomes = self.judge(read(deliveries, now), now);
        let steps = Steps::of_all(deliveries, &Tracer::default());
        write(deliveries.to_vec(), &steps, &mut outcomes, &Topics::default(), now)
    }
}

fn verdict_record(
    delivery: &Delivery,
    steps: &Steps,
    verdict: &mut Verdict,
) -> Result<Record, Refusal> {
    verdict.trace_id = Some(steps.send.trace_id());
    verdict.origin = Some(Origin {
        topic: delivery.topic.to_string(),
        partition: delivery.partition,
        offset: delivery.offset,
    });
    let known = |header: &&Header| header.name != headers::TRACEPARENT;
    let mut travelling: Vec<Header> =
        delivery.record.headers.iter().filter(known).cloned().collect();
    travelling.push(Header::text(headers::TRACEPARENT, steps.send.traceparent()));
    let record = verdict
        .to_record(travelling)
        .map_err(|error| Refusal::new(Stage::Validate, "UnwritableVerdict", error))?;
    let bytes = bytes(&record);
    if OUTBOX_RECORD_BYTES_MAX < bytes {
        let message = format!(
            "the verdict has {bytes} bytes, at most {OUTBOX_RECORD_BYTES_MAX} are written: send less metadata"
        );
        return Err(Refusal::new(Stage::Validate, "VerdictTooLarge", message));
    }
    Ok(record)
}

fn place(delivery: &Delivery) -> Place<'_> {
    Place { topic: &delivery.topic, partition: delivery.partition, offset: delivery.offset }
}
