//! How often clean windows of real reviews alert: at most once in a thousand, whatever the signal.

#![expect(clippy::print_stdout, reason = "the table of docs/DRIFT.md")]

use super::{BTreeMap, HeldOut, Random, Signal, State, Stream, WINDOW, form, reference, reviews};

/// Windows of each proof.
const WINDOWS: usize = 5_000;

/// What became of the clean windows of one signal.
#[derive(Debug, Default)]
struct Tally {
    measured: usize,
    /// Windows that drifted, taken alone.
    drifted: usize,
    /// Alerts that began.
    alerts: usize,
}

#[derive(Debug, Default)]
struct Tallies(BTreeMap<Signal, Tally>);

impl Tallies {
    fn note(&mut self, judged: BTreeMap<Signal, (State, bool, bool)>) {
        for (signal, (state, changed, drifted)) in judged {
            let tally = self.0.entry(signal).or_default();
            tally.measured += 1;
            tally.drifted += usize::from(drifted);
            tally.alerts += usize::from(changed && matches!(state, State::Alerting { .. }));
        }
    }

    #[track_caller]
    fn assert_quiet(&self, name: &str, signals: usize) {
        assert_eq!(self.0.len(), signals, "{name}: signals that were measured");
        for (signal, Tally { measured, drifted, alerts }) in &self.0 {
            println!("{name}: {signal}: {measured} windows, {drifted} drifted, {alerts} alerts");
        }
        for (signal, Tally { measured, alerts, .. }) in &self.0 {
            assert!(1_000 * alerts <= *measured, "{name}: {signal}: {alerts} alerts");
        }
    }
}

/// The held-out reviews stand for the population: reference and windows are drawn from it independently, each with as many
/// reviews as it has in practice, and the reference anew for each ten windows. So windows differ from references by chance
/// alone; windows drawn from one half against the other half would differ by what sets that half apart, again and again.
fn drawn(name: &str, seed: u64, signals: usize) {
    const STREAM: usize = 10;
    let (form, population) = (form(), reviews(name));
    let population: Vec<&HeldOut> = population.iter().collect();
    let (mut random, mut tallies) = (Random(seed), Tallies::default());
    for _ in 0..WINDOWS / STREAM {
        let reference = reference(&form, &random.draw(&population, population.len()));
        let mut stream = Stream::new(&reference);
        for _ in 0..STREAM {
            tallies.note(stream.judge(&random.draw(&population, WINDOW)));
        }
    }
    tallies.assert_quiet(&format!("{name}, drawn"), signals);
}

#[test]
fn clean_windows_of_sentences_are_quiet() {
    // No sentence is cut, so nothing can be said of truncation.
    drawn("sst2", 11, Signal::ALL.len() - 1);
}

#[test]
fn clean_windows_of_reviews_are_quiet() {
    drawn("imdb", 12, Signal::ALL.len());
}

/// No review twice: one half is the reference, the other is cut into windows, and the halves are others each time.
#[test]
fn halves_of_reviews_are_quiet_against_each_other() {
    let (form, population) = (form(), reviews("imdb"));
    let population: Vec<&HeldOut> = population.iter().collect();
    let half = population.len() / 2;
    let (mut random, mut tallies) = (Random(13), Tallies::default());
    for _ in 0..WINDOWS / (half / WINDOW) {
        let order = random.shuffled(&population);
        let reference = reference(&form, &order[..half]);
        let mut stream = Stream::new(&reference);
        for window in order[half..].chunks_exact(WINDOW) {
            tallies.note(stream.judge(window));
        }
    }
    tallies.assert_quiet("imdb, halves", Signal::ALL.len());
}
