//! Verdicts in hand, summed by model version and slot of event time. Pure but for the look-up of references.

use std::{collections::BTreeMap, time::Instant};

use broker::{Delivery, Progress};
use drift::{Model, Window, assembly::AssemblySettings};
use schemas::Verdict;

use crate::{
    features::{event_ms, features, model},
    references::References,
};

/// What became of the records in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Verdicts that are in a window.
    pub(crate) counted: u64,
    /// Records that are no verdicts; the writer keeps them.
    pub(crate) no_verdict: u64,
    /// Verdicts of models without a reference here.
    pub(crate) no_reference: u64,
    /// Verdicts whose numbers cannot be true.
    pub(crate) invalid: u64,
}

/// The verdicts in hand.
#[derive(Debug)]
pub(crate) struct Partials {
    assembly: AssemblySettings,
    windows: BTreeMap<(Model, Option<i64>), Window>,
    pub(crate) progress: Progress,
    pub(crate) tally: Tally,
}

impl Partials {
    /// None in hand.
    pub(crate) fn new(assembly: AssemblySettings) -> Self {
        let (windows, progress) = (BTreeMap::new(), Progress::default());
        Self { assembly, windows, progress, tally: Tally::default() }
    }

    /// Windows in hand.
    pub(crate) fn len(&self) -> usize {
        self.windows.len()
    }

    /// Records in hand.
    pub(crate) fn records(&self) -> u64 {
        let Tally { counted, no_verdict, no_reference, invalid } = self.tally;
        counted + no_verdict + no_reference + invalid
    }

    /// The windows in hand, in order of model and time. Nothing is in hand afterwards.
    pub(crate) fn take(&mut self) -> (Vec<Window>, Progress, Tally) {
        let taken = std::mem::replace(self, Self::new(self.assembly));
        (taken.windows.into_values().collect(), taken.progress, taken.tally)
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, delivery: &Delivery, references: &mut References, now: Instant) {
        self.progress.advance(delivery);
        let Ok(verdict) = Verdict::from_record(&delivery.record) else {
            self.tally.no_verdict += 1;
            return;
        };
        let model = model(&verdict.model);
        let Some(reference) = references.of(&model, now) else {
            self.tally.no_reference += 1;
            return;
        };
        let occurred_ms = event_ms(&verdict);
        let key = (model, self.assembly.slot(occurred_ms));
        let mut window = match self.windows.remove(&key) {
            Some(window) => window,
            None => match Window::empty(key.0.clone(), &reference) {
                Ok(window) => window,
                Err(error) => {
                    references.say_uncounted(&key.0, &error);
                    self.tally.invalid += 1;
                    return;
                }
            },
        };
        match window.record(&reference, occurred_ms, &features(&verdict)) {
            Ok(()) => self.tally.counted += 1,
            Err(error) => {
                references.say_uncounted(&key.0, &error);
                self.tally.invalid += 1;
            }
        }
        if 0 < window.n() {
            self.windows.insert(key, window);
        }
    }
}
