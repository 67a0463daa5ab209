//! Seeded numbers that any language can make anew: the same seed gives the same projection here and in training.

/// `SplitMix64`: `z = s += 0x9e3779b97f4a7c15`, then two rounds of xor, shift and multiply (Steele, Lea & Flood 2014, Fast
/// Splittable Pseudorandom Number Generators, fig. 16 with the constants of its section 5).
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform on (0, 1], so that its logarithm is finite: the upper 53 bits plus one, over 2^53.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53, where every integer is exact")]
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal: `sqrt(-2 ln u) cos(2 pi v)` of two uniform numbers (Box & Muller 1958, A Note on the Generation of
    /// Random Normal Deviates, eq. 1, first of the pair).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut generator = SplitMix64::new(1_234_567);
        let numbers = [generator.next(), generator.next(), generator.next()];
        let published =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(numbers, published);
    }
}
