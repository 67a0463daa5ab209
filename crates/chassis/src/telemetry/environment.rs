//! The variables of OpenTelemetry that say whether and where; those that say how its SDK and its exporters read themselves.

use std::{env, time::Duration};

use crate::trace::sampling::{InvalidSampling, Sampling};

/// What the variables say. Empty is as good as absent, as the specification wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    endpoint: Option<String>,
    traces_endpoint: Option<String>,
    metrics_endpoint: Option<String>,
    logs_endpoint: Option<String>,
    traces_exporter: Option<String>,
    metrics_exporter: Option<String>,
    logs_exporter: Option<String>,
    sampler: Option<String>,
    sampler_argument: Option<String>,
    traces_timeout: Option<String>,
    is_disabled: bool,
}

/// Longest wait for an answer to a request with spans, unless a variable says otherwise; as for the other signals.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One of the three that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// Where a signal is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Nowhere.
    Nowhere,
    /// To this address, which our settings name.
    Named(String),
    /// To the address that the variables name; the exporter reads it from there.
    OfEnvironment(String),
}

impl Environment {
    pub(crate) fn read() -> Self {
        Self::of(|name| Some(env::var_os(name)?.to_string_lossy().into_owned()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        Self {
            endpoint: text("OTEL_EXPORTER_OTLP_ENDPOINT"),
            traces_endpoint: text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            metrics_endpoint: text("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
            logs_endpoint: text("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"),
            traces_exporter: text("OTEL_TRACES_EXPORTER"),
            metrics_exporter: text("OTEL_METRICS_EXPORTER"),
            logs_exporter: text("OTEL_LOGS_EXPORTER"),
            sampler: text("OTEL_TRACES_SAMPLER"),
            sampler_argument: text("OTEL_TRACES_SAMPLER_ARG"),
            traces_timeout: text("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
                .or_else(|| text("OTEL_EXPORTER_OTLP_TIMEOUT")),
            is_disabled: text("OTEL_SDK_DISABLED")
                .is_some_and(|text| text.eq_ignore_ascii_case("true")),
        }
    }

    /// Where `signal` goes, if our settings name `endpoint`; empty where they do not.
    pub(crate) fn destination(&self, signal: Signal, endpoint: &str) -> Destination {
        let (exporter, own, path) = match signal {
            Signal::Traces => (&self.traces_exporter, &self.traces_endpoint, "v1/traces"),
            Signal::Metrics => (&self.metrics_exporter, &self.metrics_endpoint, "v1/metrics"),
            Signal::Logs => (&self.logs_exporter, &self.logs_endpoint, "v1/logs"),
        };
        if self.is_disabled || exporter.as_deref() == Some("none") {
            return Destination::Nowhere;
        }
        if !endpoint.is_empty() {
            return Destination::Named(format!("{}/{path}", endpoint.trim_end_matches('/')));
        }
        let address = own.as_ref().or(self.endpoint.as_ref());
        address.map_or(Destination::Nowhere, |it| Destination::OfEnvironment(it.clone()))
    }

    /// Longest wait for an answer to a request with spans.
    pub(crate) fn traces_timeout(&self) -> Duration {
        let milliseconds = self.traces_timeout.as_ref().and_then(|text| text.trim().parse().ok());
        milliseconds.map_or(TIMEOUT, Duration::from_millis)
    }

    /// Which traces are recorded, if our settings name a share.
    pub(crate) fn sampling(&self, ratio: Option<f64>) -> Result<Sampling, InvalidSampling> {
        match (ratio, &self.sampler) {
            (Some(ratio), _) => Sampling::ratio(ratio),
            (None, Some(sampler)) => Sampling::named(sampler, self.sampler_argument.as_deref()),
            (None, None) => Ok(Sampling::default()),
        }
    }
}

impl Signal {
    /// Its name in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(|name| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_signal_goes_where_the_settings_say_else_where_the_variables_say_else_nowhere() {
        let named = |text: &str| Destination::Named(text.to_owned());
        let of_environment = |text: &str| Destination::OfEnvironment(text.to_owned());
        let check = |variables: &[(&str, &str)], endpoint: &str, expected: Destination| {
            let found = environment(variables).destination(Signal::Traces, endpoint);
            assert_eq!(found, expected, "{variables:?} {endpoint}");
        };
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/t");
        check(&[], "", Destination::Nowhere);
        check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], "", Destination::Nowhere);
        check(&[all], "", of_environment("http://a:4318"));
        check(&[all, traces], "", of_environment("http://b/t"));
        check(&[all, traces], "http://c:4318/", named("http://c:4318/v1/traces"));
        check(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://d")], "", Destination::Nowhere);
        check(&[all, ("OTEL_TRACES_EXPORTER", "none")], "", Destination::Nowhere);
        check(&[("OTEL_SDK_DISABLED", "true")], "http://c:4318", Destination::Nowhere);
    }

    #[test]
    fn the_wait_for_an_answer_is_the_signals_own_else_the_one_for_all_else_ten_seconds() {
        let check = |variables: &[(&str, &str)], milliseconds: u64| {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(environment(variables).traces_timeout(), expected, "{variables:?}");
        };
        let (own, all) = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
        check(&[], 10_000);
        check(&[(all, "200")], 200);
        check(&[(all, "200"), (own, "300")], 300);
        check(&[(all, "soon")], 10_000);
    }

    #[test]
    fn a_share_that_is_set_goes_over_the_sampler_of_the_variables() {
        let off = environment(&[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
        assert_eq!(off.sampling(None), Sampling::ratio(0.0));
        assert_eq!(off.sampling(Some(0.25)), Sampling::ratio(0.25));
        assert_eq!(environment(&[]).sampling(None), Ok(Sampling::default()));
        let share = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
        let expected = Sampling::named("traceidratio", Some("0.5"));
        assert_eq!(environment(&share).sampling(None), expected);
        assert!(environment(&[("OTEL_TRACES_SAMPLER", "some")]).sampling(None).is_err());
    }
}
