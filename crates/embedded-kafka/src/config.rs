//! Topic settings: which names Kafka knows, what they are when nobody says, and what this broker makes of them.

use crate::log::{Retention, Rolling};
use crate::settings::Settings;
use std::collections::BTreeMap;

/// Type codes of `DescribeConfigs` (KIP-569).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// One setting that a topic may have.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    default: &'static str,
}

const fn known(name: &'static str, kind: Kind, default: &'static str) -> Known {
    Known { name, kind, default }
}

/// Kafka's topic settings. Those that need replicas or a cleaner are kept and shown but do nothing here:
/// a topic with `cleanup.policy=compact` is kept whole, which every reader of a compacted topic must cope with anyway.
pub(crate) const KNOWN: &[Known] = &[
    known("cleanup.policy", Kind::List, "delete"),
    known("compression.type", Kind::Text, "producer"),
    known("delete.retention.ms", Kind::Long, "86400000"),
    known("file.delete.delay.ms", Kind::Long, "60000"),
    known("flush.messages", Kind::Long, "9223372036854775807"),
    known("flush.ms", Kind::Long, "9223372036854775807"),
    known("index.interval.bytes", Kind::Int, "4096"),
    known("max.compaction.lag.ms", Kind::Long, "9223372036854775807"),
    known("max.message.bytes", Kind::Int, ""),
    known("message.timestamp.after.max.ms", Kind::Long, "9223372036854775807"),
    known("message.timestamp.before.max.ms", Kind::Long, "9223372036854775807"),
    known("message.timestamp.type", Kind::Text, "CreateTime"),
    known("min.cleanable.dirty.ratio", Kind::Double, "0.5"),
    known("min.compaction.lag.ms", Kind::Long, "0"),
    known("min.insync.replicas", Kind::Int, "1"),
    known("preallocate", Kind::Boolean, "false"),
    known("retention.bytes", Kind::Long, "-1"),
    known("retention.ms", Kind::Long, "604800000"),
    known("segment.bytes", Kind::Int, ""),
    known("segment.index.bytes", Kind::Int, "10485760"),
    known("segment.jitter.ms", Kind::Long, "0"),
    known("segment.ms", Kind::Long, "604800000"),
    known("unclean.leader.election.enable", Kind::Boolean, "false"),
];

/// What one topic is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) message_bytes_max: usize,
    pub(crate) stamps_append_time: bool,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_ms: i64,
    retention_ms: i64,
    retention_bytes: i64,
    deletes: bool,
}

impl Config {
    /// Reads the settings of a topic.
    pub(crate) fn read(configs: &BTreeMap<String, String>, settings: &Settings) -> Config {
        let text = |name| value(name, configs, settings);
        let number = |name, otherwise| text(name).parse::<i64>().unwrap_or(otherwise);
        Config {
            message_bytes_max: text("max.message.bytes")
                .parse()
                .unwrap_or(settings.message_bytes_max),
            stamps_append_time: text("message.timestamp.type") == "LogAppendTime",
            segment_bytes: text("segment.bytes").parse().unwrap_or(settings.segment_bytes),
            segment_ms: number("segment.ms", i64::MAX),
            retention_ms: number("retention.ms", -1),
            retention_bytes: number("retention.bytes", -1),
            deletes: text("cleanup.policy").split(',').any(|policy| policy.trim() == "delete"),
        }
    }

    /// Rules for new segments. A topic that keeps records for a short time needs short segments, since only whole ones go.
    pub(crate) fn rolling(&self) -> Rolling {
        Rolling { segment_bytes: self.segment_bytes, segment_ms: self.segment_ms }
    }

    /// What may be thrown away at this time.
    pub(crate) fn retention(&self, now_ms: i64) -> Retention {
        let oldest_ms = (self.deletes && 0 <= self.retention_ms)
            .then(|| now_ms.saturating_sub(self.retention_ms));
        let bytes_max = u64::try_from(self.retention_bytes).ok().filter(|_| self.deletes);
        Retention { now_ms, oldest_ms, bytes_max }
    }
}

/// What a setting is, said or not.
pub(crate) fn value(name: &str, configs: &BTreeMap<String, String>, settings: &Settings) -> String {
    match (configs.get(name), name) {
        (Some(said), _) => said.clone(),
        (None, "max.message.bytes") => settings.message_bytes_max.to_string(),
        (None, "segment.bytes") => settings.segment_bytes.to_string(),
        (None, _) => KNOWN
            .iter()
            .find(|known| known.name == name)
            .map_or("", |known| known.default)
            .to_owned(),
    }
}

/// Why a setting is refused, if it is.
pub(crate) fn refusal(name: &str, value: &str) -> Option<String> {
    let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
        return Some(format!("unknown topic config name: {name}"));
    };
    let is_good = match (known.kind, name) {
        (Kind::Boolean, _) => matches!(value, "true" | "false"),
        (Kind::Int, _) => value.parse::<i32>().is_ok_and(|number| 0 <= number),
        (Kind::Long, _) => value.parse::<i64>().is_ok_and(|number| -1 <= number),
        (Kind::Double, _) => value.parse::<f64>().is_ok(),
        (Kind::List, _) => {
            value.split(',').all(|policy| matches!(policy.trim(), "delete" | "compact"))
        }
        (Kind::Text, "message.timestamp.type") => matches!(value, "CreateTime" | "LogAppendTime"),
        (Kind::Text, _) => true,
    };
    (!is_good).then(|| format!("invalid value {value} for configuration {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let configs =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::read(&configs, &Settings::new("unused", ([127, 0, 0, 1], 0).into()))
    }

    #[test]
    fn what_is_not_said_is_as_in_kafka() {
        let config = config(&[]);
        assert_eq!((config.message_bytes_max, config.stamps_append_time), (1_048_588, false));
        assert_eq!(config.retention(604_800_000).oldest_ms, Some(0));
        assert_eq!(config.retention(0).bytes_max, None);
    }

    #[test]
    fn a_compacted_topic_is_kept_whole() {
        let config = config(&[("cleanup.policy", "compact"), ("retention.bytes", "1")]);
        let retention = config.retention(0);
        assert_eq!((retention.oldest_ms, retention.bytes_max), (None, None));
    }

    #[test]
    fn unknown_names_and_bad_values_are_refused() {
        let check = |name, value, good: bool| {
            assert_eq!(refusal(name, value).is_none(), good, "{name}={value}");
        };
        check("retention.ms", "-1", true);
        check("retention.ms", "soon", false);
        check("retention.msec", "1", false);
        check("cleanup.policy", "compact,delete", true);
        check("cleanup.policy", "keep", false);
        check("message.timestamp.type", "LogAppendTime", true);
        check("message.timestamp.type", "now", false);
    }
}
