//! Spans in the bytes of OTLP (protobuf, `opentelemetry/proto/trace/v1`).
//!
//! A busy line tells thousands of spans a second that differ in little but ids and times. So what an operation's spans share is
//! encoded once and copied, and the rest is written as it is; OpenTelemetry's own way makes an object of every span, and a string
//! of every attribute of it, which cost the line ten times as much. Its conversion is what the tests compare with.

use std::{collections::BTreeMap, iter, time::SystemTime};

use jiff::Timestamp;
use opentelemetry::{KeyValue, Value, trace::SpanKind};
use opentelemetry_sdk::Resource;

use crate::{
    TraceContext,
    trace::span::{LINKS_MAX, Operation, Span},
};

/// Attribute of a failed operation.
pub(crate) const ERROR_TYPE: &str = "error.type";

/// How a field is written (protobuf's wire types).
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Code of the status of a failed span.
const STATUS_ERROR: u64 = 2;
/// Flags of a span or link: it is known whether what it refers to is remote, and it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The attributes of `resource`, to stand at the beginning of each request.
pub(crate) fn resource(resource: &Resource) -> Vec<u8> {
    let mut bytes = Vec::new();
    message(&mut bytes, 1, |bytes| {
        for (key, value) in resource {
            attribute(bytes, 1, key.as_str(), value);
        }
    });
    bytes
}

/// What all spans of an operation share: name, kind, attributes.
pub(crate) fn operation(operation: &Operation) -> Vec<u8> {
    let mut bytes = Vec::new();
    text(&mut bytes, 5, &operation.name);
    let kind = match operation.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    number(&mut bytes, 6, kind);
    for KeyValue { key, value, .. } in &operation.attributes {
        attribute(&mut bytes, 9, key.as_str(), value);
    }
    bytes
}

/// The body of a request with `spans`, of a process with this [`resource`].
pub(crate) fn request(resource: &[u8], spans: &[Span]) -> Vec<u8> {
    let mut by_scope: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for span in spans {
        let bytes = by_scope.entry(span.operation.scope).or_default();
        message(bytes, 2, |bytes| encode(bytes, span));
    }
    let mut body = Vec::with_capacity(resource.len() + 512 * spans.len());
    message(&mut body, 1, |body| {
        body.extend_from_slice(resource);
        for (scope, spans) in by_scope {
            message(body, 2, |body| {
                message(body, 1, |body| text(body, 1, scope));
                body.extend_from_slice(&spans);
            });
        }
    });
    body
}

fn encode(bytes: &mut Vec<u8>, span: &Span) {
    put(bytes, 1, &span.context.trace_id_bytes());
    put(bytes, 2, &span.context.parent_id_bytes());
    if let Some(parent) = &span.parent {
        put(bytes, 4, &parent.context.parent_id_bytes());
    }
    bytes.extend_from_slice(span.operation.encoded());
    fixed64(bytes, 7, nanoseconds(span.started_at));
    // Clocks may be set back meanwhile.
    fixed64(bytes, 8, nanoseconds(span.ended_at.max(span.started_at)));
    for KeyValue { key, value, .. } in &span.attributes {
        attribute(bytes, 9, key.as_str(), value);
    }
    if let Some(error) = &span.error {
        message(bytes, 9, |bytes| {
            text(bytes, 1, ERROR_TYPE);
            message(bytes, 2, |bytes| text(bytes, 1, error));
        });
    }
    for link in span.links.iter().take(LINKS_MAX) {
        message(bytes, 13, |bytes| {
            put(bytes, 1, &link.trace_id_bytes());
            put(bytes, 2, &link.parent_id_bytes());
            fixed32(bytes, 6, flags(link, true));
        });
    }
    let dropped = span.links.len().saturating_sub(LINKS_MAX);
    if 0 < dropped {
        number(bytes, 14, u64::try_from(dropped).unwrap_or(u64::MAX));
    }
    message(bytes, 15, |bytes| {
        if span.error.is_some() {
            number(bytes, 3, STATUS_ERROR);
        }
    });
    let is_remote = span.parent.is_some_and(|parent| parent.is_remote);
    fixed32(bytes, 16, flags(&span.context, is_remote));
}

fn flags(context: &TraceContext, is_remote: bool) -> u32 {
    let remote = if is_remote { HAS_IS_REMOTE | IS_REMOTE } else { HAS_IS_REMOTE };
    remote | u32::from(context.is_sampled())
}

fn nanoseconds(time: Timestamp) -> u64 {
    let since = SystemTime::from(time).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute(bytes: &mut Vec<u8>, field: u64, key: &str, value: &Value) {
    message(bytes, field, |bytes| {
        text(bytes, 1, key);
        message(bytes, 2, |bytes| match value {
            Value::Bool(value) => number(bytes, 2, u64::from(*value)),
            Value::I64(value) => number(bytes, 3, value.cast_unsigned()),
            Value::F64(value) => fixed64(bytes, 4, value.to_bits()),
            other => text(bytes, 1, &other.as_str()),
        });
    });
}

/// A message in a message. Its length stands before it and is known after it: a few bytes are moved.
fn message(bytes: &mut Vec<u8>, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
    tag(bytes, field, BYTES);
    let begin = bytes.len();
    write(bytes);
    let length = bytes.len() - begin;
    let width = varint_bytes(length).count();
    bytes.resize(begin + length + width, 0);
    bytes.copy_within(begin..begin + length, begin + width);
    for (place, byte) in bytes.iter_mut().skip(begin).zip(varint_bytes(length)) {
        *place = byte;
    }
}

fn text(bytes: &mut Vec<u8>, field: u64, text: &str) {
    put(bytes, field, text.as_bytes());
}

fn put(bytes: &mut Vec<u8>, field: u64, value: &[u8]) {
    tag(bytes, field, BYTES);
    varint(bytes, value.len());
    bytes.extend_from_slice(value);
}

fn number(bytes: &mut Vec<u8>, field: u64, value: u64) {
    tag(bytes, field, VARINT);
    varint64(bytes, value);
}

fn fixed64(bytes: &mut Vec<u8>, field: u64, value: u64) {
    tag(bytes, field, FIXED64);
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn fixed32(bytes: &mut Vec<u8>, field: u64, value: u32) {
    tag(bytes, field, FIXED32);
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn tag(bytes: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint64(bytes, field << 3 | wire_type);
}

fn varint(bytes: &mut Vec<u8>, value: usize) {
    bytes.extend(varint_bytes(value));
}

fn varint_bytes(value: usize) -> impl Iterator<Item = u8> {
    varint64_bytes(u64::try_from(value).unwrap_or(u64::MAX))
}

fn varint64(bytes: &mut Vec<u8>, value: u64) {
    bytes.extend(varint64_bytes(value));
}

/// Seven bits a byte, the lowest first; all but the last have the eighth.
fn varint64_bytes(value: u64) -> impl Iterator<Item = u8> {
    iter::successors(Some(value), |rest| Some(rest >> 7).filter(|rest| *rest != 0)).map(|rest| {
        let [low, ..] = rest.to_le_bytes();
        if rest < 0x80 { low } else { low | 0x80 }
    })
}

#[cfg(test)]
mod tests;
