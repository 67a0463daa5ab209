//! How a process ends: one line that says why, and an exit code that says who has to do something.
//!
//! The codes are those of `sysexits.h` where it has one, since supervisors and people know them. docs/OPERATING.md lists them.

use std::process::ExitCode;

use crate::settings::SettingsError;

/// Why a process ended by itself, by what has to be done before it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Something went wrong while it ran. Started again it goes on where it was.
    Failed,
    /// What it was told is wrong: settings, secrets, passwords. No start helps before that is changed.
    Misconfigured,
    /// A broker or a store is not there, or lacks its topics or tables. A later start may find it.
    Unreachable,
}

impl Ending {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            // EX_UNAVAILABLE
            Self::Unreachable => 69,
            // EX_CONFIG
            Self::Misconfigured => 78,
        }
    }

    /// The ending for wrong settings, and else what `known` makes of the error.
    fn of(error: &anyhow::Error, known: impl Fn(&anyhow::Error) -> Option<Self>) -> Self {
        if error.is::<SettingsError>() {
            return Self::Misconfigured;
        }
        known(error).unwrap_or(Self::Failed)
    }
}

/// The last thing that `main` does: says on standard error what went wrong, in one line, and gives the code for it. `known` tells
/// endings of errors that are not of this crate.
pub fn end(
    outcome: anyhow::Result<()>,
    known: impl Fn(&anyhow::Error) -> Option<Ending>,
) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    #[expect(clippy::print_stderr, reason = "the last word of a process")]
    {
        eprintln!("error: {}", line(&error));
    }
    ExitCode::from(Ending::of(&error, known).code())
}

/// The error and its causes without line breaks: what reads logs takes each line for one event.
fn line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("away")]
    struct Away;

    fn known(error: &anyhow::Error) -> Option<Ending> {
        error.is::<Away>().then_some(Ending::Unreachable)
    }

    #[test]
    fn an_ending_is_found_below_what_was_said_of_it() {
        let check = |error: anyhow::Error, expected| {
            assert_eq!(Ending::of(&error, known), expected, "{error:#}");
        };
        let settings = || SettingsError::Inexpressible("x".to_owned());
        check(settings().into(), Ending::Misconfigured);
        check(Err::<(), _>(settings()).context("starting").unwrap_err(), Ending::Misconfigured);
        check(Err::<(), _>(Away).context("connecting").unwrap_err(), Ending::Unreachable);
        check(anyhow!("fenced"), Ending::Failed);
    }

    #[test]
    fn what_is_said_is_one_line() {
        let error = anyhow!("not TOML:\n  |\n1 | [ingest\n  | ^\n").context("reading");
        assert_eq!(line(&error), "reading: not TOML: | 1 | [ingest | ^");
    }

    #[test]
    fn each_ending_has_a_code_of_its_own() {
        use Ending::{Failed, Misconfigured, Unreachable};
        let codes = [Failed, Misconfigured, Unreachable].map(Ending::code);
        assert_eq!(codes, [1, 78, 69]);
    }
}
