//! How far a replay has come: pure. It is a record of its own topic, written in the transaction of the verdicts that it counts, so
//! that a replay goes on exactly where it stopped, whatever stopped it.

use std::{collections::BTreeMap, ops::Range};

use anyhow::{bail, ensure};
use broker::{Delivery, Outgoing};
use jiff::Timestamp;
use schemas::{ModelRef, Record, topics};
use serde::{Deserialize, Serialize};

/// What a replay is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Reviews written at this time or later,
    pub(crate) from: Timestamp,
    /// and before this one.
    pub(crate) to: Timestamp,
    /// Who scores them.
    pub(crate) model: ModelRef,
    /// Where the verdicts go.
    pub(crate) destination: Destination,
}

/// Where the verdicts of a replay go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Destination {
    /// Records of this topic.
    Topic(String),
    /// Rows, `overwrite` also in place of those that the line wrote.
    Store {
        /// Whether they may take the place of the line's rows.
        overwrite: bool,
    },
}

/// What became of the reviews so far, in all runs together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) scored: u64,
    /// By the kind of error.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Records that were read and whose time is outside of the window.
    pub(crate) outside: u64,
}

/// How far a replay has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) plan: Plan,
    /// The offsets of the reviews that are read, by partition. Fixed at the first start: what comes later is not history.
    pub(crate) spans: BTreeMap<i32, Range<i64>>,
    /// The next offset to read, by partition.
    pub(crate) next: BTreeMap<i32, i64>,
    pub(crate) counts: Counts,
}

impl Counts {
    /// Notes an outcome; `Err` holds the kind of error.
    pub(crate) fn note(&mut self, outcome: Result<(), &str>) {
        match outcome {
            Ok(()) => self.scored += 1,
            Err(class) => *self.refused.entry(class.to_owned()).or_default() += 1,
        }
    }

    /// Notes that `count` verdicts could not be kept.
    pub(crate) fn take_back(&mut self, count: u64) {
        if 0 < count {
            self.scored = self.scored.saturating_sub(count);
            *self.refused.entry("RowRefused".to_owned()).or_default() += count;
        }
    }
}

impl Plan {
    /// The name of a replay that was given none.
    pub(crate) fn name(&self) -> String {
        let Self { from, to, model, destination } = self;
        let destination = match destination {
            Destination::Topic(topic) => topic.as_str(),
            Destination::Store { overwrite: false } => "store",
            Destination::Store { overwrite: true } => "store-overwrite",
        };
        format!("{}@{}/{from}/{to}/{destination}", model.name, model.version)
    }

    /// Whether a record of that time is to be scored again. One without a time is of no time.
    pub(crate) fn holds(&self, record: &Record) -> bool {
        record.written_at().is_some_and(|at| self.from <= at && at < self.to)
    }
}

impl State {
    /// A replay that begins.
    pub(crate) fn begin(plan: Plan, spans: BTreeMap<i32, Range<i64>>) -> Self {
        let next = spans.iter().map(|(partition, span)| (*partition, span.start)).collect();
        Self { plan, spans, next, counts: Counts::default() }
    }

    /// The last state that is among `records`, which come in their order. `Err` where it is of another plan than `plan`.
    pub(crate) fn resume<'a>(
        records: impl IntoIterator<Item = &'a Record>,
        name: &str,
        plan: &Plan,
    ) -> anyhow::Result<Option<Self>> {
        let of_name = |record: &&Record| record.key.as_deref() == Some(name.as_bytes());
        let Some(last) = records.into_iter().filter(of_name).last() else { return Ok(None) };
        let state: Self = serde_json::from_slice(last.value.as_deref().unwrap_or_default())?;
        let (mut before, mut now) = (state.plan.clone(), plan.clone());
        if before == now {
            return Ok(Some(state));
        }
        for model in [&mut before.model, &mut now.model] {
            model.digest.clear();
        }
        ensure!(
            before != now,
            "it was begun with {}, and the bundle is now {}: a replay is of one model; begin another with --name",
            state.plan.model.digest,
            plan.model.digest
        );
        bail!(
            "there is one of that name with other times, model or destination: choose another --name"
        )
    }

    /// What is still to be read.
    pub(crate) fn left(&self) -> BTreeMap<i32, Range<i64>> {
        let left = self.spans.iter().map(|(partition, span)| {
            let next = self.next.get(partition).copied().unwrap_or(span.start);
            (*partition, next..span.end)
        });
        left.filter(|(_, span)| !span.is_empty()).collect()
    }

    /// How many offsets there are, and how many of them are done.
    pub(crate) fn offsets(&self) -> (u64, u64) {
        let length = |span: &Range<i64>| u64::try_from(span.end - span.start).unwrap_or(0);
        let all: u64 = self.spans.values().map(length).sum();
        let left: u64 = self.left().values().map(length).sum();
        (all, all - left)
    }

    /// Notes that `delivery` is dealt with.
    pub(crate) fn advance(&mut self, delivery: &Delivery) {
        self.next.insert(delivery.partition, delivery.offset.saturating_add(1));
    }

    /// Notes that everything is dealt with: the last offsets need not be records.
    pub(crate) fn finish(&mut self) {
        self.next = self.spans.iter().map(|(partition, span)| (*partition, span.end)).collect();
    }

    /// The record of the replay `name`.
    pub(crate) fn to_outgoing(&self, name: &str) -> anyhow::Result<Outgoing> {
        let key = Some(name.as_bytes().to_vec());
        let record = Record { key, value: Some(serde_json::to_vec(self)?), ..Record::default() };
        Ok(Outgoing { topic: topics::REPLAYS.into(), record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            from: "2026-01-01T00:00:00Z".parse().unwrap(),
            to: "2026-01-02T00:00:00Z".parse().unwrap(),
            model: ModelRef {
                name: "tiny".to_owned(),
                version: "2".to_owned(),
                digest: "sha256:aa".to_owned(),
            },
            destination: Destination::Topic("replay-verdicts.v1".to_owned()),
        }
    }

    fn state() -> State {
        State::begin(plan(), BTreeMap::from([(0, 10..20), (1, 5..5)]))
    }

    fn record(state: &State, name: &str) -> Record {
        state.to_outgoing(name).unwrap().record
    }

    fn delivery(partition: i32, offset: i64) -> Delivery {
        Delivery { topic: "reviews.v1".into(), partition, offset, record: Record::default() }
    }

    #[test]
    fn the_window_takes_its_beginning_and_not_its_end() {
        let check = |time: &str, expected: bool| {
            let at: Timestamp = time.parse().unwrap();
            let record = Record { timestamp_ms: Some(at.as_millisecond()), ..Record::default() };
            assert_eq!(plan().holds(&record), expected, "{time}");
        };
        check("2025-12-31T23:59:59.999Z", false);
        check("2026-01-01T00:00:00Z", true);
        check("2026-01-01T23:59:59.999Z", true);
        check("2026-01-02T00:00:00Z", false);
        assert!(!plan().holds(&Record::default()));
    }

    #[test]
    fn a_replay_goes_on_where_its_last_state_says() {
        let mut state = state();
        let mut records = vec![record(&state, "a")];
        state.advance(&delivery(0, 13));
        state.counts.scored = 4;
        records.push(record(&state, "a"));
        records.push(record(&State::begin(plan(), BTreeMap::new()), "b"));
        let resumed = State::resume(&records, "a", &plan()).unwrap().unwrap();
        assert_eq!(resumed, state);
        assert_eq!(resumed.left(), BTreeMap::from([(0, 14..20)]));
        assert_eq!(resumed.offsets(), (10, 4));
        assert_eq!(State::resume(&records, "c", &plan()).unwrap(), None);
    }

    #[test]
    fn nothing_is_left_of_a_replay_that_has_finished() {
        let mut state = state();
        state.advance(&delivery(0, 17));
        // 18 and 19 are no records.
        state.finish();
        assert_eq!((state.left(), state.offsets()), (BTreeMap::new(), (10, 10)));
    }

    #[test]
    fn a_name_that_stands_for_another_replay_is_refused() {
        let refusal = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            State::resume(&[record(&state(), "a")], "a", &plan).unwrap_err().to_string()
        };
        assert!(refusal(|plan| plan.model.digest = "sha256:bb".to_owned()).contains("sha256:bb"));
        assert!(refusal(|plan| plan.to = plan.from).contains("other times"));
        let to_store = |plan: &mut Plan| plan.destination = Destination::Store { overwrite: false };
        assert!(refusal(to_store).contains("destination"));
    }

    #[test]
    fn replays_that_differ_have_names_that_differ() {
        let name = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.name()
        };
        let names = [
            name(|_same| {}),
            name(|plan| plan.to = plan.from),
            name(|plan| plan.model.version = "1".to_owned()),
            name(|plan| plan.destination = Destination::Store { overwrite: false }),
            name(|plan| plan.destination = Destination::Store { overwrite: true }),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
}
