//! How much of a proof is run, and how long anything may take before it is stuck.

use std::{
    env,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, MutexGuard};

/// Without progress for this long, something is stuck. Well above what brokers and groups take to recover on a busy machine.
const STUCK_AFTER_S: u64 = 180;

/// Between two looks at something that is not there yet.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Proofs measure stalls and fill the machine, so that two at once would measure each other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How much of a proof is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Within some half a minute, with every kind of fault at least once.
    Short,
    /// As long as it takes to say something about rates: `VERDICT_PROVE=long`.
    Long,
}

impl Form {
    /// As the environment says.
    pub(crate) fn asked() -> Self {
        match variable("VERDICT_PROVE").as_deref() {
            None | Some("" | "short") => Self::Short,
            Some("long") => Self::Long,
            Some(other) => panic!("VERDICT_PROVE is `{other}`, neither `short` nor `long`"),
        }
    }

    /// The value for this form.
    pub(crate) fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

/// How long anything may stay without progress: three minutes, or as `VERDICT_PROVE_STUCK_SECONDS` says.
pub(crate) fn stuck_after() -> Duration {
    let asked = variable("VERDICT_PROVE_STUCK_SECONDS").and_then(|it| it.parse().ok());
    Duration::from_secs(asked.unwrap_or(STUCK_AFTER_S))
}

/// Waits until no other proof runs.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// An environment variable.
#[expect(clippy::disallowed_methods, reason = "a test has no settings file")]
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

pub(crate) fn now() -> Instant {
    chassis::clock::monotonic()
}

/// As [`until`], for what comes bit by bit: as long as it is not there, `look` says how much is missing, if that is known. The proof
/// ends once that has become no less for [`stuck_after`], however long all of it takes.
pub(crate) async fn until_none_is_left<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, Option<u64>>,
) -> T {
    let patience = stuck_after();
    let (mut least, mut progressed) = (u64::MAX, now());
    loop {
        match look().await {
            Ok(answer) => return answer,
            Err(Some(left)) if left < least => (least, progressed) = (left, now()),
            Err(_) => {}
        }
        let quiet = progressed.elapsed();
        assert!(quiet < patience, "stuck: {what}: {least} are left, and no fewer for {quiet:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks until there is an answer. Without one for [`stuck_after`] the proof ends and says what never came.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let patience = stuck_after();
    let deadline = now() + patience;
    loop {
        if let Some(answer) = look().await {
            return answer;
        }
        assert!(now() < deadline, "stuck: {what} did not come within {patience:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
