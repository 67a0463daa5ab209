//! Our programs, asked what they make of a file of settings, of variables and of commands; nothing is started.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
};

/// A program of ours with no variable but these: what a test's own process has would be read, too.
fn program(name: &str, variables: &BTreeMap<String, String>) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_verdict")).with_file_name(name);
    let mut command = Command::new(path);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().envs(variables);
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What the program has against its settings, of a file and of variables; `None` where it takes them.
pub(crate) fn objection(
    name: &str,
    file: &str,
    variables: &BTreeMap<String, String>,
) -> Option<String> {
    let mut command = program(name, variables);
    // All of them read their settings first. What is asked next is whether one of them runs, which does not matter here.
    command.args(if name == "verdict" { &["config", "print"][..] } else { &["--ready"] });
    let output = command.args(["--config", file]).output().unwrap();
    let text = told(&output);
    (!output.status.success() && !text.contains("/readyz")).then_some(text)
}

/// The settings of `verdict` with this file and these variables.
pub(crate) fn settings(file: &str, variables: &BTreeMap<String, String>) -> toml::Table {
    let output =
        program("verdict", variables).args(["config", "print", "--config", file]).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    told(&output).parse().unwrap()
}

/// Whether the program has such a command, with such flags.
pub(crate) fn knows(name: &str, words: &[&str]) -> bool {
    let output = program(name, &BTreeMap::new()).args(words).arg("--help").output().unwrap();
    output.status.success()
}

#[test]
fn what_a_program_does_not_know_is_an_objection() {
    let none = BTreeMap::new();
    let mistaken = BTreeMap::from([("VERDICT_KAFKA__SERVERS".to_owned(), "k:1".to_owned())]);
    for name in crate::dockerfile::IMAGES {
        let file = format!("deploy/images/{name}.toml");
        assert_eq!(objection(name, &file, &none), None, "{name}");
        let objection = objection(name, &file, &mistaken).unwrap_or_default();
        assert!(objection.contains("VERDICT_KAFKA__SERVERS"), "{name}: {objection}");
    }
    assert!(knows("verdict", &["topics", "--partitions", "4"]));
    assert!(!knows("verdict", &["topic"]));
    assert!(!knows("ingest", &["--readyz"]));
}
