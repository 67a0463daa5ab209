//! A single-node Kafka-protocol broker for laptops and tests: one process, one directory, one loopback port.
//!
//! It speaks the wire protocol of Apache Kafka, so that librdkafka, the Java clients and kcat work unchanged, idempotence,
//! transactions (KIP-98, KIP-447) and classic consumer groups (KIP-429) included. It has no replication and no security,
//! which is why it refuses to listen on anything but loopback.
//!
//! # Layout
//!
//! - `server`, `wire`, `apis`, `shape`: sockets, frames, versions, and the guard before the decoder.
//! - `batch`, `segment`, `log`, `contents`, `producers`, `partition`, `sync`: records on disk, idempotence, group commit.
//! - `journal`, `ledger`: everything else that must outlive the process.
//! - `produce`, `fetch`, `offsets`, `metadata`, `admin`, `describe`, `topics`, `config`: what clients ask for.
//! - `group`, `group_requests`: consumer groups.
//! - `transaction`, `init_producer`, `transaction_requests`: exactly once.
//! - `broker`: what they share, and what happens without a request.
//!
//! # What is different from Kafka
//!
//! - A compressed batch is never opened: its checksum is checked, its records are not, and a search by time answers with
//!   its first record, which may be a little early.
//! - Topics with `cleanup.policy=compact` are kept whole.
//! - A static member that restarts causes a rebalance.
//! - Groups of the consumer protocol (KIP-848) are refused, as by a Kafka that has only classic ones.
//! - Fetch sessions (KIP-227), topic ids (KIP-516) and KIP-890 are not offered; clients do without.

mod admin;
mod apis;
mod batch;
mod broker;
mod clock;
mod config;
mod contents;
mod describe;
mod fetch;
mod group;
mod group_requests;
mod init_producer;
mod journal;
mod ledger;
mod log;
mod metadata;
mod offsets;
mod partition;
mod produce;
mod producers;
mod segment;
mod server;
mod settings;
mod shape;
mod sync;
mod topics;
mod transaction;
mod transaction_requests;
mod wire;

pub use settings::{Fsync, ParseFsyncError, Settings};

use broker::Broker;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const LOCK_FILE: &str = "lock";
/// How long [`EmbeddedKafka::stop`] waits for requests in flight.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A running broker. It stops when dropped; [`EmbeddedKafka::stop`] also waits until everything is on disk.
#[derive(Debug)]
pub struct EmbeddedKafka {
    broker: Arc<Broker>,
    /// The lock on the directory lives as long as this.
    _lock: File,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is reachable from other machines, and this broker has no security.
    #[error(
        "{0} is not a loopback address: this broker has no security, so it listens on 127.0.0.1 or ::1 only"
    )]
    NotLoopback(SocketAddr),
    /// Another process listens there already.
    #[error(
        "{0} is taken by another process: stop it, or choose another port (0 lets the system choose)"
    )]
    AddressInUse(SocketAddr),
    /// The address cannot be used for another reason.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another broker uses the directory.
    #[error("{0} is used by another broker: stop it, or give this one a directory of its own")]
    DirectoryInUse(PathBuf),
    /// The file system refused.
    #[error("{context} {path}")]
    Io {
        /// What was being done, as a gerund.
        context: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it did not work.
        #[source]
        source: io::Error,
    },
    /// Stored records that were once whole are not any more.
    #[error(
        "{path} is damaged at byte {position}: restore it, or move it away to start without its records"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where its sound part ends.
        position: u64,
    },
}

impl EmbeddedKafka {
    /// Opens the directory, recovers what a crash left, and listens. It runs on the tokio runtime that calls it.
    pub async fn start(settings: Settings) -> Result<EmbeddedKafka, StartError> {
        let listen = settings.listen;
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(listen));
        }
        let lock = lock_directory(&settings.data_dir)?;
        let listener = TcpListener::bind(listen).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => StartError::AddressInUse(listen),
            _ => StartError::Listen { address: listen, source: error },
        })?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address: listen, source })?;
        let settings = Arc::new(settings);
        // Reading a large directory takes a while, and blocks.
        let opened = tokio::task::spawn_blocking(move || Broker::open(settings, address)).await;
        let broker =
            Arc::new(opened.map_err(|error| StartError::Listen {
                address,
                source: io::Error::other(error),
            })??);
        broker.tasks.spawn(Arc::clone(&broker).keep_house());
        broker.tasks.spawn(server::serve(Arc::clone(&broker), listener));
        tracing::info!(%address, fsync = %broker.settings.fsync, "broker started");
        Ok(EmbeddedKafka { broker, _lock: lock })
    }

    /// Where it listens: the real port when the settings asked for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.broker.address
    }

    /// Accepts no more, answers what is in flight, syncs every file, and closes.
    pub async fn stop(self) {
        self.broker.stopping.cancel();
        self.broker.tasks.close();
        if tokio::time::timeout(STOP_WAIT, self.broker.tasks.wait()).await.is_err() {
            tracing::warn!("requests in flight are given up");
        }
        self.broker.sync_all().await;
        tracing::info!("broker stopped");
    }
}

impl Drop for EmbeddedKafka {
    fn drop(&mut self) {
        self.broker.stopping.cancel();
    }
}

/// Takes the directory for this process. The system gives the lock back when the process ends, however it ends.
fn lock_directory(data_dir: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::Io { context: "opening", path: data_dir.to_owned(), source };
    std::fs::create_dir_all(data_dir).map_err(failed)?;
    let lock = File::create(data_dir.join(LOCK_FILE)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::DirectoryInUse(data_dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
