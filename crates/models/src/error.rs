//! Why a bundle is not served, named by what its owner does next.

use std::{io, path::PathBuf};

use crate::Digest;

/// Why a bundle is not served. Whatever ran before keeps running: none of these is a reason to stop.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The repository has no such version: name another or ship this one.
    #[error("no {model} in {}; it holds {known}; name one of these or copy the bundle there", .repository.display())]
    Unknown {
        /// What was asked for, `name@version`.
        model: String,
        /// Where it was looked for.
        repository: PathBuf,
        /// What is there, as a phrase.
        known: String,
    },
    /// A file of the bundle is missing: copy it there.
    #[error("{} is missing; a bundle is complete or it is not served: copy it there or pack the bundle again", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The disk or the permissions are in the way; another attempt may succeed.
    #[error("reading {}", .path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than anything that belongs into a bundle.
    #[error("{} has more than {bytes_max} bytes, which no bundle needs; check what was copied there", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// A file is not the one that the manifest was made for: copied badly or tampered with.
    #[error(
        "{} has digest {found}, but the manifest says {stated}; it was changed after packing: copy the bundle again from its source",
        .path.display()
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// The digest in the manifest.
        stated: Digest,
        /// The digest of the bytes found.
        found: Digest,
    },
    /// A file says something that this version of Verdict does not accept: mend it and pack again.
    #[error("{}: {reason}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong, where in the file, and what to do.
        reason: String,
    },
}
