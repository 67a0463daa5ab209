//! Where bundles are found. Today a directory: `<root>/<name>/<version>/`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{
    Bundle, BundleError, Digest, Manifest, ModelName,
    bundle::{self, MANIFEST, MANIFEST_BYTES_MAX, REFERENCE, REFERENCE_BYTES_MAX},
    name::is_name,
};

/// A place that holds bundles.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
}

impl Repository {
    /// The repository in a directory. Nothing is read yet.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// All bundles, by name and then by version. What is not named like one (a README, a hidden directory) is passed over;
    /// that a bundle is listed says that it has a manifest, not that it is sound.
    pub fn list(&self) -> Result<Vec<ModelName>, BundleError> {
        let mut found = Vec::new();
        for name in entries(&self.root)?.into_iter().filter(|name| is_name(name)) {
            let directory = self.root.join(&name);
            if !directory.is_dir() {
                continue;
            }
            let versions = entries(&directory)?;
            let models = versions.iter().filter_map(|version| ModelName::new(&name, version).ok());
            found.extend(models.filter(|model| self.manifest_path(model).is_file()));
        }
        found.sort();
        Ok(found)
    }

    /// Opens one bundle, and refuses one whose manifest claims to be another.
    pub fn open(&self, model: &ModelName) -> Result<Bundle, BundleError> {
        let path = self.manifest_path(model);
        if !path.is_file() {
            return Err(self.unknown(model)?);
        }
        let bundle = Bundle::open(&self.root.join(model.path()))?;
        if bundle.name() != model {
            let reason = format!(
                "name and version say {}, the directory {model}; copy the bundle to where it belongs",
                bundle.name()
            );
            return Err(BundleError::Refused { path, reason });
        }
        Ok(bundle)
    }

    /// The digest of a bundle and its reference profile, checked against the manifest, for whoever needs neither network nor
    /// tokenizer: a few kilobytes are read of it.
    pub fn reference(&self, model: &ModelName) -> Result<(Digest, Vec<u8>), BundleError> {
        let path = self.manifest_path(model);
        if !path.is_file() {
            return Err(self.unknown(model)?);
        }
        let directory = self.root.join(model.path());
        let manifest_bytes = bundle::read(&directory, MANIFEST, MANIFEST_BYTES_MAX)?;
        let refused = |reason| BundleError::Refused { path: path.clone(), reason };
        let text = std::str::from_utf8(&manifest_bytes)
            .map_err(|error| refused(format!("not UTF-8: {error}")))?;
        let manifest = Manifest::parse(text).map_err(&refused)?;
        let stated = &manifest.digests.reference;
        let reference = bundle::read_checked(&directory, REFERENCE, REFERENCE_BYTES_MAX, stated)?;
        Ok((Digest::of(&manifest_bytes), reference))
    }

    fn manifest_path(&self, model: &ModelName) -> PathBuf {
        self.root.join(model.path()).join(MANIFEST)
    }

    fn unknown(&self, model: &ModelName) -> Result<BundleError, BundleError> {
        let known = self.list()?.iter().map(ToString::to_string).collect::<Vec<_>>();
        let known = if known.is_empty() { "no bundle".to_owned() } else { known.join(", ") };
        Ok(BundleError::Unknown { model: model.to_string(), repository: self.root.clone(), known })
    }
}

/// Names in a directory; those that are not UTF-8 name no model.
fn entries(directory: &Path) -> Result<Vec<String>, BundleError> {
    let unreadable = |source: std::io::Error| {
        let path = directory.to_owned();
        match source.kind() {
            ErrorKind::NotFound => BundleError::Missing { path },
            _ => BundleError::Unreadable { path, source },
        }
    };
    let names = fs::read_dir(directory).map_err(unreadable)?;
    let names = names.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
    Ok(names.collect::<Result<Vec<_>, _>>().map_err(unreadable)?.into_iter().flatten().collect())
}
