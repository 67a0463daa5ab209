//! Reviews in, verdicts out.
//!
//! ```text
//! exchange ──poll──▶ worker ──prepare──▶ lanes ──infer──▶ worker ──conclude──▶ exchange ──commit──▶
//!                      │  pipeline: tokenizer, batcher   classifier    pipeline
//! ```
//! The worker orders all input and output, the pipeline is pure, the classifier multiplies. The same pipeline serves the line
//! ([`run`]) and a file or a request ([`Scorer`]).
//!
//! # Layout
//! - [`worker`]: THE loop; [`run`] starts it
//! - [`pipeline`]: what becomes of each review, pure
//! - [`batcher`]: which texts are inferred together, pure
//! - `response_cache`: what was said of texts that come again, pure
//! - [`tokenizer`]: from text to ids, plain ones by a shorter way
//! - [`classifier`]: from ids to scores; the only place that names an inference library
//! - [`features`]: from text, ids and embedding to what drift needs
//! - [`lanes`]: inference threads
//! - [`load`](mod@load): from a bundle to a pipeline; [`selfcheck`]: golden cases before ready
//! - [`standby`]: for as long as there is no pipeline
//! - [`scorer`]: the line without a broker
//! - [`breaker`]: stops the line before everything is a dead letter
//! - [`instruments`]: what is measured; `spans`: what is recorded of a review and a round
//! - [`settings`]: what can be told

pub mod batcher;
pub mod breaker;
pub mod classifier;
pub mod features;
pub mod instruments;
pub mod lanes;
pub mod load;
pub mod pipeline;
mod response_cache;
pub mod scorer;
pub mod selfcheck;
pub mod settings;
mod spans;
pub mod standby;
pub mod tokenizer;
pub mod worker;

pub use load::{LoadError, load};
pub use pipeline::Pipeline;
pub use scorer::Scorer;
pub use settings::Settings;
pub use worker::{LineError, register, run};
