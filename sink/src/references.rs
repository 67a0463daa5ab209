//! The reference profile of each model version whose verdicts come by, loaded when it is first seen.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use drift::{Model, Reference};
use models::{ModelName, Repository};
use tracing::{info, warn};

/// Most versions of which something is kept. Past it the one that was not asked for longest is forgotten.
const KNOWN_MAX: usize = 32;

/// Until a bundle that was not there is looked for again: it may be brought while the line runs.
const LOOK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Finds the reference of one version, or says why not.
pub type Load = dyn FnMut(&Model) -> Result<Reference, String> + Send;

/// The references that are known.
pub struct References {
    load: Box<Load>,
    known: BTreeMap<Model, Known>,
    asked: u64,
}

struct Known {
    /// `None` where there is none.
    reference: Option<Arc<Reference>>,
    /// When it is looked for again.
    look_at: Instant,
    /// The last time it was asked for, by number.
    asked: u64,
    /// Whether it was said that verdicts of it cannot be counted.
    is_said: bool,
}

impl References {
    /// Those that `load` finds.
    pub fn new(load: Box<Load>) -> Self {
        Self { load, known: BTreeMap::new(), asked: 0 }
    }

    /// The profiles called `profile` in the bundles of a repository. One whose bundle has another digest than the verdicts is not
    /// theirs.
    pub fn directory(root: &Path, profile: &str) -> Self {
        let (repository, profile) = (Repository::directory(root), profile.to_owned());
        Self::new(Box::new(move |model| load(&repository, &profile, model)))
    }

    /// The reference of `model`, if there is one. That there is none is said once.
    pub(crate) fn of(&mut self, model: &Model, now: Instant) -> Option<Arc<Reference>> {
        self.asked += 1;
        let asked = self.asked;
        if let Some(known) = self.known.get_mut(model) {
            known.asked = asked;
            if known.reference.is_some() || now < known.look_at {
                return known.reference.clone();
            }
        }
        let reference = match (self.load)(model) {
            Ok(reference) => Some(Arc::new(reference)),
            Err(reason) => {
                if !self.known.contains_key(model) {
                    let digest = &model.digest;
                    warn!(%model, digest, reason, "no reference, so its drift is not watched");
                }
                None
            }
        };
        if let Some(found) = &reference {
            info!(%model, reviews = found.n(), "watching the drift of a model version");
        }
        let known = Known {
            reference: reference.clone(),
            look_at: now + LOOK_AGAIN_AFTER,
            asked,
            is_said: false,
        };
        self.known.insert(model.clone(), known);
        self.forget_the_oldest();
        reference
    }

    /// Says, once for each version, that something of `model` cannot be counted.
    pub(crate) fn say_uncounted(&mut self, model: &Model, reason: &dyn std::fmt::Display) {
        if let Some(known) = self.known.get_mut(model).filter(|known| !known.is_said) {
            known.is_said = true;
            warn!(%model, %reason, "not counted for drift; said once, the others are in `drift.unwatched`");
        }
    }

    fn forget_the_oldest(&mut self) {
        while KNOWN_MAX < self.known.len() {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.asked);
            let Some(model) = oldest.map(|(model, _)| model.clone()) else { return };
            self.known.remove(&model);
        }
    }
}

/// The profile called `profile` in the bundle of `model`, by its digest; or why there is none.
pub fn load(repository: &Repository, profile: &str, model: &Model) -> Result<Reference, String> {
    let name: ModelName = format!("{}@{}", model.name, model.version)
        .parse()
        .map_err(|error: models::InvalidModelName| error.to_string())?;
    let (digest, bytes) = repository.reference(&name).map_err(|error| error.to_string())?;
    if digest.to_string() != model.digest {
        let theirs = &model.digest;
        return Err(format!("the bundle {name} here has the digest {digest}, and not {theirs}"));
    }
    Reference::from_json(&bytes, profile).map_err(|error| format!("its reference {error}"))
}

impl std::fmt::Debug for References {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("References")
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock;

    use super::*;

    const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models");

    fn model(version: &str, digest: &str) -> Model {
        let [name, version, digest] = ["tiny", version, digest].map(str::to_owned);
        Model { name, version, digest }
    }

    fn digest(version: &str) -> String {
        let name = format!("tiny@{version}").parse().unwrap();
        Repository::directory(MODELS).reference(&name).unwrap().0.to_string()
    }

    #[test]
    fn a_reference_is_that_of_the_very_bundle() {
        let mut references = References::directory(Path::new(MODELS), drift::reference::WHOLE);
        let now = clock::monotonic();
        assert!(references.of(&model("1", &digest("1")), now).is_some());
        assert!(references.of(&model("2", &digest("2")), now).is_some());
        assert!(references.of(&model("1", &digest("2")), now).is_none());
        assert!(references.of(&model("9", &digest("1")), now).is_none());
        assert!(references.of(&model("../1", &digest("1")), now).is_none());
    }

    #[test]
    fn a_bundle_that_comes_later_is_found_after_a_while() {
        let mut looks = 0;
        let json = std::fs::read(format!("{MODELS}/tiny/1/reference.json")).unwrap();
        let mut references = References::new(Box::new(move |_model| {
            looks += 1;
            if looks < 2 {
                return Err("not yet".to_owned());
            }
            Reference::from_json(&json, drift::reference::WHOLE).map_err(|error| error.to_string())
        }));
        let (now, one) = (clock::monotonic(), model("1", "a"));
        assert!(references.of(&one, now).is_none());
        assert!(references.of(&one, now + LOOK_AGAIN_AFTER / 2).is_none(), "looked too soon");
        assert!(references.of(&one, now + LOOK_AGAIN_AFTER).is_some());
        for version in 0..100 {
            references.of(&model(&version.to_string(), "b"), now);
        }
        assert_eq!(references.known.len(), KNOWN_MAX);
    }
}
