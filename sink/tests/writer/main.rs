//! Whatever fails and whenever it crashes: every verdict of the topic is a row exactly once, and no offset is ever ahead of
//! the rows.
//!
//! A seed that fails fails again: chance, and with it every fault, comes from the seed alone.
//!
//! # Layout
//! - here: the simulation; `world`: one seed's topic and expectations; `faults`: what fails by chance
//! - `outage`: one thing that goes wrong at a time

#![expect(clippy::unwrap_used, reason = "a test")]

mod faults;
mod outage;
mod world;

use std::sync::Arc;

use store::{MemoryStore, SqliteSettings, SqliteStore, VerdictStore};
use world::World;

const SEEDS: u64 = 200;
/// Fewer: each batch waits for the disk.
const SEEDS_ON_DISK: u64 = 10;

#[test]
fn every_verdict_is_a_row_exactly_once() {
    for seed in 0..SEEDS {
        let store = Arc::new(MemoryStore::default());
        let world = Arc::new(World::new(seed));
        world.live_until_all_is_written(|| Arc::clone(&store) as Arc<dyn VerdictStore>);
        world.check_outcome(&*store);
        // Not one row too many, either.
        assert_eq!(store.rows().len(), world.expected_rows().len(), "seed {seed}");
    }
}

#[test]
fn every_verdict_is_a_row_exactly_once_in_a_file_that_is_opened_anew() {
    for seed in SEEDS..SEEDS + SEEDS_ON_DISK {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.db");
        let open = || SqliteStore::open(&path, &SqliteSettings::default()).unwrap();
        let world = Arc::new(World::new(seed));
        world.live_until_all_is_written(|| Arc::new(open()));
        world.check_outcome(&open());
    }
}
