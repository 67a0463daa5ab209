//! `POST /analyze`: one review in, its verdict out.

use std::{sync::Arc, time::Instant};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chassis::clock;
use schemas::{IncomingReview, ReviewId, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    body::{self, Format, Limits},
    caller::Caller,
    idempotency::IdempotencyKey,
    preference::Preference,
    problem::{Kind, Problem, ProblemDetails},
    service::Service,
    submission::Submission,
    submit::Answer,
};

/// Says how long the answer was waited for (RFC 7240).
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A review whose verdict is to come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Underway<'a> {
    /// The review's id.
    #[schema(example = "019b76da-a800-7000-8000-000000000000")]
    pub(crate) id: &'a str,
    /// Always `pending`.
    #[schema(example = "pending")]
    pub(crate) status: &'static str,
    /// Where the verdict will be.
    #[schema(example = "/verdicts/019b76da-a800-7000-8000-000000000000")]
    pub(crate) location: String,
}

/// Judge one review.
///
/// Answers with the verdict, or, where it takes longer than `Prefer: wait=N`, with the place where it will be. A review that
/// was answered 200 or 202 is durable: its verdict will come, whatever crashes.
#[utoipa::path(
    post,
    path = "/analyze",
    tag = "reviews",
    request_body(content = IncomingReview, content_type = "application/json",
        example = json!({"review": "The room was clean and affordable."})),
    params(
        ("Prefer" = Option<String>, Header, example = "wait=5",
            description = "`wait=N`: seconds to wait for the verdict, 2 unless stated, 30 at most; `respond-async`: do not wait (RFC 7240)"),
        ("Idempotency-Key" = Option<String>, Header, example = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
            description = "Makes sending again safe: the same key with the same text is judged once"),
        ("x-request-id" = Option<String>, Header, description = "Names the request in your logs and ours; made where absent"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context; begun where absent"),
    ),
    responses(
        (status = 200, body = Verdict, description = "The verdict", headers(
            ("x-total-time" = u64, description = "Milliseconds that the request took here"),
            ("x-queue-time" = u64, description = "Milliseconds until the model began"),
            ("x-inference-time" = u64, description = "Milliseconds that the model took"),
            ("idempotency-replayed" = bool, description = "Present where the verdict is an earlier one"))),
        (status = 202, body = Underway<'static>, description = "Durable; the verdict is to come", headers(
            ("location" = String, description = "Where the verdict will be"),
            ("preference-applied" = String, description = "How long it was waited"))),
        (status = 400, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Empty, not UTF-8, not JSON, or an Idempotency-Key that is none"),
        (status = 408, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The body took too long to arrive"),
        (status = 409, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The id belongs to another text, or its first request is still in progress"),
        (status = 413, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The body is too large"),
        (status = 415, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Not `application/json`"),
        (status = 422, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "A field breaks a rule, or the Idempotency-Key belongs to another text"),
        (status = 424, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The model failed on this review"),
        (status = 429, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Too much is in flight; see `Retry-After`"),
        (status = 503, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Not ready, stopping, or the broker is away; see `Retry-After`"),
    ),
)]
pub(crate) async fn analyze(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let start = clock::monotonic();
    let preference = preference(&headers);
    let (wait, applied) =
        preference.apply(service.settings.wait_default, service.settings.wait_max);
    let answered = async {
        let _permit = service.admission.admit(1)?;
        if body::format(&headers) != Some(Format::Json) {
            return Err(body::unsupported(&headers, "application/json"));
        }
        let key = key(&headers)?;
        let limits = Limits {
            bytes_max: service.settings.body_bytes_max,
            wait_max: service.settings.body_wait_max,
        };
        let submission = Submission::read(&body::read(&headers, body, limits).await?)?;
        service.submit(submission, key.as_ref(), &caller).await?.answer(wait).await
    }
    .await;
    service.instruments.review(outcome(&answered));
    let mut response = match answered {
        Ok(Answer::Judged { verdict, is_replayed }) => judged(&verdict, is_replayed, start),
        Ok(Answer::Underway(id)) => underway(&id),
        Err(problem) => return problem.into_response(),
    };
    if let Some(applied) = applied.and_then(|applied| HeaderValue::from_str(&applied).ok()) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    response
}

/// What the `Prefer` headers ask for.
pub(crate) fn preference(headers: &HeaderMap) -> Preference {
    Preference::parse(headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()))
}

/// The `Idempotency-Key`, if there is one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let values = headers.get_all("idempotency-key");
    IdempotencyKey::parse(values.iter().map(HeaderValue::as_bytes))
        .map_err(|error| Problem::new(Kind::KeyInvalid, error.to_string()))
}

/// What is counted of an answer.
pub(crate) fn outcome(answered: &Result<Answer, Problem>) -> &'static str {
    match answered {
        Ok(Answer::Judged { is_replayed: false, .. }) => "judged",
        Ok(Answer::Judged { is_replayed: true, .. }) => "replayed",
        Ok(Answer::Underway(_)) => "accepted",
        Err(problem) => problem.error(),
    }
}

/// 200 with the verdict and its times, under the names that text-embeddings-inference gave them.
fn judged(verdict: &Verdict, is_replayed: bool, start: Instant) -> Response {
    let total = clock::monotonic().saturating_duration_since(start).as_millis();
    let mut response = Json(verdict).into_response();
    let headers = response.headers_mut();
    headers.insert("x-total-time", number(&total));
    headers.insert("x-queue-time", number(&verdict.queue_ms.round()));
    headers.insert("x-inference-time", number(&verdict.inference_ms.round()));
    headers.insert("x-compute-tokens", HeaderValue::from(verdict.tokens));
    if is_replayed {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// 202 with the place where the verdict will be.
pub(crate) fn underway(id: &ReviewId) -> Response {
    let location = location(id);
    let header = HeaderValue::from_str(&location);
    let body = Underway { id: id.as_str(), status: "pending", location };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Ok(location) = header {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The path of a verdict. An id may hold any visible character, a path may not.
pub(crate) fn location(id: &ReviewId) -> String {
    let mut path = String::from("/verdicts/");
    for byte in id.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                path.extend(
                    char::from_digit(u32::from(digit), 16).map(|digit| digit.to_ascii_uppercase()),
                );
            }
        }
    }
    path
}

fn number(number: &impl ToString) -> HeaderValue {
    HeaderValue::from_str(&number.to_string()).unwrap_or(const { HeaderValue::from_static("0") })
}
