//! A store that forgets all when it is dropped. For tests of those who write to a store.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use schemas::{ReviewId, Verdict};

use crate::{RefusedRecord, Row, StoreError, VerdictStore};

/// A store that forgets all when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    rows: BTreeMap<ReviewId, Row>,
    refused: Vec<RefusedRecord>,
}

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
}
