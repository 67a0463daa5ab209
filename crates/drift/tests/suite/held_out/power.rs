//! How soon drift in real reviews is seen: the goal is three windows of five hundred.

#![expect(clippy::print_stdout, reason = "the table of docs/DRIFT.md")]

use drift::Signal::{
    Confidence, CrossEntropy, Embedding, Labels, Languages, Tokens, Truncation, Uncertainty, Words,
};

use super::{BTreeMap, HeldOut, Random, Signal, State, Stream, WINDOW, form, reference, reviews};

/// Streams of each drift.
const STREAMS: usize = 50;

/// Clean windows before it.
const CLEAN: usize = 2;

/// Drifted windows that are waited for.
const PATIENCE: usize = 6;

/// The goal, in windows.
const SEEN_WITHIN: usize = 3;

/// A drift: windows of `before` become windows in which so many percent are from `after`.
struct Drift<'a> {
    name: &'a str,
    /// Reviews of the reference.
    held_out: usize,
    before: &'a [HeldOut],
    after: &'a [HeldOut],
    percent: usize,
}

/// For each signal and stream, after how many drifted windows it alerted.
type Delays = BTreeMap<Signal, Vec<Option<usize>>>;

impl Drift<'_> {
    fn delays(&self, seed: u64) -> Delays {
        let (form, mut random) = (form(), Random(seed));
        let before: Vec<&HeldOut> = self.before.iter().collect();
        let after: Vec<&HeldOut> = self.after.iter().collect();
        let mut delays = Delays::new();
        for number in 0..STREAMS {
            let reference = reference(&form, &random.draw(&before, self.held_out));
            let mut stream = Stream::new(&reference);
            for _ in 0..CLEAN {
                stream.judge(&random.draw(&before, WINDOW));
            }
            let mut seen = BTreeMap::new();
            for window in 1..=PATIENCE {
                let drifted = WINDOW * self.percent / 100;
                let mut reviews = random.draw(&after, drifted);
                reviews.extend(random.draw(&before, WINDOW - drifted));
                for (signal, (state, ..)) in stream.judge(&reviews) {
                    if matches!(state, State::Alerting { .. }) {
                        seen.entry(signal).or_insert(window);
                    }
                }
            }
            for (signal, window) in seen {
                let of_signal = delays.entry(signal).or_insert_with(|| vec![None; STREAMS]);
                of_signal[number] = Some(window);
            }
        }
        delays
    }

    /// Prints what saw it, and holds `expected` to the goal in seventeen streams of twenty at least.
    #[track_caller]
    fn assert_seen_by(&self, seed: u64, expected: &[Signal]) {
        let delays = self.delays(seed);
        let name = self.name;
        let mut in_time = BTreeMap::new();
        for (signal, windows) in &delays {
            let mut windows: Vec<usize> = windows.iter().copied().flatten().collect();
            windows.sort_unstable();
            let soon = windows.iter().filter(|&&window| window <= SEEN_WITHIN).count();
            let median = windows[windows.len() / 2] * WINDOW;
            println!("{name}: {signal}: {soon} of {STREAMS} in time, median {median} reviews");
            in_time.insert(*signal, soon);
        }
        let is_soon = |stream: usize| {
            let each = delays.values().filter_map(|windows| windows[stream]);
            each.min().is_some_and(|window| window <= SEEN_WITHIN)
        };
        let any = (0..STREAMS).filter(|&stream| is_soon(stream)).count();
        println!("{name}: any signal: {any} of {STREAMS} in time");
        for signal in expected {
            let soon = in_time.get(signal).copied().unwrap_or_default();
            assert!(17 * STREAMS <= 20 * soon, "{name}: {signal}: {soon} of {STREAMS}");
        }
    }
}

/// A population of which people call so many percent negative.
fn with_negatives(reviews: &[HeldOut], percent: usize) -> Vec<HeldOut> {
    let (negative, positive): (Vec<&HeldOut>, Vec<&HeldOut>) =
        reviews.iter().partition(|one| one.truth == "negative");
    let (n, mut random) = (10_000, Random(99));
    let mut mixed = random.draw(&negative, n * percent / 100);
    mixed.extend(random.draw(&positive, n - n * percent / 100));
    mixed.into_iter().cloned().collect()
}

/// A model that is as right as it was and a third as sure: logits over three.
fn unsure(reviews: &[HeldOut]) -> Vec<HeldOut> {
    let mut reviews = reviews.to_vec();
    for HeldOut { features, .. } in &mut reviews {
        let confidence = features.confidence.min(0.999_999);
        let logit = (confidence / (1.0 - confidence)).ln() / 3.0;
        features.confidence = 1.0 / (1.0 + (-logit).exp());
        let rest = 1.0 - features.confidence;
        for (label, probability) in &mut features.probabilities {
            *probability = if *label == features.label { features.confidence } else { rest };
        }
    }
    reviews
}

#[test]
fn more_negative_reviews_are_seen() {
    for (name, seed) in [("sst2", 21), ("imdb", 22)] {
        let all = reviews(name);
        let [before, after] = [50, 65].map(|percent| with_negatives(&all, percent));
        let name = format!("{name}, negative reviews from 50 % to 65 %");
        let held_out = all.len();
        Drift { name: &name, held_out, before: &before, after: &after, percent: 100 }
            .assert_seen_by(seed, &[Labels]);
    }
}

#[test]
fn another_trade_is_seen() {
    let (sst2, imdb) = (reviews("sst2"), reviews("imdb"));
    let expected = [Tokens, CrossEntropy, Embedding];
    Drift {
        name: "sst2 becomes imdb",
        held_out: sst2.len(),
        before: &sst2,
        after: &imdb,
        percent: 100,
    }
    .assert_seen_by(23, &expected);
    Drift {
        name: "imdb becomes sst2",
        held_out: imdb.len(),
        before: &imdb,
        after: &sst2,
        percent: 100,
    }
    .assert_seen_by(24, &expected);
}

/// Few enough of the English sentences are told as none that a few foreign ones do not drown in them.
#[test]
fn another_language_in_a_tenth_is_seen() {
    for (name, seed, expected) in
        [("sst2", 25, &[CrossEntropy, Languages][..]), ("imdb", 26, &[Languages])]
    {
        let before = reviews(name);
        for language in ["german", "french"] {
            let (after, name) = (reviews(language), format!("{name}, 10 % {language}"));
            let held_out = before.len();
            Drift { name: &name, held_out, before: &before, after: &after, percent: 10 }
                .assert_seen_by(seed, expected);
        }
    }
}

#[test]
fn garbled_words_are_seen() {
    for (name, seed) in [("sst2", 27), ("imdb", 28)] {
        let (before, after) = (reviews(name), reviews(&format!("{name}_garbled")));
        let name = format!("{name}, 5 % of words garbled");
        Drift { name: &name, held_out: before.len(), before: &before, after: &after, percent: 100 }
            .assert_seen_by(seed, &[CrossEntropy]);
    }
}

#[test]
fn longer_and_shorter_reviews_are_seen() {
    for (name, to, seed, expected) in [
        ("sst2", "doubled", 29, &[Tokens][..]),
        ("imdb", "doubled", 30, &[Tokens, Truncation]),
        ("imdb", "cut", 31, &[Tokens, Truncation]),
    ] {
        let (before, after) = (reviews(name), reviews(&format!("{name}_{to}")));
        let name = format!("{name}, length {to}");
        Drift { name: &name, held_out: before.len(), before: &before, after: &after, percent: 100 }
            .assert_seen_by(seed, expected);
    }
}

/// A word that nobody knew, in one review of twenty: it moves no average, but its bucket.
#[test]
fn a_new_word_in_a_twentieth_is_seen() {
    for (name, seed) in [("sst2", 32), ("imdb", 36)] {
        let (before, after) = (reviews(name), reviews(&format!("{name}_new_word")));
        let name = format!("{name}, a new word in 5 %");
        Drift { name: &name, held_out: before.len(), before: &before, after: &after, percent: 5 }
            .assert_seen_by(seed, &[Words]);
    }
    let (before, after) = (reviews("sst2"), reviews("sst2_new_word"));
    let name = "sst2, a new word in all";
    Drift { name, held_out: before.len(), before: &before, after: &after, percent: 100 }
        .assert_seen_by(33, &[CrossEntropy, Words]);
}

#[test]
fn a_collapse_of_confidence_is_seen() {
    for (name, seed) in [("sst2", 34), ("imdb", 35)] {
        let before = reviews(name);
        let (after, name) = (unsure(&before), format!("{name}, confidence collapses"));
        Drift { name: &name, held_out: before.len(), before: &before, after: &after, percent: 100 }
            .assert_seen_by(seed, &[Confidence, Uncertainty]);
    }
}
