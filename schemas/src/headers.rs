//! The names of record headers, and reading them.

use crate::record::Header;

/// W3C Trace Context: `00-<trace id>-<parent span id>-<flags>` (<https://www.w3.org/TR/trace-context/>).
pub const TRACEPARENT: &str = "traceparent";
/// The vendor part of W3C Trace Context; passed through as it is.
pub const TRACESTATE: &str = "tracestate";
/// Media type of the value, by RFC 9110; [`JSON`] here.
pub const CONTENT_TYPE: &str = "content-type";
/// The [`CONTENT_TYPE`] of all that we write.
pub const JSON: &str = "application/json";
/// The id that a client gave its HTTP request, for its own logs.
pub const REQUEST_ID: &str = "x-request-id";

/// The last value of the header `name` as text; `None` where it is absent, null or not UTF-8.
pub fn text<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let header = headers.iter().rev().find(|header| header.name == name)?;
    std::str::from_utf8(header.value.as_deref()?).ok()
}

/// Gives the header `name` the one value `value`, at the end.
pub(crate) fn set(headers: &mut Vec<Header>, name: &str, value: impl Into<String>) {
    headers.retain(|header| header.name != name);
    headers.push(Header::text(name, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_values_counts() {
        let headers = [Header::text("a", "1"), Header::text("a", "2"), Header::text("b", "3")];
        assert_eq!(text(&headers, "a"), Some("2"));
        assert_eq!(text(&headers, "c"), None);
    }

    #[test]
    fn a_value_that_is_null_or_not_utf8_is_none() {
        let header = |value| [Header { name: "a".to_owned(), value }];
        assert_eq!(text(&header(None), "a"), None);
        assert_eq!(text(&header(Some(vec![0xff])), "a"), None);
    }

    #[test]
    fn a_header_that_is_set_has_one_value() {
        let mut headers =
            vec![Header::text("a", "1"), Header::text("b", "2"), Header::text("a", "3")];
        set(&mut headers, "a", "4");
        assert_eq!(headers, [Header::text("b", "2"), Header::text("a", "4")]);
    }
}
