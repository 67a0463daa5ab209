//! A subscription and a store that fail by chance, in every way that their traits allow.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use broker::{Delivery, Progress, Subscribe, SubscribeError, memory::MemorySubscribe};
use jiff::Timestamp;
use rand::{Rng as _, rngs::StdRng};
use schemas::{ReviewId, Verdict};
use store::{
    FeedbackRow, JudgedWindow, Page, PageToken, RefusedRecord, Row, SourceDay, StoreError,
    VerdictStore,
};
use tokio_util::sync::CancellationToken;

use crate::world::{POISON, World};

/// Chance, shared by all that may fail.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) Arc<Mutex<StdRng>>);

impl Chance {
    pub(crate) fn of(&self, probability: f64) -> bool {
        self.0.lock().unwrap().random_bool(probability)
    }

    pub(crate) fn below(&self, bound: usize) -> usize {
        self.0.lock().unwrap().random_range(0..bound)
    }
}

/// What may happen around one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Nothing is done, and the peer is away.
    Away,
    /// It is done, and the peer is away before it could say so.
    AwayAfter,
    /// The process dies before it is done. To the loop under test a crash is an error that ends it at once.
    Crash,
    /// The process dies after it is done.
    CrashAfter,
}

impl Fault {
    fn draw(chance: &Chance, rate: f64) -> Self {
        if !chance.of(rate) {
            return Self::None;
        }
        [Self::Away, Self::Away, Self::AwayAfter, Self::AwayAfter, Self::Crash, Self::CrashAfter]
            [chance.below(6)]
    }
}

/// Reads the world's topic, which grows meanwhile; checks at each commit that no offset is ahead of the rows.
pub(crate) struct FaultySubscription {
    pub(crate) world: Arc<World>,
    pub(crate) inner: MemorySubscribe,
    /// Another replica, which takes partitions away and gives them back unread.
    pub(crate) rival: Option<MemorySubscribe>,
    pub(crate) store: Arc<dyn VerdictStore>,
    pub(crate) stop: CancellationToken,
}

impl FaultySubscription {
    fn come_and_go(&mut self) {
        let world = &self.world;
        if world.chance.of(world.fault_rate / 2.0) {
            self.rival = match self.rival.take() {
                Some(_) => None,
                None => Some(world.subscribe()),
            };
        }
        if let Some(rival) = &mut self.rival {
            // Joining and giving up is settled in a poll.
            drop(rival.poll(0, Duration::ZERO));
        }
    }
}

impl Subscribe for FaultySubscription {
    fn poll(&mut self, max: usize, _wait: Duration) -> Result<Vec<Delivery>, SubscribeError> {
        self.world.grow();
        self.come_and_go();
        if self.world.is_done() || self.world.chance.of(0.01) {
            self.stop.cancel();
        }
        match Fault::draw(&self.world.chance, self.world.fault_rate) {
            Fault::None => self.inner.poll(max, Duration::ZERO),
            Fault::Away => Err(SubscribeError::Unavailable("chance".to_owned())),
            Fault::AwayAfter => Err(SubscribeError::Lost("chance".to_owned())),
            Fault::Crash | Fault::CrashAfter => Err(SubscribeError::Fatal("crash".to_owned())),
        }
    }

    fn keep_alive(&mut self) -> Result<(), SubscribeError> {
        self.world.grow();
        self.come_and_go();
        match Fault::draw(&self.world.chance, self.world.fault_rate / 10.0) {
            Fault::Crash | Fault::CrashAfter => Err(SubscribeError::Fatal("crash".to_owned())),
            Fault::None | Fault::Away | Fault::AwayAfter => self.inner.keep_alive(),
        }
    }

    fn commit(&mut self, progress: &Progress) -> Result<(), SubscribeError> {
        self.come_and_go();
        let fault = Fault::draw(&self.world.chance, self.world.fault_rate);
        if matches!(fault, Fault::None | Fault::AwayAfter | Fault::CrashAfter) {
            self.inner.commit(progress)?;
            self.world.check_offsets(&*self.store);
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Away if self.world.chance.of(0.5) => {
                Err(SubscribeError::Lost("chance".to_owned()))
            }
            Fault::Away | Fault::AwayAfter => Err(SubscribeError::Unavailable("chance".to_owned())),
            Fault::Crash | Fault::CrashAfter => Err(SubscribeError::Fatal("crash".to_owned())),
        }
    }

    fn is_assigned(&self) -> bool {
        self.inner.is_assigned()
    }
}

/// A store that fails by chance, and takes no verdict that says [`POISON`].
#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn VerdictStore>,
    pub(crate) chance: Chance,
    pub(crate) fault_rate: f64,
    pub(crate) stop: CancellationToken,
}

impl FaultyStore {
    fn error(&self, fault: Fault) -> Result<(), StoreError> {
        match fault {
            Fault::None => Ok(()),
            Fault::Away | Fault::AwayAfter => {
                // Now and then the sink is asked to stop while the store is away.
                if self.chance.of(0.1) {
                    self.stop.cancel();
                }
                Err(StoreError::Unavailable("chance".to_owned()))
            }
            Fault::Crash | Fault::CrashAfter => Err(StoreError::Unusable("crash".to_owned())),
        }
    }
}

#[async_trait]
impl VerdictStore for FaultyStore {
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError> {
        if rows.iter().any(|row| row.verdict.label == POISON) {
            return Err(StoreError::Refused("poison".to_owned()));
        }
        let fault = Fault::draw(&self.chance, self.fault_rate);
        match fault {
            Fault::Away | Fault::Crash => {
                // A store without transactions may have written some.
                let some = self.chance.below(rows.len() + 1);
                self.inner.upsert(&rows[..some]).await?;
            }
            Fault::None | Fault::AwayAfter | Fault::CrashAfter => self.inner.upsert(rows).await?,
        }
        self.error(fault)
    }

    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError> {
        self.inner.get(id).await
    }

    async fn list(
        &self,
        day: &SourceDay,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<Verdict>, StoreError> {
        self.inner.list(day, from, limit).await
    }

    async fn scan(&self, from: Option<&PageToken>, limit: usize) -> Result<Page<Row>, StoreError> {
        self.inner.scan(from, limit).await
    }

    async fn keep_feedback(&self, rows: &[FeedbackRow]) -> Result<(), StoreError> {
        self.inner.keep_feedback(rows).await
    }

    async fn feedback(&self, id: &ReviewId) -> Result<Vec<FeedbackRow>, StoreError> {
        self.inner.feedback(id).await
    }

    async fn scan_feedback(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<FeedbackRow>, StoreError> {
        self.inner.scan_feedback(from, limit).await
    }

    async fn keep_judgements(&self, judged: &[JudgedWindow]) -> Result<(), StoreError> {
        self.inner.keep_judgements(judged).await
    }

    async fn judgements(
        &self,
        period: &Range<Timestamp>,
        count_max: usize,
    ) -> Result<Vec<JudgedWindow>, StoreError> {
        self.inner.judgements(period, count_max).await
    }

    async fn keep_refused(&self, records: &[RefusedRecord]) -> Result<(), StoreError> {
        let fault = Fault::draw(&self.chance, self.fault_rate);
        if !matches!(fault, Fault::Away | Fault::Crash) {
            self.inner.keep_refused(records).await?;
        }
        self.error(fault)
    }

    async fn refused(&self, count_max: usize) -> Result<Vec<RefusedRecord>, StoreError> {
        self.inner.refused(count_max).await
    }

    async fn scan_refused(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<RefusedRecord>, StoreError> {
        self.inner.scan_refused(from, limit).await
    }
}
