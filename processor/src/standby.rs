//! A replica whose model cannot be loaded stands by, instead of ending.
//!
//! A process that ended would be started again at once, and end again: a loop that shows itself only to who watches restarts, and
//! that tells nothing over `/metrics` because it is never there when it is asked. So it stays: not ready, with the reason at `/readyz`,
//! in the log and as `processor.model.missing`; and it tries again, since a bundle may still be on its way to the volume. The
//! replicas that score with another model go on, and a roll-out stops at the first that cannot follow.

use std::{thread, time::Duration};

use chassis::{clock, health::Check};
use models::ModelName;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::instruments;

/// Between two attempts, for a replica.
pub const PAUSE: Duration = Duration::from_secs(10);

/// Between two looks at whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Loads `model` by `load`, every `pause` until that works; `None` once it is to stop. Blocking. `check` is the line's own, so that it is not
/// ready before the line runs. The reason is logged as an error when it is first met and when it changes.
pub fn load<T>(
    model: &ModelName,
    check: &Check,
    stop: &CancellationToken,
    pause: Duration,
    mut load: impl FnMut() -> anyhow::Result<T>,
) -> Option<T> {
    let mut known = String::new();
    while !stop.is_cancelled() {
        let failed = match load() {
            Ok(loaded) => return Some(loaded),
            Err(failed) => format!("{failed:#}"),
        };
        instruments::model_missing(model);
        check.not_ready(format!("{model} cannot be loaded: {failed}"));
        if failed == known {
            info!(%model, "the model still cannot be loaded");
        } else {
            error!(%model, reason = failed, ?pause, "the model cannot be loaded; not ready, trying again");
            known = failed;
        }
        wait(pause, stop);
    }
    None
}

fn wait(pause: Duration, stop: &CancellationToken) {
    let began = clock::monotonic();
    while began.elapsed() < pause && !stop.is_cancelled() {
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use chassis::{Health, telemetry, telemetry::TelemetrySettings};

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    fn model() -> ModelName {
        "late@7".parse().unwrap()
    }

    #[test]
    fn a_bundle_that_comes_late_is_loaded() {
        let telemetry = telemetry::start("test", &TelemetrySettings::default()).unwrap();
        let (health, stop) = (Health::new(), CancellationToken::new());
        let check = crate::register(&health);
        let mut attempts = 0;
        let loaded = load(&model(), &check, &stop, SHORT, || {
            attempts += 1;
            if attempts < 3 {
                bail!("it is on its way");
            }
            Ok("loaded")
        });
        assert_eq!((loaded, attempts), (Some("loaded"), 3));
        let missing = "processor_model_missing{model_name=\"late\",model_version=\"7\"} 1";
        assert!(telemetry.text().unwrap().contains(missing));
        // It is for the line to say that it is ready.
        assert!(!health.readiness().ok);
    }

    #[test]
    fn a_replica_that_stands_by_says_why_and_can_be_stopped() {
        let (health, stop) = (Health::new(), CancellationToken::new());
        let check = crate::register(&health);
        let stopping = stop.clone();
        let loaded = load(&model(), &check, &stop, Duration::MAX, || -> anyhow::Result<()> {
            stopping.cancel();
            bail!("its digest differs")
        });
        assert!(loaded.is_none());
        let report = health.readiness();
        assert!(!report.ok);
        let reasons: Vec<_> = report.checks.into_iter().filter_map(|check| check.reason).collect();
        assert_eq!(reasons, ["late@7 cannot be loaded: its digest differs"]);
    }
}
