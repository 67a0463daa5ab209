//! All rows in one number, so that two tables can be told apart, or not.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{Row, StoreError, VerdictStore, hex};

/// Rows that are read at a time.
const PAGE_ROWS: usize = 1_000;

/// Count and sum of rows. Free of order, since a store has none: the sum modulo 2^256 of the SHA-256 of each row. Not an
/// exclusive or, in which a row that is there twice would vanish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many rows there are.
    pub rows: u64,
    sum: [u8; 32],
}

impl Digest {
    /// Counts `row`, with its verdict and its write time. `Refused` if it is not writable at all.
    pub fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let hash = Sha256::digest(format!("{} {}", row.written_at_us, row.digest()?));
        let mut carry = 0;
        for (byte, added) in self.sum.iter_mut().zip(hash).rev() {
            let [high, low] = (u16::from(*byte) + u16::from(added) + carry).to_be_bytes();
            (*byte, carry) = (low, u16::from(high));
        }
        self.rows += 1;
        Ok(())
    }
}

/// The sum, in hex.
impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(&self.sum))
    }
}

/// Reads all rows of `store`; those that are written meanwhile may be counted or not.
pub async fn digest(store: &dyn VerdictStore) -> Result<Digest, StoreError> {
    let mut digest = Digest::default();
    let mut from = None;
    loop {
        let page = store.scan(from.as_ref(), PAGE_ROWS).await?;
        for row in &page.items {
            digest.add(row)?;
        }
        from = match page.next {
            Some(next) => Some(next),
            None => return Ok(digest),
        };
    }
}
