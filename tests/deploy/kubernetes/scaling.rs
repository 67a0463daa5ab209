//! Topics, groups, metrics and rules that k8s/ names, held to where each is made.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use schemas::topics;
use serde_json::{Value, json};

use super::manifests::{Rendering, documents, members, name, rendering, renderings, root};
use crate::dockerfile::read;

/// Who scales in a rendering: its target, and the most replicas.
fn scalers(rendering: &Rendering) -> Vec<(&Value, &Value, u64)> {
    let keda = rendering.of("ScaledObject").map(|scaler| (scaler, "maxReplicaCount"));
    let own = rendering.of("HorizontalPodAutoscaler").map(|scaler| (scaler, "maxReplicas"));
    keda.chain(own)
        .map(|(scaler, most)| {
            let spec = &scaler["spec"];
            (scaler, &spec["scaleTargetRef"], spec[most].as_u64().unwrap())
        })
        .collect()
}

/// Partitions of the reviews' topic, by the Job or the resource that makes it.
fn partitions(rendering: &Rendering) -> u64 {
    let topic = rendering.of("KafkaTopic").find(|topic| name(topic) == topics::REVIEWS);
    if let Some(topic) = topic {
        return topic["spec"]["partitions"].as_u64().unwrap();
    }
    let pods = rendering.pods();
    let job = pods.iter().find(|pods| pods.name.starts_with("topics-")).unwrap();
    let arguments = members(&job.spec["containers"][0]["args"]);
    assert_eq!(arguments[..2], [json!("topics"), json!("--partitions")]);
    arguments[2].as_str().unwrap().parse().unwrap()
}

#[test]
fn who_is_scaled_is_there_and_leaves_the_number_to_the_scaler() {
    let mut seen = 0;
    for rendering in renderings() {
        for (scaler, target, most) in scalers(&rendering) {
            seen += 1;
            let at = format!("{}: {}", rendering.name, name(scaler));
            let workload = rendering
                .of(target["kind"].as_str().unwrap())
                .find(|workload| workload["metadata"]["name"] == target["name"]);
            assert!(workload.unwrap()["spec"]["replicas"].is_null(), "{at}: two set the number");
            if target["name"] == "processor" {
                assert!(
                    most <= partitions(&rendering),
                    "{at}: {most} replicas, some without a partition"
                );
            }
        }
    }
    assert!(10 < seen, "{seen}");
}

#[test]
fn scaling_down_is_slower_than_a_rebalance_and_than_scaling_up() {
    for rendering in renderings() {
        for (scaler, _, _) in scalers(&rendering) {
            let spec = &scaler["spec"];
            let own = &spec["behavior"];
            let behavior = if own.is_null() {
                &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
            } else {
                own
            };
            let window = |way: &str| behavior[way]["stabilizationWindowSeconds"].as_u64().unwrap();
            assert!(30 <= window("scaleUp"), "{}", name(scaler));
            assert!(window("scaleUp") < window("scaleDown"), "{}", name(scaler));
            let down = members(&behavior["scaleDown"]["policies"]);
            assert!(down.iter().all(|policy| policy["type"] == "Pods" && policy["value"] == 1));
        }
    }
}

#[test]
fn topics_and_groups_are_those_of_the_code() {
    let processor = processor::settings::ReplicaSettings::default().group;
    let sink = sink::Settings::default().group;
    let mut seen = BTreeSet::new();
    for rendering in renderings() {
        for scaler in rendering.of("ScaledObject") {
            for trigger in members(&scaler["spec"]["triggers"]) {
                if trigger["type"] == "kafka" {
                    let read = &trigger["metadata"];
                    seen.insert((read["consumerGroup"].to_string(), read["topic"].to_string()));
                }
            }
        }
    }
    let quoted = |text: &str| Value::from(text).to_string();
    let expected =
        [(quoted(&processor), quoted(topics::REVIEWS)), (quoted(&sink), quoted(topics::VERDICTS))];
    assert_eq!(seen, expected.into());
}

#[test]
fn topics_of_strimzi_are_those_that_the_command_makes() {
    let program = Path::new(env!("CARGO_BIN_EXE_verdict"));
    for name_of_rendering in ["overlay-production", "chart-production", "component-strimzi"] {
        let rendering = rendering(name_of_rendering);
        let partitions = partitions(&rendering).to_string();
        let output = Command::new(program)
            .args(["topics", "--dry-run", "--partitions", &partitions])
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let made: BTreeSet<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        let told = |topic: &Value| {
            let spec = &topic["spec"];
            let config = spec["config"].as_object().unwrap().iter();
            // How many copies there are is the cluster's affair, and with it how many must have a record.
            let config = config
                .filter(|(key, _)| *key != "min.insync.replicas")
                .map(|(key, value)| format!(" {key}={}", value.as_str().unwrap()));
            format!(
                "{} partitions={}{}",
                name(topic),
                spec["partitions"],
                config.collect::<String>()
            )
        };
        let declared: BTreeSet<String> = rendering.of("KafkaTopic").map(told).collect();
        assert_eq!(declared, made, "{name_of_rendering}");
    }
}

/// Names that the rules of observability/ record.
fn recorded() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in fs::read_dir(root().join("observability/prometheus/rules")).unwrap() {
        for document in documents(&file.unwrap().path()) {
            for group in members(&document["groups"]) {
                let rules = members(&group["rules"]).iter();
                names.extend(rules.filter_map(|rule| rule["record"].as_str()).map(str::to_owned));
            }
        }
    }
    names
}

/// Series that a query names: what stands before `{`, `)` or a space and has a colon.
fn series(query: &str) -> Vec<&str> {
    query
        .split(|character: char| !(character.is_alphanumeric() || ":_".contains(character)))
        .filter(|word| word.contains(':'))
        .collect()
}

#[test]
fn metrics_that_scale_are_recorded_by_our_rules() {
    let recorded = recorded();
    let mut queries = BTreeSet::new();
    for rendering in renderings() {
        for scaler in rendering.of("ScaledObject") {
            for trigger in members(&scaler["spec"]["triggers"]) {
                queries.extend(trigger["metadata"]["query"].as_str().map(str::to_owned));
            }
        }
    }
    let adapter = &documents(&root().join("k8s/components/hpa/prometheus-adapter.yml"))[0];
    let rules = members(&adapter["externalRules"]);
    let of_adapter: BTreeSet<_> =
        rules.iter().map(|rule| rule["metricsQuery"].as_str().unwrap().to_owned()).collect();
    // KEDA asks for the seconds itself, and Kafka for the lag.
    assert!(queries.is_subset(&of_adapter), "{queries:?}, {of_adapter:?}");
    for query in &of_adapter {
        let series = series(query);
        assert!(!series.is_empty(), "{query}");
        assert!(series.iter().all(|name| recorded.contains(*name)), "{query}");
        assert!(
            query.contains(&format!("messaging_destination_name=\"{}\"", topics::REVIEWS)),
            "{query}"
        );
    }
    assert!(read("docs/TELEMETRY.md").contains("| `messaging.kafka.consumer.lag` |"));
    let served: BTreeSet<_> =
        rules.iter().map(|rule| rule["name"]["as"].clone().to_string()).collect();
    let hpa = rendering("component-hpa");
    let asked: BTreeSet<_> = hpa
        .of("HorizontalPodAutoscaler")
        .flat_map(|scaler| members(&scaler["spec"]["metrics"]))
        .filter(|metric| metric["type"] == "External")
        .map(|metric| metric["external"]["metric"]["name"].to_string())
        .collect();
    assert_eq!(asked, served);
}

/// The rules as a resource of the Prometheus operator, their text as it is.
fn rules_resource() -> String {
    let mut text = "\
# The rules of observability/prometheus/rules as a resource of the Prometheus operator, written from them by tests/deploy
# (VERDICT_REGENERATE=1).
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: verdict
  namespace: verdict
  labels: { app.kubernetes.io/part-of: verdict }
spec:
  groups:
"
    .to_owned();
    let mut files: Vec<_> = fs::read_dir(root().join("observability/prometheus/rules"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let rules = fs::read_to_string(&file).unwrap();
        let (_, groups) = rules.split_once("groups:\n").unwrap();
        for line in groups.lines() {
            let indent = if line.trim().is_empty() { "" } else { "  " };
            text.extend([indent, line, "\n"]);
        }
    }
    text
}

#[test]
fn rules_are_those_of_the_observability() {
    let path = root().join("k8s/components/monitoring/rules.yaml");
    let written = rules_resource();
    if env::var_os("VERDICT_REGENERATE").is_some() {
        fs::write(&path, &written).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), written, "VERDICT_REGENERATE=1 dev/test deploy");
}

#[test]
fn the_collector_is_that_of_the_observability() {
    let here = read("k8s/components/collector/collector.yml");
    assert_eq!(here, read("observability/collector/collector.yml"), "copy it");
}

#[test]
fn images_of_others_are_those_of_compose() {
    let compose = read("compose.yaml");
    let mut seen = BTreeSet::new();
    for rendering in renderings() {
        for object in &rendering.objects {
            let containers = members(&object["spec"]["template"]["spec"]["containers"]);
            let images = containers.iter().filter_map(|container| container["image"].as_str());
            seen.extend(images.filter(|image| !image.contains("verdict/")).map(str::to_owned));
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    for image in seen {
        assert!(compose.contains(&format!("image: {image}\n")), "{image}");
    }
}
