//! Rules, their tests and the configurations, as Prometheus's own tools see them; and whether the tests of the rules can fail.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    form::{are_installed, run},
    shelf::{Alert, alerts, names, path, put_hastened_rules, read},
};

#[test]
fn prometheus_takes_the_rules_and_the_configuration() {
    if !are_installed(&["promtool"], "whether Prometheus takes its configuration") {
        return;
    }
    let folder = path("observability/prometheus");
    let (is_good, said) = promtool(&folder, &["check", "config", "prometheus.yml"]);
    assert!(is_good, "{said}");
    let hastened = tempfile::tempdir().unwrap();
    put_hastened_rules(hastened.path());
    for name in names("observability/prometheus/rules") {
        let rules = format!("rules/{name}");
        let (is_good, said) = promtool(&folder, &["check", "rules", "--lint-fatal", &rules]);
        assert!(is_good, "{said}");
        let (is_good, said) = promtool(hastened.path(), &["check", "rules", &rules]);
        assert!(is_good, "hastened: {said}");
    }
}

/// Debian's Prometheus is built without Kubernetes, so that the targets are put in another way here; all else is as it is.
#[test]
fn prometheus_takes_what_is_said_of_kubernetes() {
    if !are_installed(&["promtool"], "whether Prometheus takes the job in Kubernetes") {
        return;
    }
    let text = read("observability/prometheus/kubernetes.yml");
    let discovery = "kubernetes_sd_configs:\n      - role: pod\n";
    assert!(text.contains(discovery), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let fixed = text.replace(discovery, "static_configs:\n      - targets: []\n");
    fs::write(folder.path().join("kubernetes.yml"), fixed).unwrap();
    let (is_good, said) = promtool(folder.path(), &["check", "config", "kubernetes.yml"]);
    assert!(is_good, "{said}");
}

#[test]
fn alertmanager_takes_its_configuration() {
    if !are_installed(&["amtool"], "whether Alertmanager takes its configuration") {
        return;
    }
    let config = path("observability/alertmanager/alertmanager.yml");
    let config = config.to_str().unwrap();
    let (is_good, said) = run(Command::new("amtool").args(["check-config", config]));
    assert!(is_good && said.contains("1 templates"), "{said}");
    let ways = [
        (&["severity=critical"][..], "on-call"),
        (&["severity=warning"], "slack"),
        (&["severity=warning", "alertname=VerdictDrift"], "model-owner"),
    ];
    for (labels, receiver) in ways {
        let route = ["config", "routes", "test", "--config.file", config];
        let (is_good, said) = run(Command::new("amtool").args(route).args(labels));
        let told = said.lines().any(|line| line == receiver);
        assert!(is_good && told, "{labels:?} goes elsewhere: {said}");
    }
}

#[test]
fn every_alert_fires_and_is_silent_as_its_tests_say() {
    if !are_installed(&["promtool"], "the tests of the rules") {
        return;
    }
    let folder = path("observability/prometheus");
    for name in names("observability/prometheus/tests") {
        let (is_good, said) = promtool(&folder, &["test", "rules", &format!("tests/{name}")]);
        assert!(is_good, "{said}");
    }
}

/// A test that passes whatever the rule says is worth nothing: with each alert dead, with one of it that never ceases, and with half
/// its limits, its tests have to fail, each for its reason.
#[test]
fn the_tests_of_the_rules_can_fail() {
    if !are_installed(&["promtool"], "whether the tests of the rules can fail") {
        return;
    }
    let dead = |_: &Alert| Some("vector(0) > 1".to_owned());
    let ceaseless = |_: &Alert| Some("vector(1)".to_owned());
    let halved = |alert: &Alert| {
        let expression = expression(alert);
        has_limit(expression).then(|| expression.replace("> ", "> 0.5 * "))
    };
    let changes: [(&Change, &str, usize); 3] =
        [(&dead, "got:[]", 14), (&ceaseless, "exp:[]", 14), (&halved, "exp:[]", 9)];
    let alerts = alerts();
    for (change, reason, least) in changes {
        let mut count = 0;
        for file in names("observability/prometheus/tests") {
            let of_file: Vec<_> = alerts.iter().filter(|alert| alert.file == file).collect();
            let folder = with_change(&file, &of_file, change);
            let (_, said) = promtool(folder.path(), &["test", "rules", &format!("tests/{file}")]);
            for alert in of_file {
                let Some(expression) = change(alert) else { continue };
                let name = format!("{}, time:", alert.name);
                let mut failed = said.split("alertname: ").filter(|it| it.starts_with(&name));
                let is_seen = failed.any(|it| it.contains(reason));
                assert!(is_seen, "no test sees that {} is `{expression}`: {said}", alert.name);
                count += 1;
            }
        }
        assert!(least <= count, "only {count} alerts were changed");
    }
}

/// Another expression for an alert, if it is to have one.
type Change = dyn Fn(&Alert) -> Option<String>;

/// The expression of `alert`, on several lines perhaps.
fn expression(alert: &Alert) -> &str {
    let (_before, from) = alert.rule.split_once("        expr: |\n").unwrap();
    from.split_once("        for: ").unwrap().0
}

/// Whether anything in `expression` is allowed up to a limit that is not 0.
fn has_limit(expression: &str) -> bool {
    let mut limits = expression.split("> ").skip(1).filter_map(|it| it.split_whitespace().next());
    limits.any(|limit| limit != "0")
}

/// The rules and tests in the files of this name, with `change` made to `alerts`.
fn with_change(name: &str, alerts: &[&Alert], change: &Change) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["rules", "tests"] {
        fs::create_dir(folder.path().join(kind)).unwrap();
    }
    for file in ["rules/recording.yml".to_owned(), format!("tests/{name}")] {
        fs::copy(path("observability/prometheus").join(&file), folder.path().join(&file)).unwrap();
    }
    let mut rules = read(&format!("observability/prometheus/rules/{name}"));
    for alert in alerts {
        if let Some(other) = change(alert) {
            let rule =
                alert.rule.replace(expression(alert), &format!("          {}\n", other.trim()));
            assert!(rule != alert.rule && rules.contains(&alert.rule), "{rule}");
            rules = rules.replace(&alert.rule, &rule);
        }
    }
    fs::write(folder.path().join("rules").join(name), rules).unwrap();
    folder
}

fn promtool(folder: &Path, arguments: &[&str]) -> (bool, String) {
    run(Command::new("promtool").args(arguments).current_dir(folder))
}
