//! From partial windows, in whatever order they come, to the windows that are judged, in order of event time.
//!
//! Event times are those of records, which are capped at receipt: one review from the year 2100 would close all windows
//! before it. Labels close none: they are of today, while the reviews of a backlog are not. A label whose window is closed
//! counts in the oldest one that is not: what people took the trouble to say is not lost because it was read late.

use std::{collections::BTreeMap, num::NonZeroU32};

use serde::{Deserialize, Serialize};

use crate::{
    error::Unmergeable,
    window::{Model, Sums, Window},
};

/// Most windows that stay open at once. Beyond it the oldest is closed early.
pub const OPEN_MAX: usize = 64;

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// So many seconds of event time. A quiet hour gives small windows, which are not judged.
    Seconds(NonZeroU32),
    /// So many reviews, however long they take. Partial windows are not split, so a window may hold more.
    Reviews(NonZeroU32),
}

/// When windows are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssemblySettings {
    /// How long a window is.
    pub length: Length,
    /// How much later than a window's end the newest review must be before the window is closed. For windows of so many
    /// seconds only: the others take whatever comes next.
    pub lateness_seconds: u32,
}

/// A window that gets no more verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Which one: of so many seconds, the number of such windows since 1970; of so many reviews, the number of windows of
    /// this model before it.
    pub index: i64,
    /// The window.
    pub window: Window,
}

/// What became of a partial window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is part of an open window.
    Open,
    /// Its window is closed already; it counts nowhere.
    Late,
    /// It has neither verdicts nor labels and thus no event time.
    Empty,
}

/// The open windows of one model version: a state machine that knows no clock but event time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assembly {
    settings: AssemblySettings,
    model: Model,
    open: BTreeMap<i64, Window>,
    /// Event time of the newest review.
    newest_ms: i64,
    /// The first index that is not closed.
    next: i64,
}

impl Assembly {
    /// Without any window.
    pub fn new(settings: AssemblySettings, model: Model) -> Self {
        let next = match settings.length {
            Length::Seconds(_) => i64::MIN,
            Length::Reviews(_) => 0,
        };
        Self { settings, model, open: BTreeMap::new(), newest_ms: i64::MIN, next }
    }

    /// Takes a partial window. It is not split, so whoever sums keeps verdicts of different
    /// [slots](AssemblySettings::slot) apart, and labels as well.
    pub fn add(&mut self, partial: &Window) -> Result<Taken, Unmergeable> {
        let Sums { model, span, .. } = partial.sums();
        if model != &self.model {
            return Err(Unmergeable::Models(Box::new((self.model.clone(), model.clone()))));
        }
        let Some(span) = span else { return Ok(Taken::Empty) };
        let slot = self.settings.slot(span.first_ms);
        if slot != self.settings.slot(span.last_ms) {
            return Err(Unmergeable::Slots(model.to_string()));
        }
        let mut index = slot.unwrap_or(self.next);
        let has_verdicts = partial.n() != 0;
        if index < self.next {
            if has_verdicts {
                return Ok(Taken::Late);
            }
            index = self.next;
        }
        let merged = self.open.get(&index).map_or(Ok(partial.clone()), |open| open.merge(partial));
        self.open.insert(index, merged?);
        if has_verdicts {
            self.newest_ms = self.newest_ms.max(span.last_ms);
        }
        Ok(Taken::Open)
    }

    /// Closes the oldest window if it is complete; to be called until there is none.
    pub fn close(&mut self) -> Option<Closed> {
        let oldest = self.open.first_entry()?;
        let is_complete = match self.settings.length {
            Length::Seconds(_) => {
                let next_slot = self.settings.start_ms(oldest.key().saturating_add(1));
                let lateness = 1_000 * i64::from(self.settings.lateness_seconds);
                next_slot.saturating_add(lateness) <= self.newest_ms
            }
            Length::Reviews(reviews) => u64::from(reviews.get()) <= oldest.get().n(),
        };
        if !is_complete && self.open.len() <= OPEN_MAX {
            return None;
        }
        let (index, window) = self.open.pop_first()?;
        self.next = index.saturating_add(1);
        Some(Closed { index, window })
    }

    /// Windows that are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

impl AssemblySettings {
    /// The window of event time that a review belongs to; none where windows are of so many reviews.
    pub fn slot(&self, occurred_ms: i64) -> Option<i64> {
        match self.length {
            Length::Seconds(seconds) => Some(occurred_ms.div_euclid(milliseconds(seconds))),
            Length::Reviews(_) => None,
        }
    }

    fn start_ms(&self, slot: i64) -> i64 {
        match self.length {
            Length::Seconds(seconds) => slot.saturating_mul(milliseconds(seconds)),
            Length::Reviews(_) => i64::MIN,
        }
    }
}

fn milliseconds(seconds: NonZeroU32) -> i64 {
    1_000 * i64::from(seconds.get())
}
