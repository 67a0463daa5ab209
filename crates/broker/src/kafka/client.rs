//! What every Kafka client here shares: where its log lines go, and why it could not be made.

use chassis::{clock, exit::Ending};
use rdkafka::{
    client::ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{repeats, settings::PropertyRefused};

/// Why a client could not be made, or start-up could not finish, by what the operator does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The settings say what may not be said, or what librdkafka does not know. Change them.
    #[error("kafka settings: {0}")]
    Settings(String),
    /// No broker answered. Start one, or change the address.
    #[error(
        "no kafka broker answers at {servers}: {reason}; start one there, or change `bootstrap_servers`"
    )]
    Unreachable {
        /// The addresses that were tried.
        servers: String,
        /// What went wrong last.
        reason: String,
    },
    /// A broker is there, but it does not let us in, or we do not trust it. Change what the settings say of security.
    #[error(
        "no way in at {servers}: {reason}; check security.protocol, sasl.mechanism, sasl.username, sasl.password and \
         ssl.ca.location in `kafka.properties`"
    )]
    ShutOut {
        /// The addresses that were tried.
        servers: String,
        /// What went wrong.
        reason: String,
    },
    /// A broker answered, and said no. Change topics, rights or settings.
    #[error("kafka refused: {0}")]
    Refused(String),
}

impl ConnectError {
    /// What a process that ends with it asks for.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Settings(_) | Self::ShutOut { .. } => Ending::Misconfigured,
            Self::Unreachable { .. } | Self::Refused(_) => Ending::Unreachable,
        }
    }
}

impl From<PropertyRefused> for ConnectError {
    fn from(refused: PropertyRefused) -> Self {
        Self::Settings(refused.to_string())
    }
}

/// An error of making a client. It never shows a property's value, which may be a password.
pub(super) fn creation_error(error: KafkaError) -> ConnectError {
    match error {
        KafkaError::ClientConfig(_, description, name, _) => {
            ConnectError::Settings(format!("{name}: {description}"))
        }
        other => ConnectError::Settings(other.to_string()),
    }
}

/// An error of a call to the cluster: away, or unwilling.
pub(super) fn call_error(servers: &str, error: &KafkaError) -> ConnectError {
    use RDKafkaErrorCode::{UnknownTopic, UnknownTopicOrPartition};
    if matches!(error.rdkafka_error_code(), Some(UnknownTopic | UnknownTopicOrPartition)) {
        return ConnectError::Refused(format!(
            "{error}; make the line's topics at {servers} first"
        ));
    }
    if is_transient(error) {
        ConnectError::Unreachable { servers: servers.to_owned(), reason: error.to_string() }
    } else {
        ConnectError::Refused(error.to_string())
    }
}

/// Whether the same call may succeed once the cluster is well again.
pub(super) fn is_transient(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    match error {
        KafkaError::Transaction(error) if error.is_retriable() => true,
        KafkaError::Seek(_) => true,
        other => matches!(
            other.rdkafka_error_code(),
            Some(
                Code::AllBrokersDown
                    | Code::BrokerTransportFailure
                    | Code::OperationTimedOut
                    | Code::MessageTimedOut
                    | Code::TimedOutQueue
                    | Code::RequestTimedOut
                    | Code::Resolve
                    | Code::WaitingForCoordinator
                    | Code::CoordinatorLoadInProgress
                    | Code::CoordinatorNotAvailable
                    | Code::NotCoordinator
                    | Code::LeaderNotAvailable
                    | Code::NotLeaderForPartition
                    | Code::BrokerNotAvailable
                    | Code::ReplicaNotAvailable
                    | Code::NotController
                    | Code::NetworkException
                    | Code::UnstableOffsetCommit
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::UnknownPartition
            )
        ),
    }
}

/// A client context that does nothing but log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Logged;

impl ConsumerContext for Logged {}

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

/// Passes a line of librdkafka on to tracing, at its level; of like ones not more than [`repeats`] lets through.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, text: &str) {
    let Some(repeated) = repeats::admit(text, clock::monotonic()) else { return };
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, text, repeated, "log line");
        }
        RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, text, repeated, "log line");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, text, repeated, "log line");
        }
        RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", facility, text, repeated, "log line");
        }
    }
}

/// Passes an error that belongs to no call on to tracing. librdkafka mends most of them by itself, so none is more than a
/// warning here; those that it cannot mend come back from a call. It tells some of them forty times a second while no broker answers,
/// so that of like ones not more pass than [`repeats`] lets through.
pub(super) fn log_error(error: &KafkaError, reason: &str) {
    // Asked for by whoever reads to the end, and no trouble.
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
        return;
    }
    let Some(repeated) = repeats::admit(&error.to_string(), clock::monotonic()) else { return };
    tracing::warn!(target: "librdkafka", %error, reason, repeated, "client error");
}
