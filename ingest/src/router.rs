//! Which path leads where, and what surrounds every route.

use std::{any::Any, sync::Arc};

use axum::{
    Router, middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::error;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    analyze::analyze,
    batch::batch,
    caller::accompany,
    feedback::feedback,
    listing::list,
    lookup::lookup,
    openapi::openapi,
    page,
    problem::{Kind, Problem},
    service::Service,
    stream::stream,
};

/// All routes of ingest.
pub fn router(service: &Arc<Service>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{file}", get(page::asset))
        .route("/analyze", post(analyze))
        .route("/analyze/batch", post(batch))
        .route("/feedback", post(feedback))
        .route("/verdicts", get(list))
        .route("/verdicts/stream", get(stream))
        .route("/verdicts/{id}", get(lookup))
        .with_state(Arc::clone(service))
        .merge(service.health.router())
        .merge(service.metrics.clone())
        .merge(SwaggerUi::new("/docs").url("/openapi.json", openapi()))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(service), accompany))
}

async fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "the paths are listed at /openapi.json, to be read at /docs")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "see the `allow` header for what is")
}

#[expect(clippy::needless_pass_by_value, reason = "the layer asks for a function of this type")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!(panic = text.unwrap_or("no text"), "a route panicked");
    Problem::new(Kind::Panicked, "the request was not done; it is in our log").into_response()
}
