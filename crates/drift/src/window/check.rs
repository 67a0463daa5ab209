//! Whether sums can be those of a window: whatever is read back is checked, so that merging cannot overflow.

use super::{REVIEWS_MAX, Sums};
use crate::{
    error::InvalidWindow,
    features::{CROSS_ENTROPY_MAX, TOKENS_MAX},
    fourier::FEATURES_MAX,
    histogram::BINS_MAX,
    number::UNIT,
    reference::{LABELS_MAX, LANGUAGES_MAX},
};

/// Most bytes of a name, a version or a digest.
const TEXT_BYTES_MAX: usize = 256;

impl Sums {
    /// Lengths, then what adds up to the number of verdicts, then what cannot be larger than its terms allow.
    pub(super) fn check(&self) -> Result<(), InvalidWindow> {
        self.check_lengths()?;
        self.check_counts()?;
        self.check_ranges()
    }

    fn check_lengths(&self) -> Result<(), InvalidWindow> {
        let model = [&self.model.name, &self.model.version, &self.model.digest];
        let text = model.iter().map(|text| text.len()).max().unwrap_or_default();
        for (name, length, minimum, maximum) in [
            ("model", text, 1, TEXT_BYTES_MAX),
            ("labels", self.labels.len(), 1, LABELS_MAX),
            ("confidence", self.confidence.len(), 1, BINS_MAX),
            ("tokens", self.tokens.len(), 1, BINS_MAX),
            ("languages", self.languages.len(), 0, LANGUAGES_MAX + 2),
            ("embedding", self.embedding.cosines.len(), 0, FEATURES_MAX),
        ] {
            if !(minimum..=maximum).contains(&length) {
                return Err(InvalidWindow::Length(name));
            }
        }
        if self.words.is_empty() != self.words.counts.counts().is_empty() {
            return Err(InvalidWindow::Length("words"));
        }
        if self.labelled.confidence.len() != self.confidence.len() {
            return Err(InvalidWindow::Length("labelled"));
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), InvalidWindow> {
        let n = self.n;
        for (name, counts) in [
            ("labels", &self.labels),
            ("confidence", &self.confidence),
            ("tokens", &self.tokens),
            ("languages", &self.languages),
        ] {
            if !counts.is_empty() && sum(counts) != Some(n) {
                return Err(InvalidWindow::Sum(name));
            }
        }
        let labelled = sum(&self.labelled.confidence).unwrap_or(u64::MAX);
        for (name, part, whole) in [
            ("n", n, REVIEWS_MAX),
            ("labelled", labelled, REVIEWS_MAX),
            ("correct", self.labelled.correct, labelled),
            ("uncertain", self.uncertain, n),
            ("truncated", self.truncated, n),
            ("cross_entropy", self.cross_entropy.n, n),
            ("words", self.words.n, n),
            (
                "words",
                self.words.counts.counts().iter().max().copied().unwrap_or_default(),
                self.words.n,
            ),
            ("embedding", self.embedding.n, n),
            ("unknown", self.token_sums.unknown, self.token_sums.text),
        ] {
            if whole < part {
                return Err(InvalidWindow::Sum(name));
            }
        }
        if self.span.is_some() != (n != 0 || labelled != 0) {
            return Err(InvalidWindow::Sum("span"));
        }
        Ok(())
    }

    fn check_ranges(&self) -> Result<(), InvalidWindow> {
        let tokens = u128::from(TOKENS_MAX);
        let unit = u128::from(UNIT.unsigned_abs());
        let bits = unsigned(CROSS_ENTROPY_MAX);
        let sums = self.token_sums;
        let cross_entropy = self.cross_entropy;
        for (name, sum, n, largest) in [
            ("text", sums.text, self.n, tokens),
            ("text_squares", sums.text_squares, self.n, tokens * tokens),
            ("unknown_squares", sums.unknown_squares, self.n, tokens * tokens),
            ("products", sums.products, self.n, tokens * tokens),
            ("confidence_sum", positive(self.confidence_sum), self.n, unit),
            ("cross_entropy", positive(cross_entropy.sum), cross_entropy.n, bits * unit),
            ("cross_entropy", positive(cross_entropy.squares), cross_entropy.n, bits * bits * unit),
        ] {
            if u128::from(n) * largest < u128::from(sum) {
                return Err(InvalidWindow::Range(name));
            }
        }
        let cosine = self.embedding.cosines.iter().map(|sum| sum.unsigned_abs()).max();
        if u128::from(self.embedding.n) * unit < u128::from(cosine.unwrap_or_default()) {
            return Err(InvalidWindow::Range("embedding"));
        }
        if self.span.is_some_and(|span| span.last_ms < span.first_ms) {
            return Err(InvalidWindow::Range("span"));
        }
        Ok(())
    }
}

/// A sum that must not be negative; one that is counts as too large.
fn positive(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small constant")]
fn unsigned(bound: f32) -> u128 {
    bound as u128
}

fn sum(counts: &[u64]) -> Option<u64> {
    counts.iter().try_fold(0_u64, |sum, &next| sum.checked_add(next))
}
