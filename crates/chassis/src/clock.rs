//! The only reader of the clocks: logic takes `now` as an argument, so that a test decides what time it is.

use std::time::Instant;

use jiff::Timestamp;

/// The wall clock, for times that are written down. It may jump in either direction.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The monotonic clock, for how long something took or may take.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let earlier = monotonic();
        assert!(earlier <= monotonic());
    }

    #[test]
    fn the_wall_clock_is_past_the_day_this_was_written() {
        let written: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        assert!(written < now());
    }
}
