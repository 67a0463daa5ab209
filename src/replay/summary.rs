//! What a replay came to: a few lines for people, one JSON object for programs.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use serde_json::{Value, json};

use super::state::State;

/// What a replay came to, in this run and in all.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) state: State,
    /// Whether this run went on with an earlier one.
    pub(crate) resumed: bool,
    /// Scored by this run.
    pub(crate) scored_now: u64,
    /// How long this run took.
    pub(crate) took: Duration,
}

impl Summary {
    /// Whether all of the window was read.
    pub(crate) fn is_done(&self) -> bool {
        self.state.left().is_empty()
    }

    /// To standard output.
    pub(crate) fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if as_json { writeln!(out, "{}", self.json()) } else { write!(out, "{}", self.text()) }
    }

    fn json(&self) -> Value {
        let State { plan, counts, .. } = &self.state;
        let (offsets, done) = self.state.offsets();
        json!({
            "name": self.name, "from": plan.from, "to": plan.to, "model": plan.model,
            "destination": plan.destination, "resumed": self.resumed, "done": self.is_done(),
            "offsets": offsets, "offsets_done": done, "scored": counts.scored,
            "refused": self.refused(), "refused_by_class": counts.refused, "outside": counts.outside,
            "scored_now": self.scored_now, "seconds": self.took.as_secs_f64(), "rate": self.rate(),
        })
    }

    fn text(&self) -> String {
        let counts = &self.state.counts;
        let seconds = self.took.as_secs_f64();
        let classes: Vec<_> =
            counts.refused.iter().map(|(class, count)| format!("{count} {class}")).collect();
        let classes =
            if classes.is_empty() { String::new() } else { format!("  ({})", classes.join(", ")) };
        let (offsets, done) = self.state.offsets();
        let end = if self.is_done() {
            "complete".to_owned()
        } else {
            format!(
                "interrupted at {done} of {offsets} offsets; the same command goes on from there"
            )
        };
        format!(
            "replay   {}\nscored   {:>10}  {} of them now, in {seconds:.1} s, {:.0} reviews/s\n\
             refused  {:>10}{classes}\noutside  {:>10}  of the window\n{end}\n",
            self.name,
            counts.scored,
            self.scored_now,
            self.rate(),
            self.refused(),
            counts.outside,
        )
    }

    fn refused(&self) -> u64 {
        self.state.counts.refused.values().sum()
    }

    #[expect(clippy::cast_precision_loss, reason = "reviews are far fewer than 2^52")]
    fn rate(&self) -> f64 {
        self.scored_now as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}
