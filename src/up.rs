//! `verdict up`: the whole line in one process, and how it is put together.

use std::{fs, io::Write as _, pin::Pin, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use broker::TailFrom;
use broker::kafka::{
    ExchangeOptions, KafkaExchange, KafkaPublish, KafkaSettings, KafkaSubscribe, ensure_topics,
};
use chassis::{Health, telemetry::Telemetry};
use embedded_kafka::EmbeddedKafka;
use futures::{FutureExt as _, future::select_all};
use schemas::topics::{DEAD_LETTERS, FEEDBACK, REVIEWS, VERDICTS};
use sink::{DriftParts, References, drift_line};
use store::VerdictStore;
use tokio::{net::TcpListener, runtime::Handle, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{settings::Settings, topics};

/// The embedded broker's folder in the data folder.
const BROKER_FOLDER: &str = "kafka";

/// The processor's consumer group; the same as that of the processor on its own, so that either goes on where the other stopped.
const PROCESSOR_GROUP: &str = "processor";

/// Longest wait for one part to finish what it has in hand.
const STOP_WAIT_MAX: Duration = Duration::from_secs(40);

/// A part of the line, and what makes it stop.
struct Part {
    name: &'static str,
    stop: CancellationToken,
    task: JoinSet<anyhow::Result<()>>,
}

/// Starts all parts, waits for a signal or for the first of them to end, and stops them from the front of the line to its back,
/// so that what was taken in is still scored and stored.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = chassis::telemetry::start("verdict", &settings.telemetry)?;
    let certificates = settings.kafka.certificates().chain(settings.store.certificates());
    chassis::telemetry::certificates::watch(certificates);
    let data = &settings.up.data;
    fs::create_dir_all(data)
        .with_context(|| format!("making the data folder {}", data.display()))?;
    let listener = ingest::listen(settings.ingest.listen).with_context(|| {
        format!(
            "{} cannot be listened on: is another verdict running? Choose an address with --http",
            settings.ingest.listen
        )
    })?;
    let embedded = start_broker(&settings).await?;
    let kafka = match &embedded {
        Some(broker) => KafkaSettings {
            bootstrap_servers: broker.local_addr().to_string(),
            ..settings.kafka.clone()
        },
        None => settings.kafka.clone(),
    };
    let outcome = run_on(&settings, &kafka, listener, &telemetry).await;
    if let Some(broker) = embedded {
        broker.stop().await;
    }
    telemetry.finish();
    outcome
}

async fn start_broker(settings: &Settings) -> anyhow::Result<Option<EmbeddedKafka>> {
    if !settings.up.embedded {
        return Ok(None);
    }
    let folder = settings.up.data.join(BROKER_FOLDER);
    let mut broker = embedded_kafka::Settings::new(folder, settings.up.kafka_listen);
    broker.fsync = settings.up.fsync.parse().context("in the setting `up.fsync`")?;
    broker.default_partitions = settings.up.partitions;
    // One process joins each group here, so there is nobody to wait for.
    broker.initial_rebalance_delay = Duration::ZERO;
    let started = EmbeddedKafka::start(broker).await;
    started.map(Some).context(
        "starting the embedded broker (another address: --kafka-listen; another folder: --data)",
    )
}

async fn run_on(
    settings: &Settings,
    kafka: &KafkaSettings,
    listener: TcpListener,
    telemetry: &Telemetry,
) -> anyhow::Result<()> {
    ensure_topics(kafka, &topics::specs(settings.up.partitions), topics::WAIT_MAX).await?;
    let store_settings = settings.store();
    let store = store::connect(&store_settings).await?;
    let health = Health::new();
    let address = listener.local_addr().context("reading the address of HTTP")?;

    let mut parts = vec![
        start_ingest(settings, kafka, listener, &store, &health, telemetry)?,
        start_processor(settings, kafka, &health),
        start_sink(settings, kafka, &store, &health)?,
        start_feedback(settings, kafka, &store, &health)?,
    ];
    parts.extend(start_drift(settings, kafka, &store, &health)?);
    greet(address, kafka, settings, store_settings.url())?;
    supervise(parts, chassis::stop::signalled()).await
}

fn start_ingest(
    settings: &Settings,
    kafka: &KafkaSettings,
    listener: TcpListener,
    store: &Arc<dyn VerdictStore>,
    health: &Health,
    telemetry: &Telemetry,
) -> anyhow::Result<Part> {
    let publisher = KafkaPublish::connect(kafka, settings.ingest.in_flight_max.get())?;
    let tail = KafkaSubscribe::tail(kafka, &[VERDICTS, DEAD_LETTERS], TailFrom::End)?;
    let parts = ingest::Parts {
        publisher: Arc::new(publisher),
        tail: Box::new(tail),
        store: Arc::clone(store),
        health: health.clone(),
        metrics: telemetry.router(),
    };
    let settings = settings.ingest.clone();
    Ok(Part::start("ingest", |stop| ingest::serve(listener, parts, settings, stop)))
}

fn start_processor(settings: &Settings, kafka: &KafkaSettings, health: &Health) -> Part {
    let options = ExchangeOptions::new(PROCESSOR_GROUP, [REVIEWS], &settings.up.transactional_id);
    let (model, processor) = (settings.model.clone(), settings.processor.clone());
    let kafka = kafka.clone();
    // The page is up while the model loads: it takes a second or two.
    let check = processor::register(health);
    check.not_ready("the model is being loaded");
    Part::start("processor", move |stop| {
        chassis::stop::thread("processor", move || {
            let bundle = model.open()?;
            let pipeline = processor::load(&bundle, &processor)?;
            let exchange = KafkaExchange::connect(&kafka, options)?;
            Ok(processor::run(Box::new(exchange), pipeline, &processor, &check, &stop)?)
        })
    })
}

fn start_sink(
    settings: &Settings,
    kafka: &KafkaSettings,
    store: &Arc<dyn VerdictStore>,
    health: &Health,
) -> anyhow::Result<Part> {
    let sink::Settings { group, session_timeout, .. } = &settings.sink;
    let subscription =
        Box::new(KafkaSubscribe::group(kafka, group, &[VERDICTS], *session_timeout)?);
    let (store, check, settings) =
        (Arc::clone(store), health.register("sink"), settings.sink.clone());
    Ok(Part::start("sink", move |stop| async move {
        sink::run(sink::Parts { subscription, store, check, stop }, &settings).await
    }))
}

fn start_feedback(
    settings: &Settings,
    kafka: &KafkaSettings,
    store: &Arc<dyn VerdictStore>,
    health: &Health,
) -> anyhow::Result<Part> {
    let feedback = settings.feedback.clone();
    let own = Some(feedback.transactional_id.clone()).filter(|own| !own.trim().is_empty());
    let transactional_id =
        own.unwrap_or_else(|| format!("{}-feedback", settings.up.transactional_id));
    let options = ExchangeOptions {
        session_timeout: feedback.session_timeout,
        ..ExchangeOptions::new(&feedback.group, [FEEDBACK], transactional_id)
    };
    let drift = settings.drift()?;
    let (kafka, store, check) = (kafka.clone(), Arc::clone(store), health.register("feedback"));
    let runtime = Handle::current();
    Ok(Part::start("feedback", move |stop| {
        chassis::stop::thread("feedback", move || {
            let exchange = sink::feedback::connect(&kafka, &options, &check, &stop)?;
            let Some(exchange) = exchange.map(Box::new) else { return Ok(()) };
            let references = References::directory(&drift.repository(), &drift.profile);
            let parts = sink::feedback::Parts { exchange, store, references, check, stop };
            Ok(sink::feedback::Joiner::new(parts, &feedback, runtime).run()?)
        })
    }))
}

/// The parts of the drift line that are switched on.
fn start_drift(
    settings: &Settings,
    kafka: &KafkaSettings,
    store: &Arc<dyn VerdictStore>,
    health: &Health,
) -> anyhow::Result<Vec<Part>> {
    let drift = settings.drift()?;
    let parts = |stop| DriftParts {
        kafka: kafka.clone(),
        store: Arc::clone(store),
        health: health.clone(),
        settings: drift.clone(),
        replica: drift.transactional_id.clone(),
        stop,
    };
    let mut started = Vec::new();
    if drift.enabled && drift.watch {
        started.push(Part::start(drift_line::WATCHER, |stop| drift_line::watch(parts(stop))));
    }
    if drift.enabled && drift.aggregate {
        let start = |stop| drift_line::aggregate(parts(stop));
        started.push(Part::start(drift_line::AGGREGATOR, start));
    }
    Ok(started)
}

impl Part {
    fn start<F>(name: &'static str, work: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(work(stop.clone()));
        Self { name, stop, task }
    }

    /// Completes when the part has ended; at once if it had.
    async fn ended(&mut self) -> anyhow::Result<()> {
        match self.task.join_next().await {
            None => Ok(()),
            Some(ended) => ended
                .map_err(|panic| anyhow!(panic))
                .flatten()
                .with_context(|| format!("{} failed", self.name)),
        }
    }
}

/// Runs until `signal`, or until a part ends. The first failure is the outcome.
async fn supervise(
    mut parts: Vec<Part>,
    signal: impl Future<Output = anyhow::Result<()>> + Send,
) -> anyhow::Result<()> {
    let mut outcome = {
        let signal: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> = Box::pin(signal);
        let ends = parts.iter_mut().map(|part| part.ended().boxed());
        let (first, _index, _others) = select_all(ends.chain([signal])).await;
        first
    };
    for part in &mut parts {
        part.stop.cancel();
        let ended = match timeout(STOP_WAIT_MAX, part.ended()).await {
            Ok(ended) => ended,
            Err(_elapsed) => Err(anyhow!(
                "{} still runs {STOP_WAIT_MAX:?} after it was asked to stop",
                part.name
            )),
        };
        match (&outcome, ended) {
            (Ok(()), Err(error)) => outcome = Err(error),
            (Err(_first), Err(error)) => {
                warn!(part = part.name, error = format!("{error:#}"), "stopping");
            }
            (_, Ok(())) => info!(part = part.name, "stopped"),
        }
    }
    outcome
}

/// What a newcomer sees: where it is, and three things to try.
fn greet(
    http: std::net::SocketAddr,
    kafka: &KafkaSettings,
    settings: &Settings,
    store: &str,
) -> anyhow::Result<()> {
    let broker = if settings.up.embedded { "embedded, loopback only" } else { "outside" };
    let (model, servers) = (&settings.model.name, &kafka.bootstrap_servers);
    // Most newcomers run it from where cargo built it, so `verdict` alone would not be found.
    let program = std::env::args().next().unwrap_or_else(|| "verdict".to_owned());
    let mut out = std::io::stdout().lock();
    write!(
        out,
        "\nVerdict is up.\n
  page   http://{http}        API at http://{http}/docs
  kafka  {servers}        {broker}
  store  {store}
  model  {model}

Try:
  curl -s http://{http}/analyze -H 'content-type: application/json' -d '{{\"review\": \"The room was clean and affordable.\"}}'
  echo '{{\"review\": \"Cold soup, slow waiter.\"}}' | kcat -P -b {servers} -t reviews.v1
  {program} tap --kafka {servers} --from beginning

Ctrl-C stops it; everything is kept in {} and found again.\n\n",
        settings.up.data.display()
    )?;
    out.flush()?;
    Ok(())
}
