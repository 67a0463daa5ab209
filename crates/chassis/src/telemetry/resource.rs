//! Who tells: the process as collectors know it.

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::Resource;

use crate::hostname;

/// What OpenTelemetry calls a service that has no name.
const UNKNOWN: &str = "unknown_service";

/// The resource of a process that is called `service`, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` calls it otherwise.
pub(crate) fn of(service: &'static str) -> Resource {
    completed(&Resource::builder().build(), service, hostname().ok().as_deref())
}

/// `given`, and what is not in it. Two replicas must not be taken for one: their counters would be added up wrongly.
fn completed(given: &Resource, service: &'static str, host: Option<&str>) -> Resource {
    let instance = host.map(|host| format!("{host}:{}", std::process::id()));
    let ours = [
        ("service.name", Some(Value::from(service))),
        ("service.namespace", Some(Value::from("verdict"))),
        ("service.version", Some(Value::from(env!("CARGO_PKG_VERSION")))),
        ("service.instance.id", instance.map(Value::from)),
        ("host.name", host.map(|host| Value::from(host.to_owned()))),
    ];
    let is_given = |name: &'static str| {
        given
            .get(&Key::from_static_str(name))
            .is_some_and(|value| !value.as_str().starts_with(UNKNOWN))
    };
    let missing: Vec<_> = ours
        .into_iter()
        .filter(|(name, _)| !is_given(name))
        .filter_map(|(name, value)| Some(KeyValue::new(name, value?)))
        .collect();
    let attributes = given.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_attributes(attributes).with_attributes(missing).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[(&'static str, &'static str)], name: &'static str, expected: &str) {
        let given = given.iter().map(|(name, value)| KeyValue::new(*name, *value));
        let given = Resource::builder_empty().with_attributes(given).build();
        let resource = completed(&given, "sink", Some("pod-1"));
        let found = resource.get(&Key::from_static_str(name));
        assert_eq!(found.map(|value| value.as_str().into_owned()).as_deref(), Some(expected));
    }

    #[test]
    fn what_the_environment_says_stays_and_the_rest_is_added() {
        check(&[], "service.name", "sink");
        check(&[("service.name", "unknown_service:verdict")], "service.name", "sink");
        check(&[("service.name", "scores")], "service.name", "scores");
        check(&[("service.instance.id", "a")], "service.instance.id", "a");
        check(&[], "service.instance.id", &format!("pod-1:{}", std::process::id()));
        check(&[("deployment.environment.name", "test")], "deployment.environment.name", "test");
        check(&[], "host.name", "pod-1");
    }
}
