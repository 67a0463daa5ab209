//! A store that is away for the first judgements that it is to keep.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use schemas::{ReviewId, Verdict};
use store::{
    FeedbackRow, JudgedWindow, MemoryStore, Page, PageToken, RefusedRecord, Row, SourceDay,
    StoreError, VerdictStore,
};

#[derive(Debug)]
pub(crate) struct AwayForAWhile {
    inner: MemoryStore,
    left: AtomicUsize,
}

impl AwayForAWhile {
    /// Away for so many calls.
    pub(crate) fn new(calls: usize) -> Self {
        Self { inner: MemoryStore::default(), left: AtomicUsize::new(calls) }
    }
}

#[async_trait]
impl VerdictStore for AwayForAWhile {
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.inner.upsert(rows).await
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
        let less = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_left) => Err(StoreError::Unavailable("away".to_owned())),
            Err(_none) => self.inner.keep_judgements(judged).await,
        }
    }

    async fn judgements(
        &self,
        period: &Range<Timestamp>,
        count_max: usize,
    ) -> Result<Vec<JudgedWindow>, StoreError> {
        self.inner.judgements(period, count_max).await
    }

    async fn keep_refused(&self, records: &[RefusedRecord]) -> Result<(), StoreError> {
        self.inner.keep_refused(records).await
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
