//! Twenty thousand reviews from a foreign client while the program is killed ten times.

use std::{
    collections::HashMap,
    io::Write as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use broker::{
    Subscribe as _, TailFrom,
    kafka::{KafkaSettings, KafkaSubscribe},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::{ReviewId, topics};
use store::StoreSettings;

use crate::line::{LOOK_EVERY, Line, now};

const REVIEWS: usize = 20_000;
const KILLS: usize = 10;

/// Without progress for this long, the line is taken to be stuck.
const STUCK_AFTER: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_review_has_one_verdict_and_one_row_though_the_process_is_killed_ten_times() {
    let begun = now();
    let mut line = Line::start().await;
    let kcat = produce(&line.kafka_address());

    let mut random = StdRng::seed_from_u64(20_261_122);
    for _kill in 0..KILLS {
        // Anywhere from the middle of the start to some seconds of work.
        tokio::time::sleep(Duration::from_millis(random.random_range(300..3_000))).await;
        line.kill();
        line.start_again();
    }
    line.ready().await;
    let produced =
        tokio::task::spawn_blocking(move || kcat.wait_with_output().unwrap()).await.unwrap();
    assert!(produced.status.success(), "kcat: {}", String::from_utf8_lossy(&produced.stderr));

    let kafka = line.kafka();
    let verdicts =
        tokio::task::spawn_blocking(move || read_until_complete(&kafka, topics::VERDICTS, REVIEWS))
            .await
            .unwrap();
    let lost = (0..REVIEWS).filter(|number| !verdicts.contains_key(&id(*number))).count();
    let doubled = verdicts.values().filter(|&&times| 1 < times).count();
    let rows = rows(&line).await;
    // Not `println!`: its output is shown only when a test fails, and this figure is for everybody.
    writeln!(
        std::io::stdout(),
        "{REVIEWS} reviews, {KILLS} times SIGKILL: {} verdicts, {lost} lost, {doubled} doubled, {rows} rows, {:.0} s",
        verdicts.values().sum::<usize>(),
        begun.elapsed().as_secs_f64()
    )
    .unwrap();
    assert_eq!((lost, doubled, verdicts.len(), rows), (0, 0, REVIEWS, REVIEWS));
    assert_eq!(line.terminate().code(), Some(0));
}

fn id(number: usize) -> String {
    format!("review-{number}")
}

/// Feeds kcat, an idempotent producer, over the whole time of the kills. Key and value are separated by a tab.
fn produce(kafka: &str) -> Child {
    let mut child = Command::new("kcat")
        // Without -E it gives up when the broker is away for a moment.
        .args(["-P", "-E", "-b", kafka, "-t", topics::REVIEWS, "-K", "\t"])
        .args(["-X", "enable.idempotence=true", "-X", "message.timeout.ms=300000"])
        .args(["-X", "reconnect.backoff.max.ms=500", "-X", "partitioner=murmur2_random"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kcat is needed: install it with `apt-get install kcat` or `brew install kcat`");
    let mut input = child.stdin.take().unwrap();
    std::thread::spawn(move || {
        for number in 0..REVIEWS {
            let opinion = if number % 2 == 0 { "was clean" } else { "smelled" };
            writeln!(input, "{}\t{{\"review\":\"Room {number} {opinion}.\"}}", id(number)).unwrap();
            if number % 100 == 99 {
                std::thread::sleep(Duration::from_millis(80));
            }
        }
    });
    child
}

/// How often each key stands in the topic at `read_committed`, once `expected` keys are there and no more come.
pub(crate) fn read_until_complete(
    kafka: &KafkaSettings,
    topic: &str,
    expected: usize,
) -> HashMap<String, usize> {
    let mut subscription = KafkaSubscribe::tail(kafka, &[topic], TailFrom::Beginning).unwrap();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut progressed = now();
    let mut quiet_since = now();
    loop {
        let deliveries = subscription.poll(1_000, LOOK_EVERY).unwrap();
        if !deliveries.is_empty() {
            quiet_since = now();
        }
        for delivery in deliveries {
            let key = String::from_utf8(delivery.record.key.unwrap()).unwrap();
            *seen.entry(key).or_default() += 1;
            progressed = now();
        }
        // A duplicate could come late, so the topic must have been quiet for a while.
        if expected <= seen.len() && Duration::from_secs(2) < quiet_since.elapsed() {
            return seen;
        }
        let stuck = STUCK_AFTER < progressed.elapsed();
        assert!(
            !stuck,
            "only {} of {expected} keys in {topic}, and no more for {STUCK_AFTER:?}",
            seen.len()
        );
    }
}

/// How many of the reviews are in the store, once all are or no more come.
async fn rows(line: &Line) -> usize {
    let url = format!("sqlite:{}", line.store_path().display());
    let store = store::connect(&StoreSettings::at(url)).await.unwrap();
    let deadline = now() + STUCK_AFTER;
    let mut found = 0;
    for number in 0..REVIEWS {
        let id = ReviewId::new(id(number)).unwrap();
        while now() < deadline {
            if store.get(&id).await.unwrap().is_some() {
                found += 1;
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    found
}
