//! `verdict model reference`: held-out data, scored by the processor's own pipeline, as the reference of the bundle.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail};
use drift::{
    Projection, Vocabulary,
    reference::profile::{self, Form, HeldOut, PROJECTION_SEED, Profile},
};
use indicatif::ProgressBar;
use models::{
    Bundle, Digest, Manifest,
    bundle::{MANIFEST, REFERENCE, REFERENCE_BYTES_MAX},
    manifest::BUNDLE_FORMAT,
    reference::WHOLE,
};
use processor::{Pipeline, Scorer, features::Extractor};
use serde::Serialize;

use super::{args::ReferenceArgs, held_out, table, vocabulary};
use crate::settings::Settings;

/// What the profile of all data sets together says of itself.
const WHOLE_SOURCE: &str = "all of the above";

/// `reference.json` without its vocabulary.
#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    model: Model<'a>,
    temperature: f32,
    profiles: &'a [Profile],
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    version: u32,
}

/// A data set, scored.
struct DataSet {
    name: String,
    source: String,
    scored: Vec<HeldOut>,
    /// Texts that the line does not take.
    refused: usize,
}

/// Scores `args.data`, and writes the reference and its digest. Nothing is written before all of it is known to be readable,
/// and nothing at all if the bundle fails its own golden cases.
pub(super) fn run(args: &ReferenceArgs) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings, Vec::new())?;
    let _telemetry = chassis::telemetry::start("verdict", &settings.telemetry)?;
    let bundle = Bundle::open(&args.bundle)?;
    let sources = sources(&bundle, &args.data)?;
    // This runs the golden cases.
    let pipeline = processor::load(&bundle, &settings.processor)?;
    let counts = vocabulary::count(&pipeline.tokenizer, &args.vocabulary)?;
    let pipeline = with_all_features(pipeline, &bundle, args, counts.clone())?;
    let mut scorer =
        Scorer::start(pipeline, &settings.processor).context("starting inference threads")?;

    let mut data_sets = Vec::new();
    for ((name, file), source) in args.data.iter().zip(sources) {
        let texts = held_out::read(file, &bundle.manifest().labels)?;
        let bar = ProgressBar::new(u64::try_from(texts.len()).unwrap_or(u64::MAX));
        let (scored, refused) = held_out::score(&mut scorer, texts, &bar);
        bar.finish_and_clear();
        if let Some(folder) = &args.features {
            let path = folder.join(format!("{name}.csv"));
            table::write(&path, &scored).with_context(|| format!("writing {}", path.display()))?;
        }
        data_sets.push(DataSet { name: name.clone(), source, scored, refused });
    }
    let profiles = profiles(&bundle, args, &data_sets)?;
    let reference = document(&bundle, &profiles, counts.as_deref())?;
    write(&args.bundle, &bundle, &reference)?;
    report(&args.bundle, &data_sets, &profiles)
}

/// What each data set is, as the manifest says.
fn sources(bundle: &Bundle, data: &[(String, PathBuf)]) -> anyhow::Result<Vec<String>> {
    let accuracy = &bundle.manifest().accuracy;
    let source = |name: &String| {
        let row = accuracy.iter().find(|row| row.data == *name);
        row.map(|row| row.source.clone()).ok_or_else(|| {
            let known: Vec<&str> = accuracy.iter().map(|row| row.data.as_str()).collect();
            anyhow!(
                "{MANIFEST} has no [[accuracy]] of data `{name}`, only of {}: add one that says what it is",
                known.join(", ")
            )
        })
    };
    for (index, (name, _)) in data.iter().enumerate() {
        if name == WHOLE || data.iter().skip(index + 1).any(|(other, _)| other == name) {
            bail!("two profiles would be called `{name}`: give each data set a name of its own");
        }
    }
    data.iter().map(|(name, _)| source(name)).collect()
}

/// The pipeline, asked for everything that the new reference will describe, whatever the old one does.
fn with_all_features(
    pipeline: Arc<Pipeline>,
    bundle: &Bundle,
    args: &ReferenceArgs,
    counts: Option<Vec<u64>>,
) -> anyhow::Result<Arc<Pipeline>> {
    let width = bundle.manifest().outputs.embedding_size;
    let mut pipeline = Arc::into_inner(pipeline).context("the pipeline is in use")?;
    pipeline.store_text = false;
    pipeline.extractor = Extractor {
        special_tokens: pipeline.extractor.special_tokens,
        vocabulary: counts.map(Vocabulary::from_counts).transpose()?,
        projection: (!args.no_embedding).then(|| Projection::seeded(PROJECTION_SEED, width)),
        tells_languages: !args.no_languages,
        words: (!args.no_words).then(|| pipeline.tokenizer.word_pieces().clone()),
    };
    Ok(Arc::new(pipeline))
}

fn profiles(
    bundle: &Bundle,
    args: &ReferenceArgs,
    data_sets: &[DataSet],
) -> anyhow::Result<Vec<Profile>> {
    let whole: Vec<&HeldOut> = data_sets.iter().flat_map(|set| &set.scored).collect();
    if whole.is_empty() {
        bail!("the held-out data has no texts");
    }
    let manifest = bundle.manifest();
    let form = Form {
        labels: manifest.labels.clone(),
        confidence_edges: profile::confidence_edges(&whole, manifest.labels.len()),
        token_edges: profile::token_edges(manifest.max_tokens),
        counts_languages: !args.no_languages,
        fourier: profile::fourier(&whole, args.fourier_features)?,
    };
    let mut profiles = Vec::new();
    for DataSet { name, source, scored, .. } in data_sets {
        let scored: Vec<&HeldOut> = scored.iter().collect();
        profiles.push(form.profile(name, source, &scored)?);
    }
    profiles.push(form.profile(WHOLE, WHOLE_SOURCE, &whole)?);
    Ok(profiles)
}

/// The bytes of `reference.json`: a value a line, but the vocabulary, which has as many as there are tokens, on one.
fn document(
    bundle: &Bundle,
    profiles: &[Profile],
    counts: Option<&[u64]>,
) -> anyhow::Result<Vec<u8>> {
    let Manifest { name, version, calibration, .. } = bundle.manifest();
    let (format, temperature) = (BUNDLE_FORMAT, calibration.temperature);
    let model = Model { name, version: *version };
    let document = Document { format, model, temperature, profiles };
    let mut json = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b" ");
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut json, indented))?;
    if let Some(counts) = counts {
        json.truncate(json.len().saturating_sub(b"\n}".len()));
        json.extend_from_slice(b",\n \"vocabulary\": ");
        serde_json::to_writer(&mut json, counts)?;
        json.extend_from_slice(b"\n}");
    }
    json.push(b'\n');
    Ok(json)
}

/// Writes both files, after reading what is to be written as their readers will.
fn write(folder: &Path, bundle: &Bundle, reference: &[u8]) -> anyhow::Result<()> {
    if REFERENCE_BYTES_MAX < u64::try_from(reference.len()).unwrap_or(u64::MAX) {
        bail!(
            "the reference has {} bytes, at most {REFERENCE_BYTES_MAX} are read",
            reference.len()
        );
    }
    let read =
        models::Reference::parse(reference, bundle.manifest()).map_err(anyhow::Error::msg)?;
    for profile in &read.profiles {
        drift::Reference::from_json(reference, &profile.name)
            .with_context(|| format!("reading profile `{}` again", profile.name))?;
    }
    let path = folder.join(MANIFEST);
    let manifest =
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest = with_digest(&manifest, &Digest::of(reference))?;
    Manifest::parse(&manifest).map_err(anyhow::Error::msg)?;
    replace(&folder.join(REFERENCE), reference)?;
    replace(&path, manifest.as_bytes())
}

/// The manifest with another digest of the reference, every other byte as it was.
fn with_digest(manifest: &str, digest: &Digest) -> anyhow::Result<String> {
    let names_it = |line: &&str| line.trim_start().starts_with(&format!("\"{REFERENCE}\""));
    let lines: Vec<&str> = manifest.split_inclusive('\n').filter(names_it).collect();
    let [line] = lines[..] else {
        bail!("{MANIFEST} names the digest of {REFERENCE} {} times, not once", lines.len());
    };
    Ok(manifest.replace(line, &format!("\"{REFERENCE}\" = \"{digest}\"\n")))
}

/// Half a file never stands in the place of a whole one.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, bytes)
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("writing {}", path.display()))
}

fn report(folder: &Path, data_sets: &[DataSet], profiles: &[Profile]) -> anyhow::Result<()> {
    // Opened as the processor opens it.
    let bundle = Bundle::open(folder)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {}", bundle.name(), bundle.digest())?;
    for (DataSet { name, scored, refused, .. }, profile) in data_sets.iter().zip(profiles) {
        let measured = bundle.manifest().accuracy.iter().find(|row| row.data == *name);
        let measured = measured.map_or(0, |row| row.correct);
        let (correct, n) = (profile.correct, scored.len());
        write!(out, "  {name}: {correct} of {n} right, {measured} when the bundle was packed")?;
        match refused {
            0 => writeln!(out)?,
            refused => writeln!(out, "; left out: {refused} that the line refuses")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_digest_of_the_reference_changes() {
        let manifest = "[digests]\n\"model.onnx\" = \"a\"\n\"reference.json\" = \"b\"\nx = 1\n";
        let digest = Digest::of(b"");
        let expected = manifest.replace("\"b\"", &format!("\"{digest}\""));
        assert_eq!(with_digest(manifest, &digest).unwrap(), expected);
        assert!(with_digest("x = 1\n", &digest).is_err());
        assert!(with_digest(&format!("{manifest}{manifest}"), &digest).is_err());
    }
}
