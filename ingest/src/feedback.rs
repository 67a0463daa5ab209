//! `POST /feedback`: what people say of a verdict.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use chassis::clock;
use jiff::Timestamp;
use schemas::{
    Feedback,
    feedback::{BY_BYTES_MAX, InvalidFeedback, LABEL_BYTES_MAX},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    body::{self, Format, Limits},
    caller::Caller,
    problem::{Kind, Problem, ProblemDetails},
    publish::{Destination, Sending},
    service::Service,
    submission::{Fields, kind_of, parse, wrong_type},
};

/// What an empty body should have been.
const EXAMPLE: &str = "{\"id\": \"...\", \"label\": \"...\"}";

/// Feedback that is durable.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Taken {
    /// The review's id.
    #[schema(example = "019b76da-a800-7000-8000-000000000000")]
    pub(crate) id: String,
}

/// Say which label is right.
///
/// The review may be one whose verdict is still to come. Feedback that was answered 202 is durable, and is joined with its verdict
/// behind the line: whether there is such a verdict and such a label turns out there. The same label by the same person counts once,
/// however often it is sent.
#[utoipa::path(
    post,
    path = "/feedback",
    tag = "feedback",
    request_body(content = Feedback, content_type = "application/json",
        example = json!({"id": "019b76da-a800-7000-8000-000000000000", "label": "negative", "by": "support"})),
    params(
        ("x-request-id" = Option<String>, Header, description = "Names the request in your logs and ours; made where absent"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context; begun where absent"),
    ),
    responses(
        (status = 202, body = Taken, description = "Durable"),
        (status = 400, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Empty, not UTF-8, or not JSON"),
        (status = 408, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The body took too long to arrive"),
        (status = 413, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The body is too large"),
        (status = 415, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Not `application/json`"),
        (status = 422, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "A field breaks a rule"),
        (status = 429, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Too much is in flight; see `Retry-After`"),
        (status = 503, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Stopping, or the broker is away; see `Retry-After`"),
    ),
)]
pub(crate) async fn feedback(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let taken = take(&service, &caller, &headers, body).await;
    service.instruments.feedback(taken.as_ref().map_or_else(Problem::error, |_taken| "accepted"));
    match taken {
        Ok(id) => (StatusCode::ACCEPTED, Json(Taken { id })).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Makes feedback durable; the review's id.
async fn take(
    service: &Service,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Problem> {
    let _permit = service.admission.admit(1)?;
    if body::format(headers) != Some(Format::Json) {
        return Err(body::unsupported(headers, "application/json"));
    }
    let limits = Limits {
        bytes_max: service.settings.body_bytes_max,
        wait_max: service.settings.body_wait_max,
    };
    let bytes = body::read(headers, body, limits).await?;
    let now = clock::now();
    let feedback = read(&bytes, now)?;
    let sending = Sending::of(Destination::Feedback, caller, &service.spans);
    let record = feedback
        .to_record(sending.record_headers(caller), now)
        .map_err(|error| Problem::new(Kind::BrokerRefused, error.to_string()))?;
    service.publish(sending, record).await?;
    Ok(feedback.id)
}

/// Checks every field, so that one answer names all that is wrong. A time in the future becomes `now`: nobody says today what was
/// right tomorrow, and clocks that go a little fast are common.
fn read(json: &[u8], now: Timestamp) -> Result<Feedback, Problem> {
    let invalid = |errors| Problem { kind: Kind::InvalidFeedback, ..Problem::of_fields(errors) };
    let fields = match parse(json, EXAMPLE)? {
        Value::Object(fields) => fields,
        other => {
            let message = format!("send an object such as {EXAMPLE}, not {}", kind_of(&other));
            return Err(invalid(vec![wrong_type("", message)]));
        }
    };
    let mut fields = Fields { fields, errors: Vec::new() };
    let id = fields.text("id");
    let label = fields.text("label");
    let by = fields.text("by");
    let given_at = fields.text("given_at");
    let given_at = given_at.and_then(|at| fields.time("given_at", "given_at_invalid", &at));
    for (field, name, is_missing) in
        [("id", "id_missing", id.is_none()), ("label", "label_missing", label.is_none())]
    {
        if is_missing && fields.errors.iter().all(|error| error.field != field) {
            fields.refuse(field, name, "is required");
        }
    }
    let (Some(id), Some(label)) = (id, label) else { return Err(invalid(fields.errors)) };
    let given_at = Some(given_at.map_or(now, |at| at.min(now)));
    let feedback = Feedback { id, label, by, given_at };
    match feedback.check() {
        Ok(()) => {}
        Err(InvalidFeedback::Id(error)) => fields.refuse("id", "id_invalid", error.to_string()),
        Err(InvalidFeedback::Label { bytes }) => fields.refuse(
            "label",
            "label_invalid",
            format!("has {bytes} bytes, 1 to {LABEL_BYTES_MAX} are accepted"),
        ),
        Err(InvalidFeedback::By { bytes }) => fields.refuse(
            "by",
            "by_invalid",
            format!("has {bytes} bytes, at most {BY_BYTES_MAX} are accepted"),
        ),
        Err(error @ InvalidFeedback::Json(_)) => {
            fields.refuse("", "wrong_type", error.to_string());
        }
    }
    if fields.errors.is_empty() { Ok(feedback) } else { Err(invalid(fields.errors)) }
}
