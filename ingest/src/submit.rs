//! The way of one review: named, looked up, published, waited for.

use std::{sync::Arc, time::Duration};

use chassis::clock;
use schemas::{ReviewId, Verdict};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use tracing::warn;
use uuid::Uuid;

use crate::{
    caller::Caller,
    idempotency::IdempotencyKey,
    ledger::{Claim, Refused},
    problem::{Kind, Problem},
    publish::{Destination, Sending},
    service::Service,
    submission::Submission,
    waiting::{Outcome, Waiter},
};

/// Whose idempotency keys these are. One tenant, as long as there is no authentication that could tell two apart.
const TENANT: &str = "default";

/// How far a review has come when it may be answered.
pub(crate) enum Submitted {
    /// Its id was used before, for the same text, and this came of it.
    Replayed(Arc<Verdict>),
    /// It is durable, and its verdict is to come.
    Durable(Pending),
}

/// A durable review without its verdict.
pub(crate) struct Pending {
    id: ReviewId,
    waiter: Waiter,
    /// Holds an idempotency key until its first request is answered.
    _claim: Option<Claimed>,
}

/// What a client is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// With the verdict.
    Judged {
        /// The verdict.
        verdict: Arc<Verdict>,
        /// Whether it is the answer to an earlier request.
        is_replayed: bool,
    },
    /// With the place where the verdict will be.
    Underway(ReviewId),
}

/// An id that is ours until its review is durable.
struct Claimed {
    service: Arc<Service>,
    id: ReviewId,
    is_durable: bool,
}

impl Service {
    /// Makes a review durable, unless its id has been used before.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        submission: Submission,
        key: Option<&IdempotencyKey>,
        caller: &Caller,
    ) -> Result<Submitted, Problem> {
        if !self.is_listening() {
            let problem = Problem::new(Kind::NotReady, "not yet connected to the broker");
            return Err(problem.retry_after(1));
        }
        // An id in the body names the review; a key beside it would name it twice.
        let key = key.filter(|_| submission.id.is_none());
        let (id, is_chosen) = match (&submission.id, key) {
            (Some(id), _) => (id.clone(), true),
            (None, Some(key)) => (ReviewId::of_idempotency_key(TENANT, key.as_str()), true),
            (None, None) => (ReviewId::from(Uuid::now_v7()), false),
        };
        let text_sha256 = sha256(submission.text.as_str());
        // Joined before the claim is looked at, so that no verdict can come in between and be missed.
        let waiter = self.waiting.join(&id);
        let claim = self.ledger().claim(&id, &text_sha256);
        let mut claimed = match claim {
            Claim::First => {
                Claimed { service: Arc::clone(self), id: id.clone(), is_durable: false }
            }
            Claim::Accepted => return Ok(Submitted::Durable(Pending { id, waiter, _claim: None })),
            Claim::Judged(verdict) => return Ok(Submitted::Replayed(verdict)),
            Claim::Open => return Err(in_progress(&id)),
            Claim::OtherText => return Err(other_text(&id, key)),
        };
        if is_chosen && let Some(verdict) = self.find(&id).await.unwrap_or(None) {
            if verdict.review_sha256 != text_sha256 {
                return Err(other_text(&id, key));
            }
            let verdict = Arc::new(verdict);
            self.ledger().judged(&verdict, verdict.review.as_ref().map_or(0, String::len));
            return Ok(Submitted::Replayed(verdict));
        }
        self.publish_review(submission, &id, caller).await?;
        claimed.is_durable = true;
        let claim = key.is_some().then_some(claimed);
        Ok(Submitted::Durable(Pending { id, waiter, _claim: claim }))
    }

    /// Asks the store. Where it is away the review is taken all the same: the same id is one row downstream, and intake does
    /// not depend on the store.
    pub(crate) async fn find(&self, id: &ReviewId) -> Result<Option<Verdict>, Problem> {
        let reason = match timeout(self.settings.store_wait_max, self.store.get(id)).await {
            Ok(Ok(verdict)) => return Ok(verdict),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer within {:?}", self.settings.store_wait_max),
        };
        warn!(reason, "verdicts cannot be looked up");
        Err(Problem::new(Kind::StoreAway, "the verdict cannot be looked up right now")
            .retry_after(2))
    }

    async fn publish_review(
        &self,
        submission: Submission,
        id: &ReviewId,
        caller: &Caller,
    ) -> Result<(), Problem> {
        let review = submission.into_review(id.clone(), clock::now());
        let sending = Sending::of(Destination::Reviews, caller, &self.spans);
        let mut record = review
            .to_record(sending.record_headers(caller))
            .map_err(|error| Problem::new(Kind::BrokerRefused, error.to_string()))?;
        // The event time stands in the value. As a record's timestamp Kafka takes neither a negative one nor, by default, one
        // of more than an hour from now.
        let received_at_ms = review.received_at.as_millisecond();
        record.timestamp_ms = record.timestamp_ms.map(|time| match time {
            time if (0..=received_at_ms).contains(&time) => time,
            _ => received_at_ms,
        });
        self.publish(sending, record).await
    }
}

impl Submitted {
    /// Waits for the verdict, `wait` at most.
    pub(crate) async fn answer(self, wait: Duration) -> Result<Answer, Problem> {
        let mut pending = match self {
            Self::Replayed(verdict) => return Ok(Answer::Judged { verdict, is_replayed: true }),
            Self::Durable(pending) => pending,
        };
        match pending.waiter.outcome(wait).await {
            Some(Outcome::Judged(verdict)) => Ok(Answer::Judged { verdict, is_replayed: false }),
            Some(Outcome::Refused(refused)) => Err(refused_by_the_line(&refused)),
            None => Ok(Answer::Underway(pending.id.clone())),
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.is_durable {
            self.service.ledger().settle(&self.id);
        } else {
            self.service.ledger().forget(&self.id);
        }
    }
}

/// A dead letter, as its sender is told.
pub(crate) fn refused_by_the_line(refused: &Refused) -> Problem {
    let advice =
        if refused.is_retryable { "sending it again may help" } else { "do not send it again" };
    let detail =
        format!("refused at {}: {}; {advice}", refused.stage.to_ascii_lowercase(), refused.message);
    Problem::new(Kind::Refused, detail)
}

fn in_progress(id: &ReviewId) -> Problem {
    let detail = format!("the first request for {id} is not answered yet: try again");
    Problem::new(Kind::InProgress, detail).retry_after(1)
}

fn other_text(id: &ReviewId, key: Option<&IdempotencyKey>) -> Problem {
    match key {
        Some(_) => Problem::new(
            Kind::KeyReused,
            "the key was used before with another text: send a new key with each new review",
        ),
        None => Problem::new(
            Kind::IdReused,
            format!("{id} was used before with another text: send a new id with each new review"),
        ),
    }
}

/// As in [`Verdict::review_sha256`].
fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        for digit in [byte >> 4, byte & 0xf] {
            hex.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        hex
    })
}
