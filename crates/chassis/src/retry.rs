//! How long to wait before the next attempt: exponential, bounded, and with chance in it.
//!
//! Chance keeps replicas that failed together from coming back together (Brooker, "Exponential Backoff And Jitter", 2015).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Waits that grow by `factor` from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// Wait after the first failure, before chance.
    #[serde(with = "crate::settings::duration")]
    pub min: Duration,
    /// Longest wait.
    #[serde(with = "crate::settings::duration")]
    pub max: Duration,
    /// Growth from one attempt to the next. Less than 1 counts as 1.
    pub factor: f64,
    /// How much of a wait is left to chance.
    pub jitter: Jitter,
}

/// How much of a wait is left to chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jitter {
    /// None: for one caller alone.
    None,
    /// Half of it: the wait is never short.
    #[default]
    Equal,
    /// All of it: spreads a crowd best.
    Full,
}

impl Default for Backoff {
    /// 100 ms to 30 s, doubling, half left to chance.
    fn default() -> Self {
        Self {
            min: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: Jitter::Equal,
        }
    }
}

impl Backoff {
    /// The wait after failure number `attempt`, counted from 0, where `random` is uniform in 0..1. Never more than `max`.
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let max = self.max.as_secs_f64();
        // An overflow is infinite, which `min` brings back.
        let wait = (self.min.as_secs_f64() * self.factor.max(1.0).powi(exponent)).min(max);
        let random = random.clamp(0.0, 1.0);
        let wait = match self.jitter {
            Jitter::None => wait,
            Jitter::Equal => wait / 2.0 + wait / 2.0 * random,
            Jitter::Full => wait * random,
        };
        Duration::try_from_secs_f64(wait).unwrap_or(self.max).min(self.max)
    }

    /// Waits without an end: for trouble that the service must outlast.
    pub fn attempts(&self) -> Attempts {
        Attempts { backoff: *self, failures: 0, failures_max: u32::MAX }
    }

    /// At most `waits` waits: for trouble that somebody is told of.
    pub fn attempts_at_most(&self, waits: u32) -> Attempts {
        Attempts { backoff: *self, failures: 0, failures_max: waits }
    }
}

/// The waits between attempts, drawn by chance; ends when there is to be no further attempt.
#[derive(Clone, Debug)]
pub struct Attempts {
    backoff: Backoff,
    failures: u32,
    failures_max: u32,
}

impl Attempts {
    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many waits were drawn since the start or the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

impl Iterator for Attempts {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // Without an end, the count stands still rather than run out.
        if self.failures_max <= self.failures && self.failures_max < u32::MAX {
            return None;
        }
        let delay = self.backoff.delay(self.failures, rand::random());
        self.failures = self.failures.saturating_add(1);
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(jitter: Jitter) -> Backoff {
        Backoff { min: ms(100), max: ms(1_000), factor: 2.0, jitter }
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_wait_doubles_up_to_the_longest() {
        let waits: Vec<_> =
            (0..6).map(|attempt| backoff(Jitter::None).delay(attempt, 0.7)).collect();
        assert_eq!(waits, [ms(100), ms(200), ms(400), ms(800), ms(1_000), ms(1_000)]);
    }

    #[test]
    fn chance_takes_half_of_it_or_all_of_it() {
        assert_eq!(backoff(Jitter::Equal).delay(1, 0.0), ms(100));
        assert_eq!(backoff(Jitter::Equal).delay(1, 0.5), ms(150));
        assert_eq!(backoff(Jitter::Equal).delay(1, 1.0), ms(200));
        assert_eq!(backoff(Jitter::Full).delay(1, 0.0), ms(0));
        assert_eq!(backoff(Jitter::Full).delay(1, 0.5), ms(100));
    }

    #[test]
    fn no_attempt_number_and_no_factor_exceeds_the_longest() {
        for factor in [f64::NAN, f64::INFINITY, -3.0, 0.0, 1e300] {
            for attempt in [0, 1, 1_000, u32::MAX] {
                let backoff = Backoff { factor, ..backoff(Jitter::None) };
                assert!(backoff.delay(attempt, 1.0) <= ms(1_000), "{factor} {attempt}");
            }
        }
    }

    #[test]
    fn attempts_end_where_they_are_told_to() {
        assert_eq!(backoff(Jitter::Full).attempts_at_most(3).count(), 3);
        assert_eq!(backoff(Jitter::Full).attempts_at_most(0).count(), 0);
    }

    #[test]
    fn a_success_starts_the_waits_over() {
        let mut attempts = backoff(Jitter::None).attempts();
        let first: Vec<_> = attempts.by_ref().take(2).collect();
        assert_eq!(first, [ms(100), ms(200)]);
        assert_eq!(attempts.failures(), 2);
        attempts.reset();
        assert_eq!(attempts.next(), Some(ms(100)));
    }
}
