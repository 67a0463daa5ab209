//! What is made of the windows of one model: a judgement each, and one of the whole period.

use std::sync::Arc;

use drift::{
    Decision, Judgement, Model, Monitor, Reference, Settings, Signal, State, Window,
    assembly::Closed,
};

use super::{gather::Gathered, movers::Movers};

/// All that a report says of one model.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) model: Model,
    pub(crate) reference: Arc<Reference>,
    /// All windows of the period in one.
    pub(crate) whole: Window,
    /// What is made of it.
    pub(crate) overall: Judgement,
    /// What is made of each window, in their order.
    pub(crate) judgements: Vec<Judgement>,
    /// Verdicts that the reference does not fit.
    pub(crate) uncounted: u64,
    pub(crate) movers: Movers,
}

/// How the windows of one signal went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Course {
    /// Windows that could be measured.
    pub(crate) measured: usize,
    /// Of these, drifted ones.
    pub(crate) drifted: usize,
    /// Whether any of them raised an alert.
    pub(crate) alerted: bool,
    /// Where the signal stands after the last one.
    pub(crate) state: State,
}

impl Report {
    /// A model has one window at least, since it is only known by its verdicts; without any there is nothing to say.
    pub(super) fn of(gathered: Gathered) -> Option<Self> {
        let Gathered { model, reference, windows, uncounted } = gathered;
        let settings = Settings::default();
        let mut monitor = Monitor::default();
        let mut whole: Option<Window> = None;
        let mut judgements = Vec::new();
        for (index, window) in windows {
            // They are of one model and one shape; only more reviews than a window holds could stand in the way.
            whole = match whole {
                Some(sum) => Some(sum.merge(&window).unwrap_or(sum)),
                None => Some(window.clone()),
            };
            judgements.push(monitor.judge(&Closed { index, window }, &reference, &settings));
        }
        let whole = whole?;
        let closed = Closed { index: 0, window: whole.clone() };
        let overall = Monitor::default().judge(&closed, &reference, &settings);
        let movers = Movers::of(&whole, &reference, &overall, &judgements);
        Some(Self { model, reference, whole, overall, judgements, uncounted, movers })
    }

    /// What is made of `signal` over the whole period.
    pub(crate) fn decision(&self, signal: Signal) -> Option<&Decision> {
        self.overall.decisions.iter().find(|decision| decision.signal == signal)
    }

    /// What is made of `signal`, window by window.
    pub(crate) fn series(&self, signal: Signal) -> Vec<(i64, &Decision)> {
        let of_window = self.judgements.iter().filter_map(|judgement| {
            let decision = judgement.decisions.iter().find(|decision| decision.signal == signal)?;
            Some((judgement.window, decision))
        });
        of_window.collect()
    }

    /// How the windows of `signal` went.
    pub(crate) fn course(&self, signal: Signal) -> Course {
        let mut course = Course::default();
        for (_, decision) in self.series(signal) {
            course.measured += 1;
            course.drifted += usize::from(decision.drifted);
            course.alerted |= matches!(decision.state, State::Alerting { .. });
            course.state = decision.state;
        }
        course
    }

    /// The sentence of the whole period, without the state, which one window does not have.
    pub(crate) fn sentence(decision: &Decision) -> &str {
        decision.sentence.rsplit_once(": ").map_or(decision.sentence.as_str(), |(what, _)| what)
    }
}

impl Course {
    /// In words.
    pub(crate) fn told(&self) -> String {
        let Self { measured, drifted, alerted, state } = *self;
        if measured == 0 {
            return "no window is large enough".to_owned();
        }
        let alerted = if alerted && !matches!(state, State::Alerting { .. }) {
            ", after an alert"
        } else {
            ""
        };
        format!("{}{alerted} ({drifted} of {measured} windows drifted)", state.name())
    }
}
