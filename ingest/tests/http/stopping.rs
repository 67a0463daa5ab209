//! Stopping without losing a request, over real sockets.

use std::{net::SocketAddr, time::Duration};

use ingest::Settings;
use schemas::topics;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{ask::review, line::Line};

/// One request on a connection of its own; the answer as text, or the error.
async fn send(address: SocketAddr, request: String) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn post(text: &str) -> String {
    let body = review(text);
    format!(
        "POST /analyze HTTP/1.1\r\nhost: a\r\nconnection: close\r\nprefer: wait=10\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
}

/// The head of the answer to a client that keeps its connection, which is left open.
async fn kept(address: SocketAddr, path: &str) -> (TcpStream, String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    (connection, String::from_utf8(head).unwrap())
}

async fn until(address: SocketAddr, path: &str, status: &str) {
    for _ in 0..500 {
        if send(address, get(path)).await.is_ok_and(|answer| answer.starts_with(status)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never answered {status}");
}

/// Serves `line` until the token is cancelled; it is ready.
async fn serve(
    line: &Line,
    settings: Settings,
) -> (SocketAddr, CancellationToken, JoinSet<anyhow::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut serving = JoinSet::new();
    serving.spawn(ingest::serve(listener, line.parts(), settings, stop.clone()));
    until(address, "/readyz", "HTTP/1.1 200").await;
    (address, stop, serving)
}

#[tokio::test]
async fn requests_in_flight_are_answered_while_new_ones_are_refused() {
    let line = Line::new();
    let settings = Settings { stop_delay: Duration::from_millis(300), ..Settings::default() };
    let (address, stop, mut serving) = serve(&line, settings).await;

    line.hold();
    let mut clients = JoinSet::new();
    clients.spawn(send(address, post("in flight")));
    let mut stream = JoinSet::new();
    stream.spawn(send(address, get("/verdicts/stream")));
    while line.broker.records(topics::REVIEWS).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let (_connection, answer) = kept(address, "/livez").await;
    assert!(!answer.contains("connection: close"), "{answer}");

    stop.cancel();
    until(address, "/readyz", "HTTP/1.1 503").await;
    clients.spawn(send(address, post("still taken")));
    let (mut connection, answer) = kept(address, "/livez").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    connection.read_to_end(&mut Vec::new()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let refused = send(address, post("too late")).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(
        refused.contains("\r\nretry-after: 1\r\n") && refused.contains("\r\nconnection: close\r\n"),
        "{refused}"
    );
    assert!(refused.contains("\"error\":\"draining\""), "{refused}");
    assert!(send(address, get("/livez")).await.unwrap().starts_with("HTTP/1.1 200"));
    let streamed = stream.join_next().await.unwrap().unwrap().unwrap();
    assert!(streamed.starts_with("HTTP/1.1 200"), "the stream ended by itself: {streamed}");

    line.release();
    while let Some(answer) = clients.join_next().await {
        let answer = answer.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    serving.join_next().await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    let reviews = line.broker.records(topics::REVIEWS).len();
    assert_eq!((reviews, line.broker.records(topics::VERDICTS).len()), (2, 2));
}

#[tokio::test]
async fn stopping_takes_no_longer_than_its_grace() {
    let line = Line::new();
    let settings = Settings {
        stop_delay: Duration::ZERO,
        stop_grace: Duration::from_millis(200),
        ..Settings::default()
    };
    let (address, stop, mut serving) = serve(&line, settings).await;
    line.hold();
    let mut clients = JoinSet::new();
    clients.spawn(send(address, post("never judged")));
    while line.broker.records(topics::REVIEWS).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), serving.join_next()).await;
    ended.unwrap().unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn connections_are_bounded_and_idle_ones_make_room() {
    let line = Line::new();
    let connections_max = 4.try_into().unwrap();
    let settings = Settings { connections_max, stop_delay: Duration::ZERO, ..Settings::default() };
    let (address, stop, mut serving) = serve(&line, settings).await;

    let (_first, answer) = kept(address, "/livez").await;
    assert!(!answer.contains("connection: close"), "{answer}");
    let (_second, answer) = kept(address, "/livez").await;
    assert!(!answer.contains("connection: close"), "{answer}");
    // More than half are taken: whoever has an answer goes.
    let (mut third, answer) = kept(address, "/livez").await;
    assert!(answer.contains("connection: close"), "{answer}");
    third.read_to_end(&mut Vec::new()).await.unwrap();

    // Two say nothing, and the fifth waits until one of them leaves.
    let silent = TcpStream::connect(address).await.unwrap();
    let _silent_too = TcpStream::connect(address).await.unwrap();
    let mut fifth = JoinSet::new();
    fifth.spawn(send(address, get("/livez")));
    let waited = tokio::time::timeout(Duration::from_millis(200), fifth.join_next()).await;
    assert!(waited.is_err(), "a connection too many was accepted");
    drop(silent);
    let answer = fifth.join_next().await.unwrap().unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stop.cancel();
    serving.join_next().await.unwrap().unwrap().unwrap();
}
