//! Counting one verdict, or what people said of one.

use super::{CrossEntropySums, REVIEWS_MAX, Span, Sums, TokenSums};
use crate::{
    error::Uncounted,
    features::{Features, InvalidFeatures},
    number::fixed,
    reference::Reference,
};

impl Sums {
    pub(super) fn record(
        &mut self,
        reference: &Reference,
        occurred_ms: i64,
        features: &Features,
    ) -> Result<(), Uncounted> {
        features.check()?;
        self.check_fit(reference)?;
        if REVIEWS_MAX <= self.n {
            return Err(Uncounted::Full);
        }
        let label = reference.label_index(&features.label);
        let label = label.ok_or_else(|| InvalidFeatures::Label(features.label.clone()))?;

        self.reach(occurred_ms);
        self.n += 1;
        add_one(&mut self.labels, label);
        let confidence = f64::from(features.confidence);
        add_one(&mut self.confidence, reference.confidence.edges.bin(confidence));
        self.confidence_sum += fixed(confidence);
        self.uncertain += u64::from(features.is_uncertain());
        let tokens = f64::from(features.tokens);
        add_one(&mut self.tokens, reference.tokens.edges.bin(tokens));
        self.truncated += u64::from(features.truncated);
        self.token_sums = self.token_sums.plus(TokenSums::of(features));
        if let Some(languages) = &reference.languages {
            add_one(&mut self.languages, languages.index(features.language.as_deref()));
        }
        if let Some(bits) = features.cross_entropy {
            self.cross_entropy = self.cross_entropy.plus(CrossEntropySums::of(bits));
        }
        if let Some(buckets) = features.words.as_ref().filter(|_| reference.counts_words()) {
            self.words.n += 1;
            self.words.counts.add(buckets);
        }
        if let (Some((map, _)), Some(projected)) = (reference.embedding(), &features.projection) {
            self.embedding.n += 1;
            for (sum, cosine) in self.embedding.cosines.iter_mut().zip(map.cosines(projected)) {
                *sum += fixed(cosine);
            }
        }
        Ok(())
    }

    pub(super) fn record_label(
        &mut self,
        reference: &Reference,
        given_ms: i64,
        confidence: f32,
        is_correct: bool,
    ) -> Result<(), Uncounted> {
        self.check_fit(reference)?;
        if !(0.0..=1.0).contains(&confidence) {
            return Err(InvalidFeatures::Probability(confidence).into());
        }
        if REVIEWS_MAX <= self.labelled.n() {
            return Err(Uncounted::Full);
        }
        self.reach(given_ms);
        let bin = reference.confidence.edges.bin(f64::from(confidence));
        add_one(&mut self.labelled.confidence, bin);
        self.labelled.correct += u64::from(is_correct);
        Ok(())
    }

    /// Stretches the span to `time_ms`.
    fn reach(&mut self, time_ms: i64) {
        let now = Span { first_ms: time_ms, last_ms: time_ms };
        self.span = Some(self.span.map_or(now, |span| span.join(now)));
    }

    fn check_fit(&self, reference: &Reference) -> Result<(), Uncounted> {
        let fits = self.labels.len() == reference.labels.len()
            && self.confidence.len() == reference.confidence.edges.bins()
            && self.tokens.len() == reference.tokens.edges.bins()
            && self.languages.len()
                == reference.languages.as_ref().map_or(0, |languages| languages.counts.len())
            && self.embedding.cosines.len()
                == reference.embedding().map_or(0, |(map, _)| map.settings().features);
        if fits { Ok(()) } else { Err(Uncounted::Reference) }
    }
}

impl TokenSums {
    fn of(features: &Features) -> Self {
        let (text, unknown) =
            (u64::from(features.text_tokens()), u64::from(features.unknown_tokens));
        Self {
            text,
            unknown,
            text_squares: text * text,
            unknown_squares: unknown * unknown,
            products: text * unknown,
        }
    }
}

impl CrossEntropySums {
    fn of(bits: f32) -> Self {
        let bits = f64::from(bits);
        Self { n: 1, sum: fixed(bits), squares: fixed(bits * bits) }
    }
}

/// The caller has checked that there is such a bin.
fn add_one(counts: &mut [u64], index: usize) {
    if let Some(count) = counts.get_mut(index) {
        *count += 1;
    }
}
