//! What a collector gets from a running line, and what a line does whose collector is not there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use broker::{
    Delivery, Outgoing, Publish as _, TailFrom,
    kafka::{KafkaPublish, KafkaScan, KafkaSettings},
};
use schemas::{
    Record, headers,
    record::Header,
    topics::{DEAD_LETTERS, REVIEWS, VERDICTS},
};
use serde_json::Value;

use crate::{
    collector::{Collector, Manner, Told},
    line::{LOOK_EVERY, Line, now},
};

/// Looks at something that is not there yet; two minutes in all.
pub(crate) const LOOKS_MAX: usize = 2_400;

/// The span of whoever sends, in hex.
pub(crate) const SENDER: &str = "b7ad6b7169203331";

pub(crate) fn trace(number: usize) -> String {
    format!("0af7651916cd43dd8448eb21{number:08x}")
}

/// A record of a foreign producer, in the trace of its number.
pub(crate) fn record(number: usize, value: &str, flags: &str) -> Record {
    let traceparent = format!("00-{}-{SENDER}-{flags}", trace(number));
    Record {
        key: Some(number.to_string().into_bytes()),
        value: Some(value.into()),
        headers: vec![Header::text(headers::TRACEPARENT, traceparent)],
        ..Record::default()
    }
}

pub(crate) fn review(number: usize) -> String {
    format!(r#"{{"id":"review-{number}","review":"A lovely room, number {number}."}}"#)
}

pub(crate) async fn publish(kafka: &KafkaSettings, records: impl IntoIterator<Item = Record>) {
    let publish = KafkaPublish::connect(kafka, 1_000).unwrap();
    let topic: Arc<str> = Arc::from(REVIEWS);
    for record in records {
        publish.publish(Outgoing { topic: Arc::clone(&topic), record }).await.unwrap();
    }
}

/// All records of `topic` once there are `count`.
async fn read(line: &Line, topic: &'static str, count: usize) -> Vec<Delivery> {
    for _look in 0..LOOKS_MAX {
        let mut scan = KafkaScan::open(&line.kafka(), topic, TailFrom::Beginning).unwrap().unwrap();
        let mut records = Vec::new();
        loop {
            let more = scan.read(1_000).unwrap();
            if more.is_empty() {
                break;
            }
            records.extend(more);
        }
        if records.len() == count {
            return records;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("{topic} has not {count} records");
}

/// Waits until the row of a review is there, and answers with it.
async fn row(line: &Line, id: &str) -> Value {
    for _look in 0..LOOKS_MAX {
        let answer = reqwest::get(line.url(&format!("/verdicts/{id}"))).await.unwrap();
        if answer.status().is_success() {
            return answer.json().await.unwrap();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("no row of {id}");
}

/// The metrics of a line, once `is_it` holds of them.
async fn metrics(line: &Line, is_it: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    for _look in 0..LOOKS_MAX {
        text = reqwest::get(line.url("/metrics")).await.unwrap().text().await.unwrap();
        if is_it(&text) {
            return text;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("{text}");
}

/// The value of the metric whose line begins with `name` and has each of `labels`.
fn value(metrics: &str, name: &str, labels: &[&str]) -> u64 {
    let mut lines = metrics.lines().filter(|line| line.starts_with(name));
    let found = lines.find(|line| labels.iter().all(|label| line.contains(label)));
    found.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

fn flags(collector: &str) -> Vec<String> {
    let endpoint = format!("telemetry.otlp_endpoint={collector}");
    ["--set", &endpoint, "--set", "telemetry.filter=warn,ingest::caller=debug"]
        .map(str::to_owned)
        .into()
}

/// The one span of `trace` with that name.
#[track_caller]
fn the<'a>(spans: &'a [Told], trace: &str, name: &str) -> &'a Told {
    let found: Vec<_> =
        spans.iter().filter(|span| span.trace == trace && span.name == name).collect();
    let [span] = found[..] else { panic!("{name} of {trace}: {found:?}") };
    span
}

/// Checks that the spans with `names` are each the part of the one before, and the first one of `parent`.
#[track_caller]
pub(crate) fn check_chain(spans: &[Told], trace: &str, parent: &str, names: &[&str]) {
    let mut parent = parent.to_owned();
    for name in names {
        let span = the(spans, trace, name);
        assert_eq!(span.parent, parent, "{name} of {trace}");
        parent.clone_from(&span.id);
    }
    let of_trace = spans.iter().filter(|span| span.trace == trace);
    assert_eq!(of_trace.count(), names.len(), "nothing else is in {trace}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_trace_leads_from_the_sender_to_the_row_and_to_the_dead_letter() {
    const BACKLOG: usize = 300;
    let collector = Collector::start(Manner::Takes).await;
    let mut line = Line::start_tiny_with(flags(&collector.url()), &[]).await;

    // Over HTTP, by a foreign producer in many traces, and by one whose trace nobody records.
    let answer = reqwest::Client::new()
        .post(line.url("/analyze"))
        .header(headers::TRACEPARENT, format!("00-{}-{SENDER}-01", trace(9_999)))
        .header("prefer", "wait=60")
        .json(&serde_json::json!({ "id": "over-http", "review": "The room was clean." }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let told = answer.headers()[headers::TRACEPARENT].to_str().unwrap().to_owned();
    publish(&line.kafka(), (0..BACKLOG).map(|number| record(number, &review(number), "01"))).await;
    publish(&line.kafka(), [record(7_777, &review(7_777), "00"), record(8_888, "no JSON", "01")])
        .await;
    let verdicts = read(&line, VERDICTS, BACKLOG + 2).await;
    let letters = read(&line, DEAD_LETTERS, 1).await;
    let rows = [row(&line, "over-http").await, row(&line, "review-7").await];
    for number in [0, BACKLOG - 1, 7_777] {
        row(&line, &format!("review-{number}")).await;
    }
    // What is left is sent before the process ends.
    assert!(line.terminate().success());
    let spans = collector.spans();

    let after = ["process reviews.v1", "send verdicts.v1", "process verdicts.v1"];
    let http = trace(9_999);
    check_chain(
        &spans,
        &http,
        SENDER,
        &[&["POST /analyze", "send reviews.v1"], &after[..]].concat(),
    );
    assert_eq!(
        told[36..52],
        the(&spans, &http, "POST /analyze").id,
        "the answer names the request"
    );
    for number in 0..BACKLOG {
        check_chain(&spans, &trace(number), SENDER, &after);
    }
    check_chain(&spans, &trace(8_888), SENDER, &["process reviews.v1", "send reviews.v1.dlq"]);
    assert!(the(&spans, &trace(8_888), "process reviews.v1").is_error);
    assert!(!spans.iter().any(|span| span.trace == trace(7_777)));
    assert!(spans.iter().all(|span| span.service == "verdict"));

    // Each record names the span that wrote it; a dead letter is what came, byte for byte.
    for verdict in &verdicts {
        let written = headers::text(&verdict.record.headers, headers::TRACEPARENT).unwrap();
        if let (trace, "01") = (&written[3..35], &written[53..]) {
            assert_eq!(written[36..52], the(&spans, trace, "send verdicts.v1").id);
        }
    }
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    let kept = headers::text(&letter.record.headers, headers::TRACEPARENT);
    assert_eq!(kept, Some(format!("00-{}-{SENDER}-01", trace(8_888)).as_str()));
    assert_eq!(rows.map(|row| row["trace_id"].as_str().unwrap().to_owned()), [http, trace(7)]);

    check_attributes(&spans);
    check_links(&spans, "infer", "process reviews.v1", BACKLOG + 1);
    check_links(&spans, "upsert verdicts_by_id", "process verdicts.v1", BACKLOG + 1);
    check_other_signals(&collector);
}

/// Checks what the spans of the review over HTTP say of themselves, by OpenTelemetry's conventions.
#[track_caller]
fn check_attributes(spans: &[Told]) {
    let check = |span: &Told, name: &str, expected: &str| {
        let found = span.attributes.get(name).map(String::as_str);
        assert_eq!(found, Some(expected), "{name} of {span:?}");
    };
    let request = the(spans, &trace(9_999), "POST /analyze");
    check(request, "http.route", "/analyze");
    check(request, "http.response.status_code", "200");
    let processed = the(spans, &trace(9_999), "process reviews.v1");
    check(processed, "messaging.system", "kafka");
    check(processed, "messaging.destination.name", REVIEWS);
    check(processed, "messaging.operation.type", "process");
    check(processed, "verdict.review.id", "over-http");
    let refused = the(spans, &trace(8_888), "process reviews.v1");
    check(refused, "error.type", "InvalidJson");
    let upsert = spans.iter().find(|span| span.name == "upsert verdicts_by_id").unwrap();
    check(upsert, "db.system.name", "sqlite");
}

/// Checks that `count` of the spans `one` are linked to exactly one of the spans `many`, and it to them.
#[track_caller]
fn check_links(spans: &[Told], many: &str, one: &str, count: usize) {
    let calls: HashMap<&str, &Told> = spans
        .iter()
        .filter(|span| span.name == many)
        .map(|span| (span.id.as_str(), span))
        .collect();
    let linked = spans.iter().filter(|span| span.name == one && !span.links.is_empty());
    let mut seen = 0;
    for span in linked {
        let [call] = &span.links[..] else { panic!("{span:?}") };
        assert!(calls[call.as_str()].links.contains(&span.id), "{many} does not lead back");
        seen += 1;
    }
    assert_eq!(seen, count, "{one}");
    let links: usize = calls.values().map(|call| call.links.len()).sum();
    assert_eq!(links, count, "{many}");
    assert!(calls.len() < count, "a call is told once, not once a review");
    let rounds: Vec<_> = spans.iter().filter(|span| span.name == "round").collect();
    let is_part = |call: &Told| rounds.iter().any(|round| round.id == call.parent);
    assert!(calls.values().all(|call| is_part(call)));
}

/// Checks that metrics and logs come with the name of the service, and a log with the trace that it is of.
#[track_caller]
fn check_other_signals(collector: &Collector) {
    let metrics = collector.received().metrics.lock().unwrap().clone();
    for name in
        ["inference.predictions", "http.server.request.duration", "sink.rows", "telemetry.sent"]
    {
        assert!(metrics.contains(&("verdict".to_owned(), name.to_owned())), "{name}");
    }
    let logs = collector.received().logs.lock().unwrap().clone();
    let answered = logs.iter().find(|line| line.text == "answered" && line.trace == trace(9_999));
    assert_eq!(answered.map(|line| line.service.as_str()), Some("verdict"), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_share_of_the_traces_that_begin_here_is_recorded() {
    const REVIEWS_SENT: usize = 400;
    let collector = Collector::start(Manner::Takes).await;
    let mut flags = flags(&collector.url());
    flags.extend(["--set", "telemetry.sample_ratio=0.25"].map(str::to_owned));
    let variables = [("OTEL_SERVICE_NAME", "scores")];
    let mut line = Line::start_tiny_with(flags, &variables).await;
    let anonymous = |number| Record { headers: Vec::new(), ..record(number, &review(number), "") };
    publish(&line.kafka(), (0..REVIEWS_SENT).map(anonymous)).await;
    read(&line, VERDICTS, REVIEWS_SENT).await;
    assert!(line.terminate().success());
    let spans = collector.spans();
    let begun = spans.iter().filter(|span| span.name == "process reviews.v1").count();
    // Five standard deviations around a quarter.
    assert!((57..=143).contains(&begun), "{begun} of {REVIEWS_SENT}");
    let sent = spans.iter().filter(|span| span.name == "send verdicts.v1").count();
    assert_eq!(sent, begun);
    assert!(spans.iter().all(|span| span.service == "scores"));
}

/// Five hundred reviews through a line whose collector is at `url`: all are judged. The line still runs.
async fn judged(url: &str, variables: &[(&'static str, &str)]) -> Line {
    const REVIEWS_SENT: usize = 500;
    let line = Line::start_tiny_with(flags(url), variables).await;
    publish(&line.kafka(), (0..REVIEWS_SENT).map(|number| record(number, &review(number), "01")))
        .await;
    read(&line, VERDICTS, REVIEWS_SENT).await;
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_collector_that_is_not_there_costs_telemetry_only_and_that_is_counted() {
    // Nobody listens where a listener was a moment ago.
    let url = Collector::start(Manner::Takes).await.url();
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
    let mut line = judged(&url, &variables).await;
    let dropped = |metrics: &str| {
        let labels = ["signal=\"traces\"", "reason=\"export_failed\""];
        value(metrics, "telemetry_dropped_total", &labels)
    };
    // Two spans of each review in the processor, one in the sink.
    metrics(&line, |metrics| 1_500 <= dropped(metrics)).await;
    assert!(line.terminate().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_collector_that_never_answers_holds_up_neither_the_line_nor_its_end() {
    let collector = Collector::start(Manner::Hangs).await;
    // An hour: nobody waits for that.
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")];
    let mut line = judged(&collector.url(), &variables).await;
    assert!(0 < *collector.received().requests.lock().unwrap());
    let began = now();
    assert!(line.terminate().success());
    // It takes two seconds; the rest is for a machine that is busy.
    assert!(began.elapsed() < Duration::from_secs(40));
    assert!(collector.spans().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_collector_that_dawdles_gets_all_of_it_late() {
    let collector = Collector::start(Manner::Dawdles(Duration::from_millis(1_500))).await;
    let line = judged(&collector.url(), &[]).await;
    let sent = |metrics: &str| value(metrics, "telemetry_sent_total", &["signal=\"traces\""]);
    let metrics = metrics(&line, |metrics| 1_500 <= sent(metrics)).await;
    let dropped = value(&metrics, "telemetry_dropped_total", &["signal=\"traces\"", "queue_full"]);
    assert_eq!(dropped, 0);
}
