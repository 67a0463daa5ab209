//! A broker of either kind, and what all checks do with it.

use std::{sync::Arc, time::Duration};

use broker::{
    Delivery, Exchange, Outgoing, Progress, Publish, PublishError, Subscribe, TailFrom,
    kafka::{ExchangeOptions, KafkaExchange, KafkaPublish, KafkaSettings, KafkaSubscribe, Lag},
    memory::MemoryBroker,
};
use schemas::Record;

use crate::brokers;

/// How long a poll of a check waits, and how many of them may give nothing: 40 seconds in all.
const WAIT: Duration = Duration::from_millis(200);
const EMPTY_POLLS_MAX: usize = 200;

/// The shortest that brokers allow.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// A broker of either kind.
pub(crate) enum Cluster {
    Memory(MemoryBroker),
    Kafka { settings: KafkaSettings, publish: KafkaPublish },
}

impl Cluster {
    pub(crate) fn memory() -> Self {
        Self::Memory(MemoryBroker::new(1))
    }

    pub(crate) fn kafka(address: &str) -> Self {
        Self::kafka_at(KafkaSettings::at(address))
    }

    pub(crate) fn kafka_at(settings: KafkaSettings) -> Self {
        let publish = KafkaPublish::connect(&settings, 10_000).unwrap();
        Self::Kafka { settings, publish }
    }

    /// Makes a topic with an unused name.
    pub(crate) fn topic(&self, stem: &str, partitions: u16) -> String {
        match self {
            Self::Memory(broker) => {
                let name = brokers::unused(stem);
                broker.topic(&name, partitions);
                name
            }
            Self::Kafka { settings, .. } => brokers::topic(settings, stem, partitions),
        }
    }

    pub(crate) fn publish(&self, topic: &str, record: Record) -> Result<(), PublishError> {
        let outgoing = Outgoing { topic: Arc::from(topic), record };
        match self {
            Self::Memory(broker) => brokers::block_on(broker.publish(outgoing)),
            Self::Kafka { publish, .. } => brokers::block_on(publish.publish(outgoing)),
        }
    }

    /// Publishes records with the keys and values `0..count`, many at once.
    pub(crate) fn fill(&self, topic: &str, numbers: std::ops::Range<usize>) {
        let all = numbers.map(|number| async move {
            let outgoing = Outgoing { topic: Arc::from(topic), record: numbered(number) };
            match self {
                Self::Memory(broker) => broker.publish(outgoing).await,
                Self::Kafka { publish, .. } => publish.publish(outgoing).await,
            }
        });
        brokers::block_on(brokers::all(all)).into_iter().collect::<Result<(), _>>().unwrap();
    }

    pub(crate) fn exchange(
        &self,
        group: &str,
        topic: &str,
        transactional_id: &str,
    ) -> Box<dyn Exchange> {
        self.exchange_given_up_after(SESSION_TIMEOUT, group, topic, transactional_id)
    }

    /// An exchange whose death the others notice only after `session_timeout`.
    pub(crate) fn exchange_given_up_after(
        &self,
        session_timeout: Duration,
        group: &str,
        topic: &str,
        transactional_id: &str,
    ) -> Box<dyn Exchange> {
        match self {
            Self::Memory(broker) => Box::new(broker.exchange(group, &[topic], transactional_id)),
            Self::Kafka { settings, .. } => {
                let mut options = ExchangeOptions::new(group, [topic], transactional_id);
                options.session_timeout = session_timeout;
                Box::new(KafkaExchange::connect(settings, options).unwrap())
            }
        }
    }

    pub(crate) fn subscribe(&self, group: &str, topic: &str) -> Box<dyn Subscribe> {
        match self {
            Self::Memory(broker) => Box::new(broker.subscribe(group, &[topic])),
            Self::Kafka { settings, .. } => {
                Box::new(KafkaSubscribe::group(settings, group, &[topic], SESSION_TIMEOUT).unwrap())
            }
        }
    }

    pub(crate) fn tail(&self, topic: &str, from: TailFrom) -> Box<dyn Subscribe> {
        match self {
            Self::Memory(broker) => Box::new(broker.tail(&[topic], from)),
            Self::Kafka { settings, .. } => {
                Box::new(KafkaSubscribe::tail(settings, &[topic], from).unwrap())
            }
        }
    }

    pub(crate) fn lag(&self, group: &str, topic: &str) -> u64 {
        match self {
            Self::Memory(broker) => broker.lag(group, topic),
            Self::Kafka { settings, .. } => {
                let lag = Lag::connect(settings, group, topic).unwrap();
                lag.read(Duration::from_secs(5)).unwrap()
            }
        }
    }

    /// All that a reader at `read_committed` sees in a topic of one partition. A last record is published, so that whatever
    /// stands before it has been seen when it is.
    pub(crate) fn contents(&self, topic: &str) -> Vec<Delivery> {
        let last = Record { key: Some(b"the last".to_vec()), ..Record::default() };
        self.publish(topic, last.clone()).unwrap();
        let mut tail = self.tail(topic, TailFrom::Beginning);
        let mut seen: Vec<Delivery> = Vec::new();
        for _ in 0..EMPTY_POLLS_MAX {
            seen.extend(tail.poll(10_000, WAIT).unwrap());
            if seen.last().is_some_and(|delivery| delivery.record.key == last.key) {
                seen.retain(|delivery| delivery.record.key != last.key);
                return seen;
            }
        }
        panic!("the last record of {topic} never came; seen {}", seen.len());
    }
}

/// Polls until there are `count` records, in as many rounds as it takes.
pub(crate) fn take(exchange: &mut dyn Exchange, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..EMPTY_POLLS_MAX {
        taken.extend(exchange.poll(count - taken.len(), WAIT).unwrap());
        if taken.len() == count {
            return taken;
        }
    }
    panic!("{} of {count} records came", taken.len());
}

/// As [`take`], for a subscription.
pub(crate) fn read(subscribe: &mut dyn Subscribe, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..EMPTY_POLLS_MAX {
        taken.extend(subscribe.poll(count - taken.len(), WAIT).unwrap());
        if taken.len() == count {
            return taken;
        }
    }
    panic!("{} of {count} records came", taken.len());
}

/// The records of a round, to be written to another topic.
pub(crate) fn echo(round: &[Delivery], topic: &str) -> Vec<Outgoing> {
    let topic: Arc<str> = Arc::from(topic);
    round
        .iter()
        .map(|it| Outgoing { topic: Arc::clone(&topic), record: it.record.clone() })
        .collect()
}

/// Commits a round as [`echo`].
pub(crate) fn commit(
    exchange: &mut dyn Exchange,
    round: &[Delivery],
    topic: &str,
) -> Result<(), broker::ExchangeError> {
    exchange.commit(echo(round, topic), &Progress::of(round))
}

/// The record whose key and value are `number`.
pub(crate) fn numbered(number: usize) -> Record {
    let text = number.to_string().into_bytes();
    Record { key: Some(text.clone()), value: Some(text), ..Record::default() }
}

/// The values, as numbers, in the order in which they were read.
pub(crate) fn numbers(deliveries: &[Delivery]) -> Vec<usize> {
    let number = |it: &Delivery| {
        String::from_utf8(it.record.value.clone().unwrap()).unwrap().parse().unwrap()
    };
    deliveries.iter().map(number).collect()
}
