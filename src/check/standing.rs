//! How far topics and groups have come, asked in an order that makes sense while the line runs.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use anyhow::Context as _;
use broker::{
    Progress,
    kafka::{KafkaSettings, Settled, committed, settled, watermarks},
};
use schemas::topics;

use super::tally::Bounds;

/// Longest wait for transactions to end. A replica that died leaves one open for as long as a transaction may take.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(30);

/// What is compared.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) reviews: BTreeMap<i32, Bounds>,
    pub(crate) verdicts: Settled,
    pub(crate) dead_letters: Settled,
    /// What the sinks have committed of the verdicts.
    pub(crate) sunk: Progress,
}

impl Standing {
    /// Asks the sinks' offsets, the processors', the ends of the outcomes, the processors' again, and the ends of the reviews.
    pub(crate) fn ask(
        kafka: &KafkaSettings,
        group: &str,
        sink_group: &str,
    ) -> anyhow::Result<Self> {
        let sunk = committed(kafka, sink_group, &[topics::VERDICTS])
            .with_context(|| format!("asking the offsets of the group {sink_group}"))?;
        let offsets = || {
            committed(kafka, group, &[topics::REVIEWS])
                .with_context(|| format!("asking the offsets of the group {group}"))
        };
        let before = offsets()?;
        let verdicts = settled(kafka, topics::VERDICTS, SETTLE_WAIT_MAX)?;
        let dead_letters = settled(kafka, topics::DEAD_LETTERS, SETTLE_WAIT_MAX)?;
        let after = offsets()?;
        let kept = watermarks(kafka, topics::REVIEWS)?;
        let reviews = bounds(kept, &before, &after);
        Ok(Self { reviews, verdicts, dead_letters, sunk })
    }

    /// Whether the sinks have committed the verdict at a place.
    pub(crate) fn is_sunk(&self, partition: i32, offset: i64) -> bool {
        let next = self.sunk.0.iter().find(|((_, number), _)| *number == partition);
        next.is_some_and(|(_, next)| offset < *next)
    }

    /// Offsets of the outcomes' topics that are no longer kept.
    pub(crate) fn deleted(&self) -> u64 {
        let spans = self.verdicts.spans.values().chain(self.dead_letters.spans.values());
        spans.map(|span| u64::try_from(span.start).unwrap_or(0)).sum()
    }

    /// Whether every verdict that was ever written is kept.
    pub(crate) fn verdicts_are_whole(&self) -> bool {
        self.verdicts.spans.values().all(|span| span.start == 0)
    }

    /// Partitions in which a transaction did not end.
    pub(crate) fn open(&self) -> Vec<String> {
        let named = |topic: &str, settled: &Settled| {
            settled.open.iter().map(|partition| format!("{topic}-{partition}")).collect::<Vec<_>>()
        };
        let verdicts = named(topics::VERDICTS, &self.verdicts);
        verdicts.into_iter().chain(named(topics::DEAD_LETTERS, &self.dead_letters)).collect()
    }

    /// How many offsets are to be read at most.
    pub(crate) fn offsets(&self) -> u64 {
        let length = |span: &Range<i64>| u64::try_from(span.end - span.start).unwrap_or(0);
        let outcomes = self.verdicts.spans.values().chain(self.dead_letters.spans.values());
        let reviews = self.reviews.values().map(|bounds| &bounds.kept);
        outcomes.chain(reviews).map(length).sum()
    }
}

/// A group that has committed nothing of a partition is at its beginning.
fn bounds(
    kept: BTreeMap<i32, Range<i64>>,
    before: &Progress,
    after: &Progress,
) -> BTreeMap<i32, Bounds> {
    let next = |progress: &Progress, partition: i32| {
        progress.0.iter().find(|((_, number), _)| *number == partition).map(|(_, next)| *next)
    };
    let bounds = |(partition, kept): (i32, Range<i64>)| {
        let settled = next(before, partition).unwrap_or(kept.start);
        let committed = next(after, partition).unwrap_or(kept.start);
        (partition, Bounds { kept, settled, committed })
    };
    kept.into_iter().map(bounds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_an_offset_is_at_the_beginning() {
        let progress = |next| Progress(BTreeMap::from([(("reviews.v1".into(), 1), next)]));
        let kept = BTreeMap::from([(0, 10..20), (1, 10..20)]);
        let bounds = bounds(kept, &progress(12), &progress(15));
        assert_eq!(bounds[&0], Bounds { kept: 10..20, settled: 10, committed: 10 });
        assert_eq!(bounds[&1], Bounds { kept: 10..20, settled: 12, committed: 15 });
    }
}
