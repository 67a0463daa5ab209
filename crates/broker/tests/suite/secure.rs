//! The same line over TLS with a password, on the Kafka in the folder that `VERDICT_TEST_KAFKA_SECURE` names, as `dev/services
//! start kafka --secure` leaves it.

use std::{env, fs, path::PathBuf, time::Duration};

use broker::{
    TailFrom,
    kafka::{
        ConnectError, ExchangeOptions, KafkaExchange, KafkaSettings, KafkaSubscribe, Lag,
        TopicSpec, TransactionalPublish, ensure_topics, watermarks,
    },
};
use chassis::Secret;

use crate::{
    brokers::{block_on, unused},
    contract::cluster::{Cluster, commit, numbers, read, take},
};

const FOLDER: &str = "VERDICT_TEST_KAFKA_SECURE";

/// A secure Kafka, and what lets a client in.
struct Secure {
    servers: String,
    folder: PathBuf,
}

impl Secure {
    #[expect(
        clippy::disallowed_methods,
        clippy::print_stdout,
        reason = "a test has no settings file"
    )]
    fn named() -> Option<Self> {
        let Ok(folder) = env::var(FOLDER) else {
            println!("skipped: {FOLDER} names no Kafka");
            return None;
        };
        let folder = PathBuf::from(folder);
        let settings = fs::read_to_string(folder.join("settings")).unwrap();
        let port = settings.lines().find_map(|line| line.strip_prefix("PORT=")).unwrap();
        Some(Self { servers: format!("127.0.0.1:{port}"), folder: folder.join("secure") })
    }

    fn settings(&self) -> KafkaSettings {
        let password = self.folder.join("password");
        let password = serde_json::from_value(serde_json::json!({ "file": password })).unwrap();
        let ca = self.folder.join("ca.pem").display().to_string();
        let user = fs::read_to_string(self.folder.join("user")).unwrap().trim().to_owned();
        let properties = [
            ("security.protocol", Secret::new("sasl_ssl")),
            ("sasl.mechanism", Secret::new("SCRAM-SHA-256")),
            ("sasl.username", Secret::new(user)),
            ("sasl.password", password),
            ("ssl.ca.location", Secret::new(ca)),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value)).into();
        KafkaSettings { properties, ..KafkaSettings::at(&self.servers) }
    }

    fn settings_with(&self, name: &str, value: &str) -> KafkaSettings {
        let mut settings = self.settings();
        settings.properties.insert(name.to_owned(), Secret::new(value));
        settings
    }
}

#[test]
fn all_that_the_line_does_works_over_tls_with_a_password() {
    let Some(secure) = Secure::named() else { return };
    let settings = secure.settings();
    let cluster = Cluster::kafka_at(settings.clone());
    let (input, output, group) = (cluster.topic("in", 2), cluster.topic("out", 1), unused("group"));
    cluster.fill(&input, 0..100);
    let mut exchange = cluster.exchange(&group, &input, &unused("id"));
    let round = take(exchange.as_mut(), 100);
    commit(exchange.as_mut(), &round, &output).unwrap();
    assert_eq!(cluster.contents(&output).len(), 100);
    assert_eq!(cluster.lag(&group, &input), 0);
    let mut subscription = cluster.subscribe(&unused("group"), &output);
    let mut written = numbers(&read(subscription.as_mut(), 100));
    written.sort_unstable();
    assert_eq!(written, (0..100).collect::<Vec<_>>());
    TransactionalPublish::connect(&settings, &unused("tool")).unwrap();
    assert_eq!(watermarks(&settings, &input).unwrap().len(), 2);
}

/// Every way in says that there is none, and why; each within its own bound, which is less than a minute.
#[track_caller]
fn check_shut_out(settings: &KafkaSettings, reason: &str) {
    let topics = [TopicSpec::new("any", 1)];
    let exchange = || {
        let options = ExchangeOptions::new("group", ["any"], unused("id"));
        KafkaExchange::connect(settings, options)
    };
    for outcome in [
        block_on(ensure_topics(settings, &topics, Duration::from_secs(30))),
        exchange().map(drop),
        KafkaSubscribe::tail(settings, &["any"], TailFrom::End).map(drop),
        TransactionalPublish::connect(settings, &unused("tool")).map(drop),
        watermarks(settings, "any").map(drop),
    ] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, ConnectError::ShutOut { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let lag = Lag::connect(settings, "group", "any").unwrap().read(Duration::from_secs(2));
    assert!(lag.is_err());
}

#[test]
fn a_wrong_password_is_named() {
    let Some(secure) = Secure::named() else { return };
    check_shut_out(&secure.settings_with("sasl.password", "hunter2"), "Authentication failed");
}

#[test]
fn a_certificate_of_somebody_else_is_named() {
    let Some(secure) = Secure::named() else { return };
    let stranger = "-----BEGIN CERTIFICATE-----\n\
        MIIBPDCB76ADAgECAhRe4P+qxMNxrz+RyoOAorOWJAcnPzAFBgMrZXAwEzERMA8G\n\
        A1UEAwwIc3RyYW5nZXIwIBcNMjYxMTIyMjMyNzA1WhgPMjEyNjEwMjkyMzI3MDVa\n\
        MBMxETAPBgNVBAMMCHN0cmFuZ2VyMCowBQYDK2VwAyEA4fU1DQJLveTV6p61sCti\n\
        BgkhUlgmmGA3/fpaedetHC+jUzBRMB0GA1UdDgQWBBSSBZ75+y59dFk3qoWOg7Lq\n\
        NF62qjAfBgNVHSMEGDAWgBSSBZ75+y59dFk3qoWOg7LqNF62qjAPBgNVHRMBAf8E\n\
        BTADAQH/MAUGAytlcANBAEODb2PwxwLvzhLXE04zJZ6xhx4EiYvPVkj03waQbCJj\n\
        n+docfTsorw8Fg3N0kHp/LJnQG6ww1dDEseevQooFgI=\n\
        -----END CERTIFICATE-----\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    fs::write(&path, stranger).unwrap();
    let path = path.display().to_string();
    check_shut_out(&secure.settings_with("ssl.ca.location", &path), "ssl.ca.location");
}
