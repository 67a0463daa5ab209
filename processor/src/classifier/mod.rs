//! From token ids to scores: the seam between the line and whatever multiplies the matrices.
//!
//! Nothing outside of this folder names an inference library, so an engine is one more file (or folder) in here and nothing
//! else changes.
//!
//! # Layout
//! - [`engine`]: a network in tract
//! - `int8`: its layers in int8; [`kernel`]: with which instructions
//! - [`shapes`]: the batch shapes that an engine has plans for
//! - [`stub`]: an engine without a network, for tests

pub mod engine;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no other CPU has kernels"))]
mod int8;
pub mod kernel;
pub mod shapes;
pub mod stub;

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
};

pub use engine::{Arithmetic, Engine};
pub use kernel::{Kernel, KernelMissing};
pub use shapes::{Shape, Shapes};

/// What the network says of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Unnormalised, one a label, in the order of the manifest's labels.
    pub logits: Vec<f32>,
    /// The pooled state, which drift reads; empty from an engine that has none.
    pub embedding: Vec<f32>,
}

/// An inference engine with a network in it, shared by all inference threads.
pub trait Classifier: fmt::Debug + Send + Sync {
    /// The shapes it has plans for: the batcher forms no other batches.
    fn shapes(&self) -> &Shapes;

    /// Scores of `rows` (token ids, special ones included), in their order. Blocks for milliseconds.
    ///
    /// There are at most `shape.rows` rows of at most `shape.tokens` ids; the engine pads what is missing, and padding does
    /// not change a score.
    fn classify(&self, shape: Shape, rows: &[&[u32]]) -> Result<Vec<Scores>, ClassifyError>;

    /// Does now what the first call of each shape would otherwise wait for.
    fn warm(&self) -> Result<(), ClassifyError>;
}

/// Why there are no scores, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifyError {
    /// The engine failed on these rows. Try fewer of them; the one at fault is refused.
    #[error("the model failed: {0}")]
    Failed(String),
    /// The batch is none that the engine offered. A mistake of the caller, not of a text.
    #[error("no plan for {0}: form batches of the shapes that the engine offers")]
    NoSuchShape(Shape),
}

/// Runs `work`, making an error of a panic, so that a text which trips an assertion deep in a library costs one review and
/// not the process.
pub(crate) fn catch<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // Whatever the panic left half-done is dropped by the caller and not used again.
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome,
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(format!("panicked: {}", text.as_deref().unwrap_or("without a message")))
        }
    }
}
