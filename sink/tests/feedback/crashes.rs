//! Aborted rounds, lost answers, crashes between the rows and the commit: each label counts once all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use broker::memory::Fault;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::{Feedback, topics::FEEDBACK};
use sink::feedback::Settings;
use store::{MemoryStore, SqliteSettings, SqliteStore, VerdictStore};

use crate::world::{GROUP, Sum, World, feedback, verdict};

const LABELS: [&str; 3] = ["positive", "negative", "sarcastic"];
const PEOPLE: [Option<&str>; 3] = [None, Some("anna"), Some("ben")];
const REVIEWS: usize = 8;

/// Lives of the loop before a seed counts as stuck.
const LIVES_MAX: usize = 1_000;

/// What is said in one seed, in order. Half of the reviews have a verdict.
fn said(random: &mut StdRng) -> Vec<Feedback> {
    let count = random.random_range(1..60);
    let one = |hours| {
        let id = format!("review-{}", random.random_range(0..REVIEWS));
        let (label, by) = (LABELS[random.random_range(0..3)], PEOPLE[random.random_range(0..3)]);
        feedback(&id, label, by, hours)
    };
    (0..count).map(one).collect()
}

fn has_verdict(id: &str) -> bool {
    id.ends_with(['0', '2', '4', '6'])
}

/// What has to be counted and kept, by the rules in the simplest words.
fn expected(said: &[Feedback]) -> (Sum, BTreeMap<String, usize>) {
    let mut sum = Sum::default();
    let (mut counted, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for Feedback { id, label, by, .. } in said {
        kept.insert((id, label, by));
        if has_verdict(id) && label != "sarcastic" && counted.insert(id) {
            sum.labelled += 1;
            sum.correct += u64::from(label == "positive");
        }
    }
    let mut rows = BTreeMap::new();
    for (id, _, _) in kept {
        *rows.entry(id.clone()).or_default() += 1;
    }
    (sum, rows)
}

fn check(seed: u64, store: Arc<dyn VerdictStore>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new(store);
    world.settings = Settings { rows_max: random.random_range(1..20), ..world.settings };
    let verdicts: Vec<_> = (0..REVIEWS)
        .map(|number| format!("review-{number}"))
        .filter(|id| has_verdict(id))
        .map(|id| verdict(&id, "positive"))
        .collect();
    world.judge(&verdicts);
    let said = said(&mut random);
    for one in &said {
        world.say(one);
    }
    let rate = random.random_range(0.0..0.6);
    let random = Arc::new(Mutex::new(random));
    for _life in 0..LIVES_MAX {
        if world.broker.lag(GROUP, FEEDBACK) == 0 {
            break;
        }
        let random = Arc::clone(&random);
        let faults = std::iter::repeat_with(move || {
            let mut random = random.lock().unwrap();
            let is_faulty = random.random_bool(rate);
            let faults = [Fault::Abort, Fault::LoseOutcome, Fault::Unavailable];
            is_faulty.then(|| faults[random.random_range(0..3)])
        });
        world.live(faults).unwrap();
    }
    let (sum, rows) = expected(&said);
    assert_eq!(world.counted(), sum, "seed {seed}");
    for number in 0..REVIEWS {
        let id = format!("review-{number}");
        let expected = rows.get(&id).copied().unwrap_or_default();
        assert_eq!(world.kept(&id).len(), expected, "seed {seed}: {id}");
    }
}

#[test]
fn whatever_is_aborted_each_label_counts_once() {
    for seed in 0..200 {
        check(seed, Arc::new(MemoryStore::default()));
    }
}

#[test]
fn so_it_is_in_a_file() {
    for seed in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.db");
        check(seed, Arc::new(SqliteStore::open(&path, &SqliteSettings::default()).unwrap()));
    }
}

/// The rows are there, the commit is not: the round that is read again must not take its own rows for what was said before.
#[test]
fn a_round_that_is_read_again_is_settled_as_before() {
    let world = World::new(Arc::new(MemoryStore::default()));
    world.judge(&[verdict("a", "positive")]);
    world.say(&feedback("a", "positive", Some("anna"), 1));
    world.say(&feedback("a", "negative", Some("anna"), 2));
    // Polls are asked for faults too: the second question is that of the commit.
    let faults = [None, Some(Fault::Abort), None, Some(Fault::LoseOutcome)];
    world.live(faults.into_iter()).unwrap();
    assert_eq!(world.counted(), Sum { labelled: 1, correct: 1 });
    assert_eq!(world.kept("a").len(), 2);
}
