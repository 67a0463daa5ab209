//! What every store promises, and what the one in a file and the one on a cluster promise beyond it.
//!
//! # Layout
//! - `suite`: the contract, one test a promise, with `pages`, `opinions` and `judged`; `verdicts`: what the tests write
//! - `servers`: real CQL servers; `cluster`: tables, life, columns; `outage`: a server that goes and comes; `secure`: TLS
//! - `file`: reopening, readers, foreign and damaged files; `kill`: SIGKILL in the midst of writing

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures, and what was left out")]
#![expect(clippy::disallowed_methods, reason = "a test has no settings file")]
#![expect(clippy::unused_async, reason = "stores are made alike, the one on a cluster by waiting")]

mod cluster;
mod file;
mod judged;
mod kill;
mod opinions;
mod outage;
mod pages;
mod secure;
mod servers;
#[macro_use]
mod suite;
mod verdicts;

use std::sync::Arc;

use store::{MemoryStore, SqliteSettings, SqliteStore, VerdictStore};
use tempfile::TempDir;

/// An empty store, and the folder that it may need.
pub(crate) struct Fresh {
    store: Arc<dyn VerdictStore>,
    _folder: Option<TempDir>,
}

async fn memory() -> Option<Fresh> {
    Some(Fresh { store: Arc::new(MemoryStore::default()), _folder: None })
}

async fn sqlite() -> Option<Fresh> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verdicts.db");
    let store = SqliteStore::open(&path, &SqliteSettings::default()).unwrap();
    Some(Fresh { store: Arc::new(store), _folder: Some(folder) })
}

contract!(memory_store, crate::memory);
contract!(sqlite_store, crate::sqlite);
contract!(cql_store, crate::servers::fresh);
