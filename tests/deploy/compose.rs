//! compose.yaml and what is laid over it: each service of ours against its image and its program, the others against our settings.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use serde_json::{Map, Value};

use crate::{
    dockerfile::{Stage, read},
    images::{finals, pin_breach, settings_file},
    programs,
};

/// The files, the first alone and all over each other.
const FILES: [&str; 2] = ["compose.yaml", "compose.bundles.yaml"];

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&read(file)).unwrap()
}

fn stack() -> Map<String, Value> {
    yaml(FILES[0])["services"].as_object().unwrap().clone()
}

/// Services of all files by file.
fn all() -> Vec<(&'static str, String, Value)> {
    let services = |file: &'static str| {
        let services = yaml(file)["services"].as_object().unwrap().clone();
        services.into_iter().map(move |(name, service)| (file, name, service))
    };
    FILES.into_iter().flat_map(services).collect()
}

/// Those that are built of our Dockerfile: name, service, target, stage.
fn ours() -> Vec<(String, Value, String, Stage)> {
    let stages = finals();
    let built = stack().into_iter().filter(|(_, service)| service.get("build").is_some());
    let with_stage = |(name, service): (String, Value)| {
        let target = service["build"]["target"].as_str().unwrap().to_owned();
        let stage = stages[target.as_str()].clone();
        (name, service, target, stage)
    };
    built.map(with_stage).collect()
}

/// A text with each `${NAME:-default}` as its default.
fn resolved(text: &str) -> String {
    let mut parts = text.split("${");
    let mut resolved = parts.next().unwrap().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        resolved += variable.split_once(":-").unwrap().1;
        resolved += rest;
    }
    resolved
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        resolved(value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str())
    };
    let variables = service["environment"].as_object().into_iter().flatten();
    variables.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().unwrap()).collect()
}

/// `40s`, `1m`.
fn time(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => panic!("{text}"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * seconds)
}

/// The port of `host:port`, with the service that `host` names.
fn port_of<'a>(address: &'a str, services: &Map<String, Value>) -> (&'a str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap();
    assert!(services.contains_key(host), "{address} leads nowhere");
    (host, port.parse().unwrap())
}

#[test]
fn ours_are_their_images_and_can_do_no_more_than_those() {
    let ours = ours();
    assert_eq!(ours.len(), 5);
    for (name, service, target, stage) in ours {
        let version = env!("CARGO_PKG_VERSION");
        let image = format!("verdict/{target}:${{VERDICT_VERSION:-{version}}}");
        assert_eq!(service["image"], image, "{name}");
        assert_eq!(service["user"], stage.user, "{name}");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
    }
}

#[test]
fn the_others_are_pinned() {
    let from_elsewhere = all().into_iter().filter(|(_, _, service)| service.get("build").is_none());
    let images = from_elsewhere.filter_map(|(_, _, service)| Some(service.get("image")?.clone()));
    let breaches: Vec<_> = images.filter_map(|image| pin_breach(image.as_str().unwrap())).collect();
    assert_eq!(breaches, [""; 0]);
}

#[test]
fn every_variable_is_a_setting() {
    for (name, service, target, stage) in ours() {
        let variables = environment(&service);
        assert!(!variables.is_empty(), "{name}");
        assert!(variables.keys().all(|variable| variable.starts_with("VERDICT_")), "{name}");
        let objection = programs::objection(&target, settings_file(&stage), &variables);
        assert_eq!(objection, None, "{name}");
    }
}

#[test]
fn ours_find_kafka_the_store_and_the_collector() {
    let services = stack();
    let inside = environment(&services["kafka"]);
    let collector = read("observability/collector/collector.yml");
    for (name, service, target, stage) in ours() {
        // `verdict` knows the settings of all.
        let mut variables = environment(&service);
        variables.retain(|variable, _| !variable.starts_with("VERDICT_MODEL"));
        let file = if target == "verdict" { settings_file(&stage) } else { "/dev/null" };
        let settings = programs::settings(file, &variables);
        if variables.contains_key("VERDICT_KAFKA__BOOTSTRAP_SERVERS") {
            let servers = settings["kafka"]["bootstrap_servers"].as_str().unwrap();
            let advertised = format!("INSIDE://{servers}");
            let listeners = &inside["KAFKA_ADVERTISED_LISTENERS"];
            assert!(
                listeners.split(',').any(|listener| listener == advertised),
                "{name}: {servers}"
            );
            let (_, port) = port_of(servers, &services);
            assert!(inside["KAFKA_LISTENERS"].contains(&format!("INSIDE://:{port},")), "{name}");
        }
        if let Some(url) = variables.get("VERDICT_STORE__URL") {
            let (address, keyspace) = url.strip_prefix("cql://").unwrap().split_once('/').unwrap();
            assert_eq!(port_of(address, &services), ("scylla", 9042), "{name}");
            assert_eq!(keyspace, "verdict", "{name}");
        }
        if let Some(endpoint) = variables.get("VERDICT_TELEMETRY__OTLP_ENDPOINT") {
            let (host, port) = port_of(endpoint.strip_prefix("http://").unwrap(), &services);
            assert_eq!(host, "collector");
            assert!(collector.contains(&format!(":{port}\n")), "{endpoint}");
        }
    }
}

#[test]
fn outside_and_inside_ports_are_those_of_the_programs() {
    let services = stack();
    for (name, service) in &services {
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to all");
        }
    }
    for (name, service, _, stage) in ours() {
        for port in words(&service["ports"]) {
            let inside = port.rsplit(':').next().unwrap().parse().unwrap();
            assert!(stage.ports.contains(&inside), "{name}: {port}");
        }
    }
    // Who is told an address by Kafka has to find Kafka there.
    let kafka = &services["kafka"];
    let variables = environment(kafka);
    let [port] = words(&kafka["ports"])[..] else { panic!("{kafka}") };
    let (outside, inside) = port.rsplit_once(':').unwrap();
    assert!(variables["KAFKA_LISTENERS"].contains(&format!("OUTSIDE://:{inside}")));
    let advertised = &variables["KAFKA_ADVERTISED_LISTENERS"];
    assert!(advertised.contains(&format!("OUTSIDE://{}", outside.parse::<SocketAddr>().unwrap())));
}

#[test]
fn ours_are_asked_by_a_flag_that_they_have() {
    for (name, service, target, stage) in ours() {
        let Some(check) = service.get("healthcheck") else {
            // It is done once, with a command that there is, and tried again if it fails.
            assert!(programs::knows(&target, &words(&service["command"])), "{name}");
            assert!(service["restart"].as_str().unwrap().starts_with("on-failure:"), "{name}");
            continue;
        };
        assert_eq!(words(&check["test"]), ["CMD", &stage.entry_point[0], "--ready"], "{name}");
        assert!(programs::knows(&target, &["--ready"]), "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
    }
}

#[test]
fn ours_are_given_the_time_that_they_take_to_stop() {
    let longest = [
        ("ingest", ingest::Settings::default().stopping_max()),
        ("processor", processor::settings::ReplicaSettings::default().grace),
        ("sink", sink::Settings::default().grace),
    ];
    let services = stack();
    for (name, stopping_max) in longest {
        let grace = time(services[name]["stop_grace_period"].as_str().unwrap());
        assert!(stopping_max < grace, "{name}: {stopping_max:?}, {grace:?}");
    }
}

#[test]
fn who_is_waited_for_can_be_waited_for() {
    let mut services = stack();
    for (_, name, service) in all() {
        let known = services.entry(name).or_insert_with(|| service.clone());
        let merged = service.as_object().unwrap().clone();
        known.as_object_mut().unwrap().extend(merged);
    }
    for (_, name, service) in all() {
        for (other, condition) in service["depends_on"].as_object().into_iter().flatten() {
            let other = &services[other];
            match condition["condition"].as_str().unwrap() {
                "service_healthy" => assert!(other.get("healthcheck").is_some(), "{name}"),
                // What is started anew when it ends never completes.
                "service_completed_successfully" => {
                    assert!(
                        other["restart"].as_str().unwrap().starts_with("on-failure:"),
                        "{name}"
                    );
                }
                condition => panic!("{name}: {condition}"),
            }
        }
    }
}

#[test]
fn every_volume_is_there() {
    for (file, name, service) in all() {
        for volume in words(&service["volumes"]) {
            let (source, _) = volume.split_once(':').unwrap();
            if source.starts_with('.') {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
                assert!(path.exists(), "{file}: {name}: {source}");
                assert!(volume.ends_with(":ro"), "{file}: {name}: {volume} could be written");
            } else {
                assert!(
                    yaml(file)["volumes"].as_object().unwrap().contains_key(source),
                    "{name}: {source}"
                );
            }
        }
    }
}

#[test]
fn bundles_from_the_object_store_come_where_the_programs_look() {
    let stages = finals();
    let over = yaml(FILES[1])["services"].clone();
    let mirrored = words(&over["fetch"]["command"])[0].rsplit(' ').next().unwrap().to_owned();
    assert_eq!(words(&over["fetch"]["volumes"]), [format!("bundles:{mirrored}")]);
    for (name, section, key) in [("processor", "model", "repository"), ("sink", "drift", "models")]
    {
        let settings: toml::Table = read(settings_file(&stages[name])).parse().unwrap();
        let folder = settings[section][key].as_str().unwrap();
        assert_eq!(words(&over[name]["volumes"]), [format!("bundles:{folder}:ro")], "{name}");
    }
}

#[test]
fn prometheus_watches_what_it_watches_elsewhere() {
    let services = stack();
    let (here, there) =
        (yaml("deploy/compose/prometheus.yml"), yaml("observability/prometheus/prometheus.yml"));
    assert_eq!(here["global"], there["global"]);
    assert_eq!(here["rule_files"], there["rule_files"]);
    let mut found = Vec::new();
    for watched in here["scrape_configs"][0]["dns_sd_configs"].as_array().unwrap() {
        let name = watched["names"][0].as_str().unwrap();
        assert_eq!(
            finals()[name].ports,
            [u16::try_from(watched["port"].as_u64().unwrap()).unwrap()]
        );
        found.push(name);
    }
    assert_eq!(found, ["ingest", "processor", "sink"]);
    assert_eq!(here["scrape_configs"][0]["job_name"], there["scrape_configs"][0]["job_name"]);
    let alertmanager = &here["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0];
    assert_eq!(port_of(alertmanager.as_str().unwrap(), &services), ("alertmanager", 9093));
    let collector = &here["scrape_configs"][1]["static_configs"][0]["targets"][0];
    let (host, port) = port_of(collector.as_str().unwrap(), &services);
    assert_eq!(host, "collector");
    assert!(read("observability/collector/collector.yml").contains(&format!(":{port}\n")));
}

#[test]
fn what_the_shipped_files_ask_for_is_set() {
    let services = stack();
    let collector = read("observability/collector/collector.yml");
    for variable in environment(&services["collector"]).keys() {
        assert!(collector.contains(&format!("${{env:{variable}:-")), "{variable}");
    }
    let grafana = &services["grafana"];
    let source = read("observability/grafana/provisioning/datasources/prometheus.yml");
    assert!(source.contains("${PROMETHEUS_URL}"));
    let url = environment(grafana)["PROMETHEUS_URL"].clone();
    let address = url.strip_prefix("http://").unwrap();
    assert_eq!(port_of(address, &services), ("prometheus", 9090));
    let provider = yaml("observability/grafana/provisioning/dashboards/verdict.yml");
    let folder = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let mount = format!("./observability/grafana/dashboards:{folder}:ro");
    assert!(words(&grafana["volumes"]).contains(&mount.as_str()), "{mount}");
}

#[test]
fn defaults_stand_for_what_is_not_set() {
    assert_eq!(resolved("a:${B:-1.0}/${C:-d}e"), "a:1.0/de");
    assert_eq!(resolved("plain"), "plain");
    assert_eq!(time("2m"), Duration::from_mins(2));
}
