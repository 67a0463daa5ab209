//! A label that somebody gives to a review after its verdict.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One record of [`crate::topics::FEEDBACK`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
pub struct Feedback {
    /// The review's id.
    pub id: String,
    /// The label that is right, one of the model's labels.
    #[schema(example = "negative")]
    pub label: String,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When they said so (RFC 3339); the time of receipt where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub given_at: Option<Timestamp>,
}
