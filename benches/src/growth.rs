//! How fast the processor works off a backlog, exactly once, as one thing after the other is varied.
//!
//! Each point is the real program as a process of its own (or two), on a new embedded broker in this process, for some seconds of full
//! load. The rate is taken between the first commit after warming up and the last, so that neither starting nor half a round is in it.

use std::{fmt::Write as _, net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::{Context as _, ensure};
use broker::kafka::{KafkaSettings, Lag, TopicSpec, ensure_topics};
use chassis::clock;
use embedded_kafka::{EmbeddedKafka, Fsync};
use models::Bundle;
use processor::tokenizer::Tokenizer;
use schemas::{ReviewText, topics};

use crate::{
    line::{GROUP, lay_down},
    measured::{Figures, Journal},
    services::{Service, free_address},
};

/// What is varied, to what, and what it is while something else is.
const VARIED: [(&str, &[usize], usize); 9] = [
    ("cores", &[1, 2], 1),
    ("replicas", &[1, 2], 1),
    ("partitions", &[1, 4, 16, 64], 4),
    ("tokens", &[8, 32, 128, 256], 32),
    ("processor.max_batch_size", &[1, 2, 4, 8, 32], 32),
    ("processor.max_batch_tokens", &[32, 64, 128, 256, 1_024], 1_024),
    ("processor.max_round_records", &[64, 256, 1_024, 4_096], 1_024),
    ("processor.max_queue_delay_microseconds", &[0, 5_000, 50_000], 0),
    ("processor.rounds_in_hand_max", &[1, 2, 3, 5], 3),
];
/// Full load before the first commit that counts.
const WARMING: Duration = Duration::from_millis(1_500);
/// How long is measured.
const WINDOW: Duration = Duration::from_secs(5);
/// Longest time without a commit.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// Between two looks at the lag.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one question for the lag may take.
const LAG_WAIT: Duration = Duration::from_secs(10);
/// How long the broker waits for a second replica, so that the first does not begin alone.
const JOINING: Duration = Duration::from_secs(1);
/// Longest wait for the topics.
const TOPICS_WAIT_MAX: Duration = Duration::from_mins(1);

/// Words that are one token each in a vocabulary of ordinary English.
const WORDS: [&str; 32] = [
    "the", "film", "was", "good", "bad", "and", "very", "long", "but", "story", "never", "great",
    "room", "clean", "food", "cold", "service", "slow", "we", "would", "come", "back", "again",
    "not", "really", "music", "price", "fair", "book", "ends", "well", "night",
];

/// How one point is set up.
struct Setup {
    cores: usize,
    replicas: usize,
    partitions: usize,
    tokens: usize,
    /// Any setting of the processor.
    setting: Option<String>,
}

/// What all points share.
pub(crate) struct Shared<'a> {
    /// Folder with the model bundles.
    pub(crate) models: &'a Path,
    /// The model.
    pub(crate) bundle: &'a Bundle,
    /// When the broker syncs.
    pub(crate) fsync: Fsync,
}

/// Measures all points `turns` times, each turn in the other order.
pub(crate) async fn measure(
    shared: &Shared<'_>,
    turns: usize,
    journal: &mut Journal,
) -> anyhow::Result<()> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    ensure!(2 <= cores, "this process has one core, and growth is measured on two");
    for turn in 1..=turns {
        // What is varied stands still at the same point each time, which is therefore measured once.
        let usual = one_run(shared, &Setup::with("", 0)).await?;
        let mut points: Vec<(&str, usize, usize)> = VARIED
            .iter()
            .flat_map(|(name, values, base)| values.iter().map(|&value| (*name, value, *base)))
            .collect();
        // Whoever comes first finds another machine than whoever comes last.
        if turn % 2 == 0 {
            points.reverse();
        }
        for (name, value, base) in points {
            let figures = if value == base {
                Ok(usual.clone())
            } else {
                one_run(shared, &Setup::with(name, value)).await
            };
            journal.note_or_tell("growth", (name, &value.to_string()), turn, figures)?;
        }
    }
    Ok(())
}

impl Setup {
    /// The usual, but for the one thing called `name`.
    fn with(name: &str, value: usize) -> Self {
        let mut setup = Self { cores: 1, replicas: 1, partitions: 4, tokens: 32, setting: None };
        match name {
            "" => {}
            "cores" => setup.cores = value,
            "replicas" => setup.replicas = value,
            "partitions" => setup.partitions = value,
            "tokens" => setup.tokens = value,
            setting => setup.setting = Some(format!("{setting}={value}")),
        }
        setup
    }

    /// The cores of replica `number`: each replica has its own, the last of the machine first.
    fn cores_of(&self, number: usize) -> Vec<usize> {
        let all = thread::available_parallelism().map_or(1, usize::from);
        let taken = number * self.cores;
        (0..self.cores).map(|core| (2 * all - 1 - taken - core) % all).collect()
    }
}

/// Reviews a second, cores in use, and memory of one setup.
async fn one_run(shared: &Shared<'_>, setup: &Setup) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir().context("making a folder for the run")?;
    let mut broker =
        embedded_kafka::Settings::new(folder.path().join("kafka"), ([127, 0, 0, 1], 0).into());
    broker.fsync = shared.fsync;
    broker.initial_rebalance_delay = if 1 < setup.replicas { JOINING } else { Duration::ZERO };
    let broker = EmbeddedKafka::start(broker).await?;
    let kafka = KafkaSettings::at(broker.local_addr().to_string());
    let partitions = u16::try_from(setup.partitions).context("counting partitions")?;
    let specs = topics::ALL.map(|name| TopicSpec::new(name, partitions));
    ensure_topics(&kafka, &specs, TOPICS_WAIT_MAX).await?;
    // More than there is time for, on the machines that we know; whoever is through earlier is done.
    lay_down(&kafka, &texts(shared.bundle, setup.tokens, 800_000 / (setup.tokens + 12))?).await?;

    let mut replicas = Vec::new();
    for number in 0..setup.replicas {
        let address = free_address()?;
        let settings = settings_of(&kafka, shared, setup, number, address);
        let cores = setup.cores_of(number);
        replicas.push(Service::start(folder.path(), "processor", address, &cores, &settings)?);
    }
    for replica in &mut replicas {
        replica.ready().await?;
    }
    let figures = watch(&kafka, &mut replicas).await?;
    drop(replicas);
    broker.stop().await;
    Ok(figures)
}

fn settings_of(
    kafka: &KafkaSettings,
    shared: &Shared<'_>,
    setup: &Setup,
    number: usize,
    address: SocketAddr,
) -> Vec<String> {
    let mut settings = vec![
        format!("kafka.bootstrap_servers={}", kafka.bootstrap_servers),
        format!("model.repository={}", shared.models.display()),
        format!("model.name={}", shared.bundle.name()),
        format!("replica.group={GROUP}"),
        format!("replica.transactional_id={GROUP}-{number}"),
        format!("replica.listen={address}"),
        "telemetry.filter=warn".to_owned(),
    ];
    settings.extend(setup.setting.clone());
    settings
}

/// Looks on while `replicas` work.
async fn watch(kafka: &KafkaSettings, replicas: &mut [Service]) -> anyhow::Result<Figures> {
    let lag = Lag::connect(kafka, GROUP, topics::REVIEWS)?;
    let warm = clock::monotonic() + WARMING;
    let (mut least, mut progressed) = (u64::MAX, clock::monotonic());
    let (mut first, mut last) = (None, None);
    loop {
        let (left, now) = (lag.read(LAG_WAIT)?, clock::monotonic());
        replicas.iter_mut().try_for_each(Service::check_runs)?;
        if left < least {
            (least, progressed) = (left, now);
            if warm <= now {
                let cpu: f64 =
                    replicas.iter().map(Service::cpu_seconds).sum::<anyhow::Result<f64>>()?;
                first = first.or(Some((left, now, cpu)));
                last = Some((left, now, cpu));
            }
        }
        let is_over = first.is_some_and(|(_, since, _)| since + WINDOW <= now);
        if is_over || left == 0 {
            break;
        }
        ensure!(now - progressed < STUCK_AFTER, "{left} reviews are left, and no fewer");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let ((left_first, since, cpu_first), (left_last, until, cpu_last)) =
        first.zip(last).context("the backlog was worked off while warming up")?;
    let seconds = (until - since).as_secs_f64();
    ensure!(0.0 < seconds, "one commit in {WINDOW:?}: nothing to take a rate between");
    let done = f64::from(u32::try_from(left_first - left_last).context("counting reviews")?);
    let memory = replicas.iter().map(Service::memory).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(vec![
        ("reviews_per_s", done / seconds),
        ("cores_busy", (cpu_last - cpu_first) / seconds),
        ("cpu_ms_a_review", 1e3 * (cpu_last - cpu_first) / done),
        ("peak_mb", memory.iter().map(|memory| memory.peak).sum()),
    ])
}

/// `count` texts of `tokens` tokens, special ones included, no two alike.
fn texts(bundle: &Bundle, tokens: usize, count: usize) -> anyhow::Result<Vec<String>> {
    let tokenizer = Tokenizer::try_from(bundle)?;
    let words = tokens.saturating_sub(tokenizer.special().count());
    let texts: Vec<String> = (0..count).map(|number| text(number, words)).collect();
    let sample = texts.first().context("no texts")?;
    let encoding = tokenizer.encode(&ReviewText::new(sample)?);
    let found = encoding.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?.ids.len();
    ensure!(
        found == tokens,
        "{} makes {found} tokens of a text for {tokens}: it splits ordinary words",
        bundle.name()
    );
    Ok(texts)
}

/// The words of text `number`: its digits in base 32 are the first four of them.
fn text(number: usize, words: usize) -> String {
    let mut text = String::new();
    for place in 0..words {
        let digit = number.checked_shr(u32::try_from(5 * place).unwrap_or(u32::MAX)).unwrap_or(0);
        let word = WORDS.get((digit + 7 * place) % WORDS.len()).copied().unwrap_or_default();
        // Writing into a string cannot fail.
        write!(text, "{}{word}", if place == 0 { "" } else { " " }).ok();
    }
    text
}
