//! The W3C trace context that travels with each record, so that one trace id leads from the HTTP request to the row.
//!
//! # Layout
//! - [`TraceContext`]: what travels
//! - [`span`]: what is recorded of an operation, and where it goes
//! - [`sampling`]: which traces are recorded

pub mod sampling;
pub mod span;

use std::fmt;

/// Where in which trace an operation is (W3C Trace Context, <https://www.w3.org/TR/trace-context-2/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

/// The caller records this trace.
const SAMPLED: u8 = 0b01;
/// The trace id is random, level 2 of the specification: it may be sampled by its last bytes.
const RANDOM: u8 = 0b10;
/// Length of `00-<32 hex>-<16 hex>-<2 hex>`.
const VERSION_0_BYTES: usize = 55;

impl TraceContext {
    /// The beginning of a trace: random ids, sampled.
    pub fn begin() -> Self {
        Self {
            trace_id: nonzero(rand::random),
            parent_id: nonzero(rand::random),
            flags: SAMPLED | RANDOM,
        }
    }

    /// Reads a `traceparent` header; `None` where it is malformed, for which the specification says: begin a new trace.
    ///
    /// A version that is newer than ours is read by the fields it shares with version 00.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let text = traceparent.trim_matches([' ', '\t']);
        let known = text.get(..VERSION_0_BYTES)?;
        let rest = text.get(VERSION_0_BYTES..)?;
        let mut fields = known.split('-');
        let [version] = bytes(fields.next()?)?;
        let context = Self {
            trace_id: bytes(fields.next()?)?,
            parent_id: bytes(fields.next()?)?,
            flags: u8::from_be_bytes(bytes(fields.next()?)?) & (SAMPLED | RANDOM),
        };
        let extent_fits = match version {
            0 => rest.is_empty(),
            255 => false,
            _later => rest.is_empty() || rest.starts_with('-'),
        };
        let ids_given = context.trace_id != [0; 16] && context.parent_id != [0; 8];
        (extent_fits && ids_given && fields.next().is_none()).then_some(context)
    }

    /// The context of a new operation in the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { parent_id: nonzero(rand::random), ..*self }
    }

    /// The same place in the same trace, recorded or not.
    #[must_use]
    pub fn sampled(self, is_sampled: bool) -> Self {
        let flags = if is_sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        Self { flags, ..self }
    }

    /// The header's value, for the next process.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", Hex(&self.trace_id), Hex(&self.parent_id), self.flags)
    }

    /// The trace id as 32 hex digits.
    pub fn trace_id(&self) -> String {
        Hex(&self.trace_id).to_string()
    }

    /// The id of the operation as 16 hex digits.
    pub fn parent_id(&self) -> String {
        Hex(&self.parent_id).to_string()
    }

    /// The trace id's bytes.
    pub fn trace_id_bytes(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The bytes of the operation's id.
    pub fn parent_id_bytes(&self) -> [u8; 8] {
        self.parent_id
    }

    /// Whether the caller records this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// Draws again in the one case that the specification forbids.
fn nonzero<const N: usize>(draw: impl Fn() -> [u8; N]) -> [u8; N] {
    loop {
        let id = draw();
        if id != [0; N] {
            return id;
        }
    }
}

/// Exactly `2 * N` lower-case hex digits; the specification refuses upper case.
fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if hex.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

/// Bytes as lower-case hex digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.parent_id(), "b7ad6b7169203331");
        assert!(context.is_sampled());
        assert_eq!(context.traceparent(), EXAMPLE);
    }

    #[test]
    fn what_the_specification_refuses_is_refused() {
        for refused in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c0b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-0af7651916cd43dd8448eb211c8031\u{e9}-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_later_version_is_read_by_what_it_shares_with_ours() {
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-09-what-the-future-holds";
        assert_eq!(TraceContext::parse(later).unwrap().traceparent(), EXAMPLE);
    }

    #[test]
    fn a_flag_that_nobody_defined_is_not_passed_on() {
        let context = TraceContext::parse(&EXAMPLE.replace("-01", "-ff")).unwrap();
        assert!(context.traceparent().ends_with("-03"));
    }

    #[test]
    fn a_child_stays_in_the_trace_under_an_id_of_its_own() {
        let parent = TraceContext::begin();
        let child = parent.child();
        assert_eq!(parent.trace_id(), child.trace_id());
        assert_ne!(parent.parent_id(), child.parent_id());
        assert_eq!(TraceContext::parse(&child.traceparent()), Some(child));
    }

    #[test]
    fn two_traces_differ() {
        assert_ne!(TraceContext::begin().trace_id(), TraceContext::begin().trace_id());
    }

    #[test]
    fn an_id_of_zeros_is_drawn_again() {
        let draws = std::cell::RefCell::new(vec![[1_u8; 8], [0; 8]]);
        assert_eq!(nonzero(|| draws.borrow_mut().pop().unwrap()), [1; 8]);
    }
}
