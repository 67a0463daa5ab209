//! What a partition's batches add up to: its producers, its open transactions, and those that were aborted.
//!
//! All of it is made from the batches alone, the same way when they are written and when they are read again at start.

use crate::batch::{self, Header};
use crate::log::AppendError;
use crate::producers::{Producers, Sequence, SequenceError};
use std::collections::{BTreeMap, HashMap};

/// What is derived from the batches of one partition, and the right of transactions to add more.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The offset of the next record.
    next: i64,
    producers: Producers,
    /// By producer id.
    open: BTreeMap<i64, Open>,
    /// Epoch of each producer that has told the coordinator that it writes here in its present transaction.
    enlisted: HashMap<i64, i16>,
    /// Ordered by the offset of the marker.
    aborted: Vec<Aborted>,
}

/// An open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) first_offset: i64,
}

/// An aborted transaction: readers at `read_committed` skip its producer's records between these offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    marker_offset: i64,
}

impl Contents {
    pub(crate) fn new(next: i64) -> Contents {
        let (producers, open, enlisted) = (Producers::default(), BTreeMap::new(), HashMap::new());
        Contents { next, producers, open, enlisted, aborted: Vec::new() }
    }

    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// Leaves a gap when the offsets before `offset` are gone.
    pub(crate) fn skip_to(&mut self, offset: i64) {
        self.next = self.next.max(offset);
    }

    /// Whether a batch may be written now.
    pub(crate) fn check(&self, header: &Header) -> Result<Sequence, AppendError> {
        if header.producer_id < 0 || header.is_control() {
            return Ok(Sequence::Next);
        }
        let sequence = self.producers.check(header).map_err(AppendError::Sequence)?;
        if header.is_transactional() && sequence == Sequence::Next {
            match self.enlisted.get(&header.producer_id) {
                Some(epoch) if *epoch == header.producer_epoch => {}
                Some(epoch) if header.producer_epoch < *epoch => {
                    return Err(AppendError::Sequence(SequenceError::StaleEpoch));
                }
                _ => return Err(AppendError::NotEnlisted),
            }
        }
        Ok(sequence)
    }

    /// Takes in a batch that is written.
    pub(crate) fn track(&mut self, header: &Header, bytes: &[u8]) {
        self.next = header.last_offset() + 1;
        if header.producer_id < 0 {
            return;
        }
        if header.is_control() {
            self.producers.marked(header);
            self.enlisted.remove(&header.producer_id);
            if let Some(open) = self.open.remove(&header.producer_id)
                && !batch::commits(bytes)
            {
                let (producer_id, first_offset) = (open.producer_id, open.first_offset);
                self.aborted.push(Aborted {
                    producer_id,
                    first_offset,
                    marker_offset: header.base_offset,
                });
            }
            return;
        }
        self.producers.wrote(header, header.base_offset);
        if header.is_transactional() {
            let (producer_id, epoch, first_offset) =
                (header.producer_id, header.producer_epoch, header.base_offset);
            self.open.entry(producer_id).or_insert(Open { producer_id, epoch, first_offset });
        }
    }

    /// Lets a transaction write here. Its marker takes the right away again, under the same lock as the writes, so that
    /// no late batch can open a transaction that nobody ends (KIP-890 names that a hanging transaction).
    pub(crate) fn enlist(&mut self, producer_id: i64, epoch: i16) {
        self.enlisted.insert(producer_id, epoch);
    }

    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = Open> {
        self.open.values().copied()
    }

    /// The open transaction of a producer.
    pub(crate) fn open_of(&self, producer_id: i64) -> Option<Open> {
        self.open.get(&producer_id).copied()
    }

    /// Where the first open transaction begins: readers at `read_committed` stop there.
    pub(crate) fn first_open_offset(&self) -> Option<i64> {
        self.open.values().map(|open| open.first_offset).min()
    }

    /// Aborted transactions that a read of `from..until` may meet.
    pub(crate) fn aborted_between(&self, from: i64, until: i64) -> Vec<Aborted> {
        let skip = self.aborted.partition_point(|aborted| aborted.marker_offset < from);
        self.aborted
            .iter()
            .skip(skip)
            .filter(|aborted| aborted.first_offset < until)
            .copied()
            .collect()
    }

    /// Forgets aborted transactions that no reader can meet any more.
    pub(crate) fn forget_before(&mut self, start: i64) {
        self.aborted.retain(|aborted| start <= aborted.marker_offset);
    }

    /// Forgets producers that have long been silent.
    pub(crate) fn sweep_producers(&mut self, silent_sweeps_max: u32) {
        self.producers.sweep(silent_sweeps_max);
    }
}
