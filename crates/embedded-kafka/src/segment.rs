//! One file of a partition's log, and the sparse index that finds offsets and times in it.
//!
//! The index is in memory only and is made again at start, when every batch is read and checked anyway.

use crate::batch::{self, Header};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// One mark for so many bytes of log, like Kafka's `index.interval.bytes`.
const INDEX_INTERVAL_BYTES: u64 = 4_096;

/// Consecutive batches in one append-only file, named by the offset it begins with.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) bytes: u64,
    /// When it was begun, for `segment.ms`.
    pub(crate) created_ms: i64,
    /// The latest record timestamp, -1 when there is none.
    pub(crate) max_timestamp: i64,
    index: Vec<Mark>,
}

/// Where a batch begins.
#[derive(Debug, Clone, Copy)]
struct Mark {
    base_offset: i64,
    position: u64,
    /// The latest timestamp of all batches before this one.
    max_timestamp_before: i64,
}

/// What recovery found wrong with a file.
#[derive(Debug)]
pub(crate) enum RecoverError {
    Io(io::Error),
    /// Sound until this byte.
    Damaged(u64),
}

/// A part of a segment to read. It holds the file, so that the read needs no lock and outlives retention.
#[derive(Debug)]
pub(crate) struct Span {
    file: Arc<File>,
    position: u64,
    bytes: u64,
}

impl Segment {
    /// Begins an empty file, and makes its name durable.
    pub(crate) fn create(directory: &Path, base_offset: i64, now_ms: i64) -> io::Result<Segment> {
        let path = directory.join(format!("{base_offset:020}.log"));
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        file.set_len(0)?;
        File::open(directory)?.sync_all()?;
        Ok(Segment::over(path, file, base_offset, now_ms))
    }

    fn over(path: PathBuf, file: File, base_offset: i64, created_ms: i64) -> Segment {
        let file = Arc::new(file);
        Segment {
            base_offset,
            path,
            file,
            bytes: 0,
            created_ms,
            max_timestamp: -1,
            index: Vec::new(),
        }
    }

    /// Reads a file from an earlier run, showing each batch to `visit`.
    ///
    /// The end of the last file of a log may be torn, because that is where a crash cut a write off: it is cut away. All
    /// others were synced when they were closed, so that a bad byte there is damage.
    pub(crate) fn recover(
        path: PathBuf,
        base_offset: i64,
        is_last: bool,
        mut visit: impl FnMut(&Header, &[u8]),
    ) -> Result<Segment, RecoverError> {
        let file =
            OpenOptions::new().read(true).append(true).open(&path).map_err(RecoverError::Io)?;
        let stored = std::fs::read(&path).map_err(RecoverError::Io)?;
        let created_ms = modified_ms(&file).unwrap_or(0);
        let mut segment = Segment::over(path, file, base_offset, created_ms);
        let mut rest = stored.as_slice();
        let mut next_offset = base_offset;
        while let Ok(header) = Header::parse(rest) {
            if !batch::is_sound(rest, &header) || header.base_offset < next_offset {
                break;
            }
            let (whole, after) = rest.split_at(header.bytes);
            visit(&header, whole);
            segment.note(&header);
            next_offset = header.last_offset() + 1;
            rest = after;
        }
        match (rest.is_empty(), is_last) {
            (true, _) => {}
            (false, true) => {
                tracing::warn!(path = %segment.path.display(), bytes = rest.len(), "cut a torn end away");
                segment.file.set_len(segment.bytes).map_err(RecoverError::Io)?;
            }
            (false, false) => return Err(RecoverError::Damaged(segment.bytes)),
        }
        if is_last {
            // What a killed process left in the system's memory will be shown to readers.
            segment.file.sync_data().map_err(RecoverError::Io)?;
        }
        Ok(segment)
    }

    /// Writes a batch that already has its place. After an error the file is as it was before.
    pub(crate) fn append(&mut self, bytes: &[u8], header: &Header) -> io::Result<()> {
        if let Err(error) = (&*self.file).write_all(bytes) {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.note(header);
        Ok(())
    }

    fn note(&mut self, header: &Header) {
        let marked_until = self.index.last().map(|mark| mark.position + INDEX_INTERVAL_BYTES);
        if marked_until.is_none_or(|until| until <= self.bytes) {
            let (base_offset, max_timestamp_before) = (header.base_offset, self.max_timestamp);
            self.index.push(Mark { base_offset, position: self.bytes, max_timestamp_before });
        }
        self.bytes += header.bytes as u64;
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
    }

    /// The time of its latest record, for retention: of the last write when no record says its time, as in Kafka.
    pub(crate) fn latest_ms(&self) -> i64 {
        if 0 <= self.max_timestamp {
            self.max_timestamp
        } else {
            modified_ms(&self.file).unwrap_or(i64::MAX)
        }
    }

    /// From a batch at or before `offset` to the end of what is written now.
    pub(crate) fn span_from(&self, offset: i64) -> Span {
        let after = self.index.partition_point(|mark| mark.base_offset <= offset);
        self.span_from_mark(after)
    }

    /// From a batch at or before the first one with a timestamp of at least `timestamp`.
    pub(crate) fn span_from_time(&self, timestamp: i64) -> Span {
        let after = self.index.partition_point(|mark| mark.max_timestamp_before < timestamp);
        self.span_from_mark(after)
    }

    fn span_from_mark(&self, after: usize) -> Span {
        let position =
            after.checked_sub(1).and_then(|at| self.index.get(at)).map_or(0, |mark| mark.position);
        Span { file: Arc::clone(&self.file), position, bytes: self.bytes - position }
    }
}

/// Which batches of a span are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Skip batches that end before this offset.
    pub(crate) from: i64,
    /// Stop at batches that begin here or later.
    pub(crate) until: i64,
    pub(crate) bytes_max: usize,
    /// Give the first batch even when it is larger than `bytes_max`, so that a reader cannot be stuck before it (KIP-74).
    pub(crate) at_least_one: bool,
}

impl Span {
    /// The wanted batches, whole and as stored.
    pub(crate) fn read(&self, wanted: Wanted) -> io::Result<Vec<u8>> {
        let slack = usize::try_from(INDEX_INTERVAL_BYTES).unwrap_or(usize::MAX);
        let mut chunk = self.chunk(wanted.bytes_max.saturating_add(slack))?;
        let (mut start, mut end) = (None, 0);
        while let Some(header) = header_at(&chunk, end) {
            if wanted.until <= header.base_offset {
                break;
            }
            let after = end + header.bytes;
            if header.last_offset() < wanted.from {
                end = after;
                continue;
            }
            let first = *start.get_or_insert(end);
            let too_much = wanted.bytes_max < after - first;
            if too_much && !(wanted.at_least_one && first == end) {
                break;
            }
            if chunk.len() < after {
                chunk = self.chunk(after)?;
                if chunk.len() < after {
                    break;
                }
            }
            end = after;
        }
        chunk.truncate(end);
        Ok(chunk.split_off(start.unwrap_or(end).min(end)))
    }

    /// Shows each batch to `visit` until it answers.
    pub(crate) fn find<T>(
        &self,
        mut visit: impl FnMut(&Header, &[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let stored = self.chunk(usize::MAX)?;
        let mut rest = stored.as_slice();
        while let Ok(header) = Header::parse(rest) {
            if let Some(found) = visit(&header, rest) {
                return Ok(Some(found));
            }
            rest = rest.get(header.bytes..).unwrap_or_default();
        }
        Ok(None)
    }

    fn chunk(&self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(bytes_max);
        let mut chunk = vec![0; bytes];
        self.file.read_exact_at(&mut chunk, self.position)?;
        Ok(chunk)
    }
}

/// When a file was last written to, if the system can tell.
fn modified_ms(file: &File) -> Option<i64> {
    let modified = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn header_at(chunk: &[u8], at: usize) -> Option<Header> {
    Header::peek(chunk.get(at..)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch_of;

    fn segment_of(directory: &Path, batches: usize) -> Segment {
        let mut segment = Segment::create(directory, 0, 0).unwrap();
        for at in 0..batches {
            let offset = i64::try_from(at).unwrap() * 2;
            let mut bytes = batch_of(
                &[(offset * 10, "a text of some length"), (offset * 10 + 5, "b")],
                None,
                false,
            );
            batch::place(&mut bytes, offset);
            segment.append(&bytes, &Header::parse(&bytes).unwrap()).unwrap();
        }
        segment
    }

    fn offsets(mut bytes: &[u8]) -> Vec<i64> {
        let mut offsets = Vec::new();
        while let Ok(header) = Header::parse(bytes) {
            offsets.push(header.base_offset);
            bytes = bytes.get(header.bytes..).unwrap();
        }
        assert!(bytes.is_empty(), "a batch was cut");
        offsets
    }

    #[test]
    fn a_read_gives_whole_batches_between_two_offsets() {
        let directory = tempfile::tempdir().unwrap();
        let segment = segment_of(directory.path(), 500);
        let check = |from, until, expected: &[i64]| {
            let wanted = Wanted { from, until, bytes_max: 1 << 20, at_least_one: true };
            assert_eq!(
                offsets(&segment.span_from(from).read(wanted).unwrap()),
                expected,
                "{from}..{until}"
            );
        };
        check(0, 4, &[0, 2]);
        check(701, 704, &[700, 702]);
        check(998, 1_000, &[998]);
        check(1_000, 1_000, &[]);
    }

    #[test]
    fn a_limit_still_gives_one_batch_when_asked_to() {
        let directory = tempfile::tempdir().unwrap();
        let segment = segment_of(directory.path(), 500);
        for from in [0, 333, 998] {
            let wanted = Wanted { from, until: 1_000, bytes_max: 1, at_least_one: true };
            assert_eq!(offsets(&segment.span_from(from).read(wanted).unwrap()), [from / 2 * 2]);
            let wanted = Wanted { at_least_one: false, ..wanted };
            assert_eq!(offsets(&segment.span_from(from).read(wanted).unwrap()), [] as [i64; 0]);
        }
    }

    #[test]
    fn a_torn_end_is_cut_away_and_older_damage_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let segment = segment_of(directory.path(), 10);
        (&*segment.file).write_all(&[1, 2, 3]).unwrap();
        let recover = |is_last| Segment::recover(segment.path.clone(), 0, is_last, |_, _| {});
        assert!(matches!(recover(false), Err(RecoverError::Damaged(at)) if at == segment.bytes));
        assert_eq!(recover(true).unwrap().bytes, segment.bytes);
        assert_eq!(recover(false).unwrap().max_timestamp, segment.max_timestamp);
    }

    #[test]
    fn records_without_a_time_are_as_old_as_their_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(directory.path(), 0, 0).unwrap();
        let bytes = batch_of(&[(-1, "a")], None, false);
        segment.append(&bytes, &Header::parse(&bytes).unwrap()).unwrap();
        assert_eq!(Some(segment.latest_ms()), modified_ms(&segment.file));
        assert_eq!(segment_of(directory.path(), 10).latest_ms(), 185);
    }

    #[test]
    fn a_time_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let segment = segment_of(directory.path(), 500);
        for time in [0, 3, 1_000, 7_777] {
            let first = segment
                .span_from_time(time)
                .find(|header, _| (time <= header.max_timestamp).then_some(header.base_offset));
            assert_eq!(first.unwrap(), Some((time + 14) / 20 * 2), "{time}");
        }
    }
}
