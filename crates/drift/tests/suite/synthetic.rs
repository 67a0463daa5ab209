//! A made-up model on made-up reviews, seeded: held-out data, and streams that may drift in one respect.

use drift::{
    Features, FourierMap, FourierSettings, Model, Projected, Reference, Window, assembly::Closed,
    reference::WHOLE, statistics::mmd::EmbeddingMoments,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

/// Most tokens that the model reads.
const TOKENS_MAX: f64 = 256.0;

/// What reviews and the model are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// Share of positive verdicts.
    pub(crate) positive: f64,
    /// Confidence is `1 - loss / 2`, with a loss of this power of a uniform number: larger is surer.
    pub(crate) sureness: f64,
    /// Median tokens.
    pub(crate) length: f64,
    /// Share of reviews in a language that held-out data hardly has.
    pub(crate) foreign: f64,
    /// Share of reviews with a word that held-out data does not have.
    pub(crate) new_word: f64,
    /// Mean bits a token.
    pub(crate) bits: f64,
    /// Shift of all embeddings, in steps of the projection.
    pub(crate) shift: f64,
    /// Share of tokens that are unknown.
    pub(crate) unknown: f64,
    /// By how much people agree less than confidence says.
    pub(crate) disagreement: f64,
}

/// The world that held-out data is from.
pub(crate) const USUAL: World = World {
    positive: 0.5,
    sureness: 2.0,
    length: 60.0,
    foreign: 0.03,
    new_word: 0.0,
    bits: 9.5,
    shift: 0.0,
    unknown: 0.001,
    disagreement: 0.0,
};

/// One review judged, and whether people agree.
pub(crate) struct Judged {
    pub(crate) features: Features,
    pub(crate) is_correct: bool,
}

pub(crate) fn model() -> Model {
    let [name, version, digest] = ["made-up", "1", "sha256:00"].map(str::to_owned);
    Model { name, version, digest }
}

/// A standard normal number.
fn normal(random: &mut StdRng) -> f64 {
    // The sum of twelve uniform numbers has variance 1 and tails good enough for a review.
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

impl World {
    pub(crate) fn review(&self, random: &mut StdRng) -> Judged {
        let is_positive = random.random_bool(self.positive);
        let confidence = 1.0 - random.random::<f64>().powf(self.sureness) / 2.0;
        let is_correct = random.random_bool((confidence - self.disagreement).clamp(0.0, 1.0));
        let length = (self.length * (0.8 * normal(random)).exp()).clamp(4.0, 2_000.0);
        let tokens = length.min(TOKENS_MAX).round();
        let unknown = (0..integer(tokens) - 2).filter(|_| random.random_bool(self.unknown)).count();
        let language = match random.random::<f64>() {
            draw if draw < self.foreign => Some("fr-CA"),
            draw if draw < self.foreign + 0.1 => None,
            draw if draw < self.foreign + 0.3 => Some("de"),
            _most => Some("en-GB"),
        };
        let (label, other) = if is_positive { ("pos", "neg") } else { ("neg", "pos") };
        #[expect(clippy::cast_possible_truncation, reason = "as verdicts have it")]
        let [confidence, rest, bits] =
            [confidence, 1.0 - confidence, self.bits + 1.2 * normal(random)].map(|x| x as f32);
        let features = Features {
            label: label.to_owned(),
            confidence,
            probabilities: [(label.to_owned(), confidence), (other.to_owned(), rest)].into(),
            tokens: integer(tokens),
            special_tokens: 2,
            unknown_tokens: u32::try_from(unknown).unwrap(),
            truncated: TOKENS_MAX < length,
            cross_entropy: Some(bits.clamp(0.0, 32.0)),
            projection: Some(self.embedding(is_positive, random)),
            language: language.map(str::to_owned),
            words: Some(self.words(random)),
        };
        Judged { features, is_correct }
    }

    /// Six words of a thousand, and in some reviews one that nobody knew.
    fn words(&self, random: &mut StdRng) -> Vec<u16> {
        let mut words: Vec<u16> = (0..6).map(|_| random.random_range(0..1_000)).collect();
        words.extend(random.random_bool(self.new_word).then_some(2_000));
        words.sort_unstable();
        words.dedup();
        words
    }

    /// Two crowds, one a label, whose coordinates spread less and less.
    fn embedding(&self, is_positive: bool, random: &mut StdRng) -> Projected {
        let side = if is_positive { 8.0 } else { -8.0 };
        let mut spread = 30.0;
        std::array::from_fn(|_| {
            spread *= 0.93;
            #[expect(clippy::cast_possible_truncation, reason = "a cast from float saturates")]
            let coordinate = (side + self.shift + spread * normal(random)).round() as i8;
            coordinate
        })
    }

    /// A window of so many reviews, half of them with a label.
    pub(crate) fn window(&self, reference: &Reference, n: usize, random: &mut StdRng) -> Window {
        let mut window = Window::empty(model(), reference).unwrap();
        for second in 0..i64::try_from(n).unwrap() {
            let Judged { features, is_correct } = self.review(random);
            window.record(reference, 1_000 * second, &features).unwrap();
            if second % 2 == 0 {
                let given_ms = 1_000 * second;
                window.record_label(reference, given_ms, features.confidence, is_correct).unwrap();
            }
        }
        window
    }

    pub(crate) fn closed(
        &self,
        index: i64,
        reference: &Reference,
        n: usize,
        random: &mut StdRng,
    ) -> Closed {
        Closed { index, window: self.window(reference, n, random) }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a made-up length")]
fn integer(value: f64) -> u32 {
    value as u32
}

pub(crate) fn random(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// The profile of so many held-out reviews of [`USUAL`], as a bundle would carry it.
pub(crate) fn reference(n: usize, seed: u64) -> Reference {
    let mut random = random(seed);
    let judged: Vec<Judged> = (0..n).map(|_| USUAL.review(&mut random)).collect();
    let profile = profile(&judged);
    Reference::from_json(json!({"profiles": [profile]}).to_string().as_bytes(), WHOLE).unwrap()
}

fn profile(judged: &[Judged]) -> Value {
    let features: Vec<&Features> = judged.iter().map(|one| &one.features).collect();
    let count = |is: &dyn Fn(&Features) -> bool| features.iter().filter(|one| is(one)).count();
    let sum = |of: &dyn Fn(&Features) -> f64| features.iter().map(|one| of(one)).sum::<f64>();
    let bits = |one: &Features| f64::from(one.cross_entropy.unwrap());
    let language = |tag: &str| count(&|one| one.language.as_deref() == Some(tag));
    let mut confidences: Vec<f64> = features.iter().map(|one| f64::from(one.confidence)).collect();
    confidences.sort_unstable_by(f64::total_cmp);
    let decile = |tenth: usize| confidences[confidences.len() * tenth / 10];
    let edges: Vec<f64> = [0.5].into_iter().chain((1..10).map(decile)).chain([1.0]).collect();
    let lengths = [0.0, 8.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 160.0, 192.0, 256.0];
    let correct = judged.iter().filter(|one| one.is_correct);
    let right: Vec<f64> = correct.map(|one| f64::from(one.features.confidence)).collect();
    let tokens: Vec<f64> = features.iter().map(|one| f64::from(one.tokens)).collect();
    let settings = FourierSettings { seed: 2, features: 64, bandwidth: 90.0 };
    let map = FourierMap::new(settings).unwrap();
    let projections: Vec<Projected> = features.iter().map(|one| one.projection.unwrap()).collect();
    json!({
        "name": WHOLE,
        "n": judged.len(),
        "labels": {"neg": count(&|one| one.label == "neg"), "pos": count(&|one| one.label == "pos")},
        "correct": right.len(),
        "confidence_sum": confidences.iter().sum::<f64>(),
        "truncated": count(&|one| one.truncated),
        "text_tokens": features.iter().map(|one| one.text_tokens()).sum::<u32>(),
        "unknown_tokens": features.iter().map(|one| one.unknown_tokens).sum::<u32>(),
        "histograms": {
            "confidence": {
                "edges": edges,
                "counts": histogram(&confidences, &edges),
                "correct": histogram(&right, &edges),
            },
            "tokens": {"edges": lengths, "counts": histogram(&tokens, &lengths)},
        },
        "uncertain": count(&Features::is_uncertain),
        "languages": {"en": language("en-GB"), "de": language("de"), "fr": language("fr-CA")},
        "cross_entropy": {
            "n": judged.len(),
            "sum": sum(&bits),
            "squares": sum(&|one| bits(one).powi(2)),
        },
        "words": json!({"n": judged.len(), "counts": words(&features)}),
        "embedding": EmbeddingMoments::of_sample(&map, 1, &projections).unwrap(),
    })
}

/// Reviews by bucket, as references have them written.
fn words(features: &[&Features]) -> String {
    let mut counts = vec![0_u64; drift::words::BUCKETS];
    for bucket in features.iter().flat_map(|one| one.words.iter().flatten()) {
        counts[usize::from(*bucket)] += 1;
    }
    // A run of one stands for a bucket without any.
    let told = |count: u64| if count == 0 { "-1".to_owned() } else { count.to_string() };
    counts.into_iter().map(told).collect::<Vec<_>>().join(" ")
}

/// Counts as numpy has them: the last bin takes its right edge too.
fn histogram(values: &[f64], edges: &[f64]) -> Vec<usize> {
    let mut counts = vec![0; edges.len() - 1];
    for value in values {
        let above = edges.iter().filter(|edge| *edge <= value).count();
        counts[above.clamp(1, edges.len() - 1) - 1] += 1;
    }
    counts
}
