//! What can be wrong with what this crate is given.

use crate::{
    features::InvalidFeatures, fourier::InvalidFourier, histogram::InvalidEdges,
    vocabulary::InvalidVocabulary, window::Model,
};

/// Why a reference profile cannot be compared with: the bundle has to be packed again.
#[derive(Debug, thiserror::Error)]
pub enum InvalidReference {
    /// Not a profile in JSON.
    #[error("not a reference profile: {0}")]
    Json(#[from] serde_json::Error),
    /// It has no profile of that name.
    #[error("has no profile `{0}`")]
    Profile(String),
    /// Counts that should be equal are not.
    #[error("`{name}` adds up to {sum}, not to n = {n}")]
    Sum {
        /// Whose counts.
        name: &'static str,
        /// Their sum.
        sum: u64,
        /// What it should be.
        n: u64,
    },
    /// Lists that should be of one length are not, or are too long.
    #[error("`{name}` has {length} entries, not {expected}")]
    Length {
        /// Which list.
        name: &'static str,
        /// Its length.
        length: usize,
        /// What it should be.
        expected: usize,
    },
    /// Edges of a histogram that are none.
    #[error("`{name}` has {reason}")]
    Edges {
        /// Which histogram.
        name: &'static str,
        /// What is wrong with them.
        reason: InvalidEdges,
    },
    /// Fourier features that are none.
    #[error("the embedding has {0}")]
    Fourier(#[from] InvalidFourier),
    /// A vocabulary that is none.
    #[error("{0}")]
    Vocabulary(#[from] InvalidVocabulary),
}

/// Why a verdict is not counted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Uncounted {
    /// Its features cannot be true.
    #[error("{0}")]
    Features(#[from] InvalidFeatures),
    /// The window is of another shape than the reference.
    #[error("the window was made for another reference")]
    Reference,
    /// The window is full.
    #[error("the window is full")]
    Full,
}

/// Why two windows do not merge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmergeable {
    /// They are of two models, whose numbers mean different things.
    #[error("a window of {} ({}) and one of {} ({})", .0.0, .0.0.digest, .0.1, .0.1.digest)]
    Models(Box<(Model, Model)>),
    /// A partial window reaches from one window into another.
    #[error("a partial window of {0} with reviews of two windows")]
    Slots(String),
    /// They were made for different references.
    #[error("two windows of {0} with different bins")]
    Bins(String),
    /// Together they would be beyond what sums hold.
    #[error("two windows of {0} with too many reviews for one")]
    TooMany(String),
}

/// Why sums are not those of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// Counts that should be equal are not, or are beyond what a window holds.
    #[error("`{0}` does not add up")]
    Sum(&'static str),
    /// A list or a text is too long, or a list is empty that must not be.
    #[error("`{0}` is too long or empty")]
    Length(&'static str),
    /// A sum is larger than its terms can be.
    #[error("`{0}` is out of range")]
    Range(&'static str),
}
