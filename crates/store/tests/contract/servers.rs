//! Real CQL servers: the one that the tests share, and others of their own that may fail.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use store::{StoreSettings, VerdictStore, connect, migrate};
use tempfile::TempDir;

use crate::Fresh;

/// Names the server that the tests share: `HOST:PORT`.
const SHARED: &str = "VERDICT_TEST_CQL";

/// The server that the tests share; `None`, and said so, where there is none.
pub(crate) fn shared() -> Option<String> {
    let address = env::var(SHARED).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        eprintln!("skipped: {SHARED} names no CQL server");
    }
    address
}

/// Settings for a keyspace on the shared server that nobody has used.
pub(crate) fn unused() -> Option<StoreSettings> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let keyspace = format!("test_{}_{count}", std::process::id());
    // A loaded machine may take its time to make tables.
    Some(StoreSettings {
        answer_wait_max: std::time::Duration::from_secs(30),
        ..StoreSettings::at(format!("cql://{}/{keyspace}", shared()?))
    })
}

/// An empty store on the shared server.
pub(crate) async fn fresh() -> Option<Fresh> {
    let settings = unused()?;
    migrate(&settings, None, false).await.unwrap();
    Some(Fresh { store: connect(&settings).await.unwrap(), _folder: None })
}

/// A server of the test's own, wiped when this is dropped.
pub(crate) struct Server {
    folder: TempDir,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = std::process::id().to_string();
        let start = [&["start", "cassandra", "--with", &owner], options].concat();
        let address = services(&start, folder.path());
        Self { folder, address }
    }

    /// `pause`, `resume`, or with `--node 1` `kill` and `restart`.
    pub(crate) fn order(&self, order: &[&str]) {
        services(order, self.folder.path());
    }

    /// A file that `--secure` made.
    pub(crate) fn secure(&self, name: &str) -> PathBuf {
        self.folder.path().join("secure").join(name)
    }

    pub(crate) fn settings(&self) -> StoreSettings {
        StoreSettings::at(format!("cql://{}/verdict", self.address))
    }

    pub(crate) async fn open(&self, settings: &StoreSettings) -> Arc<dyn VerdictStore> {
        migrate(settings, None, false).await.unwrap();
        connect(settings).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        services(&["wipe"], self.folder.path());
    }
}

/// Runs `dev/services`, and returns what it says.
fn services(order: &[&str], folder: &Path) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/services");
    let output = Command::new(program)
        .args(order)
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "dev/services {order:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
