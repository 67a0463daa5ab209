//! `GET /verdicts?source=&day=`: the verdicts of one source and day, a page at a time.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use chassis::clock;
use jiff::{civil::Date, tz::Offset};
use schemas::Verdict;
use serde::{Deserialize, Serialize};
use store::{Page, PageToken, SourceDay, StoreError};
use tokio::time::timeout;
use tracing::warn;
use utoipa::ToSchema;

use crate::{
    problem::{Kind, Problem, ProblemDetails},
    service::Service,
};

/// Verdicts on a page where the client does not say.
const LIMIT_DEFAULT: usize = 100;
/// Most verdicts on a page.
const LIMIT_MAX: usize = 1_000;

/// Which verdicts, and how many of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    /// Where the reviews were written; absent or empty for reviews without a source.
    #[serde(default)]
    source: String,
    /// The day on which the reviews were written, in UTC: `2026-01-31`. Today where absent.
    #[param(value_type = Option<String>, format = Date)]
    day: Option<Date>,
    /// Most verdicts on the page, 1 to 1,000; 100 where absent.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// `next` of the page before; absent for the first.
    page: Option<String>,
}

/// A page of verdicts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictPage {
    /// The verdicts, in the order of `occurred_at`. They may be fewer than `limit`, or none, although there is a next page.
    verdicts: Vec<Verdict>,
    /// `page` of the next request; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List verdicts.
///
/// Of one source and day, from the store, in the order in which the reviews were written.
#[utoipa::path(
    get,
    path = "/verdicts",
    tag = "verdicts",
    params(Listing),
    responses(
        (status = 200, body = VerdictPage, description = "A page of verdicts"),
        (status = 400, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The day, the limit or the page token cannot be"),
        (status = 503, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "The store is away; see `Retry-After`"),
    ),
)]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    listing: Result<Query<Listing>, QueryRejection>,
) -> Result<Json<VerdictPage>, Problem> {
    let invalid = |detail: String| Problem::new(Kind::QueryInvalid, detail);
    let Query(listing) = listing.map_err(|rejection| invalid(rejection.body_text()))?;
    let limit = listing.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid(format!("`limit` is {limit}, 1 to {LIMIT_MAX} are accepted")));
    }
    let today = || Offset::UTC.to_datetime(clock::now()).date();
    let day = SourceDay { source: listing.source, day: listing.day.unwrap_or_else(today) };
    let from = listing.page.map(PageToken::new);
    let page = service.list(&day, from.as_ref(), limit).await?;
    let next = page.next.map(|token| token.as_str().to_owned());
    Ok(Json(VerdictPage { verdicts: page.items, next }))
}

impl Service {
    async fn list(
        &self,
        day: &SourceDay,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<Verdict>, Problem> {
        let wait_max = self.settings.store_wait_max;
        let reason = match timeout(wait_max, self.store.list(day, from, limit)).await {
            Ok(Ok(page)) => return Ok(page),
            // A list has nothing to refuse but its token.
            Ok(Err(StoreError::Refused(_))) => {
                let detail = "`page` is not the `next` of a page of verdicts";
                return Err(Problem::new(Kind::QueryInvalid, detail));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer within {wait_max:?}"),
        };
        warn!(reason, "verdicts cannot be listed");
        let detail = "the verdicts cannot be listed right now";
        Err(Problem::new(Kind::StoreAway, detail).retry_after(2))
    }
}
