//! The description of the HTTP interface, written from the code that serves it.

use utoipa::OpenApi;

use crate::{
    analyze, batch, feedback, listing, lookup,
    problem::{FieldError, ProblemDetails},
    stream,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Verdict",
        description = "Reviews in, verdicts out. Errors are problem details (RFC 9457) with a stable `error` to switch on."
    ),
    tags(
        (name = "reviews", description = "Reviews in"),
        (name = "verdicts", description = "Verdicts out"),
        (name = "feedback", description = "What people say of verdicts"),
    ),
    paths(analyze::analyze, batch::batch, feedback::feedback, listing::list, lookup::lookup, stream::stream),
    components(schemas(ProblemDetails<'static>, FieldError)),
)]
struct Description;

/// The description, as `OpenAPI` has it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}
