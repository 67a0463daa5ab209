//! Verdicts in, rows out; and beside it labels joined with their verdicts, and whether verdicts drift.
//!
//! # Layout
//! - [`writer`]: THE loop: read a round, make it durable, remember how far
//! - [`round`]: what a round holds and how far it has come; pure
//! - [`feedback`]: labels joined with their verdicts, on a loop of its own
//! - [`drift_line`]: the loops that watch drift: [`watcher`] sums verdicts in partial windows, [`aggregator`] judges them;
//!   [`references`] is what they are compared with, [`features`] what drift knows of a verdict
//! - [`settings`]: all that can be set
//! - `patience`: what both loops do while the store or the broker is away
//! - `instruments`: what is measured; `spans`: what is recorded of a verdict and a round

pub mod aggregator;
pub mod drift_line;
pub mod features;
pub mod feedback;
mod instruments;
mod patience;
pub mod references;
pub mod round;
pub mod settings;
mod spans;
pub mod watcher;
pub mod writer;

use std::{fmt, sync::Arc};

use broker::Subscribe;
use chassis::health::Check;
use store::VerdictStore;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use drift_line::DriftParts;
pub use references::References;
pub use settings::{DriftSettings, Settings};
pub use writer::{Writer, WriterError};

/// What the sink works with, made by whoever starts it.
pub struct Parts {
    /// Reads [`schemas::topics::VERDICTS`].
    pub subscription: Box<dyn Subscribe>,
    /// Takes the rows.
    pub store: Arc<dyn VerdictStore>,
    /// Where it says how it fares.
    pub check: Check,
    /// Asks it to finish what is in hand and leave.
    pub stop: CancellationToken,
}

/// Runs the sink on a thread of its own until it is asked to stop or cannot go on. Belongs in a Tokio runtime.
pub async fn run(parts: Parts, settings: &Settings) -> anyhow::Result<()> {
    let writer = Writer::new(parts, settings, Handle::current());
    chassis::stop::thread("sink", move || Ok(writer.run()?)).await
}

impl fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parts").field("store", &self.store).finish_non_exhaustive()
    }
}
