//! A store that forgets all when it is dropped. For tests of those who write to a store.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use jiff::Timestamp;
use schemas::{ReviewId, Verdict};

use crate::{
    FeedbackRow, JudgedWindow, Page, PageToken, RefusedRecord, Row, SourceDay, StoreError,
    VerdictStore, feedback, judged,
    page::{self, Kind},
};

/// A store that forgets all when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    rows: BTreeMap<ReviewId, Row>,
    feedback: BTreeMap<FeedbackKey, FeedbackRow>,
    refused: Vec<RefusedRecord>,
    judged: BTreeMap<(String, i64, i64), JudgedWindow>,
}

/// What makes two pieces of feedback the same: review, time, person and label.
type FeedbackKey = (String, Timestamp, String, String);

impl MemoryStore {
    /// All rows, by id.
    pub fn rows(&self) -> BTreeMap<ReviewId, Row> {
        self.tables().rows.clone()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl VerdictStore for MemoryStore {
    async fn upsert(&self, rows: &[Row]) -> Result<(), StoreError> {
        // All are checked before one is written: a refused batch leaves nothing behind, as a transaction does.
        for row in rows {
            row.digest()?;
        }
        let mut tables = self.tables();
        for row in rows {
            let outranked = match tables.rows.get(&row.verdict.id) {
                Some(present) => row.outranks(present)?,
                None => true,
            };
            if outranked {
                tables.rows.insert(row.verdict.id.clone(), row.clone());
            }
        }
        Ok(())
    }

    async fn get(&self, id: &ReviewId) -> Result<Option<Verdict>, StoreError> {
        Ok(self.tables().rows.get(id).map(|row| row.verdict.clone()))
    }

    async fn list(
        &self,
        day: &SourceDay,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<Verdict>, StoreError> {
        let place = |verdict: &Verdict| (verdict.occurred_at, verdict.id.clone());
        let after = from.map(PageToken::place).transpose()?;
        let is_asked = |verdict: &Verdict| {
            SourceDay::of(verdict) == *day
                && after.as_ref().is_none_or(|after| *after < place(verdict))
        };
        let tables = self.tables();
        let verdicts = tables.rows.values().map(|row| &row.verdict);
        let mut verdicts: Vec<_> = verdicts.filter(|verdict| is_asked(verdict)).cloned().collect();
        verdicts.sort_by_key(place);
        Ok(page::cut(verdicts, limit.max(1), |verdict| {
            PageToken::after_place(verdict.occurred_at, &verdict.id)
        }))
    }

    async fn scan(&self, from: Option<&PageToken>, limit: usize) -> Result<Page<Row>, StoreError> {
        let after = from.map(PageToken::id).transpose()?;
        let tables = self.tables();
        let rows = tables.rows.iter();
        let rows = rows.filter(|(id, _)| after.as_ref().is_none_or(|after| after < *id));
        let limit = limit.max(1);
        let rows = rows.map(|(_, row)| row.clone()).take(limit.saturating_add(1)).collect();
        Ok(page::cut(rows, limit, |row: &Row| PageToken::after_id(&row.verdict.id)))
    }

    async fn keep_feedback(&self, rows: &[FeedbackRow]) -> Result<(), StoreError> {
        let key = |FeedbackRow { feedback, .. }: &FeedbackRow| -> Result<FeedbackKey, StoreError> {
            let (id, given_at) = (feedback.id.clone(), feedback::given_at(feedback)?);
            Ok((id, given_at, feedback.by.clone().unwrap_or_default(), feedback.label.clone()))
        };
        let keys = rows.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let mut tables = self.tables();
        for (key, row) in keys.into_iter().zip(rows) {
            let present = tables.feedback.entry(key).or_insert_with(|| row.clone());
            if row.takes_the_place_of(present) {
                *present = row.clone();
            }
        }
        Ok(())
    }

    async fn feedback(&self, id: &ReviewId) -> Result<Vec<FeedbackRow>, StoreError> {
        let tables = self.tables();
        let rows = tables.feedback.values().filter(|row| row.feedback.id == id.as_str());
        Ok(rows.cloned().collect())
    }

    async fn scan_feedback(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<FeedbackRow>, StoreError> {
        let after = from.map(|token| token.number(Kind::Feedback)).transpose()?;
        let tables = self.tables();
        Ok(numbered(Kind::Feedback, tables.feedback.values(), after, limit))
    }

    async fn keep_judgements(&self, judged: &[JudgedWindow]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for one in judged {
            let present = tables.judged.get(&one.key());
            if present.is_none_or(|present| present.judged_at <= one.judged_at) {
                tables.judged.insert(one.key(), one.clone());
            }
        }
        Ok(())
    }

    async fn judgements(
        &self,
        period: &Range<Timestamp>,
        count_max: usize,
    ) -> Result<Vec<JudgedWindow>, StoreError> {
        judged::days(period)?;
        let tables = self.tables();
        let found = tables.judged.values().filter(|one| period.contains(&one.last_at));
        let mut found: Vec<_> = found.cloned().collect();
        found.sort_by(JudgedWindow::order);
        found.truncate(count_max);
        Ok(found)
    }

    async fn keep_refused(&self, records: &[RefusedRecord]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for record in records {
            let is_same = |present: &RefusedRecord| {
                (&present.topic, present.partition, present.offset)
                    == (&record.topic, record.partition, record.offset)
                    && present.record == record.record
            };
            if !tables.refused.iter().any(is_same) {
                tables.refused.push(record.clone());
            }
        }
        Ok(())
    }

    async fn refused(&self, count_max: usize) -> Result<Vec<RefusedRecord>, StoreError> {
        Ok(self.tables().refused.iter().rev().take(count_max).cloned().collect())
    }

    async fn scan_refused(
        &self,
        from: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page<RefusedRecord>, StoreError> {
        let after = from.map(|token| token.number(Kind::Refused)).transpose()?;
        let tables = self.tables();
        Ok(numbered(Kind::Refused, tables.refused.iter(), after, limit))
    }
}

/// A page of `all`, which are numbered as they stand.
fn numbered<'a, T: Clone + 'a>(
    kind: Kind,
    all: impl Iterator<Item = &'a T>,
    after: Option<i64>,
    limit: usize,
) -> Page<T> {
    let limit = limit.max(1);
    let later = (0_i64..).zip(all).filter(|(number, _)| after.is_none_or(|after| after < *number));
    let page = page::cut(later.take(limit.saturating_add(1)).collect(), limit, |(number, _)| {
        PageToken::after_number(kind, *number)
    });
    Page { items: page.items.into_iter().map(|(_, one)| one.clone()).collect(), next: page.next }
}
