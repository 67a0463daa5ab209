//! How to reach Kafka: addresses, and any librdkafka property that does not touch exactly-once.

use std::{collections::BTreeMap, fmt};

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

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

/// Words in a property's name that say that its value is a secret.
const SECRET_WORDS: &[&str] =
    &["password", "secret", "jaas", ".pem", "token", "oauthbearer.config"];

/// How to reach Kafka.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSettings {
    /// Brokers to ask for the others: `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The name by which brokers log and limit this process.
    pub client_id: String,
    /// Any other librdkafka property, for instance `security.protocol`, `sasl.username`, `sasl.password`, `ssl.ca.location`.
    /// Those on which durability and exactly-once rest are refused.
    pub properties: BTreeMap<String, String>,
}

/// A property that may not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kafka property `{name}` may not be set: {reason}")]
pub struct PropertyRefused {
    /// The property.
    pub name: String,
    /// Why it is set here and nowhere else.
    pub reason: &'static str,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            client_id: "verdict".to_owned(),
            properties: BTreeMap::new(),
        }
    }
}

/// Shows the names of all properties and the values of those that are no secrets.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("properties", &self.masked().properties)
            .finish()
    }
}

impl KafkaSettings {
    /// The default settings, with these brokers.
    pub fn at(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), ..Self::default() }
    }

    /// The same settings for people to read: the values of properties that are secrets are `***`.
    #[must_use]
    pub fn masked(&self) -> Self {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        Self { properties: self.properties.iter().map(shown).collect(), ..self.clone() }
    }

    /// Refuses the first property on which a promise of this crate rests. Nothing is sent.
    pub fn check(&self) -> Result<(), PropertyRefused> {
        for (name, reason) in OURS {
            if self.properties.contains_key(*name) {
                return Err(PropertyRefused { name: (*name).to_owned(), reason });
            }
        }
        Ok(())
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
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers).set("client.id", &self.client_id);
        Ok(config)
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> KafkaSettings {
        let properties = BTreeMap::from([(name.to_owned(), value.to_owned())]);
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
        }
    }
}
