//! `GET /verdicts/{id}`: a verdict, found again.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use schemas::{ReviewId, Verdict};

use crate::{
    analyze::{Underway, underway},
    ledger::Progress,
    problem::{Kind, Problem, ProblemDetails},
    service::Service,
    submit::refused_by_the_line,
};

/// Find a verdict.
///
/// Looks in the store, then among what this replica saw lately, since a verdict is heard of before it is stored.
#[utoipa::path(
    get,
    path = "/verdicts/{id}",
    tag = "verdicts",
    params(("id" = String, Path, description = "The review's id")),
    responses(
        (status = 200, body = Verdict, description = "The verdict"),
        (status = 202, body = Underway<'static>, description = "Durable; the verdict is to come"),
        (status = 404, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Neither stored nor seen lately"),
        (status = 424, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The model failed on this review"),
        (status = 503, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The store is away; see `Retry-After`"),
    ),
)]
pub(crate) async fn lookup(
    State(service): State<Arc<Service>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) =
        id.map_err(|rejection| Problem::new(Kind::PathInvalid, rejection.to_string()))?;
    let unknown = || Problem::new(Kind::VerdictUnknown, "no verdict is known under this id");
    let id = ReviewId::new(id).map_err(|_invalid| unknown())?;
    let stored = service.find(&id).await;
    if let Ok(Some(verdict)) = stored {
        return Ok(Json(verdict).into_response());
    }
    let progress = service.ledger().progress(&id).cloned();
    match progress {
        Some(Progress::Judged(verdict)) => Ok(Json(&*verdict).into_response()),
        Some(Progress::Refused(refused)) => Err(refused_by_the_line(&refused)),
        Some(Progress::Accepted) => {
            let mut response = underway(&id);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            Ok(response)
        }
        // Nothing is promised yet of a review that is being taken.
        Some(Progress::Open) | None => Err(stored.err().unwrap_or_else(unknown)),
    }
}
