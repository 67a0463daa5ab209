//! A process killed in the midst of writing keeps every batch that was acknowledged.
//!
//! SIGKILL leaves the kernel's cache in place, so this shows that nothing is acknowledged before it is handed to the kernel
//! in an order that survives; that it reaches the disk is `synchronous = FULL`'s promise, which a power cut alone could test.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use store::{SqliteSettings, SqliteStore, VerdictStore as _};

use crate::verdicts::{id, row};

/// Names the file that a child is to write to; its presence makes this process the child.
const FILE: &str = "VERDICT_TEST_STORE_FILE";
/// Number of the first batch that a child is to write.
const FIRST: &str = "VERDICT_TEST_STORE_FIRST";
const ROWS: usize = 50;
const KILLS: usize = 10;

fn name(batch: usize, index: usize) -> String {
    format!("batch-{batch}-row-{index}")
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, &SqliteSettings::default()).unwrap()
}

/// Not a test unless run by [`acknowledged_batches_survive_sigkill`]: writes batches until it is killed, and says each.
#[tokio::test]
async fn child_that_writes_until_killed() {
    let (Some(path), Some(first)) = (env::var_os(FILE), env::var_os(FIRST)) else { return };
    let first: usize = first.to_str().unwrap().parse().unwrap();
    let store = open(Path::new(&path));
    for batch in first.. {
        let rows: Vec<_> = (0..ROWS).map(|index| row(&name(batch, index), 1, "kept")).collect();
        store.upsert(&rows).await.unwrap();
        let mut output = std::io::stdout().lock();
        writeln!(output, "\nacknowledged {batch}").unwrap();
        output.flush().unwrap();
    }
}

#[tokio::test]
async fn acknowledged_batches_survive_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verdicts.db");
    let mut acknowledged = Vec::new();
    let mut first = 0;
    for kill in 0..KILLS {
        let batches = write_until_killed(&path, first, 3 + kill * 2);
        first = batches.last().copied().unwrap() + 1_000;
        acknowledged.extend(batches);

        let store = open(&path);
        for &batch in &acknowledged {
            for index in 0..ROWS {
                let found = store.get(&id(&name(batch, index))).await.unwrap();
                assert!(found.is_some(), "kill {kill}: row {index} of batch {batch} is gone");
            }
        }
    }
    assert!(KILLS * 3 <= acknowledged.len());
}

/// Starts a child that writes batches from `first` on, kills it after `count` acknowledgements, and returns all that it gave.
fn write_until_killed(path: &Path, first: usize, count: usize) -> Vec<usize> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "kill::child_that_writes_until_killed", "--nocapture"])
        .env(FILE, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut batches = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(batch) = line.strip_prefix("acknowledged ") else { continue };
        batches.push(batch.parse().unwrap());
        if batches.len() == count {
            // SIGKILL: the child is in the midst of a later batch. What it still said is read to the end.
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "the child was to be killed");
    batches
}
