//! What all routes share.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::Router;
use broker::{Publish, Subscribe};
use chassis::{Health, Tracer, clock};
use schemas::{ReviewId, Verdict, topics};
use store::VerdictStore;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Admission,
    connections::Connections,
    instruments::Instruments,
    ledger::{Ledger, Refused},
    settings::Settings,
    spans::Spans,
    tail,
    waiting::{Outcome, Waiting},
};

/// What ingest is put together from.
pub struct Parts {
    /// Where reviews and feedback go.
    pub publisher: Arc<dyn Publish>,
    /// Where answers come from: a tail of `verdicts.v1` and `reviews.v1.dlq`, which begins at their end and has no group.
    pub tail: Box<dyn Subscribe>,
    /// Where verdicts are found again.
    pub store: Arc<dyn VerdictStore>,
    /// What the process knows of itself; ingest adds a part, and serves `/livez`, `/readyz`, `/startupz`.
    pub health: Health,
    /// `/metrics`: `chassis::telemetry::Telemetry::router`.
    pub metrics: Router,
}

/// What all routes share. It lives as long as one of them.
pub struct Service {
    pub(crate) settings: Settings,
    pub(crate) publisher: Arc<dyn Publish>,
    pub(crate) store: Arc<dyn VerdictStore>,
    pub(crate) health: Health,
    pub(crate) metrics: Router,
    pub(crate) instruments: Arc<Instruments>,
    pub(crate) spans: Spans,
    pub(crate) admission: Arc<Admission>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) reviews_topic: Arc<str>,
    pub(crate) feedback_topic: Arc<str>,
    /// Verdicts as they come, in JSON, for the streams.
    pub(crate) live: broadcast::Sender<Live>,
    /// Room for connections.
    pub(crate) connections: Connections,
    /// Room for streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Ends the streams, which would never end by themselves.
    pub(crate) closing: CancellationToken,
    ledger: Mutex<Ledger>,
    listening: AtomicBool,
}

/// A verdict for the streams.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// The review's id.
    pub(crate) id: Arc<str>,
    /// The verdict in JSON, on one line.
    pub(crate) json: Arc<str>,
}

impl Service {
    /// Starts the thread that reads the answers, until `stop`. The future completes when that thread has ended.
    pub fn start(
        parts: Parts,
        settings: Settings,
        stop: CancellationToken,
    ) -> (Arc<Self>, impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let instruments = Arc::new(Instruments::new());
        let in_flight_max = settings.in_flight_max.get();
        let check = parts.health.register("ingest answers");
        let service = Arc::new(Self {
            publisher: parts.publisher,
            store: parts.store,
            health: parts.health,
            metrics: parts.metrics,
            admission: Arc::new(Admission::new(
                in_flight_max,
                Arc::clone(&instruments),
                clock::monotonic(),
            )),
            waiting: Arc::new(Waiting::new(Arc::clone(&instruments))),
            reviews_topic: Arc::from(topics::REVIEWS),
            feedback_topic: Arc::from(topics::FEEDBACK),
            live: broadcast::Sender::new(settings.stream_lag_max.get()),
            connections: Connections::new(settings.connections_max, Arc::clone(&instruments)),
            streams: Arc::new(Semaphore::new(settings.streams_max)),
            closing: CancellationToken::new(),
            ledger: Mutex::new(Ledger::new(settings.recent_bytes_max)),
            listening: AtomicBool::new(false),
            instruments,
            spans: Spans::new(Tracer::current()),
            settings,
        });
        let listener =
            tail::Tail { service: Arc::clone(&service), subscription: parts.tail, check };
        let ended = chassis::stop::thread("ingest-tail", move || listener.run(&stop));
        (service, ended)
    }

    /// Whether answers would be heard: until then no review is taken.
    pub(crate) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    pub(crate) fn set_listening(&self) {
        self.listening.store(true, Ordering::Release);
    }

    /// Notes a verdict and tells all whom it concerns: first the ledger, so that who joins later finds it there.
    pub(crate) fn judged(&self, verdict: Verdict, bytes: usize) {
        let verdict = Arc::new(verdict);
        self.ledger().judged(&verdict, bytes);
        self.waiting.wake(&verdict.id, &Outcome::Judged(Arc::clone(&verdict)));
        if 0 < self.live.receiver_count()
            && let Ok(json) = serde_json::to_string(&*verdict)
        {
            let live = Live { id: Arc::from(verdict.id.as_str()), json: Arc::from(json) };
            // The last reader may have gone away in this moment.
            drop(self.live.send(live));
        }
    }

    /// Notes a dead letter and wakes who waits for a verdict instead.
    pub(crate) fn refused(&self, id: &ReviewId, refused: Refused) {
        let refused = Arc::new(refused);
        self.ledger().refused(id, Arc::clone(&refused));
        self.waiting.wake(id, &Outcome::Refused(refused));
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parts").field("store", &self.store).finish_non_exhaustive()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Service")
            .field("settings", &self.settings)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}
