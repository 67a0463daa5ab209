//! The bundles that we ship, as they are: they load, reproduce their golden cases, and judge as well as they claim.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::print_stdout, reason = "the figure is the result")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use models::Repository;
use processor::{Pipeline, Scorer, Settings};
use serde::Deserialize;

/// Names a file of sentences with labels, `{"text", "label"}` a line, 1 is positive; it may be gzipped.
const SST2: &str = "VERDICT_TEST_SST2";

#[derive(Deserialize)]
struct Labelled {
    text: String,
    label: usize,
}

fn pipeline(model: &str) -> Arc<Pipeline> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let bundle = Repository::directory(root).open(&model.parse().unwrap()).unwrap();
    processor::load(&bundle, &Settings::default()).unwrap()
}

/// `None` where the environment names no file: the data is not ours to ship.
fn sentences() -> Option<Vec<Labelled>> {
    #[expect(clippy::disallowed_methods, reason = "tells a test where its data is")]
    let path = PathBuf::from(std::env::var(SST2).ok()?);
    let file = File::open(&path).unwrap();
    let is_zipped = path.extension().is_some_and(|extension| extension == "gz");
    let lines: Box<dyn Read> =
        if is_zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Some(
        BufReader::new(lines)
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect(),
    )
}

/// Loading runs the golden cases, so this is their test too.
#[track_caller]
fn check(model: &str, accuracy_min: f64) {
    let pipeline = pipeline(model);
    let Some(sentences) = sentences() else { return };
    let mut scorer = Scorer::start(Arc::clone(&pipeline), &Settings::default()).unwrap();
    let outcomes = scorer.score_texts(sentences.iter().map(|sentence| sentence.text.as_str()));
    let is_right = |(outcome, sentence): &(&Result<schemas::Verdict, _>, &Labelled)| {
        outcome
            .as_ref()
            .is_ok_and(|verdict| Some(&verdict.label) == pipeline.labels.get(sentence.label))
    };
    let right = outcomes.iter().zip(&sentences).filter(is_right).count();
    let share = |count: usize| f64::from(u32::try_from(count).unwrap());
    let accuracy = share(right) / share(sentences.len());
    assert!(accuracy_min <= accuracy, "{model}: {right} of {} right", sentences.len());
    println!("{model}: {right} of {} right, {:.2} %", sentences.len(), accuracy * 100.0);
}

#[test]
fn version_1_judges_as_well_as_it_claims() {
    check("sentiment@1", 0.885);
}

#[test]
fn version_2_judges_as_well_as_it_claims() {
    check("sentiment@2", 0.895);
}
