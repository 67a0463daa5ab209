//! Kafka by way of librdkafka (the `rdkafka` crate).
//!
//! Which fact of librdkafka 2.12 a rule rests on is said where it is used; the settings carry their reasons.
//!
//! # Layout
//! - [`KafkaSettings`]: addresses and properties
//! - [`KafkaPublish`], [`KafkaExchange`], [`KafkaSubscribe`]: the three traits
//! - [`KafkaScan`]: what a topic holds now; [`settled()`]: once open transactions have ended
//! - [`TransactionalPublish`]: records all or none, for tools
//! - [`ensure_topics`], [`delete_records`], [`committed`], [`watermarks`], [`Lag`]: what start-up, tools and overload control ask
//!   of a cluster

mod admin;
mod client;
mod consumer;
mod diagnosis;
mod exchange;
mod lag;
mod membership;
mod offsets;
mod outbox;
mod publish;
mod records;
mod repeats;
mod scan;
mod settings;
mod settled;
mod subscribe;
mod transaction;
mod transactional;

pub use admin::{TopicSpec, delete_records, ensure_topics};
pub use client::ConnectError;
pub use exchange::{ExchangeOptions, KafkaExchange};
pub use lag::Lag;
pub use offsets::{committed, watermarks};
pub use publish::KafkaPublish;
pub use scan::KafkaScan;
pub use settings::{KafkaSettings, PropertyRefused};
pub use settled::{Settled, settled};
pub use subscribe::KafkaSubscribe;
pub use transactional::{TransactionError, TransactionalPublish};
