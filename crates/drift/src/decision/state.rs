//! Where a signal stands, and what one more window makes of it.

use serde::{Deserialize, Serialize};

use super::signal::{Confirmation, SignalSettings};
use crate::number::real;

/// Where a signal stands. Windows are named by their index, never by a time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum State {
    /// No window has drifted lately.
    #[default]
    Quiet,
    /// The last windows have drifted, too few of them for an alert.
    Suspected {
        /// The first of them.
        since: i64,
        /// How many.
        windows: u32,
    },
    /// Drift is confirmed and has not ended.
    Alerting {
        /// The first window that drifted.
        since: i64,
        /// Windows without drift since the last one with.
        clear: u32,
    },
    /// An alert has just ended. The next window makes it quiet, or suspected again.
    Resolved {
        /// The first window that drifted.
        since: i64,
        /// The last window of the alert.
        until: i64,
    },
}

/// What it takes to change state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// A window counts as significant below this probability.
    pub alpha: f64,
    /// Drifted windows in a row that make an alert.
    pub confirm_windows: u32,
    /// Windows in a row without drift that end it.
    pub clear_windows: u32,
}

impl Rule {
    /// Of a signal's settings, in a window in which so many signals were tested.
    pub fn new(settings: &SignalSettings, clear_windows: u32, tested: u64) -> Self {
        let clear_windows = clear_windows.max(1);
        match settings.confirmation {
            Confirmation::InARow(windows) => {
                Self { alpha: settings.alpha, confirm_windows: windows.max(1), clear_windows }
            }
            Confirmation::Bonferroni => {
                let alpha = settings.alpha / real(tested.max(1));
                Self { alpha, confirm_windows: 1, clear_windows }
            }
        }
    }
}

impl State {
    /// The state after `window`.
    #[must_use]
    pub fn after(self, window: i64, drifted: bool, rule: Rule) -> Self {
        match (self, drifted) {
            (Self::Quiet | Self::Resolved { .. }, true) => Self::drifting(window, 1, rule),
            (Self::Quiet | Self::Resolved { .. } | Self::Suspected { .. }, false) => Self::Quiet,
            (Self::Suspected { since, windows }, true) => {
                Self::drifting(since, windows.saturating_add(1), rule)
            }
            (Self::Alerting { since, .. }, true) => Self::Alerting { since, clear: 0 },
            (Self::Alerting { since, clear }, false) => {
                let clear = clear.saturating_add(1);
                if clear < rule.clear_windows {
                    Self::Alerting { since, clear }
                } else {
                    Self::Resolved { since, until: window }
                }
            }
        }
    }

    /// Its name where people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Suspected { .. } => "suspected",
            Self::Alerting { .. } => "alerting",
            Self::Resolved { .. } => "resolved",
        }
    }

    pub(super) fn is_same_kind(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    fn drifting(since: i64, windows: u32, rule: Rule) -> Self {
        if windows < rule.confirm_windows {
            Self::Suspected { since, windows }
        } else {
            Self::Alerting { since, clear: 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWICE: Rule = Rule { alpha: 0.001, confirm_windows: 2, clear_windows: 2 };

    fn names(drifted: &[bool], rule: Rule) -> Vec<&'static str> {
        let mut state = State::default();
        let mut windows = 0_i64..;
        let mut next = |&drifted: &bool| {
            state = state.after(windows.next().unwrap(), drifted, rule);
            state.name()
        };
        drifted.iter().map(&mut next).collect()
    }

    #[test]
    fn two_in_a_row_alert_and_two_clean_ones_resolve() {
        let drifted = [true, false, true, true, false, true, false, false, false];
        let expected = [
            "suspected",
            "quiet",
            "suspected",
            "alerting",
            "alerting",
            "alerting",
            "alerting",
            "resolved",
            "quiet",
        ];
        assert_eq!(names(&drifted, TWICE), expected);
    }

    #[test]
    fn an_alert_remembers_when_it_began_and_ended() {
        let mut state = State::Quiet;
        for (window, drifted) in [(7, true), (8, true), (9, false), (10, false)] {
            state = state.after(window, drifted, TWICE);
        }
        assert_eq!(state, State::Resolved { since: 7, until: 10 });
    }

    #[test]
    fn what_returns_after_an_alert_is_suspected_first() {
        let drifted = [true, true, false, false, true, true];
        assert_eq!(names(&drifted, TWICE)[3..], ["resolved", "suspected", "alerting"]);
    }

    #[test]
    fn bonferroni_alerts_at_once_and_asks_for_more() {
        let settings = SignalSettings {
            enabled: true,
            alpha: 0.001,
            effect_min: 0.0,
            confirmation: Confirmation::Bonferroni,
        };
        let rule = Rule::new(&settings, 1, 10);
        assert!((rule.alpha - 0.0001).abs() < 1e-12);
        assert_eq!(names(&[true, false], rule), ["alerting", "resolved"]);
    }
}
