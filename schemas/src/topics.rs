//! The names of the topics. The suffix is the major version of what is in them; a breaking change is a new topic.

/// Reviews in, from ingest or from any other producer. Key: the review's id.
pub const REVIEWS: &str = "reviews.v1";
/// Verdicts out, one for each review at `read_committed`. Key: the review's id.
pub const VERDICTS: &str = "verdicts.v1";
/// Records of [`REVIEWS`] that were refused, byte for byte, with the reason in headers.
pub const DEAD_LETTERS: &str = "reviews.v1.dlq";
/// Notes of which dead letters were sent again; compacted. Key: the dead letter's `partition:offset`. Made by whoever first sends
/// one again: the line runs without it.
pub const REDRIVES: &str = "redrives.v1";
/// Labels that people or later events give to reviews. Key: the review's id.
pub const FEEDBACK: &str = "feedback.v1";
/// What some seconds of verdicts add up to, as partial windows. One partition, so that one aggregator decides. Key: the model.
pub const DRIFT_WINDOWS: &str = "drift-windows.v1";
/// Signals that began to drift, and that ceased to. One partition. Key: the model and the signal.
pub const DRIFT_ALERTS: &str = "drift-alerts.v1";
/// What the aggregator knew when it last remembered how far it had read; compacted. One partition. Key: the aggregator's group.
pub const DRIFT_STATES: &str = "drift-states.v1";

/// The topics of the drift line, which the rest runs without. Each has one partition, so that one aggregator decides.
pub const DRIFT: [&str; 3] = [DRIFT_WINDOWS, DRIFT_STATES, DRIFT_ALERTS];

/// Verdicts of history that was scored again, unless the replay names another topic. Key: the review's id.
pub const REPLAY_VERDICTS: &str = "replay-verdicts.v1";
/// How far each replay has come; the last record of a key counts. Key: the replay's name.
pub const REPLAYS: &str = "replays.v1";

/// Every topic that the line needs before it can run.
pub const ALL: [&str; 4] = [REVIEWS, VERDICTS, DEAD_LETTERS, FEEDBACK];
