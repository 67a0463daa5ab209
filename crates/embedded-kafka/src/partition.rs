//! A partition in use: its log behind a lock, what of it readers may see, and who waits for more.

use crate::batch::Header;
use crate::log::{AppendError, Log, Retention, Rolling};
use crate::settings::Fsync;
use crate::sync::{GroupCommit, locked};
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// One partition.
#[derive(Debug)]
pub(crate) struct Partition {
    log: Mutex<Log>,
    durable: GroupCommit,
    /// Readers see what is before this. With `fsync=always` that is only what is durable: a consumer that had read a record
    /// which a power loss then takes, and committed its offset, would skip the record that gets that offset next.
    visible: AtomicI64,
    syncs_first: bool,
    waiting: Mutex<Vec<Arc<Notify>>>,
}

/// Offsets that a reader cares for, all of one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The first offset.
    pub(crate) start: i64,
    /// The high watermark: the offset after the last visible record.
    pub(crate) end: i64,
    /// The offset after the last record, visible or not.
    pub(crate) written: i64,
    /// The last stable offset: no record before it belongs to an open transaction.
    pub(crate) stable: i64,
}

impl Partition {
    pub(crate) fn new(log: Log, fsync: Fsync) -> Partition {
        let next = log.next();
        Partition {
            log: Mutex::new(log),
            durable: GroupCommit::new(next),
            visible: AtomicI64::new(next),
            syncs_first: fsync == Fsync::Always,
            waiting: Mutex::default(),
        }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        locked(&self.log)
    }

    /// Writes a batch. It is visible at once or after [`Partition::settle`], as the fsync mode says.
    pub(crate) fn append(
        &self,
        bytes: Vec<u8>,
        header: Header,
        rolling: Rolling,
    ) -> Result<i64, AppendError> {
        let mut log = self.log();
        let offset = log.append(bytes, header, rolling)?;
        let next = log.next();
        drop(log);
        if !self.syncs_first {
            self.show(next);
        }
        Ok(offset)
    }

    /// Waits until all that is written now is as durable as the fsync mode promises.
    pub(crate) async fn settle(&self) -> Result<(), AppendError> {
        if self.syncs_first { self.sync().await } else { Ok(()) }
    }

    /// Syncs all that is written now, whatever the mode.
    pub(crate) async fn sync(&self) -> Result<(), AppendError> {
        let position = self.log().next();
        if let Err(error) = self.durable.settle(position, || self.log().written()).await {
            // After a failed sync the system may have dropped the pages: only reading the disk again tells.
            self.log().mark_broken();
            return Err(AppendError::Io(error));
        }
        self.show(self.durable.durable());
        Ok(())
    }

    /// Whether something is written that is not synced.
    pub(crate) fn is_behind(&self) -> bool {
        self.durable.durable() < self.log().next()
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let log = self.log();
        let written = log.next();
        let end = self.visible.load(Ordering::Acquire).min(written);
        let stable = log.contents().first_open_offset().map_or(end, |first| first.min(end));
        Bounds { start: log.start(), end, written, stable }
    }

    /// Removes what the topic does not keep, but nothing that some reader may not see yet: neither what is not durable nor
    /// what belongs to an open transaction.
    pub(crate) fn retain(&self, retention: Retention, rolling: Rolling) -> io::Result<()> {
        // The last stable offset never moves back, so that it need not be of the same moment.
        let stable = self.bounds().stable;
        self.log().retain(retention, rolling, stable)
    }

    /// Rings the bell whenever more becomes visible, as long as the answer is kept.
    pub(crate) fn watch(self: &Arc<Self>, bell: &Arc<Notify>) -> Watch {
        locked(&self.waiting).push(Arc::clone(bell));
        Watch { partition: Arc::clone(self), bell: Arc::clone(bell) }
    }

    fn show(&self, next: i64) {
        if next <= self.visible.fetch_max(next, Ordering::AcqRel) {
            return;
        }
        self.ring();
    }

    /// Wakes readers: also when a marker moved the last stable offset.
    pub(crate) fn ring(&self) {
        for bell in locked(&self.waiting).iter() {
            bell.notify_one();
        }
    }
}

/// A bell that hangs at a partition.
#[derive(Debug)]
pub(crate) struct Watch {
    partition: Arc<Partition>,
    bell: Arc<Notify>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = locked(&self.partition.waiting);
        if let Some(at) = waiting.iter().position(|bell| Arc::ptr_eq(bell, &self.bell)) {
            waiting.swap_remove(at);
        }
    }
}

/// Settles several partitions at the same time. Answers for each, in order.
pub(crate) async fn settle_all(partitions: Vec<Arc<Partition>>) -> Vec<Result<(), AppendError>> {
    let mut results: Vec<Result<(), AppendError>> = partitions.iter().map(|_| Ok(())).collect();
    if let ([partition], [result]) = (partitions.as_slice(), results.as_mut_slice()) {
        *result = partition.settle().await;
        return results;
    }
    let mut settling = JoinSet::new();
    for (at, partition) in partitions.into_iter().enumerate() {
        settling.spawn(async move { (at, partition.settle().await) });
    }
    while let Some(settled) = settling.join_next().await {
        match settled {
            Ok((at, settled)) => {
                if let Some(result) = results.get_mut(at) {
                    *result = settled;
                }
            }
            Err(error) => tracing::error!(%error, "a sync did not end"),
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch_of;
    use std::time::Duration;

    const LARGE: Rolling = Rolling { segment_bytes: 1 << 20, segment_ms: i64::MAX };

    fn written(fsync: Fsync) -> (tempfile::TempDir, Partition) {
        let directory = tempfile::tempdir().unwrap();
        let partition = Partition::new(Log::open(directory.path(), 0, 0).unwrap(), fsync);
        let bytes = batch_of(&[(1, "a")], None, false);
        let header = Header::parse(&bytes).unwrap();
        partition.append(bytes, header, LARGE).unwrap();
        (directory, partition)
    }

    #[tokio::test]
    async fn readers_see_a_record_when_it_is_as_durable_as_promised() {
        let (_directory, partition) = written(Fsync::Always);
        assert_eq!((partition.bounds().end, partition.bounds().written), (0, 1));
        partition.settle().await.unwrap();
        assert_eq!(partition.bounds().end, 1);
        for fsync in [Fsync::Never, Fsync::Interval(Duration::from_secs(1))] {
            let (_directory, partition) = written(fsync);
            assert_eq!((partition.bounds().end, partition.is_behind()), (1, true));
        }
    }

    #[tokio::test]
    async fn an_old_record_is_kept_until_readers_may_see_it() {
        let (_directory, partition) = written(Fsync::Always);
        let none = Retention { now_ms: 0, oldest_ms: Some(i64::MAX), bytes_max: Some(0) };
        partition.retain(none, LARGE).unwrap();
        assert_eq!((partition.bounds().start, partition.bounds().end), (0, 0));
        partition.settle().await.unwrap();
        partition.retain(none, LARGE).unwrap();
        assert_eq!((partition.bounds().start, partition.bounds().end), (1, 1));
    }

    #[tokio::test]
    async fn a_bell_rings_when_more_can_be_seen() {
        let (_directory, partition) = written(Fsync::Always);
        let partition = Arc::new(partition);
        let bell = Arc::new(Notify::new());
        let watch = partition.watch(&bell);
        partition.settle().await.unwrap();
        bell.notified().await;
        drop(watch);
        assert!(locked(&partition.waiting).is_empty());
    }
}
