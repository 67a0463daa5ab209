//! What ingest measures. Names and attributes of `http.*` are OpenTelemetry's semantic conventions.

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram, UpDownCounter},
};

/// The instruments of one service. No attribute ever holds an id or anything else that a client chose.
#[derive(Debug)]
pub(crate) struct Instruments {
    request_duration: Histogram<f64>,
    active_requests: UpDownCounter<i64>,
    connections: UpDownCounter<i64>,
    reviews: Counter<u64>,
    feedback: Counter<u64>,
    in_flight: UpDownCounter<i64>,
    waiters: UpDownCounter<i64>,
    streams: UpDownCounter<i64>,
    stream_lost: Counter<u64>,
}

/// What one request was, in words of which there are few.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured<'a> {
    /// The method, `_OTHER` where it is none of HTTP's own.
    pub(crate) method: &'static str,
    /// The route's pattern; absent where none matched.
    pub(crate) route: Option<&'a str>,
    /// The status.
    pub(crate) status: u16,
}

impl Instruments {
    /// Instruments of the process's meter provider.
    pub(crate) fn new() -> Self {
        let meter = global::meter("ingest");
        Self {
            request_duration: meter
                .f64_histogram("http.server.request.duration")
                .with_unit("s")
                .with_description("Duration of HTTP requests")
                .build(),
            active_requests: meter
                .i64_up_down_counter("http.server.active_requests")
                .with_description("HTTP requests being answered")
                .build(),
            connections: meter
                .i64_up_down_counter("ingest.connections")
                .with_description("Open connections of clients")
                .build(),
            reviews: meter
                .u64_counter("ingest.reviews")
                .with_description("Reviews received, by outcome")
                .build(),
            feedback: meter
                .u64_counter("ingest.feedback")
                .with_description("Labels received, by outcome")
                .build(),
            in_flight: meter
                .i64_up_down_counter("ingest.reviews.in_flight")
                .with_description(
                    "Reviews being published or waited for, and labels being published",
                )
                .build(),
            waiters: meter
                .i64_up_down_counter("ingest.waiters")
                .with_description("Clients that wait for a verdict")
                .build(),
            streams: meter
                .i64_up_down_counter("ingest.streams")
                .with_description("Open streams of verdicts")
                .build(),
            stream_lost: meter
                .u64_counter("ingest.stream.lost")
                .with_description("Verdicts that slow readers of the stream did not get")
                .build(),
        }
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.add(1, &[]);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.add(-1, &[]);
    }

    pub(crate) fn request_began(&self, method: &'static str) {
        self.active_requests.add(1, &[KeyValue::new("http.request.method", method)]);
    }

    pub(crate) fn request_left(&self, method: &'static str) {
        self.active_requests.add(-1, &[KeyValue::new("http.request.method", method)]);
    }

    pub(crate) fn request_answered(&self, measured: Measured<'_>, seconds: f64) {
        let mut attributes = vec![
            KeyValue::new("http.request.method", measured.method),
            KeyValue::new("http.response.status_code", i64::from(measured.status)),
        ];
        if let Some(route) = measured.route {
            attributes.push(KeyValue::new("http.route", route.to_owned()));
        }
        self.request_duration.record(seconds, &attributes);
    }

    /// `outcome` is `judged`, `replayed`, `accepted`, or the stable name of an error.
    pub(crate) fn review(&self, outcome: &'static str) {
        self.reviews.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// `outcome` is `accepted`, or the stable name of an error.
    pub(crate) fn feedback(&self, outcome: &'static str) {
        self.feedback.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn in_flight(&self, came: usize, went: usize) {
        let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.in_flight.add(count(came).saturating_sub(count(went)), &[]);
    }

    pub(crate) fn waiters(&self, change: i64) {
        self.waiters.add(change, &[]);
    }

    pub(crate) fn streams(&self, change: i64) {
        self.streams.add(change, &[]);
    }

    pub(crate) fn stream_lost(&self, verdicts: u64) {
        self.stream_lost.add(verdicts, &[]);
    }
}
