//! `POST /analyze/batch`: many reviews in, one outcome for each, in order.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::StreamExt as _;
use schemas::{IncomingReview, Verdict};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::{
    analyze::{key, location, outcome, preference},
    body::{self, Format, Limits},
    caller::Caller,
    idempotency::IdempotencyKey,
    problem::{Kind, Problem, ProblemDetails},
    service::Service,
    submission::{EXAMPLE, Submission, parse},
    submit::Answer,
};

/// Reviews of one batch that are being published at the same time; more would only wait in the broker's queue.
const PUBLISHING_MAX: usize = 256;

/// What became of one review of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the row's number is called row on the wire")]
pub(crate) struct Row<'a> {
    /// Which review, from 0. Blank lines do not count.
    row: usize,
    /// The status that `POST /analyze` would have answered.
    #[schema(example = 200)]
    status: u16,
    /// The review's id, where it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// The verdict, where the status is 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a Verdict>,
    /// Where the verdict will be, where the status is 202.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// What was wrong, for any other status.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemDetails<'a>>,
}

/// Judge many reviews.
///
/// A JSON array, or one object a line (`application/x-ndjson`); the answer comes in the same format and order. One bad review
/// never fails another. `Prefer` counts for the batch as a whole. With an `Idempotency-Key` each review has a key of its own,
/// made of that key and its place.
#[utoipa::path(
    post,
    path = "/analyze/batch",
    tag = "reviews",
    request_body(content(
        (Vec<IncomingReview> = "application/json"),
        (String = "application/x-ndjson", example = "{\"review\":\"Lovely staff.\"}\n{\"review\":\"The lift was broken.\"}"),
    )),
    params(
        ("Prefer" = Option<String>, Header, example = "wait=5", description = "As for one review"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for one review"),
    ),
    responses(
        (status = 200, content((Vec<Row<'static>> = "application/json"), (String = "application/x-ndjson")), description = "One outcome for each review"),
        (status = 400, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Empty, or not an array"),
        (status = 413, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Too many bytes or too many reviews"),
        (status = 415, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Neither `application/json` nor `application/x-ndjson`"),
        (status = 429, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "No room for the whole batch; see `Retry-After`"),
        (status = 503, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Not ready or stopping; see `Retry-After`"),
    ),
)]
pub(crate) async fn batch(
    State(service): State<Arc<Service>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut permit = service.admission.admit(1)?;
    let format = body::format(&headers)
        .ok_or_else(|| body::unsupported(&headers, "application/x-ndjson` or `application/json"))?;
    let key = key(&headers)?;
    let settings = &service.settings;
    let limits = Limits { bytes_max: settings.batch_bytes_max, wait_max: settings.body_wait_max };
    let body = body::read(&headers, body, limits).await?;
    let rows_max = settings.batch_rows_max;
    // Megabytes of JSON would hold up everybody else on this thread.
    let rows = tokio::task::spawn_blocking(move || rows(&body, format, rows_max))
        .await
        .map_err(|error| Problem::new(Kind::Panicked, error.to_string()))??;
    permit.grow(rows.len().saturating_sub(1))?;

    let (wait, applied) = preference(&headers).apply(settings.wait_default, settings.wait_max);
    let deadline = Instant::now() + wait;
    let submitting = rows.into_iter().enumerate().map(|(row, submission)| {
        let (service, caller) = (&service, &caller);
        let key = key.as_ref().map(|key| key.of_row(row));
        async move { service.submit(submission?, key.as_ref(), caller).await }
    });
    let submitted: Vec<_> =
        futures::stream::iter(submitting).buffered(PUBLISHING_MAX).collect().await;
    let mut answers = Vec::with_capacity(submitted.len());
    for submitted in submitted {
        let answered = match submitted {
            Ok(submitted) => {
                submitted.answer(deadline.saturating_duration_since(Instant::now())).await
            }
            Err(problem) => Err(problem),
        };
        service.instruments.review(outcome(&answered));
        answers.push(answered);
    }
    let mut response = write(&answers, format);
    if let Some(applied) = applied.and_then(|applied| HeaderValue::from_str(&applied).ok()) {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// The reviews of a batch, each one read or refused by itself.
fn rows(
    body: &Bytes,
    format: Format,
    rows_max: usize,
) -> Result<Vec<Result<Submission, Problem>>, Problem> {
    let too_many = |rows: usize| {
        let detail = format!("the batch has {rows} reviews, at most {rows_max} are accepted");
        Problem::new(Kind::TooManyRows, detail)
    };
    match format {
        Format::Json => match parse(body, EXAMPLE)? {
            Value::Array(rows) if rows_max < rows.len() => Err(too_many(rows.len())),
            Value::Array(rows) => Ok(rows.into_iter().map(Submission::from_json).collect()),
            _ => Err(Problem::new(
                Kind::BodyNotJson,
                "send an array of reviews, or one review a line as application/x-ndjson",
            )),
        },
        Format::Lines => {
            let lines =
                || body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            match lines().count() {
                0 => Err(Problem::new(Kind::BodyEmpty, "send one {\"review\": \"...\"} a line")),
                rows if rows_max < rows => Err(too_many(rows)),
                _ => Ok(lines().map(Submission::read).collect()),
            }
        }
    }
}

fn write(answers: &[Result<Answer, Problem>], format: Format) -> Response {
    let rows = answers.iter().enumerate().map(|(row, answered)| Row::new(row, answered));
    let (media_type, body) = match format {
        Format::Json => {
            let rows: Vec<_> = rows.collect();
            ("application/json", serde_json::to_vec(&rows).unwrap_or_default())
        }
        Format::Lines => {
            let lines = rows.flat_map(|row| {
                let mut line = serde_json::to_vec(&row).unwrap_or_default();
                line.push(b'\n');
                line
            });
            ("application/x-ndjson", lines.collect())
        }
    };
    ([(header::CONTENT_TYPE, media_type)], body).into_response()
}

impl<'a> Row<'a> {
    fn new(row: usize, answered: &'a Result<Answer, Problem>) -> Self {
        let blank = Self { row, status: 0, id: None, verdict: None, location: None, problem: None };
        match answered {
            Ok(Answer::Judged { verdict, .. }) => {
                Self { status: 200, id: Some(verdict.id.as_str()), verdict: Some(verdict), ..blank }
            }
            Ok(Answer::Underway(id)) => {
                Self { status: 202, id: Some(id.as_str()), location: Some(location(id)), ..blank }
            }
            Err(problem) => Self {
                status: problem.kind.status().as_u16(),
                problem: Some(problem.details(None, None)),
                ..blank
            },
        }
    }
}

impl IdempotencyKey {
    /// The key of one review of a batch.
    fn of_row(&self, row: usize) -> Self {
        Self::derived(format!("{}\u{0}{row}", self.as_str()))
    }
}
