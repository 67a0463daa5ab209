//! Alerts, runbooks and dashboards belong together: none refers to what is not there, and nothing is left over.

use std::collections::BTreeSet;

use crate::shelf::{alerts, dashboards, names, panels, read};

const RUNBOOKS: &str = "https://runbooks.example.org/verdict/";

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let pages: BTreeSet<_> = names("docs/runbooks")
        .iter()
        .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    let alerts: BTreeSet<_> = alerts().into_iter().map(|alert| alert.name).collect();
    assert!(10 < alerts.len(), "{alerts:?}");
    assert_eq!(alerts, pages);
    let index = read("docs/runbooks/README.md");
    for name in &pages {
        assert!(index.contains(&format!("[{name}]({name}.md)")), "the index leaves out {name}");
        let page = read(&format!("docs/runbooks/{name}.md"));
        assert!(page.starts_with(&format!("# {name}\n")), "{name}: its title is not its name");
        for part in ["What it means", "How to look", "What to do", "Whom to call"] {
            assert!(page.contains(&format!("\n## {part}\n\n")), "{name}: does not say: {part}");
        }
    }
}

#[test]
fn each_alert_says_how_bad_it_is_and_what_to_do() {
    for alert in alerts() {
        let (name, rule) = (&alert.name, &alert.rule);
        let says = |text: &str| assert!(rule.contains(text), "{name} has no `{text}`");
        says("        for: ");
        says("          summary: ");
        says("          description: ");
        says(&format!("          runbook_url: {RUNBOOKS}{name}.md\n"));
        let is_known = ["critical", "warning"]
            .iter()
            .any(|severity| rule.contains(&format!("          severity: {severity}\n")));
        assert!(is_known, "{name}: neither critical nor warning");
        let has_figures = rule.contains("$value") || rule.contains("$labels.instance");
        assert!(has_figures, "{name}: its description has no figures");
    }
}

#[test]
fn each_alert_fires_in_a_test_and_is_silent_in_another() {
    for alert in alerts() {
        let tests = read(&format!("observability/prometheus/tests/{}", alert.file));
        let checks: Vec<_> = tests
            .split("alertname: ")
            .filter(|check| check.starts_with(&format!("{}\n", alert.name)))
            .collect();
        let silent = checks.iter().filter(|check| check.contains("exp_alerts: []")).count();
        let firing = checks.iter().filter(|check| check.contains("exp_annotations:")).count();
        assert!(1 <= firing, "{} fires in no test", alert.name);
        assert!(2 <= silent, "{} is silent in {silent} tests only", alert.name);
    }
}

#[test]
fn each_panel_says_what_it_shows_and_leads_to_runbooks_that_are_there() {
    let alerts: BTreeSet<_> = alerts().into_iter().map(|alert| alert.name).collect();
    let mut linked = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let place = format!("{file}: {}", panel["title"]);
            assert!(ids.insert(panel["id"].to_string()), "{place}: its id is taken");
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{place}: no description");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{place}: no unit");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{place}: shows nothing");
            for link in panel["links"].as_array().unwrap() {
                let name = link["url"].as_str().unwrap().strip_prefix(RUNBOOKS).unwrap();
                let name = name.strip_suffix(".md").unwrap();
                assert!(alerts.contains(name), "{place}: no runbook {name}");
                linked.insert(name.to_owned());
            }
        }
    }
    assert_eq!(linked, alerts, "there is an alert that no panel shows");
}
