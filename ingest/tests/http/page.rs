//! The page, as a browser gets it.

use axum::{body::Body, http::Request};
use ingest::Settings;

use crate::{
    ask::{ask, get},
    line::Line,
};

#[tokio::test]
async fn the_page_and_its_files_are_served_under_a_strict_policy() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let page = get(&router, "/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(
        !page.text.contains("<script>") && !page.text.contains("style=\""),
        "the policy would block it"
    );
    let files = page.text.split('"').filter(|text| text.starts_with("/page/"));
    for file in files.collect::<Vec<_>>() {
        assert_eq!(get(&router, file).await.status, 200, "{file}");
    }
    let main = get(&router, "/page/main.js").await;
    assert_eq!(main.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(get(&router, "/page/none.js").await.problem().0, 404);
    assert_eq!(get(&router, "/page/..%2FCargo.toml").await.problem().0, 404);
}

#[tokio::test]
async fn what_the_browser_has_is_not_sent_again() {
    let line = Line::new();
    let router = line.ingest(Settings::default());
    let etag = get(&router, "/").await.header("etag").unwrap().to_owned();
    let again = Request::get("/").header("if-none-match", &etag).body(Body::empty()).unwrap();
    let again = ask(&router, again).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    assert_eq!(again.header("etag"), Some(etag.as_str()));
}
