//! A server that hangs or dies and comes back: nothing is lost, nothing piles up, and the same store finds it again.

use std::{fs, sync::Arc, time::Duration};

use store::{Row, StoreError, StoreSettings, VerdictStore};
use tokio::time::{Instant, timeout};

use crate::{
    servers::{Server, shared},
    verdicts::row,
};

const ROWS: usize = 1_000;
/// Upserts that are tried while the server is away.
const ATTEMPTS: usize = 15;
/// Most memory, in bytes, that they may leave behind.
const GROWTH_MAX: usize = 64 << 20;
/// A hang is a failure, too.
const PATIENCE: Duration = Duration::from_mins(3);

fn rows(label: &str) -> Vec<Row> {
    (0..ROWS).map(|index| row(&format!("{label}-{index}"), 1_000, label)).collect()
}

/// Memory of this process that is not on disk, in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// While the server is away every upsert says so, and leaves nothing behind.
async fn is_away(store: &Arc<dyn VerdictStore>, rows: &[Row]) {
    let before = resident();
    for _ in 0..ATTEMPTS {
        let error = timeout(PATIENCE, store.upsert(rows)).await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let error = store.get(&rows[0].verdict.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
    let growth = resident().saturating_sub(before);
    println!(
        "memory after {ATTEMPTS} upserts of {ROWS} rows without a server: +{} KiB",
        growth >> 10
    );
    assert!(growth < GROWTH_MAX, "{growth} bytes");
}

/// Writes again until it is taken, as the sink does, and finds every row.
async fn comes_back(store: &Arc<dyn VerdictStore>, rows: &[Row], what: &str) {
    let begun = Instant::now();
    let written = async {
        while let Err(error) = store.upsert(rows).await {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, written).await.unwrap();
    println!("the store took rows {:.1?} after the server was {what}", begun.elapsed());
    for row in rows {
        assert_eq!(store.get(&row.verdict.id).await.unwrap().as_ref(), Some(&row.verdict));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_is_found_again() {
    if shared().is_none() {
        return;
    }
    let server = Server::start(&[]);
    let settings = StoreSettings { answer_wait_max: Duration::from_secs(2), ..server.settings() };
    let store = server.open(&settings).await;
    let (first, hung, dead) = (rows("first"), rows("hung"), rows("dead"));
    comes_back(&store, &first, "started").await;

    server.order(&["pause"]);
    is_away(&store, &hung).await;
    server.order(&["resume"]);
    comes_back(&store, &hung, "resumed").await;

    server.order(&["kill", "--node", "1"]);
    is_away(&store, &dead).await;
    server.order(&["restart", "--node", "1"]);
    comes_back(&store, &dead, "restarted").await;
    // What was acknowledged before is still there.
    comes_back(&store, &first, "asked again").await;
}
