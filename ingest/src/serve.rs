//! Running until told to stop, and stopping without losing a request.

use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::serve::ListenerExt as _;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    router::router,
    service::{Parts, Service},
    settings::Settings,
};

/// Serves `listener` until `stop`, then drains.
///
/// Draining has four steps: readiness is withdrawn, while work is still taken, so that load balancers can notice, and each
/// answer closes its connection, so that clients go where these lead; new work is
/// refused with 503 and streams end; requests in flight are answered; connections are closed. Every answer of 200 or 202 was
/// given after the broker had the review, so nothing is left to be flushed.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    settings: Settings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (stop_delay, stop_grace) = (settings.stop_delay, settings.stop_grace);
    let listening_stop = CancellationToken::new();
    let (service, listening) = Service::start(parts, settings, listening_stop.clone());
    let _stop_listening = listening_stop.drop_guard();

    let address = listener.local_addr().context("reading the listener's address")?;
    // Answers are small and complete: waiting for more to send would only delay them.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            warn!(%error, "TCP_NODELAY is not set");
        }
    });
    let listener = service.connections.bound(listener);
    let connections_stop = CancellationToken::new();
    let connections = axum::serve(listener, router(&service))
        .with_graceful_shutdown(connections_stop.clone().cancelled_owned());
    let connections = connections.into_future();
    tokio::pin!(connections, listening);
    info!(%address, "serving");

    tokio::select! {
        () = stop.cancelled() => {}
        ended = &mut connections => { ended.context("serving")?; bail!("the server ended by itself") }
        ended = &mut listening => { ended?; bail!("the tail ended by itself") }
    }

    info!("draining");
    service.health.drain();
    let draining = async {
        sleep(stop_delay).await;
        let deadline = Instant::now() + stop_grace;
        service.admission.close();
        service.closing.cancel();
        if timeout_at(deadline, service.admission.idle()).await.is_err() {
            let in_flight = service.admission.in_flight();
            warn!(in_flight, ?stop_grace, "requests are cut off");
        }
        connections_stop.cancel();
        deadline + Duration::from_secs(1)
    };
    // The listener has to be served while draining, if only to say no.
    let deadline = tokio::select! {
        deadline = draining => deadline,
        ended = &mut connections => return ended.context("serving"),
    };
    match timeout_at(deadline, connections).await {
        Ok(ended) => ended.context("serving")?,
        Err(_elapsed) => warn!("connections are cut off"),
    }
    info!("drained");
    Ok(())
}
