//! The thread that hears the answers: it reads verdicts and dead letters from the end of their topics.
//!
//! Every replica reads all of them and keeps what concerns it, so that a client may be answered by any replica, and no replica
//! has to be found again. A librdkafka consumer blocks, hence a thread.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use broker::{Delivery, Subscribe, SubscribeError};
use chassis::{clock, health::Check};
use schemas::{ReviewId, Verdict, dead_letter, headers, topics};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{ledger::Refused, service::Service};

/// Most records taken at once.
const RECORDS_MAX: usize = 1_024;

/// Longest wait for a first record; bounds how long stopping takes.
const POLL_WAIT_MAX: Duration = Duration::from_millis(100);

/// Pause after the broker was away.
const PAUSE: Duration = Duration::from_millis(250);

/// The reader, before it runs.
pub(crate) struct Tail {
    pub(crate) service: Arc<Service>,
    pub(crate) subscription: Box<dyn Subscribe>,
    pub(crate) check: Check,
}

impl Tail {
    /// Reads until `stop`, or until nothing will ever be read again.
    pub(crate) fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut is_away = false;
        while !stop.is_cancelled() {
            self.check.beat(clock::monotonic());
            match self.subscription.poll(RECORDS_MAX, POLL_WAIT_MAX) {
                Ok(deliveries) => {
                    self.note_assignment(&mut is_away);
                    for delivery in &deliveries {
                        self.hear(delivery);
                    }
                }
                Err(SubscribeError::Fatal(reason)) => {
                    self.check.not_ready(reason.as_str());
                    return Err(anyhow!(reason)).context("listening for answers");
                }
                Err(error) => {
                    if !is_away {
                        warn!(%error, "answers are not heard");
                        is_away = true;
                    }
                    self.check.not_ready(error.to_string());
                    thread::sleep(PAUSE);
                }
            }
        }
        Ok(())
    }

    fn note_assignment(&self, is_away: &mut bool) {
        if !self.subscription.is_assigned() {
            return;
        }
        if !self.service.is_listening() || *is_away {
            info!("listening for answers");
        }
        *is_away = false;
        self.service.set_listening();
        self.check.ready();
    }

    fn hear(&self, delivery: &Delivery) {
        match &*delivery.topic {
            topics::VERDICTS => self.hear_verdict(delivery),
            topics::DEAD_LETTERS => self.hear_dead_letter(delivery),
            // Nobody subscribes us to another.
            _ => {}
        }
    }

    fn hear_verdict(&self, delivery: &Delivery) {
        match Verdict::from_record(&delivery.record) {
            Ok(verdict) => {
                let bytes = delivery.record.value.as_ref().map_or(0, Vec::len);
                self.service.judged(verdict, bytes);
            }
            Err(error) => {
                let Delivery { partition, offset, .. } = delivery;
                warn!(partition, offset, %error, "skipping a record that is no verdict");
            }
        }
    }

    /// Only a dead letter with a key can be told to anybody; all that ingest published has one.
    fn hear_dead_letter(&self, delivery: &Delivery) {
        let record = &delivery.record;
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let Some(Ok(id)) = key.map(ReviewId::new) else { return };
        let text = |name| headers::text(&record.headers, name);
        let refused = Refused {
            stage: text(dead_letter::STAGE).unwrap_or("UNKNOWN").to_owned(),
            message: text(dead_letter::MESSAGE).unwrap_or("no reason given").to_owned(),
            is_retryable: text(dead_letter::RETRYABLE) == Some("true"),
        };
        self.service.refused(&id, refused);
    }
}
