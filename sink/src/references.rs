//! What windows of verdicts are compared with: the reference profiles of the models that gave them, found as they are met.

use std::{
    collections::HashMap,
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use drift::Reference;
use models::{
    Digest, Manifest, ModelName,
    bundle::{MANIFEST, MANIFEST_BYTES_MAX, REFERENCE, REFERENCE_BYTES_MAX},
};
use schemas::ModelRef;
use tracing::{info, warn};

/// Most models that are remembered; then all are forgotten. A line has a handful of them.
const REMEMBERED_MAX: usize = 64;

/// How long a model that has no reference is not looked for again: its bundle may be copied there meanwhile.
const MISSED_FOR: Duration = Duration::from_secs(60);

/// The references of a model repository.
pub struct References {
    folder: PathBuf,
    profile: String,
    known: Mutex<HashMap<ModelRef, Found>>,
}

/// What was found of a model, and when.
struct Found {
    reference: Option<Arc<Reference>>,
    looked_at: Instant,
}

impl References {
    /// The profiles called `profile` of the bundles in `folder`. Nothing is read yet.
    pub fn open(folder: impl Into<PathBuf>, profile: impl Into<String>) -> Self {
        let known = Mutex::new(HashMap::new());
        Self { folder: folder.into(), profile: profile.into(), known }
    }

    /// The reference of `model`, read when it is first asked for. `None` where the repository does not have that very bundle,
    /// by its digest, or no such profile in it; the reason is logged once a minute.
    pub fn of(&self, model: &ModelRef) -> Option<Arc<Reference>> {
        let now = chassis::clock::monotonic();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Found { reference, looked_at }) = known.get(model)
            && (reference.is_some() || now.duration_since(*looked_at) < MISSED_FOR)
        {
            return reference.clone();
        }
        let ModelRef { name, version, .. } = model;
        let reference = match self.load(model) {
            Ok(reference) => {
                info!(name, version, "read the reference profile");
                Some(Arc::new(reference))
            }
            Err(reason) => {
                warn!(name, version, reason, "this model's verdicts are not counted for drift");
                None
            }
        };
        if REMEMBERED_MAX <= known.len() {
            known.clear();
        }
        known.insert(model.clone(), Found { reference: reference.clone(), looked_at: now });
        reference
    }

    /// Reads the manifest and the reference of `model`, and nothing else of the bundle; or says why not.
    pub fn load(&self, model: &ModelRef) -> Result<Reference, String> {
        let name =
            ModelName::new(&model.name, &model.version).map_err(|error| error.to_string())?;
        let directory = self.folder.join(name.path());
        let manifest = read(&directory.join(MANIFEST), MANIFEST_BYTES_MAX)?;
        let found = Digest::of(&manifest);
        if found.as_str() != model.digest {
            return Err(format!(
                "{} is of another bundle: the verdicts are of {}, this is {found}",
                directory.display(),
                model.digest
            ));
        }
        let text = std::str::from_utf8(&manifest).map_err(|error| error.to_string())?;
        let manifest = Manifest::parse(text)?;
        let path = directory.join(REFERENCE);
        let bytes = read(&path, REFERENCE_BYTES_MAX)?;
        if Digest::of(&bytes) != manifest.digests.reference {
            return Err(format!("{} was changed after packing: copy it again", path.display()));
        }
        Reference::from_json(&bytes, &self.profile)
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// The file's bytes, `bytes_max` at most.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(told)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(told)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= bytes_max) {
        Ok(bytes)
    } else {
        Err(format!("{} has more than {bytes_max} bytes", path.display()))
    }
}

impl fmt::Debug for References {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("References")
            .field("folder", &self.folder)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models");

    fn tiny() -> ModelRef {
        let manifest = fs::read(Path::new(TINY).join("tiny/1/model.toml")).unwrap();
        ModelRef {
            name: "tiny".to_owned(),
            version: "1".to_owned(),
            digest: Digest::of(&manifest).to_string(),
        }
    }

    #[test]
    fn a_model_has_the_reference_of_its_very_bundle() {
        let references = References::open(TINY, drift::reference::WHOLE);
        let first = references.of(&tiny()).unwrap();
        assert!(Arc::ptr_eq(&first, &references.of(&tiny()).unwrap()), "read once");
        for wrong in [
            ModelRef { digest: "sha256:00".to_owned(), ..tiny() },
            ModelRef { version: "9".to_owned(), ..tiny() },
            ModelRef { name: "../tiny".to_owned(), ..tiny() },
        ] {
            assert!(references.of(&wrong).is_none(), "{wrong:?}");
        }
        assert!(References::open(TINY, "no such profile").of(&tiny()).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let references = References::open(TINY, drift::reference::WHOLE);
        for number in 0..3 * REMEMBERED_MAX {
            references.of(&ModelRef { digest: number.to_string(), ..tiny() });
        }
        assert!(references.known.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
