//! A producer of numbered reviews, at a rate, that gives up none.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use broker::{
    Delivery, Outgoing, Publish as _, PublishError,
    kafka::{KafkaPublish, KafkaSettings},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use schemas::{Record, headers, record::Header, topics};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{form::now, poison, stream::scan};

/// Header with the number of a review. It travels on to its verdict or dead letter.
pub(crate) const NUMBER: &str = "number";

/// Most reviews between sent and acknowledged.
const IN_FLIGHT_MAX: usize = 2_000;

/// Pause where nothing is due.
const PAUSE: Duration = Duration::from_millis(2);

/// Pause before a review is sent again that was not acknowledged.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Fewest reviews. More are sent until the feed is told that it is enough.
    pub(crate) reviews: u64,
    /// Reviews a second.
    pub(crate) rate: u64,
    /// Every so many records one is poison.
    pub(crate) poison_every: Option<u64>,
}

/// A producer at work.
pub(crate) struct Feed {
    task: JoinSet<Fed>,
    plan: Plan,
    begun: Instant,
    enough: CancellationToken,
    acknowledged: Arc<AtomicU64>,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fed {
    /// Records, numbered from 0. All were acknowledged.
    pub(crate) records: u64,
    /// How often one was sent again because the answer did not come: each may stand in the topic twice.
    pub(crate) retries: u64,
}

impl Plan {
    /// Good reviews only.
    pub(crate) fn good(reviews: u64, rate: u64) -> Self {
        Self { reviews, rate, poison_every: None }
    }

    /// How many records ought to have been sent by now, at this rate.
    fn due(&self, begun: Instant) -> u64 {
        let due = begun.elapsed().as_millis() * u128::from(self.rate) / 1_000;
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    /// The record with `number`. Five reviews share an id, so that the order of a key's verdicts means something.
    pub(crate) fn record(&self, number: u64) -> Record {
        if let Some(every) = self.poison_every
            && number % every == every - 1
        {
            return numbered(poison::record(number / every), number);
        }
        let id = format!("review-{}", number / 50 * 10 + number % 10);
        let opinion = if number.is_multiple_of(2) { "was clean" } else { "smelled" };
        let value =
            format!(r#"{{"id":"{id}","review":"Room {number} {opinion}.","source":"feed"}}"#);
        let record = Record {
            key: Some(id.into_bytes()),
            value: Some(value.into_bytes()),
            ..Record::default()
        };
        numbered(record, number)
    }
}

fn numbered(mut record: Record, number: u64) -> Record {
    record.headers.push(Header::text(NUMBER, number.to_string()));
    record
}

impl Feed {
    /// Begins to send.
    pub(crate) fn start(kafka: &KafkaSettings, plan: Plan) -> Self {
        let publish = KafkaPublish::connect(kafka, 2 * IN_FLIGHT_MAX).unwrap();
        let (enough, acknowledged) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (mut task, begun) = (JoinSet::new(), now());
        let (enough_of_it, shared) = (enough.clone(), Arc::clone(&acknowledged));
        task.spawn(async move { send(&publish, plan, begun, &enough_of_it, &shared).await });
        Self { task, plan, begun, enough, acknowledged }
    }

    /// Records acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Records that are due and not acknowledged.
    pub(crate) fn behind(&self) -> u64 {
        self.plan.due(self.begun).saturating_sub(self.acknowledged())
    }

    /// Ends the feed once it has sent what it must, and waits until all of it is acknowledged.
    pub(crate) async fn enough(mut self) -> Fed {
        self.enough.cancel();
        self.task.join_next().await.unwrap().unwrap()
    }
}

async fn send(
    publish: &KafkaPublish,
    plan: Plan,
    begun: Instant,
    enough: &CancellationToken,
    acknowledged: &AtomicU64,
) -> Fed {
    let mut fed = Fed { records: 0, retries: 0 };
    let mut flying = FuturesUnordered::new();
    loop {
        let due = plan.due(begun);
        let is_open = fed.records < plan.reviews || !enough.is_cancelled();
        while is_open && fed.records < due && flying.len() < IN_FLIGHT_MAX {
            flying.push(insist(publish, plan.record(fed.records)));
            fed.records += 1;
        }
        if !is_open && flying.is_empty() {
            return fed;
        }
        tokio::select! {
            Some(retries) = flying.next() => {
                fed.retries += retries;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Sends until it is acknowledged; says how often it had to be sent again.
async fn insist(publish: &KafkaPublish, record: Record) -> u64 {
    let topic: Arc<str> = Arc::from(topics::REVIEWS);
    let mut retries = 0;
    // As a client would: the time of the review is that of the first attempt.
    let timestamp_ms = Some(chassis::clock::now().as_millisecond());
    let record = Record { timestamp_ms, ..record };
    loop {
        let outgoing = Outgoing { topic: Arc::clone(&topic), record: record.clone() };
        match publish.publish(outgoing).await {
            Ok(()) => return retries,
            Err(PublishError::Full) => {}
            Err(PublishError::Unavailable(_reason)) => retries += 1,
            Err(PublishError::Refused(reason)) => panic!("the broker refused a review: {reason}"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// How many of the first `records` records are not in the topic.
pub(crate) async fn missing(kafka: &KafkaSettings, records: u64) -> usize {
    let is_there = Arc::new(Mutex::new(vec![false; usize::try_from(records).unwrap()]));
    let shared = Arc::clone(&is_there);
    let note = move |delivery: Delivery| {
        // Others may have sent reviews, too.
        let Some(number) = headers::text(&delivery.record.headers, NUMBER) else { return };
        shared.lock().unwrap()[number.parse::<usize>().unwrap()] = true;
    };
    scan(kafka, topics::REVIEWS, note).await;
    let is_there = is_there.lock().unwrap();
    is_there.iter().filter(|is_there| !**is_there).count()
}
