//! Settings from made-up files, variables and flags.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    name: String,
    ingest: Ingest,
    store: Store,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ingest {
    listen: String,
    in_flight_max: u16,
    #[serde(with = "duration")]
    wait_max: Duration,
    labels: Vec<String>,
    proxy: Option<String>,
}

/// Forgot to deny what it does not know.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Store {
    password: Secret,
    properties: BTreeMap<String, Secret>,
    options: BTreeMap<String, String>,
    strict: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { name: "verdict".to_owned(), ingest: Ingest::default(), store: Store::default() }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            in_flight_max: 100,
            wait_max: Duration::from_secs(2),
            labels: Vec::new(),
            proxy: None,
        }
    }
}

const IGNORED: &[&str] = &["VERDICT_CONFIG", "VERDICT_TEST_*"];

fn file(toml: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    file
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads from a file's text, the environment and the flags; the file's name is replaced by `FILE` in an error.
fn load_from(
    toml: &str,
    environment: &[(&str, &str)],
    overrides: &[(&str, &str)],
) -> Result<Settings, String> {
    let file = file(toml);
    let sources = Sources {
        file: Some(file.path().to_owned()),
        environment_prefix: "VERDICT_",
        environment_ignored: IGNORED,
        overrides: pairs(overrides),
    };
    load_with(&sources, pairs(environment).into_iter())
        .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(load_from("", &[], &[]), Ok(Settings::default()));
}

#[test]
fn each_place_goes_over_the_one_before() {
    let toml = "name = 'file'\n[ingest]\nlisten = 'file'\nin_flight_max = 1\nwait_max = '250ms'\n";
    let environment = [("VERDICT_INGEST__LISTEN", "env"), ("VERDICT_INGEST__IN_FLIGHT_MAX", "2")];
    let settings = load_from(toml, &environment, &[("ingest.in_flight_max", "3")]).unwrap();
    assert_eq!(settings.name, "file");
    assert_eq!(settings.ingest.wait_max, Duration::from_millis(250));
    assert_eq!(settings.ingest.listen, "env");
    assert_eq!(settings.ingest.in_flight_max, 3);
}

#[test]
fn the_last_of_two_flags_wins() {
    let settings = load_from("", &[], &[("name", "first"), ("name", "second")]).unwrap();
    assert_eq!(settings.name, "second");
}

#[test]
fn the_setting_decides_what_a_text_means() {
    let environment = [
        ("VERDICT_NAME", "4711"),
        ("VERDICT_INGEST__PROXY", "true"),
        ("VERDICT_INGEST__LABELS", r#"["a", "b"]"#),
        ("VERDICT_STORE__STRICT", "true"),
        ("VERDICT_STORE__PASSWORD", "0815"),
        ("VERDICT_STORE__OPTIONS__MODE", "1"),
    ];
    let settings = load_from("", &environment, &[]).unwrap();
    assert_eq!(settings.name, "4711");
    assert_eq!(settings.ingest.proxy.as_deref(), Some("true"));
    assert_eq!(settings.ingest.labels, ["a", "b"]);
    assert!(settings.store.strict);
    assert_eq!(settings.store.password.reveal(), "0815");
    assert_eq!(settings.store.options["mode"], "1");
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let known = "known here: listen, in_flight_max, wait_max, labels, proxy";
    let check = |result: Result<Settings, String>, place: &str| {
        assert_eq!(result, Err(format!("unknown setting `ingest.lisen` in {place}; {known}")));
    };
    check(load_from("[ingest]\nlisen = 'x'", &[], &[]), "FILE");
    check(
        load_from("", &[("VERDICT_INGEST__LISEN", "x")], &[]),
        "the environment variable VERDICT_INGEST__LISEN",
    );
    check(load_from("", &[], &[("ingest.lisen", "x")]), "the command line");
}

#[test]
fn an_unknown_key_is_refused_where_its_struct_forgot_to() {
    let error = load_from("[store]\nstrickt = true", &[], &[]).unwrap_err();
    assert_eq!(
        error,
        "unknown setting `store.strickt` in FILE; known here: options, password, properties, strict"
    );
    let error = load_from("", &[("VERDICT_STORE__STRICKT", "true")], &[]).unwrap_err();
    assert!(error.contains("in the environment variable VERDICT_STORE__STRICKT;"), "{error}");
    let error = load_from("", &[], &[("store.strickt", "true")]).unwrap_err();
    assert!(error.contains("in the command line;"), "{error}");
}

#[test]
fn a_variable_with_our_prefix_that_is_no_setting_is_refused() {
    for name in ["VERDICT_TYPO", "VERDICT_", "VERDICT_CONFIG_DIR", "VERDICT_INGEST_LISTEN"] {
        let error = load_from("", &[(name, "x")], &[]).unwrap_err();
        assert!(error.contains(&format!("in the environment variable {name};")), "{error}");
    }
}

#[test]
fn variables_that_the_caller_names_and_variables_of_others_are_left_alone() {
    let environment = [
        ("VERDICT_CONFIG", "x"),
        ("VERDICT_TEST_BROKER", "x"),
        ("PATH", "/bin"),
        ("VERDICTS", "1"),
    ];
    assert_eq!(load_from("", &environment, &[]), Ok(Settings::default()));
}

#[test]
fn a_value_of_the_wrong_type_names_key_place_and_what_was_expected() {
    let check = |result: Result<Settings, String>, expected: &str| {
        assert_eq!(result.unwrap_err(), expected);
    };
    check(
        load_from("[ingest]\nin_flight_max = 'many'", &[], &[]),
        "setting `ingest.in_flight_max` in FILE: invalid type: found string \"many\", expected u16",
    );
    check(
        load_from("", &[("VERDICT_INGEST__IN_FLIGHT_MAX", "70000")], &[]),
        "setting `ingest.in_flight_max` in the environment variable VERDICT_INGEST__IN_FLIGHT_MAX: \
         invalid value unsigned int `70000`, expected u16",
    );
    check(
        load_from("", &[], &[("ingest", "5")]),
        "setting `ingest` in the command line: invalid type: found unsigned int `5`, expected struct Ingest",
    );
    let error = load_from("", &[("VERDICT_INGEST__WAIT_MAX", "soon")], &[]).unwrap_err();
    assert!(
        error.starts_with(
            "setting `ingest.wait_max` in the environment variable VERDICT_INGEST__WAIT_MAX: "
        ),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    let error = load_from("name = 'x'\n[ingest\n", &[], &[]).unwrap_err();
    assert!(error.starts_with("FILE is not TOML: "), "{error}");
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let sources = Sources { file: Some("/nowhere/verdict.toml".into()), ..Sources::default() };
    let error = load::<Settings>(&sources).unwrap_err().to_string();
    assert!(error.starts_with("reading settings from /nowhere/verdict.toml: "), "{error}");
}

#[test]
fn without_a_prefix_the_environment_is_not_read() {
    assert_eq!(load::<Settings>(&Sources::default()).unwrap(), Settings::default());
}

#[test]
fn what_is_rendered_is_read_again() {
    let toml =
        "[ingest]\nproxy = 'p'\nlabels = ['a']\nwait_max = '90s'\n[store.options]\na = 'b'\n";
    let settings = load_from(toml, &[], &[]).unwrap();
    let rendered = render(&settings).unwrap();
    assert!(rendered.contains("wait_max = \"1m 30s\""), "{rendered}");
    assert_eq!(load_from(&rendered, &[], &[]), Ok(settings));
}

#[test]
fn a_secret_is_never_shown() {
    let settings = load_from("[store]\npassword = 'hunter2'", &[], &[]).unwrap();
    assert_eq!(settings.store.password.reveal(), "hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
    let rendered = render(&settings).unwrap();
    assert!(rendered.contains("password = \"***\""), "{rendered}");
    let error = load_from("[store]\npassword = 4711", &[], &[]).unwrap_err();
    assert_eq!(
        error,
        "setting `store.password` in FILE: invalid type: found a number, expected a string, \
         or a table with `file` and nothing else"
    );
}

#[test]
fn names_of_another_system_keep_their_dots_wherever_they_are_written() {
    let secret = file("hunter2");
    let path = secret.path().display().to_string();
    let check = |settings: Result<Settings, String>, text: &str| {
        let settings = settings.unwrap();
        let (name, value) = settings.store.properties.first_key_value().unwrap();
        assert_eq!((name.as_str(), value.reveal()), ("sasl.password", text));
    };
    check(load_from("[store.properties]\n'sasl.password' = 'x'", &[], &[]), "x");
    check(load_from("[store.properties]\nsasl.password = 'x'", &[], &[]), "x");
    check(
        load_from(
            "[store.properties]\nsasl.password = 'x'",
            &[],
            &[("store.properties.sasl.password", "007")],
        ),
        "007",
    );
    check(load_from("", &[("VERDICT_STORE__PROPERTIES__SASL_PASSWORD", "4711")], &[]), "4711");
    check(load_from("", &[("VERDICT_STORE__PROPERTIES__SASL__PASSWORD", "x")], &[]), "x");
    check(
        load_from("", &[("VERDICT_STORE__PROPERTIES__SASL_PASSWORD__FILE", &path)], &[]),
        "hunter2",
    );
    check(load_from("", &[], &[("store.properties.sasl.password.file", &path)]), "hunter2");
    let toml = format!("[store.properties]\nsasl.password = {{ file = '{path}' }}");
    check(load_from(&toml, &[], &[]), "hunter2");
}

#[test]
fn a_secret_may_come_from_a_file() {
    let secret = file("hunter2\n");
    let path = secret.path().display().to_string();
    let settings = load_from("", &[("VERDICT_STORE__PASSWORD__FILE", &path)], &[]).unwrap();
    assert_eq!(settings.store.password.reveal(), "hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
    let rendered = render(&settings).unwrap();
    assert!(!rendered.contains("hunter2"), "{rendered}");
    assert_eq!(load_from(&rendered, &[], &[]), Ok(settings), "what is shown is read again");
    let error = load_from("[store]\npassword = { file = '/nowhere' }", &[], &[]).unwrap_err();
    assert!(
        error.starts_with("setting `store.password` in FILE: reading the secret in /nowhere: "),
        "{error}"
    );
}
