//! `verdict dlq purge`: deleting old dead letters for good.
//!
//! Kafka deletes records from the front of a partition only. So a purge reaches, in each partition, to the last letter that was
//! selected, and takes with it whatever lies before: the operator is told how many others that are, and they stay unless they
//! were sent again already or it is forced.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    ops::ControlFlow,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use broker::{
    Outgoing, Progress, Publish as _,
    kafka::{KafkaPublish, KafkaSettings, delete_records},
};
use chassis::clock;
use futures::future::try_join_all;
use schemas::{Record, redrive::LetterPlace, topics};

use super::{args::PurgeArgs, filter::Filter, letter::Letter, redriven::Redriven};

/// Notes of redrives that are taken back at once.
const NOTES_AT_ONCE: usize = 500;

/// How far each partition is to be emptied.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan(BTreeMap<i32, Cut>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    /// The first offset that stays.
    before: i64,
    /// Letters before it.
    counts: Counts,
    /// Letters after it, so far.
    behind: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    selected: u64,
    /// Not selected, but sent again.
    sent_again: u64,
    /// Neither.
    others: u64,
}

/// Does it, or says what it would do.
pub(super) fn run(args: &PurgeArgs) -> anyhow::Result<()> {
    let filter = Filter::new(&args.filter, clock::now());
    if filter.is_empty() && !args.filter.all {
        bail!("say which: a filter such as --until 30d, or --all for every letter");
    }
    let kafka = super::kafka(&args.kafka)?;
    let redriven = Redriven::read(&kafka)?;
    let mut plan = Plan::default();
    super::scan(&kafka, &redriven, |letter| {
        plan.note(letter, filter.selects(letter));
        Ok(ControlFlow::Continue(()))
    })?;
    let total = plan.total();
    let mut out = io::stdout().lock();
    plan.write(&mut out)?;
    out.flush()?;
    if 0 < total.others && !args.force {
        bail!(
            "{} letters that were neither selected nor sent again lie among them and would go, too: \
             select less (--until), send them again first (redrive), or add --force",
            total.others
        );
    }
    if total.selected == 0 {
        return Ok(());
    }
    if !args.execute {
        writeln!(out, "\nThis was a dry run: nothing was deleted. --execute deletes, for good.")?;
        return Ok(());
    }
    let runtime = crate::runtime()?;
    runtime
        .block_on(delete_records(&kafka, &plan.progress()))
        .with_context(|| format!("deleting from {}", topics::DEAD_LETTERS))?;
    writeln!(out, "\nDeleted.")?;
    runtime
        .block_on(take_back(&kafka, plan.gone(&redriven)))
        .context("taking back the notes of letters that are gone; the next purge does it again")
}

/// Deletes the notes of letters that are gone, or their topic would grow for ever.
async fn take_back(kafka: &KafkaSettings, letters: Vec<LetterPlace>) -> anyhow::Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    let publish = KafkaPublish::connect(kafka, NOTES_AT_ONCE)?;
    let topic: Arc<str> = topics::REDRIVES.into();
    for letters in letters.chunks(NOTES_AT_ONCE) {
        let nulls = letters.iter().map(|letter| {
            let key = Some(letter.to_string().into_bytes());
            let record = Record { key, ..Record::default() };
            publish.publish(Outgoing { topic: Arc::clone(&topic), record })
        });
        try_join_all(nulls).await?;
    }
    Ok(())
}

impl Plan {
    /// Notes the next letter of its partition.
    fn note(&mut self, letter: &Letter<'_>, is_selected: bool) {
        let cut = self.0.entry(letter.place.partition).or_default();
        if is_selected {
            cut.behind.selected += 1;
            cut.before = letter.place.offset.saturating_add(1);
            cut.counts = cut.counts + std::mem::take(&mut cut.behind);
        } else if letter.redriven.is_some() {
            cut.behind.sent_again += 1;
        } else {
            cut.behind.others += 1;
        }
    }

    fn total(&self) -> Counts {
        self.0.values().fold(Counts::default(), |total, cut| total + cut.counts)
    }

    /// The first offset that stays, by partition.
    fn progress(&self) -> Progress {
        let topic: Arc<str> = topics::DEAD_LETTERS.into();
        let cuts = self.0.iter().filter(|(_, cut)| 0 < cut.before);
        Progress(cuts.map(|(&number, cut)| ((Arc::clone(&topic), number), cut.before)).collect())
    }

    /// Letters with a note that are deleted by this plan or were by an earlier one.
    fn gone(&self, redriven: &Redriven) -> Vec<LetterPlace> {
        let is_gone = |place: &LetterPlace| {
            self.0.get(&place.partition).is_some_and(|cut| place.offset < cut.before)
        };
        redriven.places().filter(is_gone).collect()
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let cuts: Vec<_> = self.0.iter().filter(|(_, cut)| 0 < cut.before).collect();
        if cuts.is_empty() {
            return writeln!(out, "no dead letter in {} is selected", topics::DEAD_LETTERS);
        }
        writeln!(
            out,
            "{:>9}  {:>12}  {:>9}  {:>11}  {:>7}  {:>6}",
            "PARTITION", "UP TO OFFSET", "SELECTED", "SENT AGAIN", "OTHERS", "STAY"
        )?;
        for (number, cut) in cuts {
            let Cut { before, counts, behind } = cut;
            let stay = behind.sent_again + behind.others;
            writeln!(
                out,
                "{number:>9}  {:>12}  {:>9}  {:>11}  {:>7}  {stay:>6}",
                before - 1,
                counts.selected,
                counts.sent_again,
                counts.others,
            )?;
        }
        Ok(())
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            selected: self.selected + other.selected,
            sent_again: self.sent_again + other.sent_again,
            others: self.others + other.others,
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Stage, redrive::RedriveNote};

    use super::*;
    use crate::dlq::letter::tests::{at, delivery};

    /// One letter for each character, from offset 0 on: `x` selected, `r` sent again, `o` neither.
    fn plan(letters: &str) -> (Plan, Redriven) {
        let mut redriven = Redriven::default();
        for (offset, _) in letters.char_indices().filter(|(_, letter)| *letter == 'r') {
            let (partition, offset) = (0, i64::try_from(offset).unwrap());
            let note =
                RedriveNote { redriven_at: at(99), by: None, attempts: 1, failed_at: at(offset) };
            redriven.insert(LetterPlace { partition, offset }, note);
        }
        let mut plan = Plan::default();
        for (offset, letter) in letters.char_indices() {
            let delivery = delivery(Stage::Infer, "Test", i64::try_from(offset).unwrap(), "{}");
            plan.note(&Letter::read(&delivery, &redriven), letter == 'x');
        }
        (plan, redriven)
    }

    #[track_caller]
    fn check(letters: &str, before: i64, counts: [u64; 3]) {
        let (plan, _) = plan(letters);
        let total = plan.total();
        assert_eq!([total.selected, total.sent_again, total.others], counts, "{letters}");
        let reached = plan.progress().0.values().next().copied().unwrap_or(0);
        assert_eq!(reached, before, "{letters}");
    }

    #[test]
    fn a_purge_reaches_to_the_last_letter_that_was_selected() {
        check("", 0, [0, 0, 0]);
        check("oror", 0, [0, 0, 0]);
        check("xxx", 3, [3, 0, 0]);
        check("xxoo", 2, [2, 0, 0]);
        check("xoxo", 3, [2, 0, 1]);
        check("rrxoor", 3, [1, 2, 0]);
        check("orox", 4, [1, 1, 2]);
    }

    #[test]
    fn notes_of_letters_that_are_gone_are_taken_back() {
        let (plan, redriven) = plan("rxor");
        assert_eq!(plan.gone(&redriven), [LetterPlace { partition: 0, offset: 0 }]);
    }
}
