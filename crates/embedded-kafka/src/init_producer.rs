//! `InitProducerId`: ids for idempotent producers, and the fencing of former holders of a transactional id (KIP-98, KIP-360).

use crate::broker::Broker;
use crate::clock;
use crate::ledger::{Entry, Producer, Transactions};
use crate::sync::locked;
use crate::topics::{Refusal, storage_error};
use crate::transaction::{Ending, Turn};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use std::sync::Arc;

/// Ids are reserved in the journal this many at a time, so that not every producer costs a sync.
const IDS_AT_ONCE: i64 = 1_000;
/// The last epoch is left for fencing.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// An id and the epoch of its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    id: i64,
    epoch: i16,
}

impl Broker {
    pub(crate) async fn init_producer_id(
        self: &Arc<Self>,
        request: InitProducerIdRequest,
        version: i16,
    ) -> InitProducerIdResponse {
        let initialised = match &request.transactional_id {
            None => self.new_identity().await,
            Some(id) if id.is_empty() => Err(ResponseError::InvalidRequest),
            Some(_) => self.init_transactional(request, version).await,
        };
        let response = InitProducerIdResponse::default();
        match initialised {
            Ok(identity) => response
                .with_producer_id(ProducerId(identity.id))
                .with_producer_epoch(identity.epoch),
            Err(error) => response
                .with_error_code(error.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        }
    }

    async fn new_identity(&self) -> Result<Identity, ResponseError> {
        let id = self.next_producer_id()?;
        self.journal.settle_all().await.map_err(|error| storage_error(&error))?;
        Ok(Identity { id, epoch: 0 })
    }

    fn next_producer_id(&self) -> Result<i64, ResponseError> {
        let mut ids = locked(&self.coordinator.producer_ids);
        if ids.is_empty() {
            let next = ids.end.saturating_add(IDS_AT_ONCE);
            self.journal
                .record(Entry::ProducerIds { next })
                .map_err(|error| storage_error(&error))?;
            ids.end = next;
        }
        ids.next().ok_or(ResponseError::CoordinatorNotAvailable)
    }

    async fn init_transactional(
        self: &Arc<Self>,
        request: InitProducerIdRequest,
        version: i16,
    ) -> Result<Identity, ResponseError> {
        let timeout_max =
            i32::try_from(self.settings.transaction_timeout_max.as_millis()).unwrap_or(i32::MAX);
        if !(1..=timeout_max).contains(&request.transaction_timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let id = request.transactional_id.as_ref().map(|id| id.to_string()).unwrap_or_default();
        let turn = self.take_turn(&id)?;
        let fenced = match version {
            0..=3 => ResponseError::InvalidProducerEpoch,
            _ => ResponseError::ProducerFenced,
        };
        let broker = Arc::clone(self);
        // It goes on when the client goes away: half of it done would leave the id taken.
        let done = self.tasks.spawn(async move { broker.take_over(&turn, &request, fenced).await });
        done.await.unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
    }

    /// Ends what the former holder left open, and gives the id to the new one under the next epoch.
    async fn take_over(
        &self,
        turn: &Turn,
        request: &InitProducerIdRequest,
        fenced: ResponseError,
    ) -> Result<Identity, ResponseError> {
        let id = &turn.transactional_id;
        let known = self.journal.read(|ledger| ledger.transactions.get(id).cloned());
        let claim = (0 <= request.producer_id.0)
            .then_some(Identity { id: request.producer_id.0, epoch: request.producer_epoch });
        let next = match known {
            None if claim.is_some() => return Err(fenced),
            None => (Identity { id: self.next_producer_id()?, epoch: 0 }, None),
            Some(known) => self.next_identity(turn, known, claim, fenced).await?,
        };
        let (identity, epoch_before) = next;
        let (position, ()) = self.journal.decide(|_| {
            let producer = Producer {
                id: identity.id,
                epoch: identity.epoch,
                epoch_before,
                timeout_ms: request.transaction_timeout_ms,
                outcome: None,
                at_ms: clock::now_ms(),
            };
            Ok::<_, Refusal>((vec![Entry::Producer { transactional_id: id.clone(), producer }], ()))
        })?;
        self.journal.settle(position).await.map_err(|error| storage_error(&error))?;
        Ok(identity)
    }

    async fn next_identity(
        &self,
        turn: &Turn,
        known: Transactions,
        claim: Option<Identity>,
        fenced: ResponseError,
    ) -> Result<(Identity, Option<i16>), ResponseError> {
        let (now, before) = (known.producer.epoch, known.producer.epoch_before);
        match claim {
            Some(claim) if claim.id != known.producer.id => return Err(fenced),
            // The answer to its last request was lost: it gets the same again.
            Some(claim) if before == Some(claim.epoch) && known.ongoing.is_none() => {
                return Ok((Identity { id: claim.id, epoch: now }, before));
            }
            Some(claim) if claim.epoch != now => return Err(fenced),
            None | Some(_) => {}
        }
        if known.ongoing.is_some() {
            turn.end(Ending::Fence).await?;
        }
        match now {
            EPOCH_MAX.. => Ok((Identity { id: self.next_producer_id()?, epoch: 0 }, None)),
            _ => Ok((
                Identity { id: known.producer.id, epoch: now + 1 },
                claim.map(|claim| claim.epoch),
            )),
        }
    }
}
