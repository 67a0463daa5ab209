//! What pods are told, by files and by variables, against the programs that are to understand it.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::manifests::{Pods, Rendering, members, rendering, renderings};
use crate::programs;

/// What programs of ours that run as services are called.
const SERVICES: [&str; 3] = ["ingest", "processor", "sink"];

/// Stands for what a Secret would hold.
const SECRET: &str = "hunter2";

/// A folder in which there is what a pod has on its disk.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// With the `ConfigMaps` and Secrets that the pods mount.
    fn of(rendering: &Rendering, pods: &Pods<'_>) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        let mounts = members(&pods.spec["containers"][0]["volumeMounts"]);
        for mount in mounts {
            let inside = mount["mountPath"].as_str().unwrap();
            let volumes = members(&pods.spec["volumes"]);
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            if let Some(map) = volume["configMap"]["name"].as_str() {
                for (file, text) in rendering.config(map).unwrap() {
                    disk.write(&format!("{inside}/{file}"), &text);
                }
            }
            if !volume["secret"].is_null() {
                for file in ["ca.crt", "user", "password"] {
                    disk.write(&format!("{inside}/{file}"), SECRET);
                }
            }
        }
        disk
    }

    fn write(&self, inside: &str, text: &str) {
        let path = self.folder.path().join(inside.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A text in which paths of the pod are those of this machine.
    fn outside(&self, text: &str) -> String {
        let root = self.folder.path().display();
        ["/run/secrets/", "/etc/verdict/"]
            .iter()
            .fold(text.to_owned(), |text, inside| text.replace(inside, &format!("{root}{inside}")))
    }
}

/// The variables that the first container of the pods gets.
fn variables(rendering: &Rendering, pods: &Pods<'_>) -> BTreeMap<String, String> {
    let container = &pods.spec["containers"][0];
    let mut variables = BTreeMap::new();
    for from in members(&container["envFrom"]) {
        variables.extend(rendering.config(from["configMapRef"]["name"].as_str().unwrap()).unwrap());
    }
    for variable in members(&container["env"]) {
        let value = variable["value"].as_str().unwrap_or(SECRET);
        variables.insert(variable["name"].as_str().unwrap().to_owned(), value.to_owned());
    }
    variables
}

/// What the program of the pods has against what they are told.
fn objection(rendering: &Rendering, pods: &Pods<'_>) -> Option<String> {
    let disk = Disk::of(rendering, pods);
    let mut told: BTreeMap<_, _> = variables(rendering, pods)
        .into_iter()
        .map(|(name, value)| (name, disk.outside(&value)))
        .collect();
    let program = pods.program()?;
    let file =
        told.remove("VERDICT_CONFIG").unwrap_or_else(|| format!("deploy/images/{program}.toml"));
    if program == "verdict" {
        // The Jobs need no model.
        told.insert("VERDICT_MODEL__REPOSITORY".to_owned(), "models".to_owned());
    }
    programs::objection(program, &file, &told)
}

#[test]
fn programs_take_what_their_pods_are_told() {
    for rendering in renderings() {
        for pods in rendering.pods().iter().filter(|pods| pods.program().is_some()) {
            assert_eq!(objection(&rendering, pods), None, "{}: {}", rendering.name, pods.name);
        }
    }
}

#[test]
fn a_setting_that_no_program_has_is_an_objection() {
    let mut rendering = rendering("overlay-production");
    for map in rendering.objects.iter_mut().filter(|object| object["kind"] == "ConfigMap") {
        if let Some(data) =
            map["data"].as_object_mut().filter(|data| data.contains_key("sink.toml"))
        {
            data["sink.toml"] = Value::from("[sink]\nrows = 7\n");
        }
    }
    let pods = rendering.pods();
    let sink = pods.iter().find(|pods| pods.name == "sink").unwrap();
    let objection = objection(&rendering, sink).unwrap();
    assert!(objection.contains("unknown setting `sink.rows`"), "{objection}");
}

#[test]
fn commands_of_jobs_are_commands_of_the_program() {
    for rendering in renderings() {
        for pods in rendering.pods().iter().filter(|pods| pods.kind == "Job") {
            let arguments: Vec<_> = members(&pods.spec["containers"][0]["args"])
                .iter()
                .map(|argument| argument.as_str().unwrap())
                .collect();
            assert!(programs::knows("verdict", &arguments), "{}: {arguments:?}", rendering.name);
        }
    }
}

/// Dotted keys with values as text.
fn flatten(prefix: &str, table: &toml::Table, into: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, into),
            toml::Value::String(text) => drop(into.insert(key, text.clone())),
            other => drop(into.insert(key, other.to_string())),
        }
    }
}

/// The variable of a dotted key, as the chart makes it of `settings`.
fn variable(key: &str) -> String {
    format!("VERDICT_{}", key.to_uppercase().replace('.', "__"))
}

#[test]
fn every_setting_can_be_reached_by_the_chart() {
    let parts = fs::read_to_string(Path::new("k8s/chart/verdict/templates/_parts.tpl")).unwrap();
    assert!(
        parts.contains(r#"VERDICT_{{ . | upper | replace "." "__" }}"#),
        "the rule of `variable`"
    );
    let mut settings = BTreeMap::new();
    flatten("", &programs::settings("deploy/images/verdict.toml", &BTreeMap::new()), &mut settings);
    assert!(80 < settings.len(), "{settings:?}");
    // Where models are is a path of this machine, and differs between the programs.
    settings.retain(|key, _| !key.starts_with("model.") && key != "drift.models");
    let told: BTreeMap<_, _> =
        settings.iter().map(|(key, value)| (variable(key), value.clone())).collect();
    for program in SERVICES {
        let file = format!("k8s/base/config/{program}.toml");
        assert_eq!(programs::objection(program, &file, &told), None, "{program}");
    }
    // And one that is the processor's alone.
    let group = BTreeMap::from([(variable("replica.group"), "another".to_owned())]);
    assert_eq!(programs::objection("processor", "k8s/base/config/processor.toml", &group), None);
}
