//! Model bundles: what is in one, and whether it is what it says.
//!
//! A bundle is a directory `<repository>/<name>/<version>/` of five files: the network, its tokenizer, the manifest, the
//! reference profile and the golden cases. [`Bundle::open`] reads each file once, refuses what differs from the digests in
//! the manifest, and hands out bytes: nothing is read from disk afterwards, so what was checked is what runs, and a network
//! that points to external data finds none.
//!
//! The digest of a bundle is the SHA-256 of its manifest, which names the digests of the rest; every verdict carries it.
//!
//! # Layout
//! - [`bundle`]: the five files, checked
//! - [`manifest`]: `model.toml`, what the bundle says of itself
//! - [`golden`]: cases that a runtime reproduces before it is ready
//! - [`reference`](mod@reference): how held-out data looks to this version, for drift
//! - [`mod@name`]: how one version of one model is written
//! - [`repository`]: where bundles are found
//! - [`digest`]: SHA-256, as text
//!
//! ```no_run
//! let repository = models::Repository::directory("models");
//! let bundle = repository.open(&"sentiment@1".parse()?)?;
//! let probabilities = bundle.manifest().calibration.probabilities(&[-1.2, 2.3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod bundle;
pub mod digest;
pub mod error;
pub mod golden;
pub mod manifest;
pub mod name;
pub mod reference;
pub mod repository;

pub use bundle::Bundle;
pub use digest::Digest;
pub use error::BundleError;
pub use golden::{GoldenCase, GoldenMismatch, Observed};
pub use manifest::Manifest;
pub use name::{InvalidModelName, ModelName};
pub use reference::Reference;
pub use repository::Repository;
