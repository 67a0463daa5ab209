//! Clients over HTTP that remember what they were promised.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use broker::kafka::KafkaSettings;
use reqwest::{Client, StatusCode};
use schemas::{Verdict, topics};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stream::read_all;

/// Longest wait for one answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Pause after a request that was not answered, or was put off.
const PAUSE: Duration = Duration::from_millis(20);

/// Clients at work, each with one request after the other.
pub(crate) struct Clients {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    promised: Arc<Mutex<Promised>>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promised {
    /// Ids that were answered 200, with a verdict, or 202.
    pub(crate) ids: Vec<String>,
    /// The verdicts of those that were answered 200.
    pub(crate) verdicts: Vec<Verdict>,
    /// Answered 503: nothing was promised, and the client may come again.
    pub(crate) refused: usize,
    /// Answered otherwise: each status, in the order in which they came.
    pub(crate) errors: Vec<StatusCode>,
    /// Not answered at all.
    pub(crate) broken: usize,
}

impl Clients {
    /// `count` clients that post to `url`, each at most every `every`.
    pub(crate) fn start(url: &str, count: usize, every: Duration) -> Self {
        Self::begin(url, count, every, false)
    }

    /// As [`Clients::start`], but each posts a review again, under its id, until something is promised for it.
    pub(crate) fn insist(url: &str, count: usize, every: Duration) -> Self {
        Self::begin(url, count, every, true)
    }

    fn begin(url: &str, count: usize, every: Duration, insist: bool) -> Self {
        let (stop, promised) = (CancellationToken::new(), Arc::<Mutex<Promised>>::default());
        let client = Client::builder().timeout(ANSWER_WAIT_MAX).build().unwrap();
        let mut tasks = JoinSet::new();
        for name in 0..count {
            let (client, url, stop) = (client.clone(), url.to_owned(), stop.clone());
            let promised = Arc::clone(&promised);
            tasks.spawn(async move {
                let mut number = 0_u64;
                while !stop.is_cancelled() {
                    let id = format!("client-{name}-{number}");
                    let answer = post(&client, &url, &id, number).await;
                    let is_promised = promised.lock().unwrap().note(id, answer);
                    let pause = if is_promised { every } else { PAUSE };
                    tokio::time::sleep(pause).await;
                    if is_promised || !insist {
                        number += 1;
                    }
                }
            });
        }
        Self { tasks, stop, promised }
    }

    /// How many promises were made so far.
    pub(crate) fn promises(&self) -> usize {
        self.promised.lock().unwrap().ids.len()
    }

    /// How many verdicts were answered so far.
    pub(crate) fn verdicts(&self) -> usize {
        self.promised.lock().unwrap().verdicts.len()
    }

    /// Ends the load.
    pub(crate) async fn stop(self) -> Promised {
        self.stop.cancel();
        self.tasks.join_all().await;
        self.promised.lock().unwrap().clone()
    }
}

impl Promised {
    /// Whether something was promised.
    fn note(&mut self, id: String, answer: Option<(StatusCode, Vec<u8>)>) -> bool {
        let before = self.ids.len();
        match answer {
            Some((StatusCode::OK, body)) => {
                self.verdicts.push(serde_json::from_slice(&body).unwrap());
                self.ids.push(id);
            }
            Some((StatusCode::ACCEPTED, _body)) => self.ids.push(id),
            Some((StatusCode::SERVICE_UNAVAILABLE, _body)) => self.refused += 1,
            Some((status, _body)) => self.errors.push(status),
            None => self.broken += 1,
        }
        before < self.ids.len()
    }

    /// Of the verdicts that were answered, those that are not in the topic: a transaction that was aborted had them.
    pub(crate) async fn not_in_topic(&self, kafka: &KafkaSettings) -> usize {
        let key = |verdict: &Verdict| (verdict.id.clone(), verdict.scored_at);
        let mut answered: HashSet<_> = self.verdicts.iter().map(key).collect();
        for delivery in read_all(kafka, topics::VERDICTS).await {
            answered.remove(&key(&Verdict::from_record(&delivery.record).unwrap()));
        }
        answered.len()
    }
}

/// Posts one review; every other one waits for its verdict.
async fn post(client: &Client, url: &str, id: &str, number: u64) -> Option<(StatusCode, Vec<u8>)> {
    let prefer = if number.is_multiple_of(2) { "respond-async" } else { "wait=1" };
    let review = format!("Room {number} was clean.");
    let request = client.post(url).header("prefer", prefer);
    let answer = request.json(&json!({ "id": id, "review": review })).send().await.ok()?;
    let status = answer.status();
    // An answer that breaks off is none.
    Some((status, answer.bytes().await.ok()?.to_vec()))
}
