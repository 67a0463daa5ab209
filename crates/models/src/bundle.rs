//! The five files of one version, each read once and checked against the manifest's digest.

use std::{
    fmt,
    fs::File,
    io::{ErrorKind, Read as _},
    path::Path,
};

use schemas::ModelRef;

use crate::{BundleError, Digest, GoldenCase, Manifest, ModelName, Reference};

/// The manifest's file name.
pub const MANIFEST: &str = "model.toml";
/// The network's file name.
pub const MODEL: &str = "model.onnx";
/// The tokenizer's file name.
pub const TOKENIZER: &str = "tokenizer.json";
/// The reference profile's file name.
pub const REFERENCE: &str = "reference.json";
/// The golden cases' file name.
pub const GOLDEN: &str = "golden.jsonl";

/// Largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 64 * 1024;
/// Largest network, in bytes.
pub const MODEL_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Largest tokenizer, in bytes.
pub const TOKENIZER_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Largest reference profile, in bytes.
pub const REFERENCE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Largest file of golden cases, in bytes.
pub const GOLDEN_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One version of one model, whole and as packed. Owns the bytes: the directory may vanish afterwards.
pub struct Bundle {
    manifest: Manifest,
    name: ModelName,
    digest: Digest,
    model: Vec<u8>,
    tokenizer: Vec<u8>,
    reference: Reference,
    reference_json: Vec<u8>,
    golden: Vec<GoldenCase>,
}

impl Bundle {
    /// Reads and checks the bundle in a directory. Nothing is read from there later.
    pub fn open(directory: &Path) -> Result<Self, BundleError> {
        let refused =
            |file: &str, reason| BundleError::Refused { path: directory.join(file), reason };

        let manifest_bytes = read(directory, MANIFEST, MANIFEST_BYTES_MAX)?;
        let manifest_text = std::str::from_utf8(&manifest_bytes)
            .map_err(|error| refused(MANIFEST, format!("not UTF-8: {error}")))?;
        let manifest =
            Manifest::parse(manifest_text).map_err(|reason| refused(MANIFEST, reason))?;
        let name = manifest.model().map_err(|reason| refused(MANIFEST, reason))?;

        let digests = &manifest.digests;
        let model = read_checked(directory, MODEL, MODEL_BYTES_MAX, &digests.model)?;
        let tokenizer =
            read_checked(directory, TOKENIZER, TOKENIZER_BYTES_MAX, &digests.tokenizer)?;
        let reference_json =
            read_checked(directory, REFERENCE, REFERENCE_BYTES_MAX, &digests.reference)?;
        let reference = Reference::parse(&reference_json, &manifest)
            .map_err(|reason| refused(REFERENCE, reason))?;
        let golden = read_checked(directory, GOLDEN, GOLDEN_BYTES_MAX, &digests.golden)?;
        let golden = golden_cases(&golden, &manifest).map_err(|reason| refused(GOLDEN, reason))?;

        let digest = Digest::of(&manifest_bytes);
        Ok(Self { manifest, name, digest, model, tokenizer, reference, reference_json, golden })
    }

    /// What the bundle says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Name and version.
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// The SHA-256 of the manifest, which names those of all other files.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Name, version and digest as a verdict carries them.
    pub fn model_ref(&self) -> ModelRef {
        ModelRef {
            name: self.name.name().to_owned(),
            version: self.name.version().to_string(),
            digest: self.digest.to_string(),
        }
    }

    /// The network, ONNX bytes.
    pub fn model(&self) -> &[u8] {
        &self.model
    }

    /// The tokenizer, Hugging Face JSON bytes.
    pub fn tokenizer(&self) -> &[u8] {
        &self.tokenizer
    }

    /// How held-out data looks to this version.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The bytes of the reference profile, for drift, which reads more of it.
    pub fn reference_json(&self) -> &[u8] {
        &self.reference_json
    }

    /// What a runtime reproduces before it is ready; never empty.
    pub fn golden(&self) -> &[GoldenCase] {
        &self.golden
    }
}

/// Sizes instead of megabytes of weights.
impl fmt::Debug for Bundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Bundle")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .field("model_bytes", &self.model.len())
            .field("tokenizer_bytes", &self.tokenizer.len())
            .field("golden_cases", &self.golden.len())
            .finish_non_exhaustive()
    }
}

fn golden_cases(bytes: &[u8], manifest: &Manifest) -> Result<Vec<GoldenCase>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let cases = GoldenCase::parse_all(text, &manifest.labels)?;
    if cases.is_empty() || cases.len() != manifest.golden.cases {
        return Err(format!(
            "has {} cases, the manifest says {}, and at least one is needed; pack the bundle again",
            cases.len(),
            manifest.golden.cases
        ));
    }
    Ok(cases)
}

pub(crate) fn read_checked(
    directory: &Path,
    file: &str,
    bytes_max: u64,
    stated: &Digest,
) -> Result<Vec<u8>, BundleError> {
    let bytes = read(directory, file, bytes_max)?;
    let found = Digest::of(&bytes);
    if found != *stated {
        return Err(BundleError::Altered {
            path: directory.join(file),
            stated: stated.clone(),
            found,
        });
    }
    Ok(bytes)
}

/// The file's bytes, at most `bytes_max` of them whatever the file system says of its size.
pub(crate) fn read(directory: &Path, file: &str, bytes_max: u64) -> Result<Vec<u8>, BundleError> {
    let path = directory.join(file);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|opened| opened.take(bytes_max + 1).read_to_end(&mut bytes)) {
        Ok(read) if u64::try_from(read).is_ok_and(|read| read <= bytes_max) => Ok(bytes),
        Ok(_) => Err(BundleError::TooLarge { path, bytes_max }),
        Err(source) if source.kind() == ErrorKind::NotFound => Err(BundleError::Missing { path }),
        Err(source) => Err(BundleError::Unreadable { path, source }),
    }
}
