//! Idempotence (KIP-98): what each producer last wrote to one partition, so that a retry is not written twice.

use crate::batch::Header;
use std::collections::{HashMap, VecDeque};

/// A producer may have five requests in flight, so that many batches may come again.
const RECENT_BATCHES: usize = 5;

/// What is known of the producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    next_sequence: NextSequence,
    recent: VecDeque<Recent>,
    silent_sweeps: u32,
}

#[derive(Debug, PartialEq)]
enum NextSequence {
    /// Its batches are gone with retention: whatever comes is the continuation.
    Any,
    Exactly(i32),
}

#[derive(Debug)]
struct Recent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// It is the next one: write it.
    Next,
    /// It was written before, at this offset: say so again.
    Duplicate(i64),
}

/// Why a batch must not be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SequenceError {
    /// A newer incarnation of the producer has written here.
    StaleEpoch,
    /// A batch before this one is missing.
    Gap,
}

impl Producers {
    /// Whether a batch of an idempotent producer continues what it wrote before.
    pub(crate) fn check(&self, header: &Header) -> Result<Sequence, SequenceError> {
        let Some(known) = self.by_id.get(&header.producer_id) else { return Ok(Sequence::Next) };
        if header.producer_epoch < known.epoch {
            return Err(SequenceError::StaleEpoch);
        }
        if known.epoch < header.producer_epoch {
            return if header.first_sequence == 0 {
                Ok(Sequence::Next)
            } else {
                Err(SequenceError::Gap)
            };
        }
        let again = known.recent.iter().find(|recent| {
            recent.first_sequence == header.first_sequence
                && recent.last_sequence == header.last_sequence()
        });
        match (again, &known.next_sequence) {
            (Some(recent), _) => Ok(Sequence::Duplicate(recent.base_offset)),
            (None, NextSequence::Any) => Ok(Sequence::Next),
            (None, NextSequence::Exactly(next)) if *next == header.first_sequence => {
                Ok(Sequence::Next)
            }
            (None, NextSequence::Exactly(_)) => Err(SequenceError::Gap),
        }
    }

    /// Remembers a batch that was written at `base_offset`.
    pub(crate) fn wrote(&mut self, header: &Header, base_offset: i64) {
        let producer = self
            .by_id
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        if header.producer_epoch != producer.epoch {
            *producer = Producer::new(header.producer_epoch);
        }
        let last_sequence = header.last_sequence();
        producer.next_sequence = NextSequence::Exactly(last_sequence.wrapping_add(1) & i32::MAX);
        producer.silent_sweeps = 0;
        producer.recent.push_back(Recent {
            first_sequence: header.first_sequence,
            last_sequence,
            base_offset,
        });
        if RECENT_BATCHES < producer.recent.len() {
            producer.recent.pop_front();
        }
    }

    /// Remembers a marker. One with a newer epoch fences what the older incarnation may still send.
    pub(crate) fn marked(&mut self, header: &Header) {
        match self.by_id.get_mut(&header.producer_id) {
            Some(producer) if producer.epoch < header.producer_epoch => {
                *producer = Producer {
                    next_sequence: NextSequence::Exactly(0),
                    ..Producer::new(header.producer_epoch)
                };
            }
            Some(_) => {}
            None => {
                self.by_id.insert(header.producer_id, Producer::new(header.producer_epoch));
            }
        }
        if let Some(producer) = self.by_id.get_mut(&header.producer_id) {
            producer.silent_sweeps = 0;
        }
    }

    /// Forgets producers that wrote nothing for this many sweeps. Counted, not timed: record timestamps are the
    /// producer's own and may be years old.
    pub(crate) fn sweep(&mut self, silent_sweeps_max: u32) {
        self.by_id.retain(|_, producer| {
            producer.silent_sweeps += 1;
            producer.silent_sweeps <= silent_sweeps_max
        });
    }
}

impl Producer {
    fn new(epoch: i16) -> Producer {
        Producer {
            epoch,
            next_sequence: NextSequence::Any,
            recent: VecDeque::new(),
            silent_sweeps: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{marker, tests::batch_of};

    fn header(epoch: i16, sequence: i32, count: usize) -> Header {
        Header::parse(&batch_of(&vec![(0, "x"); count], Some((1, epoch, sequence)), false)).unwrap()
    }

    fn producers(batches: &[(i16, i32, usize)]) -> Producers {
        let mut producers = Producers::default();
        for (at, (epoch, sequence, count)) in batches.iter().enumerate() {
            producers.wrote(&header(*epoch, *sequence, *count), i64::try_from(at).unwrap() * 100);
        }
        producers
    }

    #[test]
    fn the_next_batch_is_written_and_a_repeated_one_is_not() {
        let known = producers(&[(0, 0, 2), (0, 2, 3)]);
        let check = |sequence, count, expected| {
            assert_eq!(known.check(&header(0, sequence, count)), expected);
        };
        check(5, 1, Ok(Sequence::Next));
        check(2, 3, Ok(Sequence::Duplicate(100)));
        check(0, 2, Ok(Sequence::Duplicate(0)));
        check(6, 1, Err(SequenceError::Gap));
        check(2, 1, Err(SequenceError::Gap));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_ends_the_old_one() {
        let known = producers(&[(3, 0, 1)]);
        assert_eq!(known.check(&header(2, 1, 1)), Err(SequenceError::StaleEpoch));
        assert_eq!(known.check(&header(4, 1, 1)), Err(SequenceError::Gap));
        assert_eq!(known.check(&header(4, 0, 1)), Ok(Sequence::Next));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let known = producers(&[(0, i32::MAX - 1, 2)]);
        assert_eq!(known.check(&header(0, 0, 1)), Ok(Sequence::Next));
    }

    #[test]
    fn a_fencing_marker_refuses_the_old_incarnation() {
        let mut known = producers(&[(0, 0, 1)]);
        known.marked(&Header::parse(&marker(1, 1, false)).unwrap());
        assert_eq!(known.check(&header(0, 1, 1)), Err(SequenceError::StaleEpoch));
        assert_eq!(known.check(&header(1, 3, 1)), Err(SequenceError::Gap));
        assert_eq!(known.check(&header(1, 0, 1)), Ok(Sequence::Next));
    }

    #[test]
    fn only_the_silent_are_forgotten() {
        let mut known = producers(&[(0, 0, 1)]);
        known.sweep(1);
        assert_eq!(known.check(&header(0, 7, 1)), Err(SequenceError::Gap));
        known.sweep(1);
        assert_eq!(known.check(&header(0, 7, 1)), Ok(Sequence::Next));
    }
}
