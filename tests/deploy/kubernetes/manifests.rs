//! What k8s/ comes to, object by object.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Where the line is.
pub(super) const NAMESPACE: &str = "verdict";

/// Kinds that keep pods running.
pub(super) const WORKLOADS: [&str; 2] = ["Deployment", "StatefulSet"];

/// One overlay, component or set of values, rendered.
pub(super) struct Rendering {
    pub(super) name: String,
    pub(super) objects: Vec<Value>,
}

/// A workload or a Job of the line, with what its pods are.
pub(super) struct Pods<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) object: &'a Value,
    pub(super) labels: &'a Value,
    pub(super) spec: &'a Value,
}

/// The tree.
pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All documents of a YAML file.
pub(super) fn documents(path: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut all = vec![String::new()];
    for line in text.lines() {
        if line == "---" {
            all.push(String::new());
        } else {
            let last = all.last_mut().unwrap();
            last.push_str(line);
            last.push('\n');
        }
    }
    let is_empty = |document: &&String| {
        document.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    };
    let parse = |document: String| {
        serde_saphyr::from_str(&document)
            .unwrap_or_else(|error| panic!("{}: {error}: {document}", path.display()))
    };
    all.into_iter().filter(|document| !is_empty(&document)).map(parse).collect()
}

/// Every rendering, by name.
pub(super) fn renderings() -> Vec<Rendering> {
    let mut files: Vec<_> = fs::read_dir(root().join("k8s/rendered"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(10 < files.len(), "{files:?}");
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Rendering { name, objects: documents(&path) }
    };
    files.into_iter().map(read).collect()
}

/// One of them.
pub(super) fn rendering(name: &str) -> Rendering {
    renderings().into_iter().find(|rendering| rendering.name == name).unwrap()
}

impl Rendering {
    /// The objects of a kind.
    pub(super) fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let kind = kind.to_owned();
        self.objects.iter().filter(move |object| object["kind"] == kind.as_str())
    }

    /// Workloads and Jobs in the namespace of the line.
    pub(super) fn pods(&self) -> Vec<Pods<'_>> {
        let is_ours = |object: &&Value| namespace(object) == NAMESPACE;
        let templated = |object| -> Option<Pods<'_>> {
            let template = Value::get(object, "spec")?.get("template")?;
            Some(Pods {
                kind: object["kind"].as_str()?,
                name: name(object),
                object,
                labels: &template["metadata"]["labels"],
                spec: &template["spec"],
            })
        };
        self.objects.iter().filter(is_ours).filter_map(templated).collect()
    }

    /// The content of a `ConfigMap`.
    pub(super) fn config(&self, wanted: &str) -> Option<BTreeMap<String, String>> {
        let map = self.of("ConfigMap").find(|map| name(map) == wanted)?;
        let text =
            |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap().to_owned());
        Some(map["data"].as_object().unwrap().iter().map(text).collect())
    }
}

impl Pods<'_> {
    /// The program of ours that its first container runs.
    pub(super) fn program(&self) -> Option<&str> {
        let image = self.spec["containers"][0]["image"].as_str()?;
        let (_, name) = image.split_once("verdict/")?;
        Some(name.split(':').next().unwrap_or(name))
    }

    /// Whether it is a service of the line.
    pub(super) fn is_service(&self) -> bool {
        WORKLOADS.contains(&self.kind) && self.program().is_some()
    }
}

pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Where an object is; the chart leaves it to the release.
pub(super) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE)
}

/// The members of a list, none where there is no list.
pub(super) fn members(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// Whether a label selector takes these labels.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object();
    let exact = wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value));
    let takes = |expression: &Value| {
        let label = &labels[expression["key"].as_str().unwrap()];
        assert_eq!(expression["operator"], "In", "{expression}");
        members(&expression["values"]).contains(label)
    };
    exact && members(&selector["matchExpressions"]).iter().all(takes)
}
