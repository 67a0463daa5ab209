//! An engine without a network, for tests: its answer is arithmetic on the token ids, and it fails where it is told to.

use crate::classifier::{Classifier, ClassifyError, Scores, Shape, Shapes};

/// Scores a row by its ids alone. Two labels.
#[derive(Clone, Debug)]
pub struct Stub {
    /// The shapes on offer.
    pub shapes: Shapes,
    /// A batch that holds this id fails.
    pub fails_on: Option<u32>,
    /// A batch that holds this id panics.
    pub panics_on: Option<u32>,
    /// A row that holds this id gets logits that are not numbers.
    pub not_a_number_on: Option<u32>,
}

impl Default for Stub {
    fn default() -> Self {
        let offered = [1, 4].map(|rows| [8, 16, 32].map(|tokens| Shape { tokens, rows }));
        let shapes = Shapes::new(offered.into_iter().flatten(), 64);
        Self { shapes, fails_on: None, panics_on: None, not_a_number_on: None }
    }
}

impl Classifier for Stub {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn classify(&self, shape: Shape, rows: &[&[u32]]) -> Result<Vec<Scores>, ClassifyError> {
        if shape.rows < rows.len() || rows.iter().any(|row| shape.tokens < row.len()) {
            return Err(ClassifyError::NoSuchShape(shape));
        }
        let holds = |id: Option<u32>| id.is_some_and(|id| rows.iter().any(|row| row.contains(&id)));
        assert!(!holds(self.panics_on), "told to panic");
        if holds(self.fails_on) {
            return Err(ClassifyError::Failed("told to fail".to_owned()));
        }
        Ok(rows.iter().map(|row| self.score(row)).collect())
    }

    fn warm(&self) -> Result<(), ClassifyError> {
        Ok(())
    }
}

impl Stub {
    fn score(&self, row: &[u32]) -> Scores {
        let sum = row.iter().fold(0_u32, |sum, id| sum.wrapping_mul(31).wrapping_add(*id));
        let fraction = f32::from(u16::try_from(sum % 1_000).unwrap_or_default()) / 1_000.0;
        let not_a_number = self.not_a_number_on.is_some_and(|id| row.contains(&id));
        let logits =
            if not_a_number { vec![f32::NAN, 0.0] } else { vec![fraction, 1.0 - fraction] };
        Scores { logits, embedding: vec![fraction; 4] }
    }
}
