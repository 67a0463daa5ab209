//! Group commit: many requests wait, one of them syncs for all.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far a file is durable. Positions are whatever its owner counts in, offsets or bytes.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    durable: AtomicI64,
    leader: tokio::sync::Mutex<()>,
}

impl GroupCommit {
    pub(crate) fn new(durable: i64) -> GroupCommit {
        GroupCommit { durable: AtomicI64::new(durable), leader: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn durable(&self) -> i64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Says that all before `position` needs no sync any more.
    pub(crate) fn advance(&self, position: i64) {
        self.durable.fetch_max(position, Ordering::AcqRel);
    }

    /// Waits until all before `position` is durable. Whoever finds no sync under way does one for everything written by
    /// then (`written` says what that is); those who came meanwhile find themselves covered, or one of them leads next.
    pub(crate) async fn settle(
        &self,
        position: i64,
        written: impl FnOnce() -> (Arc<File>, i64),
    ) -> io::Result<()> {
        if position <= self.durable() {
            return Ok(());
        }
        let _leading = self.leader.lock().await;
        if position <= self.durable() {
            return Ok(());
        }
        let (file, until) = written();
        match tokio::task::spawn_blocking(move || file.sync_data()).await {
            Ok(synced) => synced?,
            Err(error) => return Err(io::Error::other(error)),
        }
        self.advance(until);
        Ok(())
    }
}

/// Locks. A panic elsewhere does not make the data unusable: every change under these locks is whole or not begun.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test]
    async fn those_who_wait_together_share_a_sync() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let commit = GroupCommit::new(0);
        let syncs = AtomicUsize::new(0);
        let written = || {
            syncs.fetch_add(1, Ordering::Relaxed);
            (Arc::clone(&file), 4)
        };
        let (a, b, c) = tokio::join!(
            commit.settle(1, written),
            commit.settle(4, written),
            commit.settle(2, written)
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert_eq!((syncs.load(Ordering::Relaxed), commit.durable()), (1, 4));
    }
}
