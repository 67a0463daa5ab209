//! Which verdicts a difference is made of: for each signal a number that is the larger, the more a verdict pulls the window away
//! from its reference.
//!
//! For bins it is the logarithm of what the window has of them over what the reference has, for embeddings the witness function
//! of the discrepancy (Gretton et al. 2012, section 2.3), `f(x) = <mean of the window - mean of the reference, features of x>`.

use crate::{
    decision::Signal,
    features::Features,
    number::{count, real},
    reference::Reference,
    statistics::{
        mean::Sample,
        rise::{Occurrences, Rise},
    },
    window::Window,
};

/// Shares below this count as this: what a reference never had is rare, not impossible.
const SHARE_MIN: f64 = 1e-4;

/// What a window differs in, ready to be asked about single verdicts.
#[derive(Clone, Debug)]
pub struct Witness {
    labels: Vec<f64>,
    confidence: Vec<f64>,
    tokens: Vec<f64>,
    languages: Vec<f64>,
    /// The bucket of words that rose most surprisingly.
    words: Option<usize>,
    more_uncertain: bool,
    more_truncated: bool,
    more_unknown: bool,
    /// Mean of the reference, and whether the window's is above.
    cross_entropy: Option<(f64, bool)>,
    embedding: Option<Vec<f64>>,
}

impl Witness {
    /// Of `window`, which was made for `reference`.
    pub fn of(window: &Window, reference: &Reference) -> Self {
        let (sums, profile) = (window.sums(), &reference.profile);
        let rose = |reference: (u64, u64), observed: (u64, u64)| {
            crate::number::share(reference.0, reference.1)
                < crate::number::share(observed.0, observed.1)
        };
        let n = profile.n;
        let languages = reference.languages.as_ref().map_or(&[][..], |all| &all.counts);
        let held_out = profile
            .cross_entropy
            .and_then(|sums| Sample::from_sums(real(sums.n), sums.sum, sums.squares));
        let cross_entropy = held_out.zip(window.cross_entropy());
        let mean = window.mean_embedding(reference);
        let embedding = reference.embedding().zip(mean).map(|((_, moments), mean)| {
            mean.iter().zip(&moments.mean).map(|(observed, held_out)| observed - held_out).collect()
        });
        Self {
            labels: ratios(&reference.label_counts(), &sums.labels),
            confidence: ratios(&reference.confidence.counts, &sums.confidence),
            tokens: ratios(&reference.tokens.counts, &sums.tokens),
            languages: ratios(languages, &sums.languages),
            words: risen(window, reference),
            more_uncertain: rose(
                (profile.uncertain.unwrap_or_default(), n),
                (sums.uncertain, sums.n),
            ),
            more_truncated: rose((profile.truncated, n), (sums.truncated, sums.n)),
            more_unknown: rose(
                (profile.unknown_tokens, profile.text_tokens),
                (sums.token_sums.unknown, sums.token_sums.text),
            ),
            cross_entropy: cross_entropy
                .map(|(held_out, observed)| (held_out.mean, held_out.mean < observed.mean)),
            embedding,
        }
    }

    /// How much a verdict of these features pulls the window away from `reference`; none where it does not, or where nothing is known of it. The
    /// accuracy gap is not a matter of features.
    pub fn pull(&self, reference: &Reference, signal: Signal, features: &Features) -> Option<f64> {
        let at = |ratios: &[f64], bin: usize| ratios.get(bin).copied();
        let pull = match signal {
            // Of one label the surest pull most.
            Signal::Labels => at(&self.labels, reference.label_index(&features.label)?)
                .map(|pull| pull * f64::from(features.confidence)),
            Signal::Confidence => {
                at(&self.confidence, reference.confidence.edges.bin(features.confidence.into()))
            }
            Signal::Tokens => at(&self.tokens, reference.tokens.edges.bin(features.tokens.into())),
            Signal::Languages => {
                let languages = reference.languages.as_ref()?;
                at(&self.languages, languages.index(features.language.as_deref()))
            }
            // A word weighs the more, the fewer words stand beside it.
            Signal::Words => {
                let (bucket, words) = (self.words?, features.words.as_ref()?);
                let has_it = words.iter().any(|&word| usize::from(word) == bucket);
                has_it.then(|| 1.0 / real(count(words.len())))
            }
            Signal::Uncertainty => (self.more_uncertain && features.is_uncertain())
                .then(|| 1.0 - f64::from(features.margin())),
            Signal::Truncation => {
                (self.more_truncated && features.truncated).then(|| f64::from(features.tokens))
            }
            Signal::UnknownTokens => self.more_unknown.then(|| features.unknown_share()),
            Signal::CrossEntropy => {
                let (held_out, is_above) = self.cross_entropy?;
                let difference = f64::from(features.cross_entropy?) - held_out;
                Some(if is_above { difference } else { -difference })
            }
            Signal::Embedding => {
                let (map, _) = reference.embedding()?;
                let features = map.features(features.projection.as_ref()?);
                let difference = self.embedding.as_ref()?;
                Some(difference.iter().zip(features).map(|(one, other)| one * other).sum())
            }
            Signal::AccuracyGap => None,
        };
        pull.filter(|pull| 0.0 < *pull)
    }
}

/// The bucket of words that rose most surprisingly, as the decision has it.
fn risen(window: &Window, reference: &Reference) -> Option<usize> {
    let samples = [reference.profile.words.as_ref()?, &window.sums().words];
    let [before, now] = samples.map(|sums| Occurrences { n: sums.n, counts: sums.counts.counts() });
    Rise::of(before, now).ok()?.map(|rise| rise.bucket)
}

/// The logarithm of observed over reference share, bin by bin.
fn ratios(reference: &[u64], observed: &[u64]) -> Vec<f64> {
    let (references, n) = (reference.iter().sum(), observed.iter().sum());
    let share = |part: u64, whole: u64| crate::number::share(part, whole).max(SHARE_MIN);
    let ratio = |(&reference, &observed): (&u64, &u64)| {
        (share(observed, n) / share(reference, references)).ln()
    };
    reference.iter().zip(observed).map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_window_has_more_of_pulls() {
        let ratios = ratios(&[50, 50, 0], &[10, 80, 10]);
        assert!(ratios[0] < 0.0 && 0.0 < ratios[1] && ratios[1] < ratios[2], "{ratios:?}");
        assert!(ratios.iter().all(|ratio| ratio.is_finite()));
    }
}
