//! The topics that are open, and their directories.

use crate::StartError;
use crate::clock;
use crate::config::Config;
use crate::journal::Journal;
use crate::ledger::{self, Entry, Place};
use crate::log::Log;
use crate::partition::Partition;
use crate::segment::RecoverError;
use crate::settings::Settings;
use kafka_protocol::ResponseError;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use uuid::Uuid;

const FOLDER: &str = "topics";
/// Kafka's limit, so that a name fits into a file name.
const NAME_BYTES_MAX: usize = 249;
/// More would only exhaust file handles.
const PARTITIONS_MAX: i32 = 10_000;

/// An open topic, as it is at one moment. A change makes another one with the same partitions.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) config: Config,
    pub(crate) partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(crate) fn partition(&self, number: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

/// All topics by name.
#[derive(Debug)]
pub(crate) struct Topics {
    settings: Arc<Settings>,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
}

impl Topics {
    /// Opens what the journal says there is, and removes what it does not know: leftovers of deleted topics.
    pub(crate) fn open(settings: Arc<Settings>, journal: &Journal) -> Result<Topics, StartError> {
        let topics = Topics { settings, by_name: RwLock::default() };
        let (known, starts) =
            journal.read(|ledger| (ledger.topics.clone(), ledger.log_starts.clone()));
        topics.remove_leftovers(&known);
        for (name, topic) in known {
            let mut partitions = Vec::new();
            for number in 0..topic.partitions {
                let directory = topics.directory(&name, topic.id).join(number.to_string());
                let place = Place { topic: name.clone(), partition: number };
                let start = starts.get(&place).copied().unwrap_or(0);
                let log =
                    Log::open(&directory, start, clock::now_ms()).map_err(|(path, error)| {
                        match error {
                            RecoverError::Io(source) => {
                                StartError::Io { context: "reading", path, source }
                            }
                            RecoverError::Damaged(position) => {
                                StartError::Damaged { path, position }
                            }
                        }
                    })?;
                partitions.push(Arc::new(Partition::new(log, topics.settings.fsync)));
            }
            topics.put(name, topic, partitions);
        }
        Ok(topics)
    }

    fn directory(&self, name: &str, id: Uuid) -> PathBuf {
        // The id keeps a topic apart from an earlier one of that name, whose removal a crash may have cut off.
        self.settings.data_dir.join(FOLDER).join(format!("{name}.{id}"))
    }

    fn remove_leftovers(&self, known: &BTreeMap<String, ledger::Topic>) {
        let keep: Vec<PathBuf> =
            known.iter().map(|(name, topic)| self.directory(name, topic.id)).collect();
        let Ok(entries) = std::fs::read_dir(self.settings.data_dir.join(FOLDER)) else { return };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| !keep.contains(path))
        {
            remove(&path);
        }
    }

    fn put(
        &self,
        name: String,
        topic: ledger::Topic,
        partitions: Vec<Arc<Partition>>,
    ) -> Arc<Topic> {
        let config = Config::read(&topic.configs, &self.settings);
        let topic = Arc::new(Topic { id: topic.id, configs: topic.configs, config, partitions });
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, Arc::clone(&topic));
        topic
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn partition(&self, name: &str, number: i32) -> Option<Arc<Partition>> {
        self.get(name)?.partition(number).cloned()
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Topic>)> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.iter().map(|(name, topic)| (name.clone(), Arc::clone(topic))).collect()
    }

    /// Whether a topic could be made.
    pub(crate) fn check_new(&self, name: &str, partitions: i32) -> Result<(), ResponseError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_good =
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_allowed);
        if !is_good || name == "." || name == ".." {
            return Err(ResponseError::InvalidTopicException);
        }
        match partitions {
            1..=PARTITIONS_MAX if self.get(name).is_some() => {
                Err(ResponseError::TopicAlreadyExists)
            }
            1..=PARTITIONS_MAX => Ok(()),
            _ => Err(ResponseError::InvalidPartitions),
        }
    }

    /// Makes a topic. Answers with the journal position to settle.
    pub(crate) fn create(
        &self,
        journal: &Journal,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<i64, ResponseError> {
        self.check_new(name, partitions)?;
        let topic = ledger::Topic { id: Uuid::new_v4(), partitions, configs };
        let opened = self
            .make_partitions(name, topic.id, 0..partitions)
            .map_err(|error| storage_error(&error))?;
        let (position, ()) = journal.decide(|ledger| {
            if ledger.topics.contains_key(name) {
                Err(Refusal(ResponseError::TopicAlreadyExists))
            } else {
                Ok((vec![Entry::Topic { name: name.to_owned(), topic: topic.clone() }], ()))
            }
        })?;
        self.put(name.to_owned(), topic, opened);
        tracing::info!(topic = name, partitions, "topic created");
        Ok(position)
    }

    fn make_partitions(
        &self,
        name: &str,
        id: Uuid,
        numbers: std::ops::Range<i32>,
    ) -> io::Result<Vec<Arc<Partition>>> {
        let directory = self.directory(name, id);
        let mut partitions = Vec::new();
        for number in numbers {
            let log = Log::open(&directory.join(number.to_string()), 0, clock::now_ms()).map_err(
                |(_, error)| match error {
                    RecoverError::Io(error) => error,
                    RecoverError::Damaged(_) => io::Error::other("a new partition has an old file"),
                },
            )?;
            partitions.push(Arc::new(Partition::new(log, self.settings.fsync)));
        }
        // The names of the directories must be as durable as what will be in them.
        for parent in [Some(directory.as_path()), directory.parent(), Some(&self.settings.data_dir)]
            .into_iter()
            .flatten()
        {
            std::fs::File::open(parent)?.sync_all()?;
        }
        Ok(partitions)
    }

    /// Gives a topic more partitions.
    pub(crate) fn grow(
        &self,
        journal: &Journal,
        name: &str,
        count: i32,
    ) -> Result<i64, ResponseError> {
        let topic = self.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let before = topic.partition_count();
        if count <= before || PARTITIONS_MAX < count {
            return Err(ResponseError::InvalidPartitions);
        }
        let more = self
            .make_partitions(name, topic.id, before..count)
            .map_err(|error| storage_error(&error))?;
        let partitions = topic.partitions.iter().cloned().chain(more).collect();
        self.change(
            journal,
            name,
            ledger::Topic { id: topic.id, partitions: count, configs: topic.configs.clone() },
            partitions,
        )
    }

    /// Gives a topic other settings.
    pub(crate) fn configure(
        &self,
        journal: &Journal,
        name: &str,
        configs: BTreeMap<String, String>,
    ) -> Result<i64, ResponseError> {
        let topic = self.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let partitions = topic.partitions.clone();
        self.change(
            journal,
            name,
            ledger::Topic { id: topic.id, partitions: topic.partition_count(), configs },
            partitions,
        )
    }

    fn change(
        &self,
        journal: &Journal,
        name: &str,
        topic: ledger::Topic,
        partitions: Vec<Arc<Partition>>,
    ) -> Result<i64, ResponseError> {
        let (position, ()) = journal.decide(|ledger| match ledger.topics.get(name) {
            Some(now) if now.id == topic.id && now.partitions <= topic.partitions => {
                Ok((vec![Entry::Topic { name: name.to_owned(), topic: topic.clone() }], ()))
            }
            _ => Err(Refusal(ResponseError::UnknownTopicOrPartition)),
        })?;
        self.put(name.to_owned(), topic, partitions);
        Ok(position)
    }

    /// Removes a topic with all that is known of it.
    pub(crate) fn delete(&self, journal: &Journal, name: &str) -> Result<i64, ResponseError> {
        let position = journal
            .record(Entry::TopicDeleted { name: name.to_owned() })
            .map_err(|error| storage_error(&error))?;
        let removed = self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        let topic = removed.ok_or(ResponseError::UnknownTopicOrPartition)?;
        for partition in &topic.partitions {
            partition.log().mark_deleted();
            partition.ring();
        }
        remove(&self.directory(name, topic.id));
        tracing::info!(topic = name, "topic deleted");
        Ok(position)
    }
}

/// An answer that goes to the client.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) ResponseError);

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal(storage_error(&error))
    }
}

impl From<Refusal> for ResponseError {
    fn from(refusal: Refusal) -> ResponseError {
        refusal.0
    }
}

/// Logs a failure of the disk, and says what clients are told of it.
pub(crate) fn storage_error(error: &io::Error) -> ResponseError {
    tracing::error!(%error, "the disk refused");
    ResponseError::KafkaStorageError
}

fn remove(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory) {
        tracing::warn!(path = %directory.display(), %error, "a deleted topic stays until the next start");
    }
}
