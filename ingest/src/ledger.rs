//! What this replica knows of the reviews that it saw lately: bounded, oldest forgotten first.
//!
//! It is a memory, not a source of truth. What it has forgotten is asked of the store, and what neither knows is published
//! again under the same id, which downstream is one row all the same.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use schemas::{ReviewId, Verdict};

/// Bytes that an entry costs without its verdict, roughly: two copies of its id, the hash, the maps' overhead.
const ENTRY_BYTES: usize = 512;

/// Why a review got no verdict, as its dead letter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Where in the line: `DECODE`, `VALIDATE`, `TOKENIZE`, `INFER`.
    pub(crate) stage: String,
    /// The reason in words.
    pub(crate) message: String,
    /// Whether the same review may pass another time.
    pub(crate) is_retryable: bool,
}

/// How far a review has come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Progress {
    /// A request that brought it is being worked on, and nothing is promised yet.
    Open,
    /// It is durable, and its verdict is to come.
    Accepted,
    /// It has a verdict.
    Judged(Arc<Verdict>),
    /// It has a dead letter.
    Refused(Arc<Refused>),
}

/// What [`Ledger::claim`] found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Claim {
    /// Not known. The id is now the caller's, who must [`settle`](Ledger::settle) or [`forget`](Ledger::forget) it.
    First,
    /// The same text, not yet durable.
    Open,
    /// The same text, durable.
    Accepted,
    /// The same text, judged.
    Judged(Arc<Verdict>),
    /// The id belongs to another text.
    OtherText,
}

/// The memory.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: HashMap<ReviewId, Entry>,
    /// Ids by age.
    order: BTreeMap<u64, ReviewId>,
    next: u64,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    age: u64,
    bytes: usize,
    /// SHA-256 of the text in hex; absent where only a dead letter is known.
    text_sha256: Option<String>,
    progress: Progress,
}

impl Ledger {
    /// An empty one that takes `bytes_max` bytes, roughly.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            bytes: 0,
            bytes_max: bytes_max.max(ENTRY_BYTES),
        }
    }

    /// Takes `id` for a review with this text, unless it is taken. A refused review does not hold its id: sending it again is
    /// how its sender tries again.
    pub(crate) fn claim(&mut self, id: &ReviewId, text_sha256: &str) -> Claim {
        match self.entries.get(id) {
            None | Some(Entry { progress: Progress::Refused(_), .. }) => {
                self.put(id, Some(text_sha256.to_owned()), Progress::Open, 0);
                Claim::First
            }
            Some(entry) if entry.text_sha256.as_deref() != Some(text_sha256) => Claim::OtherText,
            Some(entry) => match &entry.progress {
                Progress::Open => Claim::Open,
                Progress::Accepted | Progress::Refused(_) => Claim::Accepted,
                Progress::Judged(verdict) => Claim::Judged(Arc::clone(verdict)),
            },
        }
    }

    /// Notes that a claimed review is durable, unless more is known by now.
    pub(crate) fn settle(&mut self, id: &ReviewId) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.progress == Progress::Open
        {
            entry.progress = Progress::Accepted;
        }
    }

    /// Gives a claimed id back, unless more is known by now.
    pub(crate) fn forget(&mut self, id: &ReviewId) {
        if self.entries.get(id).is_some_and(|entry| entry.progress == Progress::Open) {
            self.remove(id);
        }
    }

    /// Notes a verdict that takes `bytes` bytes.
    pub(crate) fn judged(&mut self, verdict: &Arc<Verdict>, bytes: usize) {
        let text_sha256 = Some(verdict.review_sha256.clone());
        self.put(&verdict.id, text_sha256, Progress::Judged(Arc::clone(verdict)), bytes);
    }

    /// Notes a dead letter, unless the review has a verdict: it may have been judged at another attempt.
    pub(crate) fn refused(&mut self, id: &ReviewId, refused: Arc<Refused>) {
        let known = self.entries.get(id);
        if known.is_some_and(|entry| matches!(entry.progress, Progress::Judged(_))) {
            return;
        }
        let text_sha256 = known.and_then(|entry| entry.text_sha256.clone());
        self.put(id, text_sha256, Progress::Refused(refused), 0);
    }

    /// What is known of `id`.
    pub(crate) fn progress(&self, id: &ReviewId) -> Option<&Progress> {
        self.entries.get(id).map(|entry| &entry.progress)
    }

    fn put(
        &mut self,
        id: &ReviewId,
        text_sha256: Option<String>,
        progress: Progress,
        bytes: usize,
    ) {
        self.remove(id);
        let age = self.next;
        self.next = self.next.saturating_add(1);
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        self.bytes = self.bytes.saturating_add(bytes);
        self.order.insert(age, id.clone());
        self.entries.insert(id.clone(), Entry { age, bytes, text_sha256, progress });
        while self.bytes_max < self.bytes {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(entry.bytes);
            }
        }
    }

    fn remove(&mut self, id: &ReviewId) {
        if let Some(entry) = self.entries.remove(id) {
            self.order.remove(&entry.age);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}
