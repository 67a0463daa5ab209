//! `verdict replay`: scores history again, into a topic of its own or into the store.
//!
//! What was read and what was written are moved on in one transaction: the state of a replay is a record like its verdicts. So it
//! needs no consumer group, whose offsets a cluster forgets after a week, and it goes on exactly where it stopped.
//!
//! # Layout
//! - [`state`]: the window, and how far the replay has come; pure
//! - [`output`]: where verdicts and state go

mod args;
mod output;
mod state;
mod summary;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use broker::{
    Delivery, TailFrom,
    kafka::{KafkaScan, KafkaSettings, TopicSpec, TransactionalPublish, ensure_topics, settled},
};
use chassis::{Tracer, clock};
use indicatif::{ProgressBar, ProgressStyle};
use processor::{
    Scorer,
    pipeline::{
        records::{self, Topics},
        steps::Steps,
    },
};
use schemas::{Record, topics};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub(crate) use args::ReplayArgs;

use crate::settings::Settings;
use output::{Output, Rows, Scored};
use state::{Destination, Plan, State};
use summary::Summary;

/// Longest wait for the topics, and for what an earlier run left open.
const BROKER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Records of states that are taken at a time.
const STATES_MAX: usize = 1_000;

/// Exit status of a replay that was interrupted, by the shells' convention of 128 plus the signal's number.
const INTERRUPTED: u8 = 130;

/// Replays to the end, or until a signal: then the round in hand is written, and the same command goes on from there.
pub(crate) fn run(args: &ReplayArgs, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    ensure!(args.from < args.to, "--from {} is not before --to {}", args.from, args.to);
    let settings = settings(args)?;
    let _telemetry = chassis::telemetry::start("verdict", &settings.telemetry)?;
    let bundle = settings.model.open()?;
    let destination = if args.to_store {
        Destination::Store { overwrite: args.overwrite }
    } else {
        Destination::Topic(args.to_topic.clone())
    };
    let plan = Plan { from: args.from, to: args.to, model: bundle.model_ref(), destination };
    let name = args.name.clone().unwrap_or_else(|| plan.name());
    let pipeline = processor::load(&bundle, &settings.processor)?;
    let mut scorer =
        Scorer::start(pipeline, &settings.processor).context("starting inference threads")?;

    let spans = KafkaScan::spans(
        &settings.kafka,
        topics::REVIEWS,
        TailFrom::TimestampMs(plan.from.as_millisecond()),
    )?;
    let spans = spans.with_context(|| format!("there is no topic {}", topics::REVIEWS))?;
    runtime.block_on(make_topics(&settings.kafka, &plan.destination, spans.len()))?;
    // A run that still goes on is shut out before its last state is read.
    let publisher =
        TransactionalPublish::connect(&settings.kafka, &format!("verdict-replay/{name}"))?;
    let former = former(&settings.kafka, &name, &plan)
        .with_context(|| format!("going on with the replay {name}"))?;
    let resumed = former.is_some();
    let mut state = former.unwrap_or_else(|| State::begin(plan, spans));
    announce(&name, &state, resumed);

    let store = match state.plan.destination {
        Destination::Topic(_) => None,
        Destination::Store { overwrite } => {
            let store = runtime.block_on(store::connect(&settings.store()))?;
            Some(Rows { store, overwrite })
        }
    };
    let mut output = Output { name, publisher, store, runtime };
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    let _listening = runtime.spawn(async move {
        if chassis::stop::signalled().await.is_ok() {
            signalled.cancel();
        }
    });
    let begun = clock::monotonic();
    let counts_before = state.counts.clone();
    let round_max = settings.processor.max_round_records.get();
    let bar = bar(&state);
    let scan = Scan { kafka: &settings.kafka, round_max, bar: &bar, stop: &stop };
    scan.replay(&mut state, &mut scorer, &mut output)?;
    bar.finish_and_clear();

    let scored_now = state.counts.scored - counts_before.scored;
    let summary = Summary { name: output.name, state, resumed, scored_now, took: begun.elapsed() };
    summary.print(args.json)?;
    Ok(if summary.is_done() { ExitCode::SUCCESS } else { ExitCode::from(INTERRUPTED) })
}

fn settings(args: &ReplayArgs) -> anyhow::Result<Settings> {
    let mut flags = vec![("model.name".to_owned(), args.model.clone())];
    let kafka = args.kafka.clone().map(|kafka| ("kafka.bootstrap_servers".to_owned(), kafka));
    let models = args.models.as_ref();
    let models = models.map(|path| ("model.repository".to_owned(), path.display().to_string()));
    flags.extend(kafka.into_iter().chain(models));
    Settings::load(&args.settings, flags)
}

/// The topic of the states, and that of the verdicts. Neither forgets by age: a verdict's time is that of its review.
async fn make_topics(
    kafka: &KafkaSettings,
    destination: &Destination,
    partitions: usize,
) -> anyhow::Result<()> {
    let configured = |spec: TopicSpec, name: &str, value: &str| {
        let config = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        TopicSpec { config, ..spec }
    };
    let states = configured(TopicSpec::new(topics::REPLAYS, 1), "cleanup.policy", "compact");
    let mut specs = vec![states];
    if let Destination::Topic(topic) = destination {
        let partitions = u16::try_from(partitions).unwrap_or(u16::MAX);
        specs.push(configured(TopicSpec::new(topic, partitions), "retention.ms", "-1"));
    }
    Ok(ensure_topics(kafka, &specs, BROKER_WAIT_MAX).await?)
}

/// Where an earlier run of the replay stopped.
fn former(kafka: &KafkaSettings, name: &str, plan: &Plan) -> anyhow::Result<Option<State>> {
    settled(kafka, topics::REPLAYS, BROKER_WAIT_MAX)?;
    let Some(mut scan) = KafkaScan::open(kafka, topics::REPLAYS, TailFrom::Beginning)? else {
        return Ok(None);
    };
    let mut last: Option<Record> = None;
    loop {
        let deliveries = scan.read(STATES_MAX)?;
        if deliveries.is_empty() {
            return State::resume(&last, name, plan);
        }
        let of_name = |record: &Record| record.key.as_deref() == Some(name.as_bytes());
        let found = deliveries.into_iter().rev().map(|delivery| delivery.record).find(of_name);
        last = found.or(last);
    }
}

#[expect(clippy::print_stderr, reason = "standard output is for the summary")]
fn announce(name: &str, state: &State, resumed: bool) {
    let (all, done) = state.offsets();
    if state.left().is_empty() {
        eprintln!("{name}: complete; another --name begins anew");
    } else if resumed {
        eprintln!("{name}: goes on, {done} of {all} offsets are done");
    } else {
        eprintln!("{name}: begins, {all} offsets to read");
    }
}

/// How history is read.
struct Scan<'a> {
    kafka: &'a KafkaSettings,
    round_max: usize,
    bar: &'a ProgressBar,
    stop: &'a CancellationToken,
}

impl Scan<'_> {
    /// Reads what is left, round by round, until nothing is or a stop was asked for.
    fn replay(
        &self,
        state: &mut State,
        scorer: &mut Scorer,
        output: &mut Output<'_>,
    ) -> anyhow::Result<()> {
        if state.left().is_empty() {
            return Ok(());
        }
        let mut scan = KafkaScan::between(self.kafka, topics::REVIEWS, &state.left())?;
        while !self.stop.is_cancelled() {
            let deliveries = scan.read(self.round_max)?;
            let is_end = deliveries.is_empty();
            for delivery in &deliveries {
                state.advance(delivery);
            }
            if is_end {
                state.finish();
            }
            let round = score(deliveries, state, scorer);
            output.write(round, state)?;
            self.bar.set_position(state.offsets().1);
            if is_end {
                break;
            }
        }
        Ok(())
    }
}

/// Scores what is in the window. What is refused is counted and no more: it has its dead letter.
fn score(deliveries: Vec<Delivery>, state: &mut State, scorer: &mut Scorer) -> Scored {
    let read = deliveries.len();
    let mut inside = deliveries;
    inside.retain(|delivery| state.plan.holds(&delivery.record));
    state.counts.outside += u64::try_from(read - inside.len()).unwrap_or(u64::MAX);
    let now = clock::now();
    let mut outcomes = scorer.judge(records::read(&inside, now));
    let verdicts = match &state.plan.destination {
        Destination::Topic(topic) => topic.as_str(),
        Destination::Store { .. } => topics::VERDICTS,
    };
    let topics = Topics { verdicts: verdicts.into(), ..Topics::default() };
    // It also completes the verdicts, and refuses those that are too large to be written.
    let steps = Steps::of_all(&inside, &Tracer::default());
    let mut written = records::write(inside, &steps, &mut outcomes, &topics, now);
    for outcome in &outcomes {
        state.counts.note(outcome.as_ref().map(drop).map_err(|refusal| refusal.class));
    }
    match state.plan.destination {
        Destination::Store { .. } => Scored::Verdicts(outcomes.into_iter().flatten().collect()),
        Destination::Topic(_) => {
            written.retain(|outgoing| outgoing.topic == topics.verdicts);
            Scored::Records(written)
        }
    }
}

fn bar(state: &State) -> ProgressBar {
    let (all, done) = state.offsets();
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {per_sec}  {eta} left");
    ProgressBar::new(all)
        .with_style(style.unwrap_or_else(|_error| ProgressStyle::default_bar()))
        .with_position(done)
}
