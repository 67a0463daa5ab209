//! `verdict dlq redrive`: sending the records of dead letters to be scored again, each once.
//!
//! One transaction writes some reviews and, for each, the note that its letter was sent. So a run that is cut off anywhere is
//! finished by the next: what was sent is noted, what is not noted was not sent. All runs share one transactional id; a run
//! takes it before it reads the notes, so that no other can still be sending what these notes do not name.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    num::NonZeroU32,
    ops::ControlFlow,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use broker::{
    Outgoing,
    kafka::{KafkaSettings, TopicSpec, TransactionError, TransactionalPublish, ensure_topics},
};
use chassis::clock;
use schemas::{
    Redrive,
    dead_letter::{BYTES_DROPPED, to_retry},
    headers,
    redrive::RedriveNote,
    topics,
};

use super::{args::RedriveArgs, filter::Filter, letter::Letter, list::Summary, redriven::Redriven};

/// Names all redrives to Kafka's transaction coordinator, so that only one can be writing.
const TRANSACTIONAL_ID: &str = "verdict-redrive";

/// Most letters of one transaction, and most bytes of their values.
const CHUNK_LETTERS_MAX: usize = 100;
const CHUNK_BYTES_MAX: usize = 4_000_000;

/// Most times that a chunk is tried of which nothing was written.
const TRIES_MAX: usize = 5;
const TRY_PAUSE: Duration = Duration::from_millis(500);

/// Longest wait for the notes' topic to be there.
const TOPIC_WAIT_MAX: Duration = Duration::from_secs(30);

/// Letters that a dry run prints.
const LATEST_MAX: usize = 20;

/// What becomes of a letter that was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ruling {
    Send,
    SentAlready,
    TooOften,
    NotRetryable,
    NoReason,
    ValueDropped,
}

/// What an operator allows.
#[derive(Clone, Copy, Debug)]
struct Limits {
    attempts: u32,
    is_forced: bool,
}

/// Does it, or says what it would do.
pub(super) fn run(args: &RedriveArgs) -> anyhow::Result<()> {
    let kafka = super::kafka(&args.kafka)?;
    let filter = Filter::new(&args.filter, clock::now());
    // The id is taken before the notes are read.
    let mut sender = args.execute.then(|| Sender::start(&kafka, args)).transpose()?;
    let redriven = Redriven::read(&kafka)?;
    let limits = Limits { attempts: args.attempts_limit, is_forced: args.force };
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut rulings: BTreeMap<Ruling, usize> = BTreeMap::new();
    let mut summary = Summary::new(LATEST_MAX);
    let outcome = super::scan(&kafka, &redriven, |letter| {
        if !filter.selects(letter) {
            return Ok(ControlFlow::Continue(()));
        }
        let ruling = rule(letter, limits);
        if ruling == Ruling::Send {
            if summary.count == limit {
                return Ok(ControlFlow::Break(()));
            }
            summary.note(letter);
            if let Some(sender) = &mut sender {
                sender.send(letter)?;
            }
        }
        *rulings.entry(ruling).or_default() += 1;
        Ok(ControlFlow::Continue(()))
    });
    let outcome = outcome.and_then(|()| sender.as_mut().map_or(Ok(()), Sender::flush));
    let mut out = io::stdout().lock();
    if let Some(sender) = &sender {
        writeln!(out, "{} records sent to {}", sender.sent, topics::REVIEWS)?;
    } else {
        writeln!(out, "{} records would be sent to {}", summary.count, topics::REVIEWS)?;
        summary.write(&mut out)?;
    }
    for (&ruling, count) in &rulings {
        if let Some(reason) = reason(ruling, limits) {
            writeln!(out, "{count} left: {reason}")?;
        }
    }
    if sender.is_none() && 0 < summary.count {
        writeln!(out, "\nThis was a dry run: nothing was sent. --execute sends.")?;
    }
    out.flush()?;
    outcome
        .context("stopped early; what was sent is noted, and the same command again sends the rest")
}

/// What becomes of a letter.
fn rule(letter: &Letter<'_>, limits: Limits) -> Ruling {
    let Some(note) = letter.note else { return Ruling::NoReason };
    if letter.redriven.is_some() {
        Ruling::SentAlready
    } else if headers::text(&letter.record.headers, BYTES_DROPPED).is_some() {
        Ruling::ValueDropped
    } else if limits.attempts <= note.attempts {
        Ruling::TooOften
    } else if !note.is_retryable && !limits.is_forced {
        Ruling::NotRetryable
    } else {
        Ruling::Send
    }
}

/// Why a letter is left, and what to do about it.
fn reason(ruling: Ruling, limits: Limits) -> Option<String> {
    Some(match ruling {
        Ruling::Send => return None,
        Ruling::SentAlready => {
            "sent already; what is refused again is a new letter, with one try more".to_owned()
        }
        Ruling::TooOften => {
            format!("tried {} times or more; --attempts-limit allows more", limits.attempts)
        }
        Ruling::NotRetryable => {
            "the same line would refuse them again; send what is right in their \
             place, or use --force once the line was mended"
                .to_owned()
        }
        Ruling::NoReason => {
            "no dead letters of this line: no headers say why they are there".to_owned()
        }
        Ruling::ValueDropped => "too large to be kept whole; `verdict dlq show` says where the \
             original lies"
            .to_owned(),
    })
}

/// Writes reviews and notes, a chunk at a time.
struct Sender {
    publish: TransactionalPublish,
    by: Option<String>,
    reviews: Arc<str>,
    redrives: Arc<str>,
    rate: Option<NonZeroU32>,
    started: Instant,
    chunk: Vec<Outgoing>,
    chunk_letters: usize,
    chunk_bytes: usize,
    sent: usize,
}

impl Sender {
    /// Makes the topic of the notes, and shuts out any other redrive.
    fn start(kafka: &KafkaSettings, args: &RedriveArgs) -> anyhow::Result<Self> {
        let compacted = ("cleanup.policy".to_owned(), "compact".to_owned());
        let topic = TopicSpec { config: [compacted].into(), ..TopicSpec::new(topics::REDRIVES, 1) };
        crate::runtime()?
            .block_on(ensure_topics(kafka, &[topic], TOPIC_WAIT_MAX))
            .with_context(|| format!("making the topic {}", topics::REDRIVES))?;
        let publish = TransactionalPublish::connect(kafka, TRANSACTIONAL_ID)
            .with_context(|| format!("taking the transactional id {TRANSACTIONAL_ID}"))?;
        Ok(Self {
            publish,
            by: args.by.clone(),
            reviews: topics::REVIEWS.into(),
            redrives: topics::REDRIVES.into(),
            rate: args.rate,
            started: clock::monotonic(),
            chunk: Vec::new(),
            chunk_letters: 0,
            chunk_bytes: 0,
            sent: 0,
        })
    }

    fn send(&mut self, letter: &Letter<'_>) -> anyhow::Result<()> {
        let Some(note) = letter.note else { return Ok(()) };
        let bytes = letter.record.value.as_ref().map_or(0, Vec::len);
        let letters_max = self.rate.map_or(CHUNK_LETTERS_MAX, |rate| {
            usize::try_from(rate.get()).unwrap_or(usize::MAX).min(CHUNK_LETTERS_MAX)
        });
        if self.chunk_letters == letters_max || CHUNK_BYTES_MAX < self.chunk_bytes + bytes {
            self.flush()?;
        }
        let redrive = Redrive {
            letter: letter.place,
            note: RedriveNote {
                redriven_at: clock::now(),
                by: self.by.clone(),
                attempts: note.attempts,
                failed_at: note.failed_at,
            },
        };
        let (review, note) = (to_retry(letter.record), redrive.to_record()?);
        self.chunk.push(Outgoing { topic: Arc::clone(&self.reviews), record: review });
        self.chunk.push(Outgoing { topic: Arc::clone(&self.redrives), record: note });
        self.chunk_letters += 1;
        self.chunk_bytes += bytes;
        Ok(())
    }

    /// Sends what is in hand.
    fn flush(&mut self) -> anyhow::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        let letters = std::mem::take(&mut self.chunk_letters);
        self.chunk_bytes = 0;
        if let Some(rate) = self.rate {
            thread::sleep(pause(self.sent, rate, self.started.elapsed()));
        }
        let mut tries_left = TRIES_MAX;
        loop {
            tries_left -= 1;
            match self.publish.write(&chunk) {
                Ok(()) => {
                    self.sent += letters;
                    return Ok(());
                }
                Err(TransactionError::Aborted(reason)) if 0 < tries_left => {
                    tracing::warn!(reason, "trying the same letters again");
                    thread::sleep(TRY_PAUSE);
                }
                Err(error @ TransactionError::Fenced(_)) => {
                    return Err(anyhow!(error).context(
                        "another `verdict dlq redrive --execute` was started and has taken over: \
                         let that one finish",
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How long to wait so that what was sent in `elapsed` keeps to `rate` a second.
fn pause(sent: usize, rate: NonZeroU32, elapsed: Duration) -> Duration {
    let due =
        Duration::from_secs(1).saturating_mul(u32::try_from(sent).unwrap_or(u32::MAX)) / rate.get();
    due.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use schemas::{Stage, record::Header};

    use super::*;
    use crate::dlq::letter::tests::{at, delivery};

    const LIMITS: Limits = Limits { attempts: 5, is_forced: false };

    #[track_caller]
    fn check(stage: Stage, headers: &[(&str, &str)], limits: Limits, expected: Ruling) {
        let mut letter = delivery(stage, "Test", 100, "{}");
        let headers = headers.iter().map(|(name, value)| Header::text(*name, *value));
        letter.record.headers.extend(headers);
        let none = Redriven::default();
        assert_eq!(rule(&Letter::read(&letter, &none), limits), expected);
    }

    #[test]
    fn what_may_pass_is_sent_and_what_may_not_needs_force() {
        let forced = Limits { is_forced: true, ..LIMITS };
        check(Stage::Infer, &[], LIMITS, Ruling::Send);
        check(Stage::Tokenize, &[], LIMITS, Ruling::Send);
        check(Stage::Decode, &[], LIMITS, Ruling::NotRetryable);
        check(Stage::Validate, &[], LIMITS, Ruling::NotRetryable);
        check(Stage::Validate, &[], forced, Ruling::Send);
    }

    #[test]
    fn no_force_sends_what_was_tried_too_often_or_is_not_there() {
        let forced = Limits { is_forced: true, ..LIMITS };
        check(Stage::Infer, &[("dlq.attempts", "4")], forced, Ruling::Send);
        check(Stage::Infer, &[("dlq.attempts", "5")], forced, Ruling::TooOften);
        check(Stage::Infer, &[(BYTES_DROPPED, "1040000")], forced, Ruling::ValueDropped);
        check(Stage::Infer, &[("dlq.attempts", "many")], forced, Ruling::NoReason);
    }

    #[test]
    fn a_letter_is_sent_once() {
        let letter = delivery(Stage::Infer, "Test", 100, "{}");
        let mut redriven = Redriven::default();
        let note = RedriveNote { redriven_at: at(200), by: None, attempts: 1, failed_at: at(100) };
        redriven.insert("0:100".parse().unwrap(), note);
        assert_eq!(rule(&Letter::read(&letter, &redriven), LIMITS), Ruling::SentAlready);
    }

    #[test]
    fn a_rate_is_kept_on_the_average() {
        let check = |sent, elapsed, expected| {
            let rate = NonZeroU32::new(10).unwrap();
            let pause = pause(sent, rate, Duration::from_millis(elapsed));
            assert_eq!(pause, Duration::from_millis(expected), "{sent} in {elapsed} ms");
        };
        check(0, 0, 0);
        check(10, 0, 1_000);
        check(10, 400, 600);
        check(10, 5_000, 0);
    }
}
