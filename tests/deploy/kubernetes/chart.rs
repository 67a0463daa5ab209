//! The chart against the overlays: with the same wishes both come to the same objects.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::manifests::{NAMESPACE, Rendering, name, rendering};

/// A rendering of the chart, and the one of kustomize that it has to equal.
const PAIRS: [(&str, &str); 5] = [
    ("chart-default", "base"),
    ("chart-production", "overlay-production"),
    ("chart-hpa", "component-hpa"),
    ("chart-bundles-store", "component-bundles-store"),
    ("chart-bundles-volume", "component-bundles-volume"),
];

/// Labels that say who made an object.
const MAKERS: [&str; 3] =
    ["app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"];

/// A name without what tells one content or one version from another: ten characters of kustomize's hash, or the version of a Job.
fn bare<'a>(name: &'a str, maps: &[&'a str]) -> &'a str {
    let is_hash =
        |end: &str| end.len() == 10 && end.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let version = env!("CARGO_PKG_VERSION").replace('.', "-");
    if let Some(bare) = name.strip_suffix(&version).and_then(|bare| bare.strip_suffix('-')) {
        return bare;
    }
    match name.rsplit_once('-') {
        Some((bare, end)) if is_hash(end) && maps.contains(&name) => bare,
        Some((bare, "r1")) => bare,
        _ => name,
    }
}

/// An object without what says who made it.
fn normal(value: &Value, maps: &[&str]) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, value)| {
                let is_note = key.starts_with("checksum/") || MAKERS.contains(&key.as_str());
                let is_empty = value
                    .as_object()
                    .is_some_and(|inner| inner.keys().all(|key| key.starts_with("checksum/")))
                    && *key == "annotations";
                !is_note && !is_empty
            });
            Value::Object(kept.map(|(key, value)| (key.clone(), normal(value, maps))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(|value| normal(value, maps)).collect()),
        Value::String(text) => Value::from(bare(text, maps)),
        other => other.clone(),
    }
}

/// Objects by kind, namespace and name.
fn objects(rendering: &Rendering) -> BTreeMap<String, Value> {
    let maps: Vec<_> = rendering.of("ConfigMap").map(name).collect();
    let keyed = |object: &Value| {
        let mut object = normal(object, &maps);
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.entry("namespace").or_insert_with(|| NAMESPACE.into());
        if metadata["labels"].as_object().is_some_and(Map::is_empty) {
            metadata.remove("labels");
        }
        let key =
            format!("{} {}/{}", object["kind"], object["metadata"]["namespace"], name(&object));
        (key, object)
    };
    // Whoever installs a chart makes its namespace.
    rendering.objects.iter().filter(|object| object["kind"] != "Namespace").map(keyed).collect()
}

/// Where two values differ first, as a path.
fn difference(at: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys = one.keys().chain(other.keys());
            let differing = |key: &String| {
                let (one, other) = (one.get(key), other.get(key));
                let none = Value::Null;
                difference(&format!("{at}/{key}"), one.unwrap_or(&none), other.unwrap_or(&none))
            };
            keys.find_map(differing)
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(index, (one, other))| difference(&format!("{at}/{index}"), one, other)),
        _ => (one != other).then(|| format!("{at}: {one} and {other}")),
    }
}

#[test]
fn the_chart_comes_to_what_the_overlays_come_to() {
    for (chart, overlay) in PAIRS {
        let (chart_objects, overlay_objects) =
            (objects(&rendering(chart)), objects(&rendering(overlay)));
        let keys = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&chart_objects), keys(&overlay_objects), "{chart} and {overlay}");
        for (key, object) in &chart_objects {
            let found = difference(key, object, &overlay_objects[key]);
            assert_eq!(found, None, "{chart} and {overlay}");
        }
    }
}

#[test]
fn a_difference_is_found() {
    let overlay = objects(&rendering("overlay-production"));
    let (key, object) = overlay.iter().find(|(key, _)| key.starts_with("\"StatefulSet\"")).unwrap();
    assert_eq!(difference(key, object, object), None);
    let mut other = object.clone();
    other["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1.into();
    let found = difference(key, object, &other).unwrap();
    assert!(found.contains("/spec/template/spec/terminationGracePeriodSeconds: "), "{found}");
}
