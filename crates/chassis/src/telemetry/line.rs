//! One line of the log in JSON, with the ids of the operation that it was written in, if it was in one.

use std::fmt;

use opentelemetry::{Context, trace::TraceContextExt as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, Writer},
    },
    registry::LookupSpan,
};

/// JSON, and at its end `trace_id` and `span_id` where there are some.
#[derive(Debug)]
pub(crate) struct Traced(Format<Json>);

impl Traced {
    pub(crate) fn new() -> Self {
        Self(tracing_subscriber::fmt::format().json().flatten_event(true).with_span_list(false))
    }
}

impl<S, N> FormatEvent<S, N> for Traced
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let operation = Context::map_current(|current| {
            current.has_active_span().then(|| current.span().span_context().clone())
        });
        let Some(operation) = operation else {
            return self.0.format_event(context, writer, event);
        };
        // The format has no place for more fields, so they are put before the brace that closes its object.
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let Some(object) = line.trim_end().strip_suffix('}') else {
            return writer.write_str(&line);
        };
        let (trace_id, span_id) = (operation.trace_id(), operation.span_id());
        writeln!(writer, r#"{object},"trace_id":"{trace_id}","span_id":"{span_id}"}}"#)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::{fmt::format::JsonFields, layer::SubscriberExt as _};

    use super::*;
    use crate::TraceContext;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_carries_the_ids_of_the_operation_that_it_is_in() {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(Traced::new());
        let subscriber = tracing_subscriber::registry().with(layer);
        let trace = TraceContext::begin();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(round = 1, "before {{}}");
            let entered = trace.enter();
            tracing::info!(round = 2, "in it");
            drop(entered);
            tracing::info!("after");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<toml::Table> = text.lines().map(object).collect();
        let ids = |line: &toml::Table| {
            ["trace_id", "span_id"].map(|name| Some(line.get(name)?.as_str()?.to_owned()))
        };
        assert_eq!(ids(&lines[0]), [None, None]);
        assert_eq!(ids(&lines[1]), [Some(trace.trace_id()), Some(trace.parent_id())]);
        assert_eq!(lines[1]["round"].as_integer(), Some(2));
        assert_eq!(ids(&lines[2]), [None, None]);
        assert_eq!(lines[0]["message"].as_str(), Some("before {}"));
    }

    /// A flat object of JSON, which reads the same as an inline table of TOML once its colons are equals signs.
    fn object(line: &str) -> toml::Table {
        let table = line.replace("\":", "\" = ");
        toml::from_str::<toml::Table>(&format!("line = {table}")).unwrap()["line"]
            .as_table()
            .unwrap()
            .clone()
    }
}
