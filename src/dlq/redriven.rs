//! Which dead letters were sent again.

use std::collections::HashMap;

use anyhow::Context as _;
use broker::{
    TailFrom,
    kafka::{KafkaScan, KafkaSettings},
};
use jiff::Timestamp;
use schemas::{
    Record, Redrive,
    redrive::{LetterPlace, RedriveNote},
    topics,
};

use super::RECORDS_MAX;

/// The notes of all redrives.
#[derive(Debug, Default)]
pub(super) struct Redriven(HashMap<LetterPlace, RedriveNote>);

impl Redriven {
    /// Reads them all. A topic that is not there holds none.
    pub(super) fn read(kafka: &KafkaSettings) -> anyhow::Result<Self> {
        let reading = || format!("reading {} at {}", topics::REDRIVES, kafka.bootstrap_servers);
        let mut redriven = Self::default();
        let opened = KafkaScan::open(kafka, topics::REDRIVES, TailFrom::Beginning);
        let Some(mut scan) = opened.with_context(reading)? else { return Ok(redriven) };
        loop {
            let deliveries = scan.read(RECORDS_MAX).with_context(reading)?;
            if deliveries.is_empty() {
                return Ok(redriven);
            }
            for delivery in &deliveries {
                redriven.take(&delivery.record).with_context(|| {
                    format!(
                        "partition {} offset {} of {}: who writes there beside this program?",
                        delivery.partition, delivery.offset, delivery.topic
                    )
                })?;
            }
        }
    }

    /// Notes one record. A note that cannot be read may be of any letter, which would then be sent twice: so it is an error.
    fn take(&mut self, record: &Record) -> anyhow::Result<()> {
        if record.value.is_none() {
            let key = record.key.as_deref().and_then(|key| str::from_utf8(key).ok());
            if let Some(Ok(place)) = key.map(str::parse) {
                self.0.remove(&place);
            }
            return Ok(());
        }
        let redrive = Redrive::from_record(record)?;
        self.insert(redrive.letter, redrive.note);
        Ok(())
    }

    /// Notes that a letter was sent again.
    pub(super) fn insert(&mut self, letter: LetterPlace, note: RedriveNote) {
        self.0.insert(letter, note);
    }

    /// The note of the letter at `place` that was refused at `failed_at`.
    pub(super) fn note_of(&self, place: LetterPlace, failed_at: Timestamp) -> Option<&RedriveNote> {
        self.0.get(&place).filter(|note| note.failed_at == failed_at)
    }

    /// Every letter that was sent again.
    pub(super) fn places(&self) -> impl Iterator<Item = LetterPlace> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::letter::tests::at;

    #[test]
    fn the_last_note_of_a_letter_counts_and_a_null_takes_it_back() {
        let letter = LetterPlace { partition: 1, offset: 2 };
        let note =
            |attempts| RedriveNote { redriven_at: at(9), by: None, attempts, failed_at: at(5) };
        let record = |attempts| Redrive { letter, note: note(attempts) }.to_record().unwrap();
        let mut redriven = Redriven::default();
        redriven.take(&record(1)).unwrap();
        redriven.take(&record(2)).unwrap();
        assert_eq!(redriven.note_of(letter, at(5)), Some(&note(2)));
        redriven.take(&Record { value: None, ..record(2) }).unwrap();
        assert_eq!(redriven.note_of(letter, at(5)), None);
    }

    #[test]
    fn a_note_that_cannot_be_read_is_not_passed_over() {
        let record = Record { value: Some(b"{}".to_vec()), ..Record::default() };
        assert!(Redriven::default().take(&record).is_err());
    }
}
