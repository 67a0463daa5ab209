//! The flags of `verdict model`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::SettingsArgs;

#[derive(Args, Debug)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    pub(crate) command: ModelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Score held-out data with a bundle, and write into it how that looks: what drift is measured against
    ///
    /// Writes reference.json and its digest in model.toml, so the digest of the bundle changes. The same data gives the same
    /// bytes on the same machine.
    Reference(ReferenceArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ReferenceArgs {
    /// The bundle: a folder with model.toml
    #[arg(value_name = "BUNDLE_DIR")]
    pub(crate) bundle: PathBuf,

    /// Labelled texts that the model was not made with, by the name that model.toml has for them: `review` or `text`, and
    /// `label`, also gzipped. Each becomes a profile, and all together one more
    #[arg(long, value_name = "NAME=FILE", required = true, value_parser = named)]
    pub(crate) data: Vec<(String, PathBuf)>,

    /// Texts that the model was made with: their words become the vocabulary that reviews are compared with. Repeat it for
    /// more files; without any the reference has no vocabulary
    #[arg(long, value_name = "FILE")]
    pub(crate) vocabulary: Vec<PathBuf>,

    /// Do not count languages; then nobody has to tell them
    #[arg(long)]
    pub(crate) no_languages: bool,

    /// Do not count words; then nobody has to tell them. Nor are they counted without a vocabulary
    #[arg(long)]
    pub(crate) no_words: bool,

    /// Do not describe embeddings; then nobody has to project them
    #[arg(long)]
    pub(crate) no_embedding: bool,

    /// Random Fourier features that describe embeddings
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) fourier_features: usize,

    /// Also write what drift counts of each text, but no text, to DIR/NAME.csv
    #[arg(long, value_name = "DIR")]
    pub(crate) features: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(file)))
        }
        _other => Err(format!("`{text}` is not NAME=FILE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_a_name_and_a_file() {
        assert_eq!(named("sst2=a=b.jsonl"), Ok(("sst2".to_owned(), PathBuf::from("a=b.jsonl"))));
        for wrong in ["", "file.jsonl", "=file.jsonl", "name="] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
