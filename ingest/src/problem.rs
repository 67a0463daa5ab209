//! What goes wrong, as the client is told: problem details (RFC 9457), one row of one table for each kind.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of all errors.
const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Which row of the table.
    pub(crate) kind: Kind,
    /// What was wrong with this request, in words that help its sender.
    pub(crate) detail: String,
    /// What was wrong with which field.
    pub(crate) errors: Vec<FieldError>,
    /// Seconds after which it is worth trying again.
    pub(crate) retry_after_s: Option<u64>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// The field; empty for the body as a whole.
    #[schema(example = "review")]
    pub(crate) field: &'static str,
    /// Stable name of the error.
    #[schema(example = "review_too_long")]
    pub(crate) error: &'static str,
    /// The error in words.
    #[schema(example = "the review has 10001 characters, at most 10000 are accepted")]
    pub(crate) message: String,
}

/// Problem details (RFC 9457), with `error` as the stable name to switch on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDetails<'a> {
    /// URI that names the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:verdict:problem:invalid_review")]
    kind: String,
    /// The kind in words, the same for every occurrence.
    #[schema(example = "The review breaks a rule")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// This occurrence in words.
    #[schema(example = "review: the review has 10001 characters, at most 10000 are accepted")]
    detail: &'a str,
    /// The path that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/analyze")]
    instance: Option<&'a str>,
    /// Stable name of the error, to switch on.
    #[schema(example = "review_too_long")]
    error: &'static str,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// Seconds after which it is worth trying again, as in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// The request's id, to be quoted in a question to us.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// The table: `Kind => (error, status, title)`.
macro_rules! kinds {
    ($($kind:ident => ($error:literal, $status:ident, $title:literal),)*) => {
        /// The kinds of problems.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $(#[doc = $title] $kind,)*
        }

        impl Kind {
            /// Stable name, status and title.
            fn row(self) -> (&'static str, StatusCode, &'static str) {
                match self {
                    $(Self::$kind => ($error, StatusCode::$status, $title),)*
                }
            }
        }
    };
}

kinds! {
    BodyEmpty => ("body_empty", BAD_REQUEST, "The body is empty"),
    BodyNotUtf8 => ("body_not_utf8", BAD_REQUEST, "The body is not UTF-8"),
    BodyNotJson => ("body_not_json", BAD_REQUEST, "The body is not JSON"),
    BodyBroken => ("body_broken", BAD_REQUEST, "The body did not arrive"),
    KeyInvalid => ("idempotency_key_invalid", BAD_REQUEST, "The Idempotency-Key is not valid"),
    PathInvalid => ("path_invalid", BAD_REQUEST, "The path is not valid"),
    QueryInvalid => ("query_invalid", BAD_REQUEST, "The query is not valid"),
    NotFound => ("not_found", NOT_FOUND, "There is nothing here"),
    VerdictUnknown => ("verdict_unknown", NOT_FOUND, "No such verdict"),
    MethodNotAllowed => ("method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here"),
    BodyTooSlow => ("body_too_slow", REQUEST_TIMEOUT, "The body took too long to arrive"),
    IdReused => ("id_reused", CONFLICT, "The id belongs to another review"),
    InProgress => ("request_in_progress", CONFLICT, "The first request is still in progress"),
    BodyTooLarge => ("body_too_large", PAYLOAD_TOO_LARGE, "The body is too large"),
    TooManyRows => ("too_many_rows", PAYLOAD_TOO_LARGE, "The batch has too many rows"),
    MediaType => ("unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The content type is not supported"),
    InvalidReview => ("invalid_review", UNPROCESSABLE_ENTITY, "The review breaks a rule"),
    InvalidFeedback => ("invalid_feedback", UNPROCESSABLE_ENTITY, "The feedback breaks a rule"),
    KeyReused => ("idempotency_key_reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key belongs to another review"),
    Refused => ("review_refused", FAILED_DEPENDENCY, "The review could not be judged"),
    Overloaded => ("overloaded", TOO_MANY_REQUESTS, "Too much is in flight"),
    TooManyStreams => ("too_many_streams", TOO_MANY_REQUESTS, "Too many streams are open"),
    Panicked => ("internal", INTERNAL_SERVER_ERROR, "We made a mistake"),
    BrokerRefused => ("broker_refused", INTERNAL_SERVER_ERROR, "The broker does not take the record"),
    NotReady => ("not_ready", SERVICE_UNAVAILABLE, "Not ready yet"),
    Draining => ("draining", SERVICE_UNAVAILABLE, "About to stop"),
    BrokerAway => ("broker_unavailable", SERVICE_UNAVAILABLE, "The broker is away"),
    StoreAway => ("store_unavailable", SERVICE_UNAVAILABLE, "The store is away"),
}

impl Kind {
    /// The status that it is answered with.
    pub(crate) fn status(self) -> StatusCode {
        self.row().1
    }
}

impl Problem {
    /// A problem of `kind`; `detail` helps the sender of this request.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), retry_after_s: None }
    }

    /// Fields that break a rule; at least one.
    pub(crate) fn of_fields(errors: Vec<FieldError>) -> Self {
        let told: Vec<_> = errors
            .iter()
            .map(|error| match error.field {
                "" => error.message.clone(),
                field => format!("{field}: {}", error.message),
            })
            .collect();
        Self { errors, ..Self::new(Kind::InvalidReview, told.join("; ")) }
    }

    /// The same, worth trying again after `seconds`.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The stable name of the error: of the first field that breaks a rule, else of the kind.
    pub(crate) fn error(&self) -> &'static str {
        self.errors.first().map_or(self.kind.row().0, |error| error.error)
    }

    /// The problem as it is sent.
    pub(crate) fn details<'a>(
        &'a self,
        instance: Option<&'a str>,
        request_id: Option<&'a str>,
    ) -> ProblemDetails<'a> {
        let (name, status, title) = self.kind.row();
        ProblemDetails {
            kind: format!("urn:verdict:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            instance,
            error: self.error(),
            errors: &self.errors,
            retry_after: self.retry_after_s,
            request_id,
        }
    }

    /// The whole response.
    pub(crate) fn to_response(&self, instance: Option<&str>, request_id: Option<&str>) -> Response {
        let body = serde_json::to_vec(&self.details(instance, request_id)).unwrap_or_default();
        let mut response = (self.kind.status(), Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::MediaType {
            headers.insert("accept-post", HeaderValue::from_static("application/json"));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Leaves the problem in the response's extensions too, so that the outermost layer, which knows path and request id, can
    /// write it again with both.
    fn into_response(self) -> Response {
        let mut response = self.to_response(None, None);
        response.extensions_mut().insert(self);
        response
    }
}
