//! House rules that a test can hold: who depends on whom, which library is named where, lengths and names of files.
//!
//! Each rule is a function from made-up or real input to its breaches, so that the rules are tested, too.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const LINES_MAX: usize = 400;

/// Words that say nothing of what is inside.
const EMPTY_NAMES: [&str; 5] = ["manager", "helper", "handler", "util", "common"];

/// Services: each is replaceable, because none knows another.
const SERVICES: [&str; 3] = ["ingest", "processor", "sink"];

/// What everything may depend on, and which therefore depends on nothing of ours.
const FOUNDATIONS: [&str; 3] = ["chassis", "drift", "schemas"];

/// Libraries by the beginning of their names, and the beginnings of the paths that may name them.
const CONFINED: [(&str, &[&str]); 6] = [
    ("rdkafka", &["crates/broker/"]),
    ("tract", &["processor/src/classifier"]),
    ("rusqlite", &["crates/store/"]),
    ("scylla", &["crates/store/"]),
    ("openssl", &["crates/store/", "crates/chassis/src/telemetry/certificates.rs"]),
    // The collector of the tests reads what was sent by the published schema, not by our code.
    ("opentelemetry", &["crates/chassis/", "tests/suite/collector.rs"]),
];

/// The one file with `unsafe` in it; it says why that is sound.
const UNSAFE: &str = "processor/src/classifier/int8/tier.rs";

/// The one file of a service that may name `opentelemetry`, besides `chassis`.
const INSTRUMENTS: &str = "instruments.rs";

/// Folders that hold what was made here, besides those whose names begin with a dot.
const GENERATED: [&str; 4] = ["target", "verdict-data", "verdict-services", "__pycache__"];

/// Why the crate in `folder` must not depend on the one in `dependency`; both relative to the workspace.
fn arrow_breach(folder: &str, dependency: &str) -> Option<String> {
    let name = |folder: &str| folder.rsplit('/').next().unwrap_or_default().to_owned();
    let (from, to) = (name(folder), name(dependency));
    let is_library = folder.starts_with("crates/") || folder == "schemas";
    let is_service = |name: &str| SERVICES.contains(&name);
    if FOUNDATIONS.contains(&from.as_str()) {
        return Some(format!("{from} depends on nothing of ours, so not on {to}"));
    }
    if is_library && !dependency.starts_with("crates/") && dependency != "schemas" {
        return Some(format!("{from} is a library, so it does not depend on {to}"));
    }
    if is_service(&from) && (is_service(&to) || dependency.is_empty()) {
        return Some(format!("{from} is a service, so it does not depend on {to}"));
    }
    None
}

/// Libraries that `source`, the file at `path`, names and must not.
fn confinement_breaches(path: &str, source: &str) -> Vec<String> {
    let is_allowed = |library: &str, homes: &[&str]| {
        homes.iter().any(|home| path.starts_with(home))
            || library == "opentelemetry" && path.rsplit('/').next() == Some(INSTRUMENTS)
    };
    let forbidden = CONFINED.iter().filter(|(library, homes)| !is_allowed(library, homes));
    let mut breaches = Vec::new();
    for (library, _) in forbidden {
        let code =
            source.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (index, _) in code.filter(|(_, line)| names(line, library)) {
            breaches.push(format!("{path}:{}: names {library}", index + 1));
        }
    }
    breaches
}

/// Whether `line` has a path that begins with a crate whose name begins with `library`.
fn names(line: &str, library: &str) -> bool {
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at..].trim_start_matches(is_name);
        let is_import = line.trim_start().starts_with("use ") && after.starts_with(';');
        !before.is_some_and(is_name) && (after.starts_with("::") || is_import)
    })
}

/// What is wrong with the source file at `path` as a file.
fn file_breaches(path: &str, source: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let lines = source.lines().count();
    if LINES_MAX < lines {
        breaches.push(format!("{path}: {lines} lines, at most {LINES_MAX}"));
    }
    if !source.trim_start().starts_with("//!") {
        breaches.push(format!("{path}: does not open with a sentence on what it is"));
    }
    breaches
}

/// What is wrong with the name of the file or folder at `path`.
fn name_breach(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?.to_lowercase();
    let stem = name.split('.').next()?;
    let mut words = stem.split(['_', '-']);
    let word = words.find(|word| EMPTY_NAMES.contains(&word.trim_end_matches('s')))?;
    Some(format!("{path}: `{word}` says nothing of what is inside"))
}

/// Hunks of `patch`, the file at `path`, that no longer fit: their old lines do not stand once in what `read` gives of their file.
fn patch_breaches(path: &str, patch: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let (mut file, mut text, mut hunks) = ("", String::new(), 0);
    let mut breaches = Vec::new();
    let mut lines = patch.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(named) = line.strip_prefix("+++ b/") {
            (file, text) = (named, read(named).unwrap_or_default());
        }
        if !line.starts_with("@@ ") {
            continue;
        }
        hunks += 1;
        let mut old = String::new();
        while let Some(line) =
            lines.next_if(|line| line.starts_with([' ', '-', '+']) && !line.starts_with("--- "))
        {
            if !line.starts_with('+') {
                old.push_str(&line[1..]);
                old.push('\n');
            }
        }
        let times = text.matches(&old).count();
        if times != 1 {
            breaches.push(format!(
                "{path}: hunk {hunks} stands {times} times in {file}: make the patch anew"
            ));
        }
    }
    if hunks == 0 {
        breaches.push(format!("{path}: changes nothing"));
    }
    breaches
}

/// The names of the instruments that `source` makes.
fn metrics(source: &str) -> Vec<&str> {
    let made = ["_counter(", "_histogram(", "_gauge("];
    let calls = source
        .match_indices('(')
        .filter(|(at, _)| made.iter().any(|made| source[..=*at].ends_with(made)));
    let named = calls.filter_map(|(at, _)| source[at + 1..].trim_start().strip_prefix('"'));
    named.filter_map(|rest| rest.split('"').next()).collect()
}

/// Metrics of `source`, the file at `path`, that `page` has no row for.
fn untold_metrics(path: &str, source: &str, page: &str) -> Vec<String> {
    let is_told = |metric: &&str| page.contains(&format!("| `{metric}` |"));
    let untold = metrics(source).into_iter().filter(|metric| !is_told(metric));
    untold.map(|metric| format!("{path}: {metric} is not in docs/TELEMETRY.md")).collect()
}

/// Why `source`, the file at `path`, is not safe Rust: it says `unsafe`, or allows that. Comments do not count.
fn unsafe_breaches(path: &str, source: &str) -> Vec<String> {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + " ";
    let says =
        |line: &str| ["unsafe ", "unsafe{", "unsafe_code"].iter().any(|word| line.contains(word));
    let lines = source.lines().enumerate().filter(|(_, line)| says(&code(line)));
    lines.map(|(line, _)| format!("{path}:{}: unsafe belongs in {UNSAFE}", line + 1)).collect()
}

/// Every file of the tree that is not generated, relative to the workspace.
fn files() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || GENERATED.contains(&name.as_str()) {
                continue;
            }
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((relative, path));
            }
        }
    }
    files
}

/// Path and text of every Rust file.
fn sources() -> Vec<(String, String)> {
    let is_rust = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let rust = files().into_iter().filter(|(_, file)| is_rust(file));
    rust.map(|(path, file)| (path, fs::read_to_string(file).unwrap())).collect()
}

/// Folder of each crate of ours with the folders of those that it needs to run; its tests may need others.
fn arrows() -> Vec<(String, String)> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let root = metadata["workspace_root"].as_str().unwrap();
    let relative = |path: &str| path.trim_start_matches(root).trim_matches('/').to_owned();
    let mut arrows = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let folder =
            relative(package["manifest_path"].as_str().unwrap().trim_end_matches("Cargo.toml"));
        for dependency in package["dependencies"].as_array().unwrap() {
            if let (Some(path), true) = (dependency["path"].as_str(), dependency["kind"].is_null())
            {
                arrows.push((folder.clone(), relative(path)));
            }
        }
    }
    arrows
}

#[track_caller]
fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn dependencies_point_one_way() {
    let arrows = arrows();
    assert!(arrows.contains(&("sink".to_owned(), "crates/store".to_owned())), "{arrows:?}");
    let breaches: Vec<_> = arrows.iter().filter_map(|(from, to)| arrow_breach(from, to)).collect();
    assert_none(&breaches);
}

#[test]
fn libraries_that_reach_outside_are_named_in_one_place() {
    let breaches: Vec<_> = sources()
        .iter()
        // This file names them in its made-up cases.
        .filter(|(path, _)| path != "tests/tidy.rs")
        .flat_map(|(path, source)| confinement_breaches(path, source))
        .collect();
    assert_none(&breaches);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let breaches: Vec<_> =
        sources().iter().flat_map(|(path, source)| file_breaches(path, source)).collect();
    assert_none(&breaches);
}

#[test]
fn unsafe_is_in_one_file_and_needed_there() {
    let sources = sources().into_iter().filter(|(path, _)| path != "tests/tidy.rs");
    let breaches = sources.flat_map(|(path, source)| unsafe_breaches(&path, &source));
    let (there, elsewhere): (Vec<_>, Vec<_>) =
        breaches.partition(|breach| breach.starts_with(UNSAFE));
    assert_none(&elsewhere);
    assert!(!there.is_empty(), "{UNSAFE} needs no exception");
}

#[test]
fn the_rule_for_unsafe_can_fail() {
    assert_eq!(unsafe_breaches("a.rs", "let a = unsafe { b() };").len(), 1);
    assert_eq!(unsafe_breaches("a.rs", "#![allow(unsafe_code)]\nunsafe fn a() {}").len(), 2);
    assert_eq!(
        unsafe_breaches("a.rs", "// Without unsafe.\nlet unsafely = 'unsafe-inline';"),
        [""; 0]
    );
}

#[test]
fn names_say_something() {
    let breaches: Vec<_> = files().iter().filter_map(|(path, _)| name_breach(path)).collect();
    assert_none(&breaches);
}

#[test]
fn every_mutant_still_fits_what_it_breaks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_patch = |path: &str| path.starts_with("tests/mutants/");
    let patches: Vec<_> = files().into_iter().filter(|(path, _)| is_patch(path)).collect();
    assert!(!patches.is_empty(), "tests/mutants has moved");
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let breaches = |(path, file): (String, PathBuf)| {
        patch_breaches(&path, &fs::read_to_string(file).unwrap(), read)
    };
    assert_none(&patches.into_iter().flat_map(breaches).collect::<Vec<_>>());
}

#[test]
fn every_metric_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/TELEMETRY.md");
    let page = fs::read_to_string(page).unwrap();
    let tells =
        |path: &str| path.ends_with(INSTRUMENTS) || path == "crates/chassis/src/telemetry.rs";
    let sources = sources();
    let sources = sources.iter().filter(|(path, _)| tells(path));
    // Those that chassis makes in its own tests are none.
    let sources = sources.map(|(path, source)| (path, source.split("mod tests {").next().unwrap()));
    let breaches: Vec<_> =
        sources.flat_map(|(path, source)| untold_metrics(path, source, &page)).collect();
    assert_none(&breaches);
}

#[test]
fn the_rule_for_metrics_can_fail() {
    let source = "meter.u64_counter(\"a.b\")\n .f64_histogram(\n \"c\").with_unit(\"s\"); f(\"d\")";
    assert_eq!(metrics(source), ["a.b", "c"]);
    assert_eq!(untold_metrics("x.rs", source, "| `c` | histogram |").len(), 1);
}

#[test]
fn the_rule_for_arrows_can_fail() {
    for (from, to) in [
        ("schemas", "crates/store"),
        ("crates/chassis", "schemas"),
        ("crates/drift", "schemas"),
        ("crates/broker", "processor"),
        ("crates/broker", ""),
        ("sink", "ingest"),
        ("processor", ""),
    ] {
        assert!(arrow_breach(from, to).is_some(), "{from} -> {to}");
    }
    for (from, to) in
        [("sink", "crates/store"), ("crates/store", "schemas"), ("", "ingest"), ("benches", "sink")]
    {
        assert_eq!(arrow_breach(from, to), None, "{from} -> {to}");
    }
}

#[test]
fn the_rule_for_libraries_can_fail() {
    let check = |path: &str, source: &str, expected: &[&str]| {
        assert_eq!(confinement_breaches(path, source), expected, "{path}: {source}");
    };
    check("sink/src/a.rs", "\nuse rdkafka::message;", &["sink/src/a.rs:2: names rdkafka"]);
    check("src/up.rs", "let a = tract_onnx::onnx();", &["src/up.rs:1: names tract"]);
    check("src/up.rs", "use rusqlite;", &["src/up.rs:1: names rusqlite"]);
    check(
        "sink/src/loop.rs",
        "opentelemetry::global::meter(a)",
        &["sink/src/loop.rs:1: names opentelemetry"],
    );
    check("crates/broker/src/a.rs", "use rdkafka::message;", &[]);
    check("sink/src/instruments.rs", "use opentelemetry::global;", &[]);
    check(
        "sink/src/a.rs",
        "// As rdkafka::message does.\nlet a = \"librdkafka\"; my_tract::b();",
        &[],
    );
}

#[test]
fn the_rules_for_files_can_fail() {
    let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
    assert_eq!(file_breaches("a.rs", &long).len(), 1);
    assert_eq!(file_breaches("a.rs", "use std::fs;\n").len(), 1);
    assert_eq!(file_breaches("a.rs", "//! Short.\n"), [""; 0]);
    for name in [
        "src/util.rs",
        "src/file_utils.rs",
        "a/HandlerManager_helper.rs",
        "tests/common",
        "b/helpers.rs",
    ] {
        assert!(name_breach(name).is_some(), "{name}");
    }
    for name in ["src/commonplace.rs", "src/utility.rs", "src/stop.rs"] {
        assert_eq!(name_breach(name), None, "{name}");
    }
}

#[test]
fn the_rule_for_mutants_can_fail() {
    let patch = "Breaks it.\n\n--- a/a.rs\n+++ b/a.rs\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n";
    let check = |patch: &str, text: Option<&str>, expected: usize| {
        let breaches = patch_breaches("a.patch", patch, |_file| text.map(str::to_owned));
        assert_eq!(breaches.len(), expected, "{text:?}: {breaches:?}");
    };
    check(patch, Some("zero\none\ntwo\n"), 0);
    check(patch, Some("one\n2\n"), 1);
    check(patch, Some("one\ntwo\none\ntwo\n"), 1);
    check(patch, None, 1);
    check("Breaks nothing.\n", Some("one\ntwo\n"), 1);
    check(&[patch, patch].concat(), Some("one\n"), 2);
}
