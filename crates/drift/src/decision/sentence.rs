//! A decision as a sentence: what was, what is, on how much it rests, and what is made of it.

use super::{
    measure::{Measurement, Values},
    signal::Signal,
    state::State,
};

pub(super) fn of(signal: Signal, measurement: &Measurement, state: State) -> String {
    let Measurement { p, n, values, .. } = measurement;
    let what = difference(signal, values);
    let counted = if signal.needs_no_labels() { "reviews" } else { "labelled reviews" };
    let chance = chance(*p);
    let standing = standing(state);
    format!("{what} ({n} {counted}, {chance} on clean data): {standing}")
}

fn difference(signal: Signal, values: &Values) -> String {
    let Values { subject, reference, observed } = values;
    let subject = subject.as_deref().unwrap_or_default();
    let percent = format!("from {:.1} % to {:.1} %", 100.0 * reference, 100.0 * observed);
    let verb = if *reference < *observed { "rose" } else { "fell" };
    match signal {
        Signal::Labels => format!("the share of label `{subject}` {verb} {percent}"),
        Signal::Languages => format!("the share of {subject} {verb} {percent}"),
        Signal::Confidence => format!("mean confidence {verb} {percent}"),
        Signal::Uncertainty => format!("the share of uncertain verdicts {verb} {percent}"),
        Signal::Truncation => format!("the share of truncated reviews {verb} {percent}"),
        Signal::UnknownTokens => format!(
            "the share of unknown tokens {verb} from {:.3} % to {:.3} %",
            100.0 * reference,
            100.0 * observed
        ),
        Signal::Tokens => {
            format!(
                "tokens of text a review {verb} from {reference:.0} to {observed:.0} on average"
            )
        }
        Signal::CrossEntropy => {
            format!(
                "vocabulary cross-entropy {verb} from {reference:.2} to {observed:.2} bits a token"
            )
        }
        Signal::Words if subject.is_empty() => "no word is in more reviews than it was".to_owned(),
        Signal::Words => format!("the share of reviews with a word of {subject} {verb} {percent}"),
        Signal::Embedding => {
            format!("embeddings lie {observed:.2} from those of held-out data (mean discrepancy)")
        }
        Signal::AccuracyGap => format!(
            "estimated accuracy is {:.1} %, realised accuracy {:.1} %",
            100.0 * reference,
            100.0 * observed
        ),
    }
}

fn chance(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

fn standing(state: State) -> String {
    match state {
        State::Quiet => "quiet".to_owned(),
        State::Suspected { since, .. } => format!("suspected since window {since}"),
        State::Alerting { since, clear: 0 } => format!("alerting since window {since}"),
        State::Alerting { since, clear } => {
            format!("alerting since window {since}, the last {clear} without drift")
        }
        State::Resolved { since, until } => {
            format!("resolved, after an alert from window {since} to {until}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_what_was_what_is_and_what_is_made_of_it() {
        let measurement = Measurement {
            score: 45.0,
            threshold: 10.8,
            p: 2e-11,
            effect: 0.15,
            effect_min: 0.05,
            n: 500,
            values: Values { subject: Some("positive".to_owned()), reference: 0.5, observed: 0.65 },
        };
        assert_eq!(
            of(Signal::Labels, &measurement, State::Alerting { since: 11, clear: 0 }),
            "the share of label `positive` rose from 50.0 % to 65.0 % (500 reviews, p < 0.0001 on clean data): alerting \
             since window 11"
        );
        let quiet = Measurement { p: 0.25, ..measurement };
        assert!(
            of(Signal::Labels, &quiet, State::Quiet).ends_with("p = 0.2500 on clean data): quiet")
        );
    }

    #[test]
    fn every_signal_and_every_state_has_words_of_its_own() {
        let values = Values { subject: None, reference: 0.5, observed: 0.25 };
        let differences: std::collections::BTreeSet<String> =
            Signal::ALL.into_iter().map(|signal| difference(signal, &values)).collect();
        assert_eq!(differences.len(), Signal::ALL.len());
        let states = [
            State::Quiet,
            State::Suspected { since: 1, windows: 1 },
            State::Alerting { since: 1, clear: 0 },
            State::Alerting { since: 1, clear: 1 },
            State::Resolved { since: 1, until: 2 },
        ];
        let standings: std::collections::BTreeSet<String> = states.map(standing).into();
        assert_eq!(standings.len(), states.len());
    }
}
