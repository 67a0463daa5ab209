//! From a bundle to a pipeline that has proven itself.

use std::sync::Arc;

use drift::{Reference, error::InvalidReference, reference::WHOLE};
use models::{Bundle, manifest::Precision};
use tracing::info;

use crate::{
    classifier::{
        Arithmetic, Engine, Shapes,
        engine::{
            Network, OFFERED, SMALL_NETWORK_BYTES_MAX, UnusableNetwork, offered_int8, offered_small,
        },
    },
    features::Extractor,
    pipeline::Pipeline,
    selfcheck::{self, SelfCheckFailed},
    settings::Settings,
    tokenizer::{Tokenizer, UnusableTokenizer},
};

/// Why a bundle does not judge. Whatever judged before goes on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its tokenizer is no good.
    #[error(transparent)]
    Tokenizer(#[from] UnusableTokenizer),
    /// Its network is no good.
    #[error(transparent)]
    Network(#[from] UnusableNetwork),
    /// Its tokenizer puts another number of special tokens around a text than its manifest says.
    #[error(
        "the tokenizer puts {found} special tokens around a text, the manifest says {stated}: mend tokenizer.special_tokens and pack the bundle again"
    )]
    SpecialTokens {
        /// By the manifest.
        stated: usize,
        /// By the tokenizer.
        found: usize,
    },
    /// Its reference profile is no good to compare with.
    #[error("the reference profile cannot be used: {0}")]
    Reference(#[from] InvalidReference),
    /// It is not the model that it says it is.
    #[error(transparent)]
    SelfCheck(#[from] SelfCheckFailed),
}

/// Reads the tokenizer of a bundle.
impl TryFrom<&Bundle> for Tokenizer {
    type Error = UnusableTokenizer;

    fn try_from(bundle: &Bundle) -> Result<Self, Self::Error> {
        let manifest = bundle.manifest();
        Self::from_bytes(bundle.tokenizer(), &manifest.tokenizer.unknown, manifest.max_tokens)
    }
}

impl<'a> From<&'a Bundle> for Network<'a> {
    fn from(bundle: &'a Bundle) -> Self {
        let (inputs, outputs) = (&bundle.manifest().inputs, &bundle.manifest().outputs);
        Self {
            onnx: bundle.model(),
            token_ids: &inputs.token_ids,
            attention_mask: &inputs.attention_mask,
            token_types: inputs.token_types.as_deref(),
            logits: &outputs.logits,
            embedding: &outputs.embedding,
        }
    }
}

/// Makes a pipeline of `bundle` and runs its golden cases. Reads no file: the bundle is in memory. Takes a second or two.
pub fn load(bundle: &Bundle, settings: &Settings) -> Result<Arc<Pipeline>, LoadError> {
    let manifest = bundle.manifest();
    let tokenizer = Tokenizer::try_from(bundle)?;
    let (stated, found) = (manifest.tokenizer.special_tokens, tokenizer.special().count());
    if stated != found {
        return Err(LoadError::SpecialTokens { stated, found });
    }
    let reference = Reference::from_json(bundle.reference_json(), WHOLE)?;
    let shapes = Shapes::new(OFFERED, manifest.max_tokens);
    let classifier =
        Engine::new(bundle.into(), shapes, manifest.format.precision, settings.kernel)?;
    let Arithmetic { precision, kernel } = classifier.arithmetic();
    let is_small = bundle.model().len() <= SMALL_NETWORK_BYTES_MAX;
    let classifier = match precision {
        Precision::Int8 => classifier.offering(Shapes::new(offered_int8(), manifest.max_tokens)),
        Precision::F32 if is_small => {
            classifier.offering(Shapes::new(offered_small(), manifest.max_tokens))
        }
        Precision::F32 => classifier,
    };
    let pipeline = Pipeline {
        extractor: Extractor::of(&reference, &tokenizer, manifest.outputs.embedding_size),
        tokenizer,
        classifier: Arc::new(classifier),
        calibration: manifest.calibration.clone(),
        labels: manifest.labels.clone(),
        model: bundle.model_ref(),
        precision,
        limits: settings.batch_limits(),
        store_text: settings.store_text,
    };
    selfcheck::check(&pipeline, bundle.golden(), manifest.golden.within(precision))?;
    info!(model = %bundle.name(), %precision, %kernel, cases = bundle.golden().len(), "model loaded, golden cases reproduced");
    Ok(Arc::new(pipeline))
}
