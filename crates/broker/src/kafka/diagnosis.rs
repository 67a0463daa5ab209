//! Why no broker answers: librdkafka's calls only say that they took too long, while the cause (a refused connection, a password,
//! a certificate) is told to the client as a whole. So a client of its own is asked.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    client::ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    client::{ConnectError, call_error, log_line},
    settings::KafkaSettings,
};

/// How often the cluster is asked, and how long each time: a connection is made within milliseconds or not at all.
const ASKS_MAX: usize = 4;
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// How long to listen for what went wrong after each.
const TOLD_WAIT: Duration = Duration::from_millis(20);

/// Remembers the first thing that went wrong, but for a cause that shuts the client out: that one is it.
#[derive(Default)]
struct Witness {
    heard: Mutex<Option<Heard>>,
}

#[derive(Clone)]
struct Heard {
    reason: String,
    is_shut_out: bool,
}

/// An error of a call to the cluster, with its cause where a cause can be found. Blocks, two seconds at most.
pub(super) fn diagnosed(settings: &KafkaSettings, error: &KafkaError) -> ConnectError {
    match call_error(&settings.bootstrap_servers, error) {
        ConnectError::Unreachable { reason, .. } => no_answer(settings, reason),
        ConnectError::Refused(reason) if is_shut_out(error) => no_answer(settings, reason),
        known => known,
    }
}

/// No broker answered, as far as one can say; `reason` where there is none better. Blocks, two seconds at most.
pub(super) fn no_answer(settings: &KafkaSettings, reason: String) -> ConnectError {
    let servers = settings.bootstrap_servers.clone();
    match ask(settings) {
        Some(Heard { reason, is_shut_out: true }) => ConnectError::ShutOut { servers, reason },
        Some(Heard { reason, is_shut_out: false }) => ConnectError::Unreachable { servers, reason },
        None => ConnectError::Unreachable { servers, reason },
    }
}

/// Tries to reach the cluster; what went wrong, if something did.
fn ask(settings: &KafkaSettings) -> Option<Heard> {
    let config = settings.client_config(&[]).ok()?;
    let consumer: BaseConsumer<Witness> = config.create_with_context(Witness::default()).ok()?;
    let heard = || consumer.context().heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for _ in 0..ASKS_MAX {
        if consumer.fetch_metadata(None, ASK_TIMEOUT).is_ok() {
            return None;
        }
        // Errors are told by polling, among log lines.
        while consumer.poll(TOLD_WAIT).is_some() {}
        if let Some(heard) = heard().filter(|heard| heard.is_shut_out) {
            return Some(heard);
        }
    }
    heard()
}

/// Whether a broker is there, but does not let this client in, or this client does not trust it.
fn is_shut_out(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL))
}

impl ClientContext for Witness {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down says nothing of why.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shut_out = is_shut_out(&error);
        if heard.is_none() || is_shut_out {
            *heard = Some(Heard { reason: reason.to_owned(), is_shut_out });
        }
    }
}

impl ConsumerContext for Witness {}
