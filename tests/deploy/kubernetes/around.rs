//! What stands around the pods: accounts, budgets, services, network policies, and names that have to lead somewhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::manifests::{
    NAMESPACE, Pods, Rendering, WORKLOADS, members, name, namespace, renderings, selects,
};

/// Secrets that others make.
const SECRETS: [&str; 3] = ["bundles", "kafka-client", "store-client"];

/// The one object of a kind with a name, in the namespace of the line.
fn named<'a>(rendering: &'a Rendering, kind: &str, wanted: &str) -> Option<&'a Value> {
    rendering.of(kind).find(|object| name(object) == wanted && namespace(object) == NAMESPACE)
}

fn policies<'a>(rendering: &'a Rendering, pods: &Pods<'_>, direction: &str) -> Vec<&'a Value> {
    let takes = |policy: &&Value| {
        members(&policy["spec"]["policyTypes"]).contains(&json!(direction))
            && selects(&policy["spec"]["podSelector"], pods.labels)
    };
    rendering.of("NetworkPolicy").filter(takes).collect()
}

/// Namespaces, and ports, that policies let pods talk to.
fn reached(rendering: &Rendering, pods: &Pods<'_>) -> BTreeSet<(String, u64)> {
    let mut reached = BTreeSet::new();
    for policy in policies(rendering, pods, "Egress") {
        for rule in members(&policy["spec"]["egress"]) {
            let peers = members(&rule["to"]).iter().map(|peer| {
                let label =
                    &peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
                label.as_str().unwrap_or(NAMESPACE).to_owned()
            });
            for peer in peers {
                let ports = members(&rule["ports"]).iter().filter_map(|port| port["port"].as_u64());
                reached.extend(ports.map(|port| (peer.clone(), port)));
            }
        }
    }
    reached
}

#[test]
fn every_workload_has_a_budget_that_lets_one_go() {
    for rendering in renderings() {
        for pods in rendering.pods() {
            if !WORKLOADS.contains(&pods.kind) {
                continue;
            }
            let budgets: Vec<_> = rendering
                .of("PodDisruptionBudget")
                .filter(|budget| selects(&budget["spec"]["selector"], pods.labels))
                .collect();
            assert_eq!(budgets.len(), 1, "{}: {}", rendering.name, pods.name);
            assert_eq!(budgets[0]["spec"]["maxUnavailable"], 1);
            // A pod that never becomes ready must not keep its node.
            assert_eq!(budgets[0]["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
        }
    }
}

#[test]
fn accounts_have_no_token_and_no_rights() {
    for rendering in renderings() {
        for pods in rendering.pods() {
            let account = pods.spec["serviceAccountName"].as_str().unwrap();
            let account = named(&rendering, "ServiceAccount", account).unwrap();
            assert_eq!(account["automountServiceAccountToken"], false, "{}", pods.name);
        }
        for kind in ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"] {
            assert_eq!(rendering.of(kind).count(), 0, "{}: {kind}", rendering.name);
        }
    }
}

#[test]
fn names_lead_somewhere() {
    for rendering in renderings() {
        for pods in rendering.pods() {
            let at = format!("{}: {}", rendering.name, pods.name);
            let mut volumes = BTreeSet::new();
            for volume in members(&pods.spec["volumes"]) {
                volumes.insert(volume["name"].as_str().unwrap());
                if let Some(map) = volume["configMap"]["name"].as_str() {
                    assert!(rendering.config(map).is_some(), "{at}: {map}");
                }
                if let Some(secret) = volume["secret"]["secretName"].as_str() {
                    assert!(SECRETS.contains(&secret), "{at}: {secret}");
                }
                if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
                    assert!(
                        named(&rendering, "PersistentVolumeClaim", claim).is_some(),
                        "{at}: {claim}"
                    );
                }
            }
            for container in members(&pods.spec["containers"])
                .iter()
                .chain(members(&pods.spec["initContainers"]))
            {
                for mount in members(&container["volumeMounts"]) {
                    let volume = mount["name"].as_str().unwrap();
                    assert!(volumes.contains(volume), "{at}: {volume}");
                }
                for from in members(&container["envFrom"]) {
                    let map = from["configMapRef"]["name"].as_str().unwrap();
                    assert!(rendering.config(map).is_some(), "{at}: {map}");
                }
                for variable in members(&container["env"]) {
                    if let Some(secret) = variable["valueFrom"]["secretKeyRef"]["name"].as_str() {
                        assert!(SECRETS.contains(&secret), "{at}: {secret}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_secret_is_never_written_down() {
    for rendering in renderings() {
        assert_eq!(rendering.of("Secret").count(), 0, "{}", rendering.name);
        for map in rendering.of("ConfigMap") {
            for (key, value) in map["data"].as_object().unwrap() {
                let is_secret =
                    ["PASSWORD", "TOKEN", "SECRET"].iter().any(|word| key.contains(word));
                let is_file = value.as_str().unwrap().starts_with("{file=\"/run/secrets/");
                assert!(!is_secret || is_file, "{}: {key}", rendering.name);
            }
        }
    }
}

#[test]
fn services_select_pods_and_lead_to_a_port_of_theirs() {
    for rendering in renderings() {
        for service in rendering.of("Service").filter(|service| namespace(service) == NAMESPACE) {
            let selector = json!({ "matchLabels": service["spec"]["selector"] });
            let pods = rendering.pods();
            let selected: Vec<_> =
                pods.iter().filter(|pods| selects(&selector, pods.labels)).collect();
            assert_eq!(selected.len(), 1, "{}: {}", rendering.name, name(service));
            for port in members(&service["spec"]["ports"]) {
                let ports = members(&selected[0].spec["containers"][0]["ports"]);
                assert!(ports.iter().any(|own| own["name"] == port["targetPort"]), "{port}");
            }
        }
        for set in rendering.of("StatefulSet").filter(|set| namespace(set) == NAMESPACE) {
            let service = set["spec"]["serviceName"].as_str().unwrap();
            let service = named(&rendering, "Service", service).unwrap();
            assert_eq!(service["spec"]["clusterIP"], "None", "{}", name(set));
        }
    }
}

#[test]
fn pods_are_spread_with_their_like() {
    for rendering in renderings() {
        for pods in rendering.pods().iter().filter(|pods| pods.is_service()) {
            let constraints = members(&pods.spec["topologySpreadConstraints"]);
            let keys: Vec<_> =
                constraints.iter().map(|constraint| &constraint["topologyKey"]).collect();
            assert_eq!(keys.len(), 2, "{}: {}", rendering.name, pods.name);
            for constraint in constraints {
                assert!(selects(&constraint["labelSelector"], pods.labels), "{constraint}");
            }
            assert!(selects(&pods.object["spec"]["selector"], pods.labels));
        }
    }
}

#[test]
fn nothing_is_let_in_or_out_that_is_not_named() {
    for rendering in renderings() {
        let all = json!({});
        let denies = |policy: &&Value| {
            let spec = &policy["spec"];
            spec["podSelector"] == all
                && spec["policyTypes"] == json!(["Ingress", "Egress"])
                && spec["ingress"].is_null()
                && spec["egress"].is_null()
        };
        assert_eq!(rendering.of("NetworkPolicy").filter(denies).count(), 1, "{}", rendering.name);
        for policy in rendering.of("NetworkPolicy") {
            // A policy that selects no pod, or names a port that no pod has, is a slip.
            let pods = rendering.pods();
            let selected: Vec<_> = pods
                .iter()
                .filter(|pods| selects(&policy["spec"]["podSelector"], pods.labels))
                .collect();
            assert!(!selected.is_empty(), "{}: {}", rendering.name, name(policy));
            for rule in members(&policy["spec"]["ingress"]) {
                assert!(!members(&rule["from"]).is_empty(), "{}: from everywhere", name(policy));
                for port in members(&rule["ports"]).iter().filter_map(|port| port["port"].as_str())
                {
                    for pods in &selected {
                        let own = members(&pods.spec["containers"][0]["ports"]);
                        assert!(own.iter().any(|own| own["name"] == port), "{}: {port}", pods.name);
                    }
                }
            }
        }
    }
}

#[test]
fn each_program_reaches_what_it_needs_and_no_more() {
    for rendering in renderings() {
        for pods in rendering.pods() {
            let at = format!("{}: {}", rendering.name, pods.name);
            let reached = reached(&rendering, &pods);
            let may = |namespace: &str| reached.iter().any(|(own, _)| own == namespace);
            let what = pods.labels["app.kubernetes.io/name"].as_str().unwrap();
            assert!(reached.contains(&("kube-system".to_owned(), 53)), "{at}: names");
            let needs_kafka = ["ingest", "processor", "sink", "topics"].contains(&what);
            assert_eq!(may("kafka"), needs_kafka, "{at}");
            assert_eq!(may("scylla"), ["ingest", "sink", "tables"].contains(&what), "{at}");
            // The addresses that programs are told are ones that the policies let them reach.
            let Some(told) =
                rendering.of("ConfigMap").find(|map| name(map).starts_with("addresses"))
            else {
                panic!("{at}");
            };
            let servers = told["data"]["VERDICT_KAFKA__BOOTSTRAP_SERVERS"].as_str().unwrap();
            let port: u64 = servers.rsplit(':').next().unwrap().parse().unwrap();
            assert!(!needs_kafka || reached.contains(&("kafka".to_owned(), port)), "{at}: {port}");
            let is_watched = policies(&rendering, &pods, "Ingress")
                .iter()
                .any(|policy| name(policy) == "metrics");
            assert_eq!(is_watched, pods.is_service(), "{at}");
        }
    }
}
