//! The file's tables: which version they are at, and how to get from there to ours.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::trouble;
use crate::ConnectError;

/// Marks the file as ours: "VERD" (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x5645_5244;

/// Script number n leads from version n to version n + 1 (`PRAGMA user_version`). Released scripts never change.
const UPGRADES: [&str; 6] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
];

/// Brings the tables to our version, in one transaction: whoever opens the file meanwhile waits, then finds the work done.
pub(super) fn upgrade(connection: &mut Connection, path: &Path) -> Result<(), ConnectError> {
    let failed = |error: rusqlite::Error| trouble::of_opening(&error, path);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;

    let number = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
    let tables = number("SELECT count(*) FROM sqlite_schema").map_err(failed)?;
    let application = number("PRAGMA application_id").map_err(failed)?;
    let version = number("PRAGMA user_version").map_err(failed)?;
    if tables != 0 && application != i64::from(APPLICATION_ID) {
        return Err(ConnectError::Unusable(format!(
            "{} is an SQLite file of another program: choose another path",
            path.display()
        )));
    }
    let pending = usize::try_from(version).ok().and_then(|version| UPGRADES.get(version..));
    let Some(pending) = pending else {
        return Err(ConnectError::Unusable(format!(
            "{} has version {version} of the tables, this program knows {} at most: \
             run the program that wrote it, or a newer one",
            path.display(),
            UPGRADES.len()
        )));
    };
    if pending.is_empty() {
        return Ok(());
    }
    for script in pending {
        transaction.execute_batch(script).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    let version_now = isize::try_from(UPGRADES.len()).unwrap_or(isize::MAX);
    transaction.pragma_update(None, "user_version", version_now).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    tracing::info!(path = %path.display(), from = version, to = version_now, "upgraded the store's tables");
    Ok(())
}
