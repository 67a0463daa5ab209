//! Making one record durable, whatever it holds, and telling its client when it is not known to be.

use std::sync::Arc;

use broker::{Outgoing, PublishError};
use chassis::{TraceContext, clock, fault};
use schemas::{Record, headers, record::Header};
use tokio::time::timeout;
use tracing::warn;

use crate::{
    caller::Caller,
    problem::{Kind, Problem},
    service::Service,
    spans::{Sent, Spans},
};

/// What a record is, and with it its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A review, for `reviews.v1`.
    Reviews,
    /// What people say of a verdict, for `feedback.v1`.
    Feedback,
}

/// A record that is about to be written for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    destination: Destination,
    /// The request.
    request: TraceContext,
    /// The writing.
    context: TraceContext,
}

impl Sending {
    /// Takes its place in the trace of the request.
    pub(crate) fn of(destination: Destination, caller: &Caller, spans: &Spans) -> Self {
        Self { destination, request: caller.trace, context: spans.sending(caller.trace) }
    }

    /// What of the request travels with the record.
    pub(crate) fn record_headers(&self, caller: &Caller) -> Vec<Header> {
        let mut all = vec![
            Header::text(headers::TRACEPARENT, self.context.traceparent()),
            Header::text(headers::REQUEST_ID, caller.request_id.as_str()),
        ];
        if let Some(tracestate) = &caller.tracestate {
            all.push(Header::text(headers::TRACESTATE, tracestate.as_str()));
        }
        all
    }
}

impl Destination {
    fn broker_away(self) -> Problem {
        let detail = match self {
            Self::Reviews => {
                "the review may or may not have been taken: send it again with the same id or \
                 Idempotency-Key, and it counts once"
            }
            Self::Feedback => {
                "the label may or may not have been taken: send it again, and it counts once"
            }
        };
        Problem::new(Kind::BrokerAway, detail).retry_after(2)
    }
}

impl Service {
    /// Returns once the record is durable.
    pub(crate) async fn publish(&self, sending: Sending, record: Record) -> Result<(), Problem> {
        let Sending { destination, request, context } = sending;
        let topic = match destination {
            Destination::Reviews => Arc::clone(&self.reviews_topic),
            Destination::Feedback => Arc::clone(&self.feedback_topic),
        };
        let wait_max = self.settings.publish_wait_max;
        fault::point("ingest_before_publish");
        let began_at = clock::now();
        let published = timeout(wait_max, self.publisher.publish(Outgoing { topic, record })).await;
        let late = PublishError::Unavailable(String::new());
        let error = published.as_ref().map_or(Some(&late), |published| published.as_ref().err());
        let ended_at = clock::now();
        self.spans.sent(&Sent { destination, request, context, began_at, ended_at, error });
        match published {
            Ok(Ok(())) => {
                fault::point("ingest_after_publish");
                Ok(())
            }
            Ok(Err(error @ PublishError::Full)) => {
                let seconds = self.admission.retry_after_s(clock::monotonic());
                Err(Problem::new(Kind::Overloaded, error.to_string()).retry_after(seconds))
            }
            Ok(Err(PublishError::Refused(reason))) => {
                warn!(reason, ?destination, "the broker refuses a record");
                Err(Problem::new(Kind::BrokerRefused, reason))
            }
            Ok(Err(PublishError::Unavailable(reason))) => {
                warn!(reason, ?destination, "a record was not published");
                Err(destination.broker_away())
            }
            Err(_elapsed) => {
                warn!(?wait_max, ?destination, "a record was not published in time");
                Err(destination.broker_away())
            }
        }
    }
}
