//! A line under load, broken on purpose: every expression has data, and every cause arrives where people read, and its end as well.

use std::time::Instant;

use crate::{
    expressions::metrics,
    form::{are_installed, now, until},
    line::Line,
    post::{Message, Post, Way},
    shelf::{dashboards, hastened, names, panels, runbook_expressions},
    watch::{NEEDED, Watch},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_arrives_and_so_does_its_end() {
    if !are_installed(&NEEDED, "the way of an alert from its cause to people, and the dashboards") {
        return;
    }
    let post = Post::open().await;
    let mut line = Line::start().await;
    let watch = Watch::start(&line, &post).await;
    let load = line.load();

    // The reviews of the load are all of one kind, and people contradict most verdicts.
    let contradicted = now();
    let people = line.contradiction();
    for way in [Way::Slack, Way::Mail] {
        let told = post.has(way, &["[FIRING warning] VerdictDrift"]).await;
        assert!(told.text.contains("/VerdictDrift.md"), "no runbook: {}", told.text);
        print("drift begins", contradicted, "VerdictDrift", &told);
    }
    for way in [Way::Slack, Way::Mail] {
        let told = post.has(way, &["[FIRING critical] VerdictRealisedAccuracyLow"]).await;
        assert!(told.text.contains("/VerdictRealisedAccuracyLow.md"), "no runbook: {}", told.text);
        print("wrong verdicts", contradicted, "VerdictRealisedAccuracyLow", &told);
    }

    let poisoned = now();
    let poison = line.poison();
    every_panel_has_data(&watch).await;
    every_rule_has_data(&watch).await;
    every_runbook_asks_what_can_be_answered(&watch).await;
    let told = post.has(Way::Slack, &["[FIRING warning] VerdictDeadLetterShare"]).await;
    assert!(told.text.contains("/VerdictDeadLetterShare.md"), "no runbook: {}", told.text);
    print("dead letters begin", poisoned, "VerdictDeadLetterShare", &told);
    drop(poison);
    drop(people);
    let cleaned = now();
    let told = post.has(Way::Slack, &["[RESOLVED] VerdictDeadLetterShare"]).await;
    print("dead letters cease", cleaned, "VerdictDeadLetterShare", &told);

    let killed = now();
    line.kill();
    for alert in ["VerdictTargetDown", "VerdictErrorBurst"] {
        for way in [Way::Slack, Way::Mail] {
            let told = post.has(way, &[&format!("[FIRING critical] {alert}")]).await;
            let runbook = format!("https://runbooks.example.org/verdict/{alert}.md");
            assert!(told.text.contains(&runbook), "no runbook: {}", told.text);
            print("SIGKILL", killed, alert, &told);
        }
    }

    let mended = now();
    line.start_again().await;
    for alert in ["VerdictTargetDown", "VerdictErrorBurst"] {
        for way in [Way::Slack, Way::Mail] {
            let told = post.has(way, &[&format!("[RESOLVED] {alert}")]).await;
            print("start", mended, alert, &told);
        }
    }
    drop(load);
}

/// Some windows fill only with time.
async fn every_panel_has_data(watch: &Watch) {
    let mut count = 0;
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let expression = hastened(target["expr"].as_str().unwrap());
                assert_has_data(watch, &format!("{file}, {}", panel["title"]), &expression).await;
                count += 1;
            }
        }
    }
    eprintln!("{count} expressions of panels have data");
}

/// What is recorded has data. What alerts does not while all is well, so there every metric of it has.
async fn every_rule_has_data(watch: &Watch) {
    let rules = watch.rules().await;
    for rule in &rules {
        let name = rule["name"].as_str().unwrap();
        let expression = rule["query"].as_str().unwrap();
        assert!(rule["lastError"].is_null(), "{name}: {}", rule["lastError"]);
        if rule["type"] == "recording" {
            assert_has_data(watch, name, expression).await;
            continue;
        }
        let metrics = metrics(expression);
        assert!(!metrics.is_empty(), "{name}: {expression}");
        for metric in metrics {
            assert_has_data(watch, name, &metric).await;
        }
    }
    eprintln!("{} rules have data", rules.len());
}

/// What breaks down errors may be empty while there are none.
async fn every_runbook_asks_what_can_be_answered(watch: &Watch) {
    for page in names("docs/runbooks").iter().filter(|page| *page != "README.md") {
        let expressions = runbook_expressions(page);
        assert!(!expressions.is_empty(), "{page} asks nothing");
        for expression in expressions {
            let answer = watch.has_data(&hastened(&expression)).await;
            assert!(answer.is_ok(), "{page}: {expression}: {answer:?}");
        }
    }
}

async fn assert_has_data(watch: &Watch, place: &str, expression: &str) {
    until(&format!("data for {place}: {expression}"), async || {
        watch.has_data(expression).await.unwrap().then_some(())
    })
    .await;
}

/// Times are printed and never asserted: the machine may be busy.
fn print(cause: &str, at: Instant, alert: &str, told: &Message) {
    let took = told.at.saturating_duration_since(at).as_secs_f64();
    let what = if told.text.contains("RESOLVED") { "its end" } else { "told" };
    eprintln!("{cause:>20} -> {alert} {what} by {:?} after {took:.1} s", told.way);
}
