//! All that crosses a process boundary: reviews, verdicts, dead letters, feedback, topics and headers.
//!
//! Pure: no clock, no socket, no file. Both directions of each format live side by side, so that the writer and the reader
//! cannot drift apart.
//!
//! # Layout
//! - [`record`]: a Kafka record, free of any Kafka client's types
//! - [`topics`], [`headers`]: their names, one place
//! - [`review`]: what comes in; [`text`]: the one rule for what a review's text may be
//! - [`verdict`]: what goes out
//! - [`dead_letter`]: what a refused record becomes
//! - [`redrive`]: that a dead letter was sent again
//! - [`feedback`]: a label that arrives later
//! - [`drift_alert`]: that a signal of the verdicts began to drift, or ceased to
//! - [`cloudevents`]: attributes of a review and a verdict as events, in headers
//! - [`json`]: reading values, with errors that name the field

pub mod cloudevents;
pub mod dead_letter;
pub mod drift_alert;
pub mod feedback;
pub mod headers;
pub mod json;
pub mod record;
pub mod redrive;
pub mod review;
pub mod text;
pub mod topics;
pub mod verdict;

pub use dead_letter::{DeathNote, Refusal, Stage};
pub use drift_alert::{DriftAlert, DriftChange};
pub use feedback::Feedback;
pub use record::Record;
pub use redrive::Redrive;
pub use review::{IncomingReview, Review, ReviewId};
pub use text::ReviewText;
pub use verdict::{DriftFeatures, ModelRef, Origin, Verdict};
