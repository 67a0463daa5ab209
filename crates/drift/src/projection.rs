//! A pooled embedding of hundreds of floats becomes sixteen bytes, which keep distances well enough to compare crowds.
//!
//! The projection depends on nothing but a seed, so a bundle need not carry it and no data is learned from.

use crate::{number::int8, random::SplitMix64};

/// Coordinates of a projected embedding.
pub const DIMENSIONS: usize = 16;

/// Steps a standard deviation. A random unit vector has coordinates of deviation 1 after projection, so eight bits hold
/// four deviations on either side.
const STEPS: f64 = 32.0;

/// A projected embedding.
pub type Projected = [i8; DIMENSIONS];

/// A random projection onto [`DIMENSIONS`] coordinates: `y_j = sum_i s_ij x_i / |x|` with signs `s_ij` of even odds
/// (Achlioptas 2003, Database-friendly random projections, theorem 1.1, eq. 1, scaled by the square root of the number of
/// coordinates), rounded to 32 steps a unit and cut to eight bits.
#[derive(Clone, Debug)]
pub struct Projection {
    /// For each coordinate of the embedding and each of the projection the bit that turns a float's sign, or none: eight at a time
    /// are then turned by one instruction.
    turns: Vec<[u32; DIMENSIONS]>,
}

impl Projection {
    /// The projection of embeddings with `dimensions` coordinates; equal seeds give equal projections.
    pub fn seeded(seed: u64, dimensions: usize) -> Self {
        let mut generator = SplitMix64::new(seed);
        // The upper sixteen bits of a number, from the lowest on; a one is plus.
        let turns = |number: u64| {
            std::array::from_fn(|bit| if number >> (48 + bit) & 1 == 1 { 0 } else { 1 << 31 })
        };
        Self { turns: (0..dimensions).map(|_| turns(generator.next())).collect() }
    }

    /// The projection of `embedding`; none if it has another number of coordinates or no direction.
    pub fn project(&self, embedding: &[f32]) -> Option<Projected> {
        let norm = embedding.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if embedding.len() != self.turns.len() || !norm.is_normal() {
            return None;
        }
        let mut sums = [0.0_f64; DIMENSIONS];
        for (coordinate, turns) in embedding.iter().zip(&self.turns) {
            let turned = turns.map(|turn| f32::from_bits(coordinate.to_bits() ^ turn));
            for (sum, turned) in sums.iter_mut().zip(turned) {
                *sum += f64::from(turned);
            }
        }
        Some(sums.map(|sum| int8(sum / norm * STEPS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(seed: u64) -> Vec<f32> {
        let mut generator = SplitMix64::new(seed);
        #[expect(clippy::cast_possible_truncation, reason = "a made-up coordinate")]
        (0..384).map(|_| generator.normal() as f32).collect()
    }

    #[test]
    fn near_embeddings_stay_nearer_than_far_ones() {
        let projection = Projection::seeded(7, 384);
        let distance = |left: Projected, right: Projected| -> i32 {
            left.iter().zip(right).map(|(&x, y)| (i32::from(x) - i32::from(y)).pow(2)).sum()
        };
        for seed in 0..50 {
            let (here, there) = (embedding(seed), embedding(seed + 1_000));
            let near: Vec<f32> = here.iter().zip(&there).map(|(x, y)| x + 0.1 * y).collect();
            let [here, near, there] =
                [here, near, there].map(|one| projection.project(&one).unwrap());
            assert!(distance(here, near) < distance(here, there), "seed {seed}");
        }
    }

    #[test]
    fn scale_does_not_matter_and_direction_does() {
        let projection = Projection::seeded(7, 384);
        let here = embedding(1);
        let doubled: Vec<f32> = here.iter().map(|x| 2.0 * x).collect();
        let opposite: Vec<f32> = here.iter().map(|x| -x).collect();
        let projected = projection.project(&here).unwrap();
        assert_eq!(projection.project(&doubled), Some(projected));
        assert_eq!(projection.project(&opposite), Some(projected.map(|x| -x)));
        assert_ne!(Projection::seeded(8, 384).project(&here), Some(projected));
    }

    #[test]
    fn what_has_no_direction_or_another_width_is_not_projected() {
        let projection = Projection::seeded(7, 3);
        for wrong in [&[0.0, 0.0, 0.0][..], &[1.0, 2.0], &[f32::NAN, 1.0, 1.0], &[f32::INFINITY; 3]]
        {
            assert_eq!(projection.project(wrong), None, "{wrong:?}");
        }
    }
}
