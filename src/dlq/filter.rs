//! Which dead letters an operator means.

use jiff::Timestamp;

use super::{
    args::{FilterArgs, Moment},
    letter::Letter,
};

/// The conditions, with their times resolved.
#[derive(Debug)]
pub(super) struct Filter {
    args: FilterArgs,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Filter {
    /// Resolves what is relative to `now`.
    pub(super) fn new(args: &FilterArgs, now: Timestamp) -> Self {
        let resolve = |moment: Option<Moment>| moment.map(|it| it.resolve(now));
        Self { since: resolve(args.since), until: resolve(args.until), args: args.clone() }
    }

    /// Whether the letter meets every condition. A record without a reason meets none that is about the reason.
    pub(super) fn selects(&self, letter: &Letter<'_>) -> bool {
        let FilterArgs { class, stage, source, attempts_max, id, at, .. } = &self.args;
        let refused = letter.note.map(|note| note.failed_at);
        is_one_of(class, |class| letter.note.is_some_and(|note| note.class == class))
            && is_one_of(stage, |stage| letter.note.is_some_and(|note| note.stage == *stage))
            && self.since.is_none_or(|since| refused.is_some_and(|at| since <= at))
            && self.until.is_none_or(|until| refused.is_some_and(|at| at < until))
            && is_one_of(source, |source| letter.source.as_ref() == Some(source))
            && attempts_max.is_none_or(|max| letter.note.is_some_and(|note| note.attempts <= max))
            && is_one_of(id, |id| letter.id.as_ref() == Some(id))
            && is_one_of(at, |at| letter.place == *at)
    }

    /// Whether the letter is out of sight, since it was sent again.
    pub(super) fn hides(&self, letter: &Letter<'_>) -> bool {
        letter.redriven.is_some() && !self.args.all
    }

    /// Whether there is no condition at all.
    pub(super) fn is_empty(&self) -> bool {
        let FilterArgs { class, stage, source, attempts_max, id, at, .. } = &self.args;
        class.is_empty()
            && stage.is_empty()
            && source.is_empty()
            && id.is_empty()
            && at.is_empty()
            && attempts_max.is_none()
            && self.since.is_none()
            && self.until.is_none()
    }
}

/// A condition that was not given is met.
fn is_one_of<T>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(is)
}

#[cfg(test)]
mod tests {
    use broker::Delivery;
    use clap::Parser;
    use schemas::{
        Stage,
        redrive::{LetterPlace, RedriveNote},
    };

    use super::*;
    use crate::dlq::{
        letter::tests::{at, delivery},
        redriven::Redriven,
    };

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        filter: FilterArgs,
    }

    fn filter(flags: &str) -> Filter {
        let flags = Flags::parse_from(["dlq"].into_iter().chain(flags.split_whitespace()));
        Filter::new(&flags.filter, at(1_000))
    }

    fn letters() -> [Delivery; 3] {
        [
            delivery(Stage::Decode, "InvalidUtf8", 100, "garbage"),
            delivery(Stage::Validate, "InvalidText", 200, r#"{"id":"b","source":"web"}"#),
            delivery(Stage::Infer, "ModelFailed", 300, r#"{"id":"c","source":"app"}"#),
        ]
    }

    /// The offsets that `flags` select.
    #[track_caller]
    fn check(flags: &str, expected: &[i64]) {
        let (filter, none) = (filter(flags), Redriven::default());
        let letters = letters();
        let selected = letters.iter().filter(|it| filter.selects(&Letter::read(it, &none)));
        assert_eq!(selected.map(|it| it.offset).collect::<Vec<_>>(), expected, "{flags}");
    }

    #[test]
    fn a_letter_meets_one_value_of_every_condition() {
        check("", &[100, 200, 300]);
        check("--class InvalidText", &[200]);
        check("--class InvalidText --class ModelFailed", &[200, 300]);
        check("--class InvalidText --stage infer", &[]);
        check("--stage validate --stage decode", &[100, 200]);
        check("--since 1970-01-01T00:03:20Z", &[200, 300]);
        check("--until 1970-01-01T00:03:20Z", &[100]);
        check("--since 800s --until 700s", &[200]);
        check("--source web", &[200]);
        check("--id c --id d", &[300]);
        check("--at 0:100 --at 0:300 --at 1:200", &[100, 300]);
        check("--attempts-max 0", &[]);
        check("--attempts-max 1", &[100, 200, 300]);
    }

    #[test]
    fn a_record_without_a_reason_meets_no_condition_on_it() {
        let mut stray = delivery(Stage::Infer, "ModelFailed", 300, r#"{"id":"c"}"#);
        stray.record.headers.clear();
        let none = Redriven::default();
        let letter = Letter::read(&stray, &none);
        for flags in ["--class ModelFailed", "--stage infer", "--since 1000s", "--attempts-max 9"] {
            assert!(!filter(flags).selects(&letter), "{flags}");
        }
        assert!(filter("--id c").selects(&letter) && filter("").selects(&letter));
    }

    #[test]
    fn what_was_sent_again_is_out_of_sight_unless_all_are_asked_for() {
        let letter = delivery(Stage::Infer, "ModelFailed", 300, "{}");
        let place = LetterPlace { partition: 0, offset: 300 };
        let note =
            |failed_at| RedriveNote { redriven_at: at(400), by: None, attempts: 1, failed_at };
        let hides = |flags, failed_at| {
            let mut redriven = Redriven::default();
            redriven.insert(place, note(failed_at));
            filter(flags).hides(&Letter::read(&letter, &redriven))
        };
        assert!(hides("", at(300)));
        assert!(!hides("--all", at(300)));
        assert!(!hides("", at(299)), "that was another letter, in a topic of the same name");
    }

    #[test]
    fn a_filter_without_a_condition_is_empty() {
        assert!(filter("").is_empty() && filter("--all").is_empty());
        for flags in ["--class A", "--stage infer", "--since 1h", "--until 1h", "--at 0:1"] {
            assert!(!filter(flags).is_empty(), "{flags}");
        }
        for flags in ["--source a", "--id a", "--attempts-max 1"] {
            assert!(!filter(flags).is_empty(), "{flags}");
        }
    }
}
