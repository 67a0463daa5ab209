//! Verdicts of a source and day, page by page.

use ingest::Settings;
use serde_json::{Value, json};
use store::{Row, VerdictStore as _};

use crate::{
    ask::{get, post},
    line::Line,
    reading::Away,
    waiting::eventually,
};

/// Has `count` reviews judged and stored, a minute apart from the beginning of the day on.
async fn fill(line: &Line, router: &axum::Router, source: Option<&str>, day: &str, count: usize) {
    let prefix = source.unwrap_or("none").replace(' ', "-");
    let mut rows = Vec::new();
    for minute in 0..count {
        let review = json!({
            "id": format!("{prefix}-{minute}"),
            "review": "Lovely.",
            "source": source,
            "occurred_at": format!("{day}T00:{minute:02}:00Z"),
        });
        let verdict = post(router, review.to_string(), &[]).await.json();
        rows.push(Row::new(serde_json::from_value(verdict).unwrap()));
    }
    rows.reverse();
    line.store.upsert(&rows).await.unwrap();
}

fn ids(page: &Value) -> Vec<&str> {
    let verdicts = page["verdicts"].as_array().unwrap();
    verdicts.iter().map(|verdict| verdict["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_day_is_read_page_by_page() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    fill(&line, &router, Some("web shop"), "2025-03-01", 5).await;
    fill(&line, &router, None, "2025-03-01", 1).await;

    let path = "/verdicts?source=web%20shop&day=2025-03-01";
    let all = get(&router, path).await;
    assert_eq!(all.status, 200, "{}", all.text);
    let expected = ["web-shop-0", "web-shop-1", "web-shop-2", "web-shop-3", "web-shop-4"];
    assert_eq!(ids(&all.json()), expected);
    assert_eq!(all.json()["next"], Value::Null);

    let mut seen = Vec::new();
    let mut path_of_page = format!("{path}&limit=2");
    for _ in 0..3 {
        let page = get(&router, &path_of_page).await.json();
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        path_of_page = format!("{path}&limit=2&page={next}");
    }
    assert_eq!(seen, expected);

    let verdict = get(&router, "/verdicts/web-shop-3").await.json();
    assert_eq!(all.json()["verdicts"][3], verdict);
    let without = get(&router, "/verdicts?day=2025-03-01").await.json();
    assert_eq!(ids(&without), ["none-0"]);
    for empty in ["/verdicts", "/verdicts?source=web&day=2025-03-01", "/verdicts?source=web%20shop"]
    {
        assert_eq!(get(&router, empty).await.json(), json!({ "verdicts": [] }), "{empty}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_a_problem() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    for query in [
        "day=yesterday",
        "day=2025-02-30",
        "day=2025-03-01T00:00:00Z",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=many",
        "page=nonsense",
        "page=",
        "colour=red",
    ] {
        let problem = get(&router, &format!("/verdicts?{query}")).await;
        assert_eq!(problem.problem(), (400, "query_invalid".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told() {
    let line = Line::new();
    let mut parts = line.parts();
    parts.store = std::sync::Arc::new(Away);
    let stop = tokio_util::sync::CancellationToken::new();
    let (service, _listening) = ingest::Service::start(parts, Settings::default(), stop.clone());
    let router = ingest::router(&service);
    eventually(&router, "/readyz", 200).await;
    let problem = get(&router, "/verdicts?day=2025-03-01").await;
    assert_eq!(problem.problem(), (503, "store_unavailable".to_owned()));
    stop.cancel();
}
