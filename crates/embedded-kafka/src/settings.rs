//! What a caller may choose about a broker.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Everything a broker can be told. Start from [`Settings::new`] and change fields.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where topics and the journal are kept. Made when missing; one broker at a time.
    pub data_dir: PathBuf,
    /// Where to listen: loopback only. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// When acknowledged records are on the disk and not only in the system's memory.
    pub fsync: Fsync,
    /// Whether asking for the metadata of an unknown topic makes it, as Kafka's `auto.create.topics.enable` does.
    pub auto_create_topics: bool,
    /// Partitions of a topic made without a count.
    pub default_partitions: u16,
    /// A segment file is closed and a new one begun at this size, unless the topic sets `segment.bytes`.
    pub segment_bytes: u64,
    /// The largest record batch, unless the topic sets `max.message.bytes`; a larger one gets `MESSAGE_TOO_LARGE`.
    pub message_bytes_max: usize,
    /// The largest request; a connection that announces a larger one is closed.
    pub request_bytes_max: usize,
    /// Connections beyond this many are closed at once.
    pub connections_max: usize,
    /// How long the first rebalance of an empty group waits for more members, so that they share one rebalance.
    pub initial_rebalance_delay: Duration,
    /// The longest `transaction.timeout.ms` that a producer may ask for.
    pub transaction_timeout_max: Duration,
    /// Journal bytes after which it is rewritten as a snapshot of what it says.
    pub journal_bytes_max: u64,
}

impl Settings {
    /// Kafka's defaults where they suit a laptop.
    pub fn new(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Settings {
        Settings {
            data_dir: data_dir.into(),
            listen,
            fsync: Fsync::default(),
            auto_create_topics: true,
            default_partitions: 4,
            segment_bytes: 16 << 20,
            message_bytes_max: (1 << 20) + 12,
            request_bytes_max: 100 << 20,
            connections_max: 1_000,
            initial_rebalance_delay: Duration::from_millis(200),
            transaction_timeout_max: Duration::from_mins(15),
            journal_bytes_max: 8 << 20,
        }
    }
}

/// When what was acknowledged is on the disk.
///
/// In every mode a record is handed to the operating system before it is acknowledged, so that `SIGKILL` of the broker
/// takes nothing that was acknowledged. The modes differ in what a power loss (or a kernel crash) can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// `always`: nothing is acknowledged, nor shown to a consumer, before `fdatasync`. A power loss takes nothing that was
    /// acknowledged. Requests that wait at the same time share one sync, so that the promise is affordable and the
    /// default: at 1,000 records a second it took 1.4 to 1.8 ms from end to end at the median, against 1.3 ms with
    /// `200ms`, on a disk that syncs in 0.1 to 2 ms.
    #[default]
    Always,
    /// `200ms`: all that is written is synced this often. A power loss can take acknowledged records of the last interval.
    Interval(Duration),
    /// `never`: the operating system decides, usually within 30 s. A power loss can take all of that.
    Never,
}

/// A text that names no [`Fsync`] mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fsync mode: use `always`, `never`, or an interval like `200ms` or `1s`")]
pub struct ParseFsyncError(String);

impl FromStr for Fsync {
    type Err = ParseFsyncError;

    fn from_str(text: &str) -> Result<Fsync, ParseFsyncError> {
        let refuse = || ParseFsyncError(text.to_owned());
        let interval = |digits: &str, unit_ms: u64| {
            let count = digits.parse::<u64>().ok().filter(|count| 0 < *count).ok_or_else(refuse)?;
            Ok(Fsync::Interval(Duration::from_millis(count.saturating_mul(unit_ms))))
        };
        match text {
            "always" => Ok(Fsync::Always),
            "never" => Ok(Fsync::Never),
            _ => match (text.strip_suffix("ms"), text.strip_suffix('s')) {
                (Some(digits), _) => interval(digits, 1),
                (None, Some(digits)) => interval(digits, 1_000),
                (None, None) => Err(refuse()),
            },
        }
    }
}

impl fmt::Display for Fsync {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fsync::Always => formatter.write_str("always"),
            Fsync::Interval(every) => write!(formatter, "{}ms", every.as_millis()),
            Fsync::Never => formatter.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_and_written_as_text() {
        let check = |text: &str, mode: Fsync, back: &str| {
            assert_eq!(text.parse(), Ok(mode));
            assert_eq!(mode.to_string(), back);
        };
        check("always", Fsync::Always, "always");
        check("never", Fsync::Never, "never");
        check("200ms", Fsync::Interval(Duration::from_millis(200)), "200ms");
        check("2s", Fsync::Interval(Duration::from_secs(2)), "2000ms");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "ms", "s", "0ms", "-1ms", "5", "sometimes", "1h"] {
            assert!(text.parse::<Fsync>().is_err(), "{text}");
        }
    }
}
