//! The rule of decision on seeded streams: how often it cries wolf, and how soon it sees what is there.

use std::collections::BTreeMap;

use drift::{
    Monitor, Settings, Signal, State, Witness,
    decision::{Confirmation, Judgement, SignalSettings},
};

use crate::synthetic::{USUAL, World, random, reference};

const HELD_OUT: usize = 6_000;
const WINDOW: usize = 500;
const CLEAN_WINDOWS: u32 = 2_000;

fn alerts(judgement: &Judgement, signal: Signal) -> bool {
    let of_signal = judgement.decisions.iter().find(|decision| decision.signal == signal);
    of_signal.is_some_and(|decision| matches!(decision.state, State::Alerting { .. }))
}

/// Settings that leave the decision to significance alone.
fn without_effects(confirmation: Confirmation) -> Settings {
    let of = |signal| {
        let default = SignalSettings::default_of(signal);
        // Where one window decides, alpha alone says how often a clean one alerts.
        let alpha = match confirmation {
            Confirmation::Bonferroni => 0.001,
            Confirmation::InARow(_) => default.alpha,
        };
        (signal, SignalSettings { alpha, effect_min: 0.0, confirmation, ..default })
    };
    Settings { signals: Signal::ALL.into_iter().map(of).collect(), ..Settings::default() }
}

/// What becomes of clean windows.
#[derive(Debug, Default)]
struct Tally {
    measured: u32,
    /// Windows whose probability is below alpha.
    significant: u32,
    /// Alerts that began.
    alerts: u32,
}

#[test]
fn clean_windows_alert_at_most_once_in_a_thousand() {
    let rules = [
        Settings::default(),
        without_effects(Confirmation::InARow(2)),
        without_effects(Confirmation::Bonferroni),
    ];
    let reference = reference(HELD_OUT, 1);
    let mut random = random(2);
    let mut monitors = [Monitor::default(), Monitor::default(), Monitor::default()];
    let mut tallies: BTreeMap<(usize, Signal), Tally> = BTreeMap::new();
    for index in 0..i64::from(CLEAN_WINDOWS) {
        let closed = USUAL.closed(index, &reference, WINDOW, &mut random);
        for (rule, (monitor, settings)) in monitors.iter_mut().zip(&rules).enumerate() {
            for decision in monitor.judge(&closed, &reference, settings).decisions {
                let is_alert = matches!(decision.state, State::Alerting { .. });
                let alpha = settings.of(decision.signal).alpha;
                let tally = tallies.entry((rule, decision.signal)).or_default();
                tally.measured += 1;
                tally.significant += u32::from(decision.measurement.p < alpha);
                tally.alerts += u32::from(decision.changed && is_alert);
            }
        }
    }
    for ((rule, signal), Tally { measured, significant, alerts }) in tallies {
        assert_eq!(measured, CLEAN_WINDOWS, "{signal}");
        assert!(1_000 * alerts <= CLEAN_WINDOWS, "rule {rule}, {signal}: {alerts} alerts");
        // Four standard deviations above what alpha promises: more, and the null distribution would be wrong.
        let expected = f64::from(CLEAN_WINDOWS) * rules[rule].of(signal).alpha;
        let bound = expected + 4.0 * expected.sqrt();
        assert!(f64::from(significant) <= bound, "{signal}: {significant} significant windows");
    }
}

/// Windows until the alert, for each of twenty streams that step from the usual world to another.
#[track_caller]
fn assert_seen(world: World, signal: Signal, settings: &Settings) -> i64 {
    let reference = reference(HELD_OUT, 1);
    let mut slowest = 0;
    for seed in 0..20 {
        let mut random = random(100 + seed);
        let mut monitor = Monitor::default();
        for index in 0..3 {
            let closed = USUAL.closed(index, &reference, WINDOW, &mut random);
            let judgement = monitor.judge(&closed, &reference, settings);
            assert!(!alerts(&judgement, signal), "seed {seed}: {signal} alerts before the step");
        }
        let seen = (3..6).find(|&index| {
            let closed = world.closed(index, &reference, WINDOW, &mut random);
            alerts(&monitor.judge(&closed, &reference, settings), signal)
        });
        let seen = seen.unwrap_or_else(|| panic!("seed {seed}: {signal} is silent for 3 windows"));
        slowest = slowest.max(seen - 2);
    }
    slowest
}

#[test]
fn steps_are_seen_within_three_windows() {
    let settings = Settings::default();
    for (world, signal) in [
        (World { positive: 0.65, ..USUAL }, Signal::Labels),
        (World { sureness: 0.5, ..USUAL }, Signal::Confidence),
        (World { sureness: 0.5, ..USUAL }, Signal::Uncertainty),
        (World { length: 2.0 * USUAL.length, ..USUAL }, Signal::Tokens),
        (World { length: 2.0 * USUAL.length, ..USUAL }, Signal::Truncation),
        (World { unknown: 0.02, ..USUAL }, Signal::UnknownTokens),
        (World { foreign: 0.2, ..USUAL }, Signal::Languages),
        (World { bits: 10.2, ..USUAL }, Signal::CrossEntropy),
        (World { new_word: 0.05, ..USUAL }, Signal::Words),
        (World { shift: 12.0, ..USUAL }, Signal::Embedding),
        (World { disagreement: 0.2, ..USUAL }, Signal::AccuracyGap),
    ] {
        let slowest = assert_seen(world, signal, &settings);
        assert!(2 <= slowest, "{signal} alerted on a single window");
    }
}

#[test]
fn reviews_that_look_the_same_and_are_judged_otherwise_are_concept_drift() {
    let reference = reference(HELD_OUT, 1);
    let settings = Settings::default();
    let judge = |world: World| {
        let (mut random, mut monitor) = (random(5), Monitor::default());
        let closed = [0, 1].map(|index| world.closed(index, &reference, WINDOW, &mut random));
        closed.map(|closed| monitor.judge(&closed, &reference, &settings))
    };
    let [first, second] = judge(World { disagreement: 0.2, ..USUAL });
    assert!(!first.is_concept_drift && second.is_concept_drift);
    let (estimated, realised) =
        (second.estimated_accuracy.unwrap(), second.realised_accuracy.unwrap());
    assert!((estimated.value - realised.value - 0.2).abs() < 4.0 * realised.standard_error);
    assert!((second.coverage - 0.5).abs() < 1e-9);

    // Where inputs move as well, it may be the inputs.
    let [_, both] = judge(World { disagreement: 0.2, bits: 10.5, ..USUAL });
    assert!(alerts(&both, Signal::AccuracyGap) && !both.is_concept_drift);
    // Where confidence says that accuracy fell, nothing is hidden.
    let [_, seen] = judge(World { sureness: 0.5, ..USUAL });
    assert!(!alerts(&seen, Signal::AccuracyGap) && !seen.is_concept_drift);
}

#[test]
fn an_alert_ends_when_the_stream_is_as_usual_again() {
    let reference = reference(HELD_OUT, 1);
    let settings = Settings::default();
    let (mut random, mut monitor) = (random(6), Monitor::default());
    let mut names = Vec::new();
    for index in 0..8 {
        let world = World { positive: if (2..4).contains(&index) { 0.65 } else { 0.5 }, ..USUAL };
        let closed = world.closed(index, &reference, WINDOW, &mut random);
        monitor.judge(&closed, &reference, &settings);
        names.push(monitor.state(Signal::Labels).name());
    }
    let expected =
        ["quiet", "quiet", "suspected", "alerting", "alerting", "resolved", "quiet", "quiet"];
    assert_eq!(names, expected);
}

#[test]
fn a_difference_that_is_certain_and_does_not_matter_is_no_drift() {
    let reference = reference(HELD_OUT, 1);
    let world = World { positive: 0.535, ..USUAL };
    let closed = world.closed(0, &reference, 20_000, &mut random(9));
    let decisions = Monitor::default().judge(&closed, &reference, &Settings::default()).decisions;
    let labels = decisions.iter().find(|decision| decision.signal == Signal::Labels).unwrap();
    let measurement = &labels.measurement;
    assert!(measurement.p < 0.001 && measurement.threshold < measurement.score);
    assert!(measurement.effect < measurement.effect_min && !labels.drifted);
}

#[test]
fn a_window_that_is_too_small_or_a_signal_that_is_off_decides_nothing() {
    let reference = reference(HELD_OUT, 1);
    let world = World { positive: 0.9, ..USUAL };
    let mut random = random(7);
    let small = world.closed(0, &reference, WINDOW - 1, &mut random);
    let mut monitor = Monitor::default();
    let judgement = monitor.judge(&small, &reference, &Settings::default());
    assert!(judgement.decisions.iter().all(|decision| !decision.signal.needs_no_labels()));
    assert_eq!(monitor.state(Signal::Labels), State::Quiet);

    // Half of the verdicts have a label: too few of them, too.
    let smaller = world.closed(0, &reference, 300, &mut random);
    assert_eq!(monitor.judge(&smaller, &reference, &Settings::default()).decisions, []);

    let full = world.closed(1, &reference, WINDOW, &mut random);
    let mut settings = Settings::default();
    let default = settings.of(Signal::Labels);
    for (off, decided) in [
        (SignalSettings { enabled: false, ..default }, 0),
        (SignalSettings { alpha: 0.0, ..default }, 0),
        (default, 1),
    ] {
        settings.signals.insert(Signal::Labels, off);
        let decisions = monitor.judge(&full, &reference, &settings).decisions;
        let labels = decisions.iter().filter(|decision| decision.signal == Signal::Labels);
        assert_eq!(labels.count(), decided, "{off:?}");
    }
}

#[test]
fn judgements_monitors_and_settings_are_read_as_they_were_written() {
    let reference = reference(HELD_OUT, 1);
    let settings = without_effects(Confirmation::Bonferroni);
    let world = World { positive: 0.9, ..USUAL };
    let mut monitor = Monitor::default();
    let judgement =
        monitor.judge(&world.closed(0, &reference, WINDOW, &mut random(8)), &reference, &settings);
    assert!(alerts(&judgement, Signal::Labels));
    let json = serde_json::to_string(&(&judgement, &monitor, &settings)).unwrap();
    assert_eq!(
        serde_json::from_str::<(Judgement, Monitor, Settings)>(&json).unwrap(),
        (judgement, monitor, settings)
    );
    assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
}

#[test]
fn the_reviews_that_have_the_new_word_are_those_that_moved_the_words() {
    let reference = reference(HELD_OUT, 1);
    let world = World { new_word: 0.05, ..USUAL };
    let mut random = random(7);
    let closed = world.closed(0, &reference, WINDOW, &mut random);
    let judgement = Monitor::default().judge(&closed, &reference, &Settings::default());
    let words = judgement.decisions.iter().find(|decision| decision.signal == Signal::Words);
    let words = words.unwrap();
    assert!(words.drifted, "{}", words.sentence);
    assert!(words.sentence.contains("a word of bucket 2000 rose from 0.0 %"), "{}", words.sentence);
    let witness = Witness::of(&closed.window, &reference);
    let pulls = |buckets: &[u16]| {
        let features =
            drift::Features { words: Some(buckets.to_vec()), ..USUAL.review(&mut random).features };
        witness.pull(&reference, Signal::Words, &features)
    };
    assert_eq!(
        [&[1, 2, 3][..], &[2_000], &[3, 2_000], &[]].map(pulls),
        [None, Some(1.0), Some(0.5), None]
    );
}
