//! Bodies: what they may be, how large, and how long they may take.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::time::timeout;

use crate::problem::{Kind, Problem};

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON text.
    Json,
    /// One JSON text a line.
    Lines,
}

/// Bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most bytes.
    pub(crate) bytes_max: usize,
    /// Longest time to arrive.
    pub(crate) wait_max: Duration,
}

/// The format that the `content-type` header names; parameters are ignored, since JSON is UTF-8 (RFC 8259).
pub(crate) fn format(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next()?.trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Some(Format::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Format::Lines),
        // RFC 6839: JSON all the same.
        other if other.starts_with("application/") && other.ends_with("+json") => {
            Some(Format::Json)
        }
        _ => None,
    }
}

/// Says what was sent and what to send instead.
pub(crate) fn unsupported(headers: &HeaderMap, accepted: &str) -> Problem {
    let sent =
        headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let sent = sent.as_deref().unwrap_or("none");
    let detail = format!("the content-type is {sent}: send the header `content-type: {accepted}`");
    Problem::new(Kind::MediaType, detail)
}

/// Reads a body within `limits`. A body that says that it is too large is refused before its first byte is read.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: Limits,
) -> Result<Bytes, Problem> {
    let Limits { bytes_max, wait_max } = limits;
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| bytes_max < length) {
        return Err(too_large(bytes_max));
    }
    timeout(wait_max, gather(body, bytes_max)).await.unwrap_or_else(|_elapsed| {
        Err(Problem::new(Kind::BodyTooSlow, format!("it was not complete after {wait_max:?}")))
    })
}

async fn gather(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::new(Kind::BodyBroken, error.to_string()))?;
        if bytes_max < bytes.len().saturating_add(chunk.len()) {
            return Err(too_large(bytes_max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("at most {bytes_max} bytes are accepted"))
}
