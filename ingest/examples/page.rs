//! The page on a line without a model: `cargo run --release -p ingest --example page -- 127.0.0.1:8099 [reviews per second]`.

#![expect(clippy::unwrap_used, reason = "an example")]

#[path = "../tests/http/line.rs"]
mod line;

use std::{env, time::Duration};

use broker::{Outgoing, Publish as _};
use ingest::Settings;
use schemas::{IncomingReview, Record, topics};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const SAMPLES: [&str; 8] = [
    "Spotless room, quiet street, and the staff remembered our names.",
    "The bathroom was dirty and nobody answered the phone.",
    "Breakfast was generous; the coffee alone is worth the stay.",
    "Paid extra for a sea view and looked at a dirty wall instead.",
    "Great value for a family of four. We would come back in spring.",
    "Check-in took an hour, but the concierge could not have been kinder.",
    "Dated furniture, dirty carpets, thin walls.",
    "The bed was the best I have slept in for years.",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8099".to_owned());
    let per_second: u32 = arguments.next().and_then(|rate| rate.parse().ok()).unwrap_or(0);
    let telemetry =
        chassis::telemetry::start("ingest", &chassis::telemetry::TelemetrySettings::default())?;
    let line = line::Line::new();
    let mut parts = line.parts();
    parts.metrics = telemetry.router();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind(address).await?;
    let serving = ingest::serve(listener, parts, Settings::default(), stop.clone());
    let feeding = feed(line.broker.clone(), per_second);
    tokio::select! {
        ended = async { tokio::join!(serving, async { chassis::stop::signalled().await.unwrap(); stop.cancel() }).0 } => ended,
        () = feeding => Ok(()),
    }
}

/// Sends samples at a rate that breathes, so that the sparkline has something to show.
async fn feed(broker: broker::memory::MemoryBroker, per_second: u32) {
    let mut sent: u32 = 0;
    loop {
        let breath = 1.0 + 0.5 * (f64::from(sent) / f64::from(per_second.max(1)) / 4.0).sin();
        let rate = f64::from(per_second) * breath;
        let pause = if per_second == 0 { 3_600.0 } else { 1.0 / rate };
        tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        sent = sent.wrapping_add(1);
        let review = SAMPLES[(sent.wrapping_mul(2_654_435_761) >> 8) as usize % SAMPLES.len()];
        let value = IncomingReview {
            review: review.to_owned(),
            source: Some("sample".to_owned()),
            ..IncomingReview::default()
        };
        let value = Some(serde_json::to_vec(&value).unwrap());
        let record =
            Record { key: Some(sent.to_string().into_bytes()), value, ..Record::default() };
        let topic = std::sync::Arc::from(topics::REVIEWS);
        broker.publish(Outgoing { topic, record }).await.unwrap();
    }
}
