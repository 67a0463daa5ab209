//! What became of every review: `verdict check` says it, and is itself proven elsewhere.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Map, Value};

use crate::{
    proof::{GROUP, MODEL, Proof},
    replica::{binary, without_settings},
    servers::{Cluster, text},
};

/// Counters that say that something is wrong with the topics.
const TOPIC_FAULTS: [&str; 7] =
    ["lost", "duplicated", "torn", "out_of_order", "swapped", "wrong_version", "unexplained"];

/// Counters of what the checker could not judge: a proof has waited until there is none of it.
const OPEN: [&str; 2] = ["pending", "forgotten"];

/// Counters that say that something is wrong with the store.
const STORE_FAULTS: [&str; 3] = ["rows_missing", "rows_stale", "rows_unexplained"];

/// What is printed, in this order, where the checker says it.
const PRINTED: [&str; 16] = [
    "reviews",
    "verdicts",
    "dead_letters",
    "rows",
    "rows_refused",
    "lost",
    "duplicated",
    "torn",
    "out_of_order",
    "swapped",
    "wrong_version",
    "unexplained",
    "rows_missing",
    "rows_stale",
    "rows_unexplained",
    "unacknowledged",
];

/// What is checked besides the topics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Check<'a> {
    /// URL of the store.
    pub(crate) store: Option<&'a str>,
    /// Group of the sinks that write there, instead of the one that the settings name.
    pub(crate) sink_group: Option<&'a str>,
    /// Ids that must be in the topic.
    pub(crate) acknowledged: &'a [String],
    /// The model instead of the proofs' own.
    pub(crate) model: Option<&'a str>,
}

/// Everything that the checker says.
#[derive(Clone, Debug)]
pub(crate) struct Counts(Map<String, Value>);

impl<'a> Check<'a> {
    /// The topics, and that these ids are in them.
    pub(crate) fn acknowledged(ids: &'a [String]) -> Self {
        Self { acknowledged: ids, ..Self::default() }
    }
}

impl Counts {
    /// One counter; it must be there.
    pub(crate) fn of(&self, name: &str) -> u64 {
        let count = self.0.get(name).and_then(Value::as_u64);
        count.unwrap_or_else(|| panic!("the checker says no `{name}`: {self:?}"))
    }

    /// The counters that are printed.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        PRINTED.into_iter().filter_map(|name| Some((name, self.0.get(name)?.as_u64()?)))
    }

    /// Nothing is wrong with the topics.
    pub(crate) fn assert_exact(&self) {
        self.assert_zero(&TOPIC_FAULTS);
        self.assert_zero(&OPEN);
        let open = self.0.get("open_transactions").and_then(Value::as_array);
        assert!(open.is_some_and(Vec::is_empty), "open transactions: {self:?}");
    }

    /// Nothing is wrong with the store.
    pub(crate) fn assert_stored(&self) {
        self.assert_zero(&STORE_FAULTS);
    }

    fn assert_zero(&self, names: &[&str]) {
        let faults: Vec<_> = names.iter().filter(|name| self.of(name) != 0).collect();
        assert!(faults.is_empty(), "{faults:?} in {self:?}");
    }
}

/// Checks the topics.
pub(crate) async fn check(proof: &Proof, kafka: &Cluster) -> Counts {
    run(proof, kafka, Check::default()).await
}

/// Runs the checker.
pub(crate) async fn run(proof: &Proof, kafka: &Cluster, check: Check<'_>) -> Counts {
    let mut command = Command::new(binary("verdict"));
    without_settings(&mut command);
    command.args(["check", "--json", "--group", GROUP, "--kafka", kafka.address()]);
    command.args(["--model", check.model.unwrap_or(MODEL)]);
    match check.store {
        Some(url) => command.arg("--set").arg(format!("store.url={url}")),
        None => command.arg("--no-store"),
    };
    if let Some(group) = check.sink_group {
        command.args(["--sink-group", group]);
    }
    if !check.acknowledged.is_empty() {
        let file = proof.folder().join("acknowledged.txt");
        fs::write(&file, check.acknowledged.join("\n")).unwrap();
        command.args(["--acknowledged", text(&file)]);
    }
    let running = move || command.stdin(Stdio::null()).output().unwrap();
    let output = tokio::task::spawn_blocking(running).await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    fs::write(proof.folder().join("check.json"), &printed).unwrap();
    let said = serde_json::from_str(&printed);
    Counts(said.unwrap_or_else(|error| {
        panic!("{error}: {printed}\n{}", String::from_utf8_lossy(&output.stderr))
    }))
}
