//! HTTP in, reviews and feedback out, answers back.
//!
//! Thin: it checks a review, makes it durable on `reviews.v1`, and only then answers. What it holds in memory is a cache and a
//! list of who waits; a replica may be killed at any time, and its clients ask another.
//!
//! # Layout
//! - [`listen()`]: where; [`serve()`]: until told to stop; [`router()`]: which path leads where; [`settings`]: all that can be told
//! - `caller`: the outermost layer, which names, traces and measures each request
//! - `analyze`, `batch`, `feedback`, `lookup`, `listing`, `stream`, `page`: one route each
//! - `body`, `submission`: from bytes to a review, or to the reason why not; `preference`, `idempotency`: one header each
//! - `submit`: the way of one review, named, looked up, published, waited for; `publish`: making a record durable
//! - `service`: what all routes share; `admission`: how much at once; `ledger`: what was seen lately; `waiting`: who waits
//! - `tail`: the thread that hears the answers; [`OpenLater`]: what it reads, before there is a broker
//! - `problem`: all that goes wrong, in one table; `openapi`: the description, written from the code
//! - `instruments`: all that is measured; `spans`: what is recorded of a request

mod admission;
mod analyze;
mod batch;
mod body;
mod caller;
mod connections;
mod feedback;
mod idempotency;
mod instruments;
mod ledger;
mod listen;
mod listing;
mod lookup;
mod open_later;
mod openapi;
mod page;
mod preference;
mod problem;
mod publish;
mod router;
mod serve;
mod service;
pub mod settings;
mod spans;
mod stream;
mod submission;
mod submit;
mod tail;
mod waiting;

pub use listen::listen;
pub use open_later::OpenLater;
pub use openapi::openapi;
pub use router::router;
pub use serve::serve;
pub use service::{Parts, Service};
pub use settings::Settings;
