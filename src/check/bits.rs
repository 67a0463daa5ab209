//! A bit for each offset of a partition: a million reviews take 125 kB.

use std::ops::Range;

/// Bits for the offsets of a span. Offsets outside of it are never set.
#[derive(Clone, Debug)]
pub(crate) struct Bits {
    span: Range<i64>,
    words: Vec<u64>,
}

impl Bits {
    /// No bit is set.
    pub(crate) fn new(span: Range<i64>) -> Self {
        let length = usize::try_from(span.end.saturating_sub(span.start)).unwrap_or(0);
        Self { span, words: vec![0; length.div_ceil(64)] }
    }

    /// Sets the bit of `offset`; whether it was set before.
    pub(crate) fn set(&mut self, offset: i64) -> bool {
        self.change(offset, |word, bit| *word |= bit)
    }

    /// Clears the bit of `offset`; whether it was set before.
    pub(crate) fn clear(&mut self, offset: i64) -> bool {
        self.change(offset, |word, bit| *word &= !bit)
    }

    fn change(&mut self, offset: i64, change: impl FnOnce(&mut u64, u64)) -> bool {
        if !self.span.contains(&offset) {
            return false;
        }
        let place = usize::try_from(offset - self.span.start).unwrap_or(usize::MAX);
        let Some(word) = self.words.get_mut(place / 64) else { return false };
        let bit = 1 << (place % 64);
        let was_set = *word & bit != 0;
        change(word, bit);
        was_set
    }

    /// The offsets whose bits are set, in order.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = i64> + '_ {
        let start = self.span.start;
        let words = self.words.iter().zip((0_i64..).step_by(64)).filter(|(word, _)| **word != 0);
        words.flat_map(move |(word, base)| {
            let is_set = move |place: &i64| word >> place & 1 == 1;
            (0..64).filter(is_set).map(move |place| start + base + place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_as_it_was_left_and_says_what_it_was() {
        let mut bits = Bits::new(100..300);
        assert!(!bits.set(100) && !bits.set(163) && !bits.set(164) && !bits.set(299));
        assert!(bits.set(163));
        assert!(bits.clear(164) && !bits.clear(164));
        assert_eq!(bits.offsets().collect::<Vec<_>>(), [100, 163, 299]);
    }

    #[test]
    fn offsets_outside_of_the_span_are_never_set() {
        let mut bits = Bits::new(100..110);
        for offset in [i64::MIN, 0, 99, 110, 163, i64::MAX] {
            assert!(!bits.set(offset) && !bits.set(offset) && !bits.clear(offset), "{offset}");
        }
        assert_eq!(bits.offsets().count(), 0);
        assert!(!Bits::new(5..5).set(5));
    }
}
