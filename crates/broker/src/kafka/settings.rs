//! How to reach Kafka: addresses, and any librdkafka property that does not touch exactly-once.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use chassis::{Secret, telemetry::certificates::CertificateFile};
use rdkafka::{ClientConfig, error::KafkaError};
use serde::{Deserialize, Serialize, Serializer};

/// Properties that this crate sets itself, because a promise of a trait hangs on each, with the reason.
const OURS: &[(&str, &str)] = &[
    ("acks", "a publish that returns must be durable"),
    ("auto.offset.reset", "a new group must not skip what is waiting"),
    ("bootstrap.servers", "it is the setting `bootstrap_servers`"),
    ("client.id", "it is the setting `client_id`"),
    ("delivery.timeout.ms", "it bounds how long an outcome may stay unknown"),
    ("dr_cb", "delivery reports say what became of a record"),
    ("dr_msg_cb", "delivery reports say what became of a record"),
    ("enable.auto.commit", "offsets are committed only with what they produced"),
    ("enable.auto.offset.store", "offsets are committed only with what they produced"),
    ("enable.gapless.guarantee", "a gap is an aborted round, not a fatal error"),
    ("enable.idempotence", "a retry must not write a record twice"),
    ("enable.partition.eof", "an end of partition is no record"),
    ("enabled_events", "delivery reports say what became of a record"),
    ("group.id", "the service names its group"),
    (
        "group.instance.id",
        "static members send no leave, so scaling down would stall their partitions",
    ),
    ("group.protocol", "the rebalance rules rest on the classic protocol"),
    ("heartbeat.interval.ms", "it follows from the session timeout"),
    (
        "isolation.level",
        "records of aborted transactions must stay unseen, and offsets stable (KIP-447)",
    ),
    ("log.queue", "log lines go to tracing"),
    ("max.in.flight", "idempotence allows five"),
    ("max.in.flight.requests.per.connection", "idempotence allows five"),
    (
        "message.max.bytes",
        "records beyond the limits of this crate are refused before they are sent",
    ),
    ("message.send.max.retries", "idempotence retries until the delivery timeout"),
    ("message.timeout.ms", "it bounds how long an outcome may stay unknown"),
    ("partition.assignment.strategy", "the rebalance rules rest on cooperative-sticky (KIP-429)"),
    ("partitioner", "Java producers must pick the same partition for a key"),
    ("produce.offset.report", "delivery reports say what became of a record"),
    ("queue.buffering.max.messages", "the service bounds what is in flight"),
    ("request.required.acks", "a publish that returns must be durable"),
    ("retries", "idempotence retries until the delivery timeout"),
    ("session.timeout.ms", "the service chooses how soon a silent replica is given up"),
    ("transaction.timeout.ms", "it must stay below the session timeout"),
    ("transactional.id", "the service names its transactional id"),
];

/// The client id of a process that has no name of its own.
const CLIENT_ID_DEFAULT: &str = "verdict";

/// Words in a property's name that say that its value is a secret.
const SECRET_WORDS: &[&str] =
    &["password", "secret", "jaas", ".pem", "token", "oauthbearer.config"];

/// How to reach Kafka.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// Brokers to ask for the others: `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The name by which brokers log and limit this process. Empty: what the process calls itself, else `verdict`.
    pub client_id: String,
    /// Any other librdkafka property, for instance `security.protocol`, `sasl.username`, `sasl.password`, `ssl.ca.location`.
    /// Those on which durability and exactly-once rest are refused. A value may be in a file: `{ file = "/run/secrets/password" }`.
    /// What is in a file, and what by its name is a secret, is never shown.
    #[serde(serialize_with = "shown")]
    pub properties: BTreeMap<String, Secret>,
}

/// A property that may not be set, or not so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kafka property `{name}` may not be set: {reason}")]
pub struct PropertyRefused {
    /// The property.
    pub name: String,
    /// Why. A value that may be a secret is not in it.
    pub reason: String,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            client_id: String::new(),
            properties: BTreeMap::new(),
        }
    }
}

/// A property's value, as it may be shown.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Open(&'a str),
    Masked(&'a Secret),
}

impl<'a> Shown<'a> {
    fn of((name, value): (&'a String, &'a Secret)) -> (&'a str, Self) {
        let is_masked = value.file().is_some() || is_secret(name);
        (name, if is_masked { Self::Masked(value) } else { Self::Open(value.reveal()) })
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(text) => text.fmt(formatter),
            Self::Masked(secret) => secret.fmt(formatter),
        }
    }
}

fn shown<S: Serializer>(
    properties: &BTreeMap<String, Secret>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(properties.iter().map(Shown::of))
}

/// Shows the names of all properties and the values of those that are no secrets.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<_, _> = self.properties.iter().map(Shown::of).collect();
        formatter
            .debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("properties", &properties)
            .finish()
    }
}

impl KafkaSettings {
    /// The default settings, with these brokers.
    pub fn at(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), ..Self::default() }
    }

    /// The same settings with a client id, unless they have one.
    #[must_use]
    pub fn named(&self, client_id: &str) -> Self {
        let mut named = self.clone();
        if named.client_id.is_empty() {
            client_id.clone_into(&mut named.client_id);
        }
        named
    }

    /// The client id that brokers are told.
    pub(super) fn client_id(&self) -> &str {
        if self.client_id.is_empty() { CLIENT_ID_DEFAULT } else { &self.client_id }
    }

    /// The files with certificates that the properties name.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateFile> + '_ {
        let named = |(role, property): (&'static str, &str)| {
            let path = PathBuf::from(self.properties.get(property)?.reveal());
            Some(CertificateFile { peer: "broker", role, path })
        };
        [("own", "ssl.certificate.location"), ("authority", "ssl.ca.location")]
            .into_iter()
            .filter_map(named)
            // Authorities may be in a folder, or where librdkafka looks for them (`probe`).
            .filter(|file| !file.path.is_dir() && file.path.as_os_str() != "probe")
    }

    /// Refuses the first property on which a promise of this crate rests, or that librdkafka does not know or take. Nothing is
    /// sent.
    pub fn check(&self) -> Result<(), PropertyRefused> {
        for (name, reason) in OURS {
            if self.properties.contains_key(*name) {
                let (name, reason) = ((*name).to_owned(), (*reason).to_owned());
                return Err(PropertyRefused { name, reason });
            }
        }
        self.properties.iter().try_for_each(|(name, value)| known(name, value))
    }

    /// What all clients share, then `tuning`, then the operator's properties, so that these win. What may not be changed is
    /// set by the caller, afterwards; all of it is refused by [`KafkaSettings::check`].
    pub(super) fn client_config(
        &self,
        tuning: &[(&str, &str)],
    ) -> Result<ClientConfig, PropertyRefused> {
        self.check()?;
        let mut config = ClientConfig::new();
        // A broker that restarts is found again within a second and not within ten (the default maximum).
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        // Small records: waiting for more to fill a packet (Nagle) would only add latency.
        config.set("socket.nagle.disable", "true");
        // A dead peer behind a load balancer is noticed although nothing is being sent.
        config.set("socket.keepalive.enable", "true");
        // Idle connections are closed by brokers every ten minutes: that is no news.
        config.set("log.connection.close", "false");
        for (name, value) in tuning {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value.reveal());
        }
        config.set("bootstrap.servers", &self.bootstrap_servers).set("client.id", self.client_id());
        Ok(config)
    }
}

/// Asks librdkafka whether it takes this property.
fn known(name: &str, value: &Secret) -> Result<(), PropertyRefused> {
    let mut config = ClientConfig::new();
    config.set(name, value.reveal());
    let reason = match config.create_native_config() {
        Ok(_) => return Ok(()),
        Err(KafkaError::ClientConfig(_, _, _, _)) if is_secret(name) => {
            "librdkafka does not take this value".to_owned()
        }
        Err(KafkaError::ClientConfig(_, description, _, _)) => description,
        Err(other) => other.to_string(),
    };
    Err(PropertyRefused { name: name.to_owned(), reason })
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> KafkaSettings {
        let properties = BTreeMap::from([(name.to_owned(), Secret::new(value))]);
        KafkaSettings { properties, ..KafkaSettings::default() }
    }

    #[test]
    fn properties_that_exactly_once_rests_on_are_refused_by_name() {
        for name in [
            "enable.auto.commit",
            "isolation.level",
            "enable.idempotence",
            "acks",
            "transactional.id",
            "group.id",
        ] {
            let refused = with(name, "x").check().unwrap_err();
            assert_eq!(refused.name, name);
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }

    #[test]
    fn other_properties_pass_through_and_win_over_tuning() {
        let config = with("linger.ms", "50")
            .client_config(&[("linger.ms", "1"), ("fetch.min.bytes", "1")])
            .unwrap();
        assert_eq!(config.get("linger.ms"), Some("50"));
        assert_eq!(config.get("fetch.min.bytes"), Some("1"));
    }

    #[test]
    fn secrets_are_never_shown() {
        for name in
            ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"]
        {
            let shown = format!("{:?}", with(name, "hunter2"));
            assert!(shown.contains(name), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
            let rendered = chassis::settings::render(&with(name, "hunter2")).unwrap();
            assert!(rendered.contains(&format!("{name:?} = \"***\"")), "{rendered}");
        }
        let rendered = chassis::settings::render(&with("sasl.username", "me")).unwrap();
        assert!(rendered.contains("\"sasl.username\" = \"me\""), "{rendered}");
    }

    #[test]
    fn what_comes_from_a_file_is_not_shown_whatever_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "hunter2\n").unwrap();
        let written =
            serde_json::json!({ "properties": { "sasl.username": { "file": file.path() } } });
        let settings: KafkaSettings = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(settings.client_config(&[]).unwrap().get("sasl.username"), Some("hunter2"));
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
        assert_eq!(serde_json::to_value(&settings).unwrap()["properties"], written["properties"]);
    }

    #[test]
    fn what_librdkafka_does_not_take_is_named_before_anything_is_sent() {
        let check = |name: &str, value: &str, said: &str| {
            let refused = with(name, value).check().unwrap_err();
            assert_eq!(refused.name, name);
            assert!(refused.reason.contains(said), "{refused}");
        };
        check("no.such.property", "hunter2", "No such configuration property");
        check("security.protocol", "sasl-ssl", "Invalid value \"sasl-ssl\"");
        check("socket.timeout.ms", "soon", "socket.timeout.ms");
        assert!(
            !with("no.such.secret", "hunter2").check().unwrap_err().to_string().contains("hunter2")
        );
    }

    #[test]
    fn files_with_certificates_are_those_that_properties_name() {
        let named = |properties: &[(&str, &str)]| {
            let mut settings = KafkaSettings::default();
            for (name, value) in properties {
                settings.properties.insert((*name).to_owned(), Secret::new(*value));
            }
            let files = settings.certificates().map(|file| (file.role, file.path));
            files.collect::<Vec<_>>()
        };
        assert_eq!(named(&[]), []);
        let own = ("ssl.certificate.location", "own.pem");
        let both = named(&[own, ("ssl.ca.location", "ca.pem")]);
        assert_eq!(both, [("own", "own.pem".into()), ("authority", "ca.pem".into())]);
        for elsewhere in ["probe", "/"] {
            let files = named(&[own, ("ssl.ca.location", elsewhere)]);
            assert_eq!(files, [("own", "own.pem".into())], "{elsewhere}");
        }
    }
}
