//! The decisions on real reviews: features of held-out texts as sentiment@1 sees them, and of texts modified or foreign.
//!
//! `tests/held_out/make.py` says how the files were made. A stream is drawn from them by a seeded generator which
//! `tests/held_out/compare.py` has too, so that other tools are given the very same windows.

mod false_alarms;
mod power;

use std::{collections::BTreeMap, path::Path};

use drift::{
    Features, Model, Monitor, Reference, Settings, Signal, State, Window,
    assembly::Closed,
    reference::{
        WHOLE,
        profile::{self, Form, HeldOut},
    },
};
use serde_json::json;

/// Reviews of a window.
const WINDOW: usize = 500;

/// Fourier features, as shipped.
const FOURIER_FEATURES: usize = 64;

/// The reviews of one file.
fn reviews(name: &str) -> Vec<HeldOut> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/held_out");
    let text = std::fs::read_to_string(folder.join(format!("{name}.csv"))).unwrap();
    text.lines().skip(1).map(review).collect()
}

fn review(line: &str) -> HeldOut {
    let fields: Vec<&str> = line.split(',').collect();
    let [truth, label, confidence, tokens, truncated, unknown, bits, projection, language, words] =
        fields[..]
    else {
        panic!("{line}: not ten fields")
    };
    let confidence: f32 = confidence.parse().unwrap();
    let other = if label == "negative" { "positive" } else { "negative" };
    let coordinate = |at: usize| u8::from_str_radix(&projection[2 * at..2 * at + 2], 16).unwrap();
    let bucket = |at: usize| u16::from_str_radix(&words[3 * at..3 * at + 3], 16).unwrap();
    let features = Features {
        label: label.to_owned(),
        confidence,
        probabilities: [(label.to_owned(), confidence), (other.to_owned(), 1.0 - confidence)]
            .into(),
        tokens: tokens.parse().unwrap(),
        special_tokens: 2,
        unknown_tokens: unknown.parse().unwrap(),
        truncated: truncated == "1",
        cross_entropy: Some(bits.parse().unwrap()),
        projection: Some(std::array::from_fn(|at| i8::from_ne_bytes([coordinate(at)]))),
        language: (!language.is_empty()).then(|| language.to_owned()),
        words: Some((0..words.len() / 3).map(bucket).collect()),
    };
    HeldOut { features, truth: truth.to_owned() }
}

/// `SplitMix64` (Steele, Lea & Flood 2014), in a dozen lines of any language.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// So many of `population`, each as likely every time.
    fn draw<'a>(&mut self, population: &[&'a HeldOut], n: usize) -> Vec<&'a HeldOut> {
        (0..n).map(|_| population[self.below(population.len())]).collect()
    }

    /// All of `population` in an order of chance (Fisher & Yates 1938).
    fn shuffled<'a>(&mut self, population: &[&'a HeldOut]) -> Vec<&'a HeldOut> {
        let mut order = population.to_vec();
        for last in (1..order.len()).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

/// What references of sentiment@1 have in common: edges and bandwidth are those of both data sets together, as shipped.
fn form() -> Form {
    let whole: Vec<HeldOut> = ["sst2", "imdb"].into_iter().flat_map(reviews).collect();
    let whole: Vec<&HeldOut> = whole.iter().collect();
    Form {
        labels: vec!["negative".to_owned(), "positive".to_owned()],
        confidence_edges: profile::confidence_edges(&whole, 2),
        token_edges: profile::token_edges(256),
        counts_languages: true,
        fourier: profile::fourier(&whole, FOURIER_FEATURES).unwrap(),
    }
}

fn reference(form: &Form, sample: &[&HeldOut]) -> Reference {
    let profile = form.profile(WHOLE, "drawn", sample).unwrap();
    let document = json!({ "profiles": [profile] }).to_string();
    Reference::from_json(document.as_bytes(), WHOLE).unwrap()
}

/// A stream of windows judged one after the other.
struct Stream<'a> {
    reference: &'a Reference,
    monitor: Monitor,
    next: i64,
}

impl<'a> Stream<'a> {
    fn new(reference: &'a Reference) -> Self {
        Self { reference, monitor: Monitor::default(), next: 0 }
    }

    /// The signals that were measured on a window of these reviews, each with its state, whether it is new, and whether this
    /// window alone has drifted. People label every review.
    fn judge(&mut self, reviews: &[&HeldOut]) -> BTreeMap<Signal, (State, bool, bool)> {
        let [name, version, digest] = ["sentiment", "1", ""].map(str::to_owned);
        let mut window = Window::empty(Model { name, version, digest }, self.reference).unwrap();
        for HeldOut { features, truth } in reviews {
            window.record(self.reference, self.next, features).unwrap();
            let is_correct = *truth == features.label;
            window
                .record_label(self.reference, self.next, features.confidence, is_correct)
                .unwrap();
        }
        let closed = Closed { index: self.next, window };
        self.next += 1;
        let judgement = self.monitor.judge(&closed, self.reference, &Settings::default());
        let each = judgement.decisions.into_iter();
        each.map(|one| (one.signal, (one.state, one.changed, one.drifted))).collect()
    }
}
