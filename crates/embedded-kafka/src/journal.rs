//! The ledger on disk: checksummed lines of JSON in one file, rewritten as a snapshot when it has grown.
//!
//! A line counts when it is whole and its checksum holds. The first that does not ends the file: a crash cuts off only
//! what nobody was told of yet.

use crate::ledger::{Entry, Ledger};
use crate::settings::Fsync;
use crate::sync::{GroupCommit, locked};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const FILE: &str = "journal";
const DRAFT: &str = "journal.new";

/// The journal of one broker.
#[derive(Debug)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
    durable: GroupCommit,
    syncs_first: bool,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    directory: PathBuf,
    file: Arc<File>,
    /// Length of the file.
    bytes: u64,
    /// All bytes ever written by this process, which never goes back.
    written: i64,
    /// The length at which the file is rewritten.
    rewrite_at: u64,
    bytes_max: u64,
    is_broken: bool,
}

impl Journal {
    /// Reads the journal of an earlier run, or begins one.
    pub(crate) fn open(directory: &Path, bytes_max: u64, fsync: Fsync) -> io::Result<Journal> {
        let path = directory.join(FILE);
        let mut ledger = Ledger::default();
        let stored = match std::fs::read(&path) {
            Ok(stored) => stored,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut sound = 0;
        for line in stored.split_inclusive(|byte| *byte == b'\n') {
            let Some(entry) = parse(line) else { break };
            ledger.apply(entry);
            sound += line.len();
        }
        if sound < stored.len() {
            tracing::warn!(path = %path.display(), bytes = stored.len() - sound, "cut a torn end away");
        }
        // What is left is written anew: it also proves, before anything is promised, that the directory can be written.
        let (file, bytes) = write_snapshot(directory, &ledger)?;
        let inner = Inner {
            ledger,
            directory: directory.to_owned(),
            file,
            bytes,
            written: 0,
            rewrite_at: bytes_max.max(bytes * 2),
            bytes_max,
            is_broken: false,
        };
        Ok(Journal {
            inner: Mutex::new(inner),
            durable: GroupCommit::new(0),
            syncs_first: fsync == Fsync::Always,
        })
    }

    /// Looks something up.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&locked(&self.inner).ledger)
    }

    /// Writes an entry. Answers with the position to [`Journal::settle`].
    pub(crate) fn record(&self, entry: Entry) -> io::Result<i64> {
        locked(&self.inner).record(entry)
    }

    /// Decides on what to write and writes it, with nothing in between.
    pub(crate) fn decide<T, E: From<io::Error>>(
        &self,
        decide: impl FnOnce(&Ledger) -> Result<(Vec<Entry>, T), E>,
    ) -> Result<(i64, T), E> {
        let mut inner = locked(&self.inner);
        let (entries, answer) = decide(&inner.ledger)?;
        for entry in entries {
            inner.record(entry)?;
        }
        Ok((inner.written, answer))
    }

    /// Waits until what was written before `position` is as durable as the fsync mode promises.
    pub(crate) async fn settle(&self, position: i64) -> io::Result<()> {
        if self.syncs_first { self.sync_to(position).await } else { Ok(()) }
    }

    /// Waits for all that is written now.
    pub(crate) async fn settle_all(&self) -> io::Result<()> {
        let position = locked(&self.inner).written;
        self.settle(position).await
    }

    /// Syncs all that is written, whatever the mode.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        let position = locked(&self.inner).written;
        self.sync_to(position).await
    }

    async fn sync_to(&self, position: i64) -> io::Result<()> {
        let written = || {
            let inner = locked(&self.inner);
            (Arc::clone(&inner.file), inner.written)
        };
        let synced = self.durable.settle(position, written).await;
        if synced.is_err() {
            locked(&self.inner).is_broken = true;
        }
        synced
    }
}

impl Inner {
    fn record(&mut self, entry: Entry) -> io::Result<i64> {
        if self.is_broken {
            return Err(io::Error::other(
                "the journal could not be written before: restart the broker",
            ));
        }
        let line = line(&entry)?;
        if let Err(error) = (&*self.file).write_all(&line) {
            // A part of the line would end the journal for the next reader, and hide what is written after it.
            self.is_broken = self.file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.bytes += line.len() as u64;
        self.written = self.written.saturating_add(i64::try_from(line.len()).unwrap_or(i64::MAX));
        self.ledger.apply(entry);
        if self.rewrite_at < self.bytes {
            self.rewrite();
        }
        Ok(self.written)
    }

    /// Replaces the file by a snapshot. When that does not work the long file still holds everything.
    fn rewrite(&mut self) {
        match write_snapshot(&self.directory, &self.ledger) {
            Ok((file, bytes)) => {
                tracing::debug!(before = self.bytes, after = bytes, "journal rewritten");
                (self.file, self.bytes) = (file, bytes);
            }
            Err(error) => tracing::warn!(%error, "the journal could not be rewritten and grows"),
        }
        self.rewrite_at = self.bytes_max.max(self.bytes * 2);
    }
}

fn write_snapshot(directory: &Path, ledger: &Ledger) -> io::Result<(Arc<File>, u64)> {
    let mut bytes = Vec::new();
    for entry in ledger.entries() {
        bytes.extend(line(&entry)?);
    }
    let draft = directory.join(DRAFT);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&draft)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    let path = directory.join(FILE);
    std::fs::rename(&draft, &path)?;
    File::open(directory)?.sync_all()?;
    Ok((Arc::new(OpenOptions::new().append(true).open(&path)?), bytes.len() as u64))
}

fn line(entry: &Entry) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(entry)?;
    Ok(format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes())
}

fn parse(line: &[u8]) -> Option<Entry> {
    let (sum, json) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? == crc32c::crc32c(json.as_bytes()) {
        serde_json::from_str(json).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Committed, tests::place};

    fn offsets(offset: i64) -> Entry {
        let committed = Committed { offset, metadata: "\n\t\"".to_owned(), at_ms: 0 };
        Entry::Offsets { group: "g".to_owned(), offsets: vec![(place("t", 0), committed)] }
    }

    fn open(directory: &Path) -> Journal {
        Journal::open(directory, 4_000, Fsync::Never).unwrap()
    }

    fn committed(journal: &Journal) -> Option<i64> {
        journal.read(|ledger| Some(ledger.offsets.get("g")?.get(&place("t", 0))?.offset))
    }

    #[test]
    fn a_torn_end_takes_only_the_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).record(offsets(1)).unwrap();
        let path = directory.path().join(FILE);
        let sound = std::fs::read(&path).unwrap();
        open(directory.path()).record(offsets(2)).unwrap();
        let all = std::fs::read(&path).unwrap();
        for end in sound.len()..all.len() {
            std::fs::write(&path, all.get(..end).unwrap()).unwrap();
            assert_eq!(committed(&open(directory.path())), Some(1), "cut at {end}");
        }
        std::fs::write(&path, &all).unwrap();
        assert_eq!(committed(&open(directory.path())), Some(2));
    }

    #[test]
    fn a_journal_does_not_grow_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path());
        for offset in 0..2_000 {
            journal.record(offsets(offset)).unwrap();
        }
        assert!(std::fs::metadata(directory.path().join(FILE)).unwrap().len() < 5_000);
        drop(journal);
        assert_eq!(committed(&open(directory.path())), Some(1_999));
    }
}
