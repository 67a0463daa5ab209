//! `GET /verdicts/stream`: verdicts as they come, as server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use crate::{
    instruments::Instruments,
    problem::{Kind, Problem, ProblemDetails},
    service::{Live, Service},
};

/// How long a browser waits before it connects again.
const RECONNECT_WAIT: Duration = Duration::from_secs(2);

/// Room for one stream, given back when its reader goes away.
struct Open {
    _permit: OwnedSemaphorePermit,
    instruments: Arc<Instruments>,
}

impl Open {
    fn new(permit: OwnedSemaphorePermit, instruments: Arc<Instruments>) -> Self {
        instruments.streams(1);
        Self { _permit: permit, instruments }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.instruments.streams(-1);
    }
}

/// Follow verdicts.
///
/// Server-sent events: `verdict` with a verdict in JSON; `lagged` with `{"lost": n}` where the reader was too slow and `n`
/// verdicts were left out. Nothing is repeated: a reader that needs every verdict reads the topic.
#[utoipa::path(
    get,
    path = "/verdicts/stream",
    tag = "verdicts",
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events, until the reader or the replica goes away"),
        (status = 429, body = ProblemDetails<'static>, content_type = "application/problem+json", description = "Too many streams are open; see `Retry-After`"),
    ),
)]
pub(crate) async fn stream(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    let permit = Arc::clone(&service.streams).try_acquire_owned().map_err(|_full| {
        let detail = format!("at most {} streams are served", service.settings.streams_max);
        Problem::new(Kind::TooManyStreams, detail).retry_after(10)
    })?;
    let open = Open::new(permit, Arc::clone(&service.instruments));
    let closed = service.closing.clone().cancelled_owned();
    let events = events(BroadcastStream::new(service.live.subscribe()), open).take_until(closed);
    let keep_alive = KeepAlive::new().interval(service.settings.stream_keep_alive).text("idle");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Asks nginx, and what took over its custom, not to hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn events(
    verdicts: BroadcastStream<Live>,
    open: Open,
) -> impl Stream<Item = Result<Event, Infallible>> {
    // The first event makes the browser say that the stream is open, even if no verdict ever comes.
    let hello =
        futures::stream::once(async { Event::default().retry(RECONNECT_WAIT).comment("open") });
    let events = verdicts.map(move |verdict| match verdict {
        Ok(Live { id, json }) => Event::default().event("verdict").id(&*id).data(&*json),
        Err(BroadcastStreamRecvError::Lagged(lost)) => {
            open.instruments.stream_lost(lost);
            Event::default().event("lagged").data(format!("{{\"lost\":{lost}}}"))
        }
    });
    hello.chain(events).map(Ok)
}
