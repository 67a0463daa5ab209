//! The place of a record in its trace: whose it was, and the two operations that the line adds.

use broker::Delivery;
use chassis::{TraceContext, Tracer};
use schemas::headers;

/// The operations on one record. They are named when it is read, so that a batch can be linked to its reviews; whether spans are
/// made of them is decided by the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The operation that wrote the record, if it says.
    pub received: Option<TraceContext>,
    /// From the record's reading to its commit.
    pub process: TraceContext,
    /// The writing of its verdict or dead letter; the same as `process` where no span is made.
    pub send: TraceContext,
}

impl Steps {
    /// Those of `delivery`. A header that is malformed is one that is absent, says W3C Trace Context: a new trace begins.
    pub fn of(delivery: &Delivery, tracer: &Tracer) -> Self {
        let given = headers::text(&delivery.record.headers, headers::TRACEPARENT);
        let received = given.and_then(TraceContext::parse);
        let process = tracer.follow(received.as_ref());
        let send = if tracer.records(&process) { process.child() } else { process };
        Self { received, process, send }
    }

    /// Those of each of `deliveries`, in order.
    pub fn of_all(deliveries: &[Delivery], tracer: &Tracer) -> Vec<Self> {
        deliveries.iter().map(|delivery| Self::of(delivery, tracer)).collect()
    }
}
