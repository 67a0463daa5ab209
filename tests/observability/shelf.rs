//! The files of `observability/` and `docs/runbooks/`, and a copy of them with a minute made a second.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// How many times faster a hastened file is.
const HASTE: u64 = 60;

/// An alert as its rule says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) name: String,
    /// The rule's text, from its name to the next rule.
    pub(crate) rule: String,
    /// Name of the file of its rule and of its tests.
    pub(crate) file: String,
}

/// A file or folder of the repository.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub(crate) fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap()
}

/// Names of the files in a folder of the repository, in order.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<_> =
        fs::read_dir(path(folder)).unwrap().map(|it| name(it).unwrap()).collect();
    names.sort();
    names
}

/// All alerts of all rules.
pub(crate) fn alerts() -> Vec<Alert> {
    let folder = "observability/prometheus/rules";
    let in_file = |file: String| {
        let text = read(&format!("{folder}/{file}"));
        let mut alerts = Vec::new();
        for rule in text.split("- alert: ").skip(1) {
            let name = rule.lines().next().unwrap_or_default().to_owned();
            alerts.push(Alert { name, rule: rule.to_owned(), file: file.clone() });
        }
        alerts
    };
    names(folder).into_iter().flat_map(in_file).collect()
}

/// Every dashboard with its file's name.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let folder = "observability/grafana/dashboards";
    let dashboard = |file: String| {
        let json = serde_json::from_str(&read(&format!("{folder}/{file}")));
        (file, json.unwrap())
    };
    names(folder).into_iter().map(dashboard).collect()
}

/// Every expression of a runbook, one a line there.
pub(crate) fn runbook_expressions(page: &str) -> Vec<String> {
    let text = read(&format!("docs/runbooks/{page}"));
    let blocks = text.split("```promql\n").skip(1).filter_map(|from| from.split("```").next());
    blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The panels of a dashboard; rows are none.
pub(crate) fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap();
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

/// Puts the hastened rules into `folder`, as they lie beside the configuration of Prometheus.
pub(crate) fn put_hastened_rules(folder: &Path) {
    fs::create_dir_all(folder.join("rules")).unwrap();
    for name in names("observability/prometheus/rules") {
        let text = hastened(&read(&format!("observability/prometheus/rules/{name}")));
        fs::write(folder.join("rules").join(name), text).unwrap();
    }
}

/// `text` with every duration a sixtieth of what it was, so that nobody waits for ten minutes. Names that end like a duration
/// (`rate5m`) stay.
pub(crate) fn hastened(text: &str) -> String {
    let is_name = |character: char| character.is_alphanumeric() || "_.".contains(character);
    let mut fast = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, from) = rest.split_at(begin);
        let digits = from.len() - from.trim_start_matches(|it: char| it.is_ascii_digit()).len();
        let (number, after) = from.split_at(digits);
        let is_word = before.chars().next_back().or(fast.chars().next_back()).is_some_and(is_name);
        let unit = after.chars().next().filter(|_| !after.chars().nth(1).is_some_and(is_name));
        let seconds = match unit {
            Some('s') => Some(1),
            Some('m') => Some(60),
            Some('h') => Some(3_600),
            _ => None,
        };
        fast.push_str(before);
        match (number.parse::<u64>(), seconds) {
            (Ok(number), Some(seconds)) if !is_word => {
                write!(fast, "{}ms", number * seconds * 1_000 / HASTE).unwrap();
                rest = &after[1..];
            }
            _ => {
                fast.push_str(number);
                rest = after;
            }
        }
    }
    fast + rest
}

#[test]
fn a_minute_becomes_a_second_and_names_stay() {
    for (text, expected) in [
        ("rate(a[5m]) > 0.5", "rate(a[5000ms]) > 0.5"),
        ("for: 0m", "for: 0ms"),
        ("ratio_rate5m > p99_5m", "ratio_rate5m > p99_5m"),
        ("[1h] [30s]", "[60000ms] [500ms]"),
        ("vector(0)\n1.5m 7", "vector(0)\n1.5m 7"),
        ("14.4 * 0.001", "14.4 * 0.001"),
        ("10m", "10000ms"),
    ] {
        assert_eq!(hastened(text), expected, "{text}");
    }
}
