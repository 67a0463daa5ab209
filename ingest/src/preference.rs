//! How long a client wants to wait for its verdict: the `Prefer` header (RFC 7240).

use std::time::Duration;

/// What a client prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preference {
    /// It said nothing about it.
    Unstated,
    /// `respond-async`: answer once the review is durable.
    Async,
    /// `wait=N`: answer with the verdict if it is there within this time.
    Wait(Duration),
}

impl Preference {
    /// Reads the values of all `Prefer` headers of a request.
    ///
    /// RFC 7240: a preference that is unknown or malformed is ignored, the first of a repeated name counts. `respond-async`
    /// with `wait=N` means: wait so long, then answer 202; which is what a wait does here anyway.
    pub(crate) fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut respond_async = false;
        let mut wait = None;
        for preference in values.into_iter().flat_map(|value| value.split(',')) {
            // Parameters after a semicolon belong to preferences that we do not know.
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => respond_async = true,
                "wait" if wait.is_none() => wait = value.trim().trim_matches('"').parse().ok(),
                _ => {}
            }
        }
        match wait {
            Some(seconds) => Self::Wait(Duration::from_secs(seconds)),
            None if respond_async => Self::Async,
            None => Self::Unstated,
        }
    }

    /// How long to wait, and the `Preference-Applied` header to answer with.
    pub(crate) fn apply(self, default: Duration, max: Duration) -> (Duration, Option<String>) {
        match self {
            Self::Unstated => (default.min(max), None),
            Self::Async => (Duration::ZERO, Some("respond-async".to_owned())),
            Self::Wait(wait) => {
                let wait = wait.min(max);
                (wait, Some(format!("wait={}", wait.as_secs())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Duration = Duration::from_secs(2);
    const MAX: Duration = Duration::from_secs(30);

    #[track_caller]
    fn check(values: &[&str], expected: (u64, Option<&str>)) {
        let (wait, applied) = Preference::parse(values.iter().copied()).apply(DEFAULT, MAX);
        assert_eq!((wait.as_secs(), applied.as_deref()), expected, "{values:?}");
    }

    #[test]
    fn a_stated_preference_is_applied_and_said_so() {
        check(&["wait=10"], (10, Some("wait=10")));
        check(&["Wait = \"10\""], (10, Some("wait=10")));
        check(&["respond-async"], (0, Some("respond-async")));
        check(&["respond-async, wait=5"], (5, Some("wait=5")));
        check(&["handling=lenient; x=y", "wait=5"], (5, Some("wait=5")));
    }

    #[test]
    fn a_wait_past_the_maximum_is_cut_and_the_answer_says_to_what() {
        check(&["wait=31"], (30, Some("wait=30")));
    }

    #[test]
    fn what_is_unknown_or_malformed_is_ignored() {
        check(&[], (2, None));
        check(&["wait=soon"], (2, None));
        check(&["wait=-1"], (2, None));
        check(&["wait=99999999999999999999999"], (2, None));
        check(&["return=minimal"], (2, None));
        check(&["wait=1, wait=9"], (1, Some("wait=1")));
    }
}
