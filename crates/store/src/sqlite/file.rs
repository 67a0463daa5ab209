//! Opening the file so that a commit is durable and others may read.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::{SqliteSettings, trouble};
use crate::ConnectError;

/// How every connection is set up.
///
/// Offsets are committed once rows are durable, so durable has to be true. In a write-ahead log `synchronous = NORMAL` syncs
/// only at checkpoints, and a power cut takes back transactions that were acknowledged; `FULL` syncs the log at each commit.
/// A batch is one transaction, so that is one sync a batch. `fullfsync` makes macOS reach the disk, too; elsewhere it is nothing.
const SETUP: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
";

/// A connection to the file at `path`, which is made where there is none.
pub(super) fn open(path: &Path, settings: &SqliteSettings) -> Result<Connection, ConnectError> {
    // Without SQLITE_OPEN_URI, so that a path that begins with `file:` is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(Duration::from_millis(settings.busy_wait_ms_max))?;
        connection.execute_batch(SETUP)?;
        Ok(connection)
    });
    opened.map_err(|error| trouble::of_opening(&error, path))
}
