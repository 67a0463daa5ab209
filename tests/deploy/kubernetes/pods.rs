//! Our rules for pods: what `restricted` asks, and what a line that loses nothing asks besides.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::manifests::{Pods, Rendering, members, name, renderings};
use crate::dockerfile::{IMAGES, read, stages};

/// What is wrong with a pod of ours, and what is not there.
fn breaches(pods: &Pods<'_>, breaches: &mut Vec<String>) {
    let spec = pods.spec;
    let mut check = |holds: bool, what: &str| {
        if !holds {
            breaches.push(format!("{} {}: {what}", pods.kind, pods.name));
        }
    };
    check(spec["automountServiceAccountToken"] == false, "has a token of its account");
    check(spec["serviceAccountName"].is_string(), "goes by the account `default`");
    // Kubernetes makes variables of the names of services, and ours take those that begin with VERDICT_ for settings.
    check(spec["enableServiceLinks"] == false, "gets variables of services");
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        check(spec[field].is_null(), "shares something with the node");
    }
    let security = &spec["securityContext"];
    check(security["runAsNonRoot"] == true, "may run as root");
    check(security["seccompProfile"]["type"] == "RuntimeDefault", "may call all of the kernel");
    let containers = members(&spec["containers"]).iter().chain(members(&spec["initContainers"]));
    for container in containers {
        let security = &container["securityContext"];
        check(security["allowPrivilegeEscalation"] == false, "may get privileges");
        check(security["readOnlyRootFilesystem"] == true, "may write to its root");
        check(security["capabilities"]["drop"] == json!(["ALL"]), "keeps capabilities");
        let resources = &container["resources"];
        check(resources["requests"]["cpu"].is_string(), "asks for no processor time");
        check(resources["requests"]["memory"].is_string(), "asks for no memory");
        check(resources["limits"]["memory"].is_string(), "has no limit of memory");
        let image = container["image"].as_str().unwrap_or_default();
        check(is_pinned(image), "runs whatever the tag is today");
    }
}

/// Whether an image has a version.
fn is_pinned(image: &str) -> bool {
    let tagged = image.split('@').next().unwrap_or_default();
    let tag = tagged.rsplit('/').next().and_then(|last| last.split_once(':'));
    tag.is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest")
}

fn every(check: impl Fn(&Rendering, &Pods<'_>)) {
    for rendering in renderings() {
        let pods = rendering.pods();
        assert!(3 < pods.len(), "{}", rendering.name);
        for pods in &pods {
            check(&rendering, pods);
        }
    }
}

#[test]
fn every_pod_keeps_to_the_rules() {
    let mut found = Vec::new();
    for rendering in renderings() {
        for pods in rendering.pods() {
            breaches(&pods, &mut found);
        }
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn each_rule_can_fail() {
    let rendering = super::manifests::rendering("overlay-production");
    let pods = rendering.pods();
    let sound = pods.iter().find(|pods| pods.name == "processor").unwrap();
    let with = |pointer: &str, value: Value| {
        let mut spec = sound.spec.clone();
        *spec.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        let mut found = Vec::new();
        breaches(&Pods { spec: &spec, ..*sound }, &mut found);
        found.len()
    };
    assert_eq!(with("/terminationGracePeriodSeconds", json!(1)), 0);
    for (pointer, value) in [
        ("/automountServiceAccountToken", json!(true)),
        ("/serviceAccountName", Value::Null),
        ("/enableServiceLinks", Value::Null),
        ("/securityContext/runAsNonRoot", json!(false)),
        ("/securityContext/seccompProfile", Value::Null),
        ("/containers/0/securityContext/allowPrivilegeEscalation", Value::Null),
        ("/containers/0/securityContext/readOnlyRootFilesystem", json!(false)),
        ("/containers/0/securityContext/capabilities/drop", json!([])),
        ("/containers/0/resources/requests/cpu", Value::Null),
        ("/containers/0/resources/requests/memory", Value::Null),
        ("/containers/0/resources/limits", Value::Null),
        ("/containers/0/image", json!("verdict/processor:latest")),
        ("/containers/0/image", json!("localhost:5000/verdict/processor")),
    ] {
        assert_eq!(with(pointer, value), 1, "{pointer}");
    }
}

#[test]
fn our_images_are_those_of_the_dockerfile_in_the_version_of_the_tree() {
    let (stages, _) = stages(&read("Dockerfile"));
    let mut seen = BTreeSet::new();
    every(|_, pods| {
        let Some(program) = pods.program() else { return };
        let image = pods.spec["containers"][0]["image"].as_str().unwrap();
        assert!(IMAGES.contains(&program), "{image}");
        assert_eq!(image, format!("verdict/{program}:{}", env!("CARGO_PKG_VERSION")));
        let user = &pods.spec["securityContext"];
        let user = format!("{}:{}", user["runAsUser"], user["runAsGroup"]);
        assert_eq!(user, stages[program].user, "{image}");
    });
    for rendering in renderings() {
        seen.extend(rendering.pods().iter().filter_map(Pods::program).map(str::to_owned));
        // A Job's template is never changed: another version is another Job.
        for job in rendering.of("Job") {
            let version = env!("CARGO_PKG_VERSION").replace('.', "-");
            let end = if rendering.name.starts_with("chart") { "r1" } else { &version };
            assert!(name(job).ends_with(&format!("-{end}")), "{}", name(job));
        }
    }
    assert_eq!(seen, IMAGES.map(str::to_owned).into());
}

#[test]
fn services_are_asked_by_the_paths_and_the_port_that_they_serve() {
    let (stages, _) = stages(&read("Dockerfile"));
    every(|_, pods| {
        if !pods.is_service() {
            return;
        }
        let container = &pods.spec["containers"][0];
        let port =
            json!([{ "name": "http", "containerPort": stages[pods.program().unwrap()].ports[0] }]);
        assert_eq!(container["ports"], port, "{}", pods.name);
        for (probe, path) in [
            ("startupProbe", "/startupz"),
            ("livenessProbe", "/livez"),
            ("readinessProbe", "/readyz"),
        ] {
            let get = &container[probe]["httpGet"];
            assert_eq!(*get, json!({ "path": path, "port": "http" }), "{}: {probe}", pods.name);
            assert!(container[probe]["periodSeconds"].is_u64(), "{}: {probe}", pods.name);
        }
        assert!(container["lifecycle"].is_null(), "{}: what is a preStop for?", pods.name);
        // Long enough for a model and a broker that come late, and then for a restart: what was never ready has nothing in hand.
        let startup = &container["startupProbe"];
        let limit = startup["periodSeconds"].as_u64().unwrap()
            * startup["failureThreshold"].as_u64().unwrap();
        assert_eq!(limit, 600, "{}", pods.name);
    });
}

#[test]
fn a_pod_is_given_longer_to_stop_than_its_program_takes() {
    /// For what telemetry has still to send.
    const FLUSH: Duration = Duration::from_secs(2);
    let section = |file: &str, section: &str| -> toml::Table {
        let file: toml::Table = read(&format!("k8s/base/config/{file}.toml")).parse().unwrap();
        file[section].as_table().unwrap().clone()
    };
    let ingest: ingest::Settings = section("ingest", "ingest").try_into().unwrap();
    let replica: processor::settings::ReplicaSettings =
        section("processor", "replica").try_into().unwrap();
    let processor: processor::Settings = section("processor", "processor").try_into().unwrap();
    let sink: sink::Settings = section("sink", "sink").try_into().unwrap();
    assert!(processor.drain_wait_max < replica.grace);
    every(|rendering, pods| {
        let takes = match pods.program() {
            Some("ingest") => ingest.stopping_max() + ingest.publish_wait_max,
            Some("processor") => replica.grace,
            Some("sink") => sink.grace,
            _ => return,
        };
        let given = pods.spec["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(takes + FLUSH < Duration::from_secs(given), "{}: {}", rendering.name, pods.name);
    });
}

#[test]
fn names_of_transactions_outlive_a_pod() {
    every(|_, pods| match pods.program() {
        // `<group>-<host name>` by default: only a StatefulSet's pods come back under their names.
        Some("processor" | "sink") => assert_eq!(pods.kind, "StatefulSet"),
        Some("ingest") => assert_eq!(pods.kind, "Deployment"),
        _ => {}
    });
}

#[test]
fn as_many_threads_infer_as_cores_are_asked_for() {
    let file: toml::Table = read("k8s/base/config/processor.toml").parse().unwrap();
    let settings: processor::Settings = file["processor"].clone().try_into().unwrap();
    assert!(!settings.pin_threads, "pods of one node would share its first cores");
    for name in ["overlay-production", "chart-production"] {
        let rendering = super::manifests::rendering(name);
        let pods = rendering.pods();
        let processor = pods.iter().find(|pods| pods.name == "processor").unwrap();
        let resources = &processor.spec["containers"][0]["resources"];
        assert_eq!(resources["requests"]["cpu"], settings.inference_threads.to_string(), "{name}");
        assert!(resources["limits"]["cpu"].is_null(), "{name}: a quota stops a batch midway");
    }
}
