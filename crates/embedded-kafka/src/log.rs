//! One partition's log: where its batches are, what may be written next, what may be thrown away.

use crate::batch::{self, Header};
use crate::contents::Contents;
use crate::producers::{Sequence, SequenceError};
use crate::segment::{RecoverError, Segment, Span};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The records of one partition and all that is derived from them.
#[derive(Debug)]
pub(crate) struct Log {
    directory: PathBuf,
    sealed: Vec<Segment>,
    active: Segment,
    /// The first offset a reader may ask for.
    start: i64,
    contents: Contents,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// A sync failed: what the disk holds is unknown until a restart reads it.
    Broken,
    /// The topic was deleted.
    Deleted,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum AppendError {
    Sequence(SequenceError),
    /// Its transaction has not enlisted this partition.
    NotEnlisted,
    Deleted,
    Broken,
    Io(io::Error),
}

/// Rules for new segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rolling {
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
}

/// What may be thrown away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) now_ms: i64,
    /// Records older than this; `None` keeps them for ever.
    pub(crate) oldest_ms: Option<i64>,
    /// All that is more than this; `None` keeps everything.
    pub(crate) bytes_max: Option<u64>,
}

impl Log {
    /// Opens or makes the directory, and reads every batch in it once.
    pub(crate) fn open(
        directory: &Path,
        start: i64,
        now_ms: i64,
    ) -> Result<Log, (PathBuf, RecoverError)> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| (path, RecoverError::Io(error))
        };
        std::fs::create_dir_all(directory).map_err(at(directory))?;
        let files = segment_files(directory).map_err(at(directory))?;
        let first = files.first().map_or(start, |file| file.0);
        let mut contents = Contents::new(first);
        let mut sealed = Vec::new();
        let last = files.len().saturating_sub(1);
        for (number, (base_offset, path)) in files.into_iter().enumerate() {
            contents.skip_to(base_offset);
            let visit = |header: &Header, bytes: &[u8]| contents.track(header, bytes);
            let segment = Segment::recover(path.clone(), base_offset, number == last, visit);
            sealed.push(segment.map_err(|error| (path, error))?);
        }
        let active = match sealed.pop() {
            Some(segment) => segment,
            None => Segment::create(directory, start, now_ms).map_err(at(directory))?,
        };
        contents.skip_to(start);
        let start = start.max(first);
        Ok(Log {
            directory: directory.to_owned(),
            sealed,
            active,
            start,
            contents,
            state: State::Good,
        })
    }

    /// Writes a batch and answers with its base offset: the old one when it was written before.
    pub(crate) fn append(
        &mut self,
        mut bytes: Vec<u8>,
        mut header: Header,
        rolling: Rolling,
    ) -> Result<i64, AppendError> {
        self.check_state()?;
        match self.contents.check(&header)? {
            Sequence::Next => {}
            Sequence::Duplicate(base_offset) => return Ok(base_offset),
        }
        let now_ms = crate::clock::now_ms();
        let is_old = self.active.created_ms.saturating_add(rolling.segment_ms) < now_ms;
        let is_full = rolling.segment_bytes < self.active.bytes.saturating_add(header.bytes as u64);
        if 0 < self.active.bytes && (is_old || is_full) {
            self.roll(now_ms).map_err(AppendError::Io)?;
        }
        header.base_offset = self.contents.next();
        batch::place(&mut bytes, header.base_offset);
        self.active.append(&bytes, &header).map_err(AppendError::Io)?;
        self.contents.track(&header, &bytes);
        Ok(header.base_offset)
    }

    fn check_state(&self) -> Result<(), AppendError> {
        match self.state {
            State::Good => Ok(()),
            State::Broken => Err(AppendError::Broken),
            State::Deleted => Err(AppendError::Deleted),
        }
    }

    /// Closes the active segment. It is synced, so that only the last file of a log can be torn.
    fn roll(&mut self, now_ms: i64) -> io::Result<()> {
        self.active.file.sync_data()?;
        let segment = Segment::create(&self.directory, self.next(), now_ms)?;
        self.sealed.push(std::mem::replace(&mut self.active, segment));
        Ok(())
    }

    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    pub(crate) fn next(&self) -> i64 {
        self.contents.next()
    }

    /// What is derived from the batches: producers and transactions.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    pub(crate) fn contents_mut(&mut self) -> &mut Contents {
        &mut self.contents
    }

    /// Where to read the batch with `offset` and those after it in the same file.
    pub(crate) fn span_from(&self, offset: i64) -> Span {
        match self.sealed.partition_point(|segment| segment.base_offset <= offset) {
            after if after == self.sealed.len() && self.active.base_offset <= offset => {
                self.active.span_from(offset)
            }
            after => {
                self.sealed.get(after.saturating_sub(1)).unwrap_or(&self.active).span_from(offset)
            }
        }
    }

    /// Where records at or after `timestamp` may be, oldest first.
    pub(crate) fn spans_from_time(&self, timestamp: i64) -> Vec<Span> {
        let segments = self.sealed.iter().chain([&self.active]);
        segments
            .filter(|segment| timestamp <= segment.max_timestamp)
            .map(|segment| segment.span_from_time(timestamp))
            .collect()
    }

    /// The file that is written to, and the offset up to which a sync of it now makes everything durable.
    pub(crate) fn written(&self) -> (Arc<File>, i64) {
        (Arc::clone(&self.active.file), self.next())
    }

    pub(crate) fn mark_broken(&mut self) {
        self.state = State::Broken;
    }

    pub(crate) fn mark_deleted(&mut self) {
        self.state = State::Deleted;
    }

    /// Moves the first readable offset, and removes files that have nothing from there on.
    pub(crate) fn advance_start(&mut self, offset: i64) {
        self.start = offset.clamp(self.start, self.next().max(self.start));
        while !self.sealed.is_empty()
            && self.sealed.get(1).unwrap_or(&self.active).base_offset <= self.start
        {
            let segment = self.sealed.remove(0);
            if let Err(error) = std::fs::remove_file(&segment.path) {
                tracing::warn!(path = %segment.path.display(), %error, "an old segment stays");
            }
        }
        self.contents.forget_before(self.start);
    }

    /// Removes segments that the topic does not keep. Never one with records from the last stable offset on, so that a
    /// transaction is kept or removed as a whole.
    pub(crate) fn retain(
        &mut self,
        retention: Retention,
        rolling: Rolling,
        stable: i64,
    ) -> io::Result<()> {
        if self.state != State::Good {
            return Ok(());
        }
        let begun_before_ms = retention.now_ms.saturating_sub(rolling.segment_ms);
        if 0 < self.active.bytes && self.active.created_ms < begun_before_ms {
            self.roll(retention.now_ms)?;
        }
        let is_old = |segment: &Segment| {
            retention.oldest_ms.is_some_and(|oldest| segment.latest_ms() < oldest)
        };
        let mut total: u64 =
            self.sealed.iter().chain([&self.active]).map(|segment| segment.bytes).sum();
        let mut start = self.start;
        let ends =
            self.sealed.iter().skip(1).chain([&self.active]).map(|segment| segment.base_offset);
        for (segment, end) in self.sealed.iter().zip(ends) {
            let is_excess = retention.bytes_max.is_some_and(|most| most < total);
            if stable < end || !(is_excess || is_old(segment)) {
                break;
            }
            total -= segment.bytes;
            start = end;
        }
        if self.start < start {
            self.advance_start(start);
        }
        // Age, unlike size, also takes the segment that is written to, once all before it has gone.
        let is_last = self.sealed.is_empty() && 0 < self.active.bytes;
        if is_last && self.next() <= stable && is_old(&self.active) {
            self.roll(retention.now_ms)?;
            self.advance_start(self.next());
        }
        Ok(())
    }
}

/// Segment files in the order of their offsets.
fn segment_files(directory: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|extension| extension == "log");
        if let Some(base_offset) =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok())
            && is_segment
        {
            files.push((base_offset, path));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch_of;

    const SMALL: Rolling = Rolling { segment_bytes: 500, segment_ms: i64::MAX };

    fn older_than(oldest_ms: i64) -> Retention {
        Retention { now_ms: 0, oldest_ms: Some(oldest_ms), bytes_max: None }
    }

    fn write(
        log: &mut Log,
        value: &str,
        producer: Option<(i64, i16, i32)>,
        transactional: bool,
    ) -> Result<i64, AppendError> {
        let bytes = batch_of(&[(1, value)], producer, transactional);
        let header = Header::parse(&bytes).unwrap();
        log.append(bytes, header, SMALL)
    }

    fn mark(log: &mut Log, id: i64, epoch: i16, commit: bool) {
        let bytes = batch::marker(id, epoch, commit);
        let header = Header::parse(&bytes).unwrap();
        log.append(bytes, header, SMALL).unwrap();
    }

    #[test]
    fn a_log_opened_again_knows_what_it_knew() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path(), 0, 0).unwrap();
        log.contents_mut().enlist(1, 0);
        log.contents_mut().enlist(2, 0);
        for sequence in 0..50 {
            write(&mut log, "plain", Some((9, 0, sequence)), false).unwrap();
        }
        write(&mut log, "aborted", Some((1, 0, 0)), true).unwrap();
        write(&mut log, "open", Some((2, 0, 0)), true).unwrap();
        mark(&mut log, 1, 0, false);
        let again = Log::open(directory.path(), 0, 0).unwrap();
        assert_eq!((again.start(), again.next()), (0, 53));
        assert!(1 < again.sealed.len());
        assert_eq!(again.contents().first_open_offset(), Some(51));
        assert_eq!(again.contents().aborted_between(0, 60), log.contents().aborted_between(0, 60));
        let mut again = again;
        assert_eq!(write(&mut again, "plain", Some((9, 0, 49)), false).unwrap(), 49);
    }

    #[test]
    fn only_an_enlisted_transaction_writes_and_its_marker_ends_that() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path(), 0, 0).unwrap();
        assert!(matches!(
            write(&mut log, "x", Some((1, 0, 0)), true),
            Err(AppendError::NotEnlisted)
        ));
        log.contents_mut().enlist(1, 0);
        write(&mut log, "x", Some((1, 0, 0)), true).unwrap();
        mark(&mut log, 1, 0, true);
        assert!(matches!(
            write(&mut log, "x", Some((1, 0, 1)), true),
            Err(AppendError::NotEnlisted)
        ));
        log.contents_mut().enlist(1, 1);
        assert!(matches!(
            write(&mut log, "x", Some((1, 0, 1)), true),
            Err(AppendError::Sequence(SequenceError::StaleEpoch))
        ));
    }

    #[test]
    fn retention_removes_whole_files_but_no_open_transaction() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path(), 0, 0).unwrap();
        log.contents_mut().enlist(1, 0);
        for _ in 0..40 {
            write(&mut log, "some text", None, false).unwrap();
        }
        write(&mut log, "open", Some((1, 0, 0)), true).unwrap();
        for _ in 0..40 {
            write(&mut log, "some text", None, false).unwrap();
        }
        let stable = log.contents().first_open_offset().unwrap();
        log.retain(older_than(i64::MAX), SMALL, stable).unwrap();
        assert!(0 < log.start() && log.start() <= 40, "{}", log.start());
        mark(&mut log, 1, 0, true);
        log.retain(older_than(i64::MAX), SMALL, log.next()).unwrap();
        assert!(40 < log.start());
        assert_eq!(Log::open(directory.path(), 0, 0).unwrap().start(), log.start());
    }

    #[test]
    fn the_segment_that_is_written_to_goes_too_when_all_of_it_is_old_and_offsets_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path(), 0, 0).unwrap();
        for _ in 0..3 {
            write(&mut log, "at 1", None, false).unwrap();
        }
        let mut check = |oldest_ms, stable, start: i64| {
            log.retain(older_than(oldest_ms), SMALL, stable).unwrap();
            assert_eq!((log.start(), log.next()), (start, 3), "{oldest_ms} {stable}");
        };
        check(1, 3, 0);
        check(2, 2, 0);
        check(2, 3, 3);
        check(2, 3, 3);
        let mut again = Log::open(directory.path(), 0, 0).unwrap();
        assert_eq!((again.start(), again.next()), (3, 3));
        assert_eq!(write(&mut again, "next", None, false).unwrap(), 3);
    }
}
