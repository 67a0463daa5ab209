//! Reading and writing Kafka: publish, exchange, subscribe.
//!
//! Knows bytes, topics and offsets, nothing of reviews. Each trait has two real implementations: [`kafka`] (rdkafka) and
//! [`memory`] (a twin in the process, for tests), held equal by one contract suite.
//!
//! # Layout
//! - [`publish`]: append a record, durable when it returns
//! - [`exchange`]: read records and swap them for others, atomically
//! - [`subscribe`]: read records, note how far
//! - [`standing`]: how far behind a reader is, and what holds it up

pub mod delivery;
pub mod exchange;
pub mod kafka;
mod ledger;
pub mod memory;
mod owed;
pub mod publish;
pub mod standing;
pub mod subscribe;

pub use delivery::{Delivery, Outgoing, Progress};
pub use exchange::{Assignment, Exchange, ExchangeError, OUTBOX_RECORD_BYTES_MAX};
pub use publish::{Publish, PublishError, RECORD_BYTES_MAX};
pub use standing::{PartitionStanding, Standing};
pub use subscribe::{Subscribe, SubscribeError, TailFrom};
