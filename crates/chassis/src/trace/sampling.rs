//! Which traces are recorded. Pure: it is the trace's id that is drawn by, so that all who are asked about a trace say the same.

use crate::TraceContext;

/// The rule by which a trace is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Share of the traces, 0 to 1, that nobody has decided about.
    ratio: f64,
    /// Whether the caller has decided for his trace.
    parent_decides: bool,
}

/// A rule that is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidSampling {
    /// A share that is none.
    #[error("{0} is not a share from 0 to 1")]
    Ratio(String),
    /// A sampler that OpenTelemetry does not know, or that needs a server of its own.
    #[error(
        "{0:?} is none of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off and \
         parentbased_traceidratio"
    )]
    Sampler(String),
}

impl Default for Sampling {
    /// As OpenTelemetry has it: the caller decides, and what begins here is recorded.
    fn default() -> Self {
        Self { ratio: 1.0, parent_decides: true }
    }
}

impl Sampling {
    /// The caller decides; of what begins here a share is recorded.
    pub fn ratio(ratio: f64) -> Result<Self, InvalidSampling> {
        if !(0.0..=1.0).contains(&ratio) {
            return Err(InvalidSampling::Ratio(ratio.to_string()));
        }
        Ok(Self { ratio, parent_decides: true })
    }

    /// By the values of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub fn named(sampler: &str, argument: Option<&str>) -> Result<Self, InvalidSampling> {
        let share = || match argument {
            None => Ok(1.0),
            Some(text) => text.parse().map_err(|_| InvalidSampling::Ratio(text.to_owned())),
        };
        let (rule, parent_decides) = match sampler.strip_prefix("parentbased_") {
            Some(rule) => (rule, true),
            None => (sampler, false),
        };
        let ratio = match rule {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => share()?,
            _ => return Err(InvalidSampling::Sampler(sampler.to_owned())),
        };
        Ok(Self { parent_decides, ..Self::ratio(ratio)? })
    }

    /// Whether the trace of `context` is recorded: a new one, or that of the caller.
    pub(crate) fn samples(&self, context: &TraceContext, is_new: bool) -> bool {
        if !is_new && self.parent_decides {
            return context.is_sampled();
        }
        // As OpenTelemetry draws, so that processes with the same share agree: by the last 63 of the id's 128 random bits.
        let drawn = u128::from_be_bytes(context.trace_id_bytes()) & u128::from(u64::MAX);
        1.0 <= self.ratio || drawn >> 1 < u128::from(threshold(self.ratio))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share lies between 0 and 1"
)]
fn threshold(ratio: f64) -> u64 {
    (ratio * 9_223_372_036_854_775_808.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(last: u64, is_sampled: bool) -> TraceContext {
        let text = format!("00-0af7651916cd43dd{last:016x}-b7ad6b7169203331-00");
        TraceContext::parse(&text).unwrap().sampled(is_sampled)
    }

    #[test]
    fn a_new_trace_is_drawn_by_its_id() {
        let check = |ratio: f64, last: u64, expected: bool| {
            let sampling = Sampling::ratio(ratio).unwrap();
            assert_eq!(sampling.samples(&context(last, false), true), expected, "{ratio} {last:x}");
        };
        check(0.0, 0, false);
        check(1.0, u64::MAX, true);
        check(0.5, u64::MAX / 2 - 1, true);
        check(0.5, u64::MAX / 2 + 1, false);
        check(0.01, u64::MAX / 101, true);
        check(0.01, u64::MAX / 99, false);
    }

    #[test]
    fn the_caller_decides_unless_the_sampler_says_otherwise() {
        let check = |sampler: &str, argument: Option<&str>, parent: bool, expected: bool| {
            let sampling = Sampling::named(sampler, argument).unwrap();
            assert_eq!(sampling.samples(&context(1, parent), false), expected, "{sampler}");
        };
        check("parentbased_always_on", None, false, false);
        check("parentbased_always_off", None, true, true);
        check("parentbased_traceidratio", Some("0"), true, true);
        check("always_on", None, false, true);
        check("always_off", None, true, false);
        check("traceidratio", Some("0.5"), false, true);
        assert!(Sampling::default().samples(&context(u64::MAX, true), false));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert!(Sampling::ratio(ratio).is_err(), "{ratio}");
        }
        for (sampler, argument) in [
            ("jaeger_remote", None),
            ("", None),
            ("traceidratio", Some("x")),
            ("traceidratio", Some("2")),
        ] {
            assert!(Sampling::named(sampler, argument).is_err(), "{sampler} {argument:?}");
        }
    }
}
