//! The rows of a line on a CQL server, by the commands that operators have.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{
    replica::{binary, without_settings},
    servers::Cluster,
};

/// How many rows there are, and one number for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Digest {
    pub(crate) rows: u64,
    digest: String,
}

/// Makes the tables in `keyspace`; the URL of the store that they are.
pub(crate) async fn migrated(cassandra: &Cluster, keyspace: &str) -> String {
    let url = format!("cql://{}/{keyspace}", cassandra.address());
    migrate(&url, None).await;
    url
}

/// Brings the tables at `url` to what the build in `build`, or this one, wants them to be.
pub(crate) async fn migrate(url: &str, build: Option<&Path>) {
    let program = build.map_or_else(|| binary("verdict"), |folder| folder.join("verdict"));
    run(Command::new(program), &["store", "migrate"], &[("store.url", url)]).await;
}

/// Reads all rows.
pub(crate) async fn digest(url: &str) -> Digest {
    let printed = verdict(&["store", "digest", "--json"], &[("store.url", url)]).await;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// Runs `verdict` with `settings`; what it printed. It must end well.
pub(crate) async fn verdict(arguments: &[&str], settings: &[(&str, &str)]) -> String {
    run(Command::new(binary("verdict")), arguments, settings).await
}

async fn run(mut command: Command, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    without_settings(&mut command);
    command.args(arguments);
    for (key, value) in settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    let running = move || command.stdin(Stdio::null()).output().unwrap();
    let output = tokio::task::spawn_blocking(running).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "verdict {}: {}\n{said}", arguments.join(" "), output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
