//! The names of record headers, and reading them.

use crate::record::Header;

/// W3C Trace Context: `00-<trace id>-<parent span id>-<flags>` (<https://www.w3.org/TR/trace-context/>).
pub const TRACEPARENT: &str = "traceparent";
/// The vendor part of W3C Trace Context; passed through as it is.
pub const TRACESTATE: &str = "tracestate";
/// Media type of the value, by RFC 9110; `application/json` here.
pub const CONTENT_TYPE: &str = "content-type";
/// The id that a client gave its HTTP request, for its own logs.
pub const REQUEST_ID: &str = "x-request-id";

/// The last value of the header `name` as text; `None` where it is absent, null or not UTF-8.
pub fn text<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().rev().find(|header| header.name == name)?;
    std::str::from_utf8(header.value.as_deref()?).ok()
}
