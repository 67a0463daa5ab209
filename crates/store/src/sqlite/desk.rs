//! The thread that a connection lives on, and the bounded queue before it.
//!
//! `SQLite` blocks, for a sync of the disk or for another process; the threads that serve sockets must not.

use std::{fmt, thread};

use rusqlite::Connection;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::trouble;
use crate::{ConnectError, StoreError};

/// A connection's thread. Dropping it waits until the calls in the queue are done and the file is closed.
pub(super) struct Desk {
    /// `None` only while dropping.
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<thread::JoinHandle<()>>,
    place: String,
}

type Call = Box<dyn FnOnce(&mut Connection) + Send>;

impl Desk {
    /// Starts the thread `name` for the connection to `place`. At most `queue_max` calls wait, one at least.
    pub(super) fn open(
        name: &str,
        mut connection: Connection,
        place: String,
        queue_max: usize,
    ) -> Result<Self, ConnectError> {
        let (calls, mut queue) = mpsc::channel::<Call>(queue_max.max(1));
        let serve = move || {
            while let Some(call) = queue.blocking_recv() {
                call(&mut connection);
            }
        };
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(serve)
            .map_err(|error| ConnectError::Unavailable(format!("starting a thread: {error}")))?;
        Ok(Self { calls: Some(calls), thread: Some(thread), place })
    }

    /// Runs `work` on the connection. `Unavailable` at once where the queue is full. Dropping the future does not undo `work`.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let call: Call = Box::new(move |connection| {
            // The caller may have gone; what was done for it is idempotent.
            drop(answer.send(work(connection)));
        });
        let stopped = || StoreError::Unusable(format!("{}: its thread has stopped", self.place));
        match self.calls.as_ref().map(|calls| calls.try_send(call)) {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_))) => {
                return Err(StoreError::Unavailable(format!("{}: its queue is full", self.place)));
            }
            Some(Err(TrySendError::Closed(_))) | None => return Err(stopped()),
        }
        let result = answered.await.map_err(|_dropped| stopped())?;
        result.map_err(|error| trouble::of_call(&error, &self.place))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(Err(_panic)) = self.thread.take().map(thread::JoinHandle::join) {
            tracing::error!(place = self.place, "the store's thread panicked");
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Desk").field("place", &self.place).finish_non_exhaustive()
    }
}
