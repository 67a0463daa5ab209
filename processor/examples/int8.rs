//! Measures int8 against float32 on real texts, one thread: `int8 BUNDLE_DIR NAME=FILE...`.
//!
//! For each kernel that the CPU has it prints how long loading takes and what that adds to the resident memory, accuracy on each file
//! and agreement with float32, and tokens/s (padding not counted) at the line's own batches. Files hold JSON lines of `text` and
//! `label`, also gzipped. With `VERDICT_ORT="python3 processor/examples/int8_ort.py"` in the environment ONNX Runtime's dynamic int8 takes turns with
//! the others, on the same batches. `docs/PERFORMANCE.md` quotes the figures.

#![expect(clippy::print_stdout, reason = "a program whose result is a table")]

mod measured;

use std::{
    env,
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    num::NonZeroUsize,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, anyhow, ensure};
use flate2::read::MultiGzDecoder;
use models::{Bundle, manifest::Precision};
use processor::{
    batcher::{self, BatchLimits},
    classifier::{Classifier, Engine, Kernel, Shape, Shapes, engine::OFFERED},
    tokenizer::Tokenizer,
};
use schemas::ReviewText;
use serde::{Deserialize, Serialize};

use self::measured::{cpu_seconds, resident};

/// Tokens of a file that speed is measured on, in each round: some seconds of float32, and so many that the ticks which processor time is
/// told in are not seen.
const TOKENS_TIMED: usize = 50_000;
/// Times that every engine has its turn; the fastest counts.
const ROUNDS: usize = 5;

#[derive(Deserialize)]
struct Labelled {
    text: String,
    label: usize,
}

/// One call of the model.
#[derive(Serialize)]
struct Batch {
    tokens: usize,
    rows: Vec<Vec<u32>>,
    #[serde(skip)]
    labels: Vec<usize>,
}

struct DataSet {
    name: String,
    batches: Vec<Batch>,
}

/// ONNX Runtime in a process of its own: it answers each line with a line.
struct Other {
    process: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: int8 BUNDLE_DIR NAME=FILE...";
    let folder = arguments.next().context(usage)?;
    let bundle = Bundle::open(Path::new(&folder))?;
    let data = arguments
        .map(|argument| read(&bundle, &argument))
        .collect::<anyhow::Result<Vec<DataSet>>>()?;
    ensure!(!data.is_empty(), usage);

    let mut engines = Vec::new();
    for kernel in [Kernel::F32, Kernel::Avx2, Kernel::AvxVnni, Kernel::Avx512Vnni, Kernel::AmxInt8]
    {
        let (before, began) = (resident()?, cpu_seconds()?);
        let Ok(engine) = load(&bundle, kernel) else {
            println!("{kernel}: not on this CPU");
            continue;
        };
        ensure!(engine.arithmetic().kernel == kernel, "the network is none that is known");
        let read = cpu_seconds()? - began;
        engine.warm()?;
        let (ready, added) = (cpu_seconds()? - began, resident()?.saturating_sub(before));
        println!(
            "{kernel}: read in {read:.2} s of processor time, with all plans {ready:.2} s, {added} MB"
        );
        engines.push((kernel.to_string(), engine));
    }
    let mut other = Other::start(&folder, &data)?;
    for (index, data) in data.iter().enumerate() {
        judge(data, &engines, other.as_mut(), index)?;
        time(data, &engines, other.as_mut(), index)?;
    }
    if let Some(mut other) = other {
        drop(other.asks);
        other.process.wait()?;
    }
    Ok(())
}

fn load(bundle: &Bundle, kernel: Kernel) -> anyhow::Result<Engine> {
    let manifest = bundle.manifest();
    let precision = if kernel == Kernel::F32 { Precision::F32 } else { Precision::Int8 };
    Ok(Engine::new(bundle.into(), shapes(manifest.max_tokens), precision, kernel)?)
}

/// All engines are given the same batches, those of float32: it would take long to make a plan for each of the others.
fn shapes(tokens_max: usize) -> Shapes {
    Shapes::new(OFFERED, tokens_max)
}

/// The texts of `NAME=FILE` in the batches that the line would make of them in float32.
fn read(bundle: &Bundle, argument: &str) -> anyhow::Result<DataSet> {
    let (name, path) = argument.split_once('=').context("data is NAME=FILE")?;
    let file = File::open(path).with_context(|| format!("opening {path}"))?;
    let lines: Box<dyn Read> =
        if Path::new(path).extension().is_some_and(|extension| extension == "gz") {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
    let tokenizer = Tokenizer::try_from(bundle)?;
    let mut texts = Vec::new();
    for line in BufReader::new(lines).lines() {
        let Labelled { text, label } = serde_json::from_str(&line?)?;
        // The line would refuse the others, too.
        if let Ok(text) = ReviewText::new(&text) {
            let encoding = tokenizer.encode(&text).map_err(|refusal| anyhow!("{refusal}"))?;
            texts.push((encoding.ids, label));
        }
    }
    let counts: Vec<usize> = texts.iter().map(|(ids, _)| ids.len()).collect();
    let limits = BatchLimits {
        rows_max: NonZeroUsize::MIN.saturating_add(31),
        tokens_max: NonZeroUsize::MIN.saturating_add(1_023),
    };
    let planned = batcher::plan(&counts, &shapes(bundle.manifest().max_tokens), limits);
    let batches = planned.into_iter().map(|planned| {
        let chosen = || planned.positions.iter().filter_map(|&position| texts.get(position));
        Batch {
            tokens: planned.shape.tokens,
            rows: chosen().map(|(ids, _)| ids.clone()).collect(),
            labels: chosen().map(|(_, label)| *label).collect(),
        }
    });
    Ok(DataSet { name: name.to_owned(), batches: batches.collect() })
}

impl Batch {
    fn run(&self, engine: &Engine) -> anyhow::Result<Vec<Vec<f32>>> {
        let rows: Vec<&[u32]> = self.rows.iter().map(Vec::as_slice).collect();
        let shape = Shape { tokens: self.tokens, rows: rows.len() };
        Ok(engine.classify(shape, &rows)?.into_iter().map(|scores| scores.logits).collect())
    }

    fn tokens(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }
}

impl DataSet {
    /// Batches for timing, spread over all of the file, since they are sorted by length.
    fn timed(&self) -> Vec<usize> {
        let total: usize = self.batches.iter().map(Batch::tokens).sum();
        let step = (total / TOKENS_TIMED).max(1);
        (0..self.batches.len()).step_by(step).collect()
    }
}

/// Accuracy, and agreement with the first engine.
fn judge(
    data: &DataSet,
    engines: &[(String, Engine)],
    other: Option<&mut Other>,
    index: usize,
) -> anyhow::Result<()> {
    let truth: Vec<usize> = data.batches.iter().flat_map(|batch| batch.labels.clone()).collect();
    let mut all = Vec::new();
    for (name, engine) in engines {
        let mut logits = Vec::new();
        for batch in &data.batches {
            logits.extend(batch.run(engine)?);
        }
        all.push((name.clone(), logits));
    }
    if let Some(other) = other {
        all.push((
            "onnxruntime int8".to_owned(),
            serde_json::from_value(other.ask(&format!("judge {index}"))?)?,
        ));
    }
    let labels = |logits: &[Vec<f32>]| -> Vec<Option<usize>> {
        logits.iter().map(|row| largest(row)).collect()
    };
    let expected =
        all.first().map(|(_, logits)| (labels(logits), logits.clone())).context("no engine")?;
    for (name, logits) in &all {
        let found = labels(logits);
        let right =
            found.iter().zip(&truth).filter(|(label, truth)| **label == Some(**truth)).count();
        let same =
            found.iter().zip(&expected.0).filter(|(found, expected)| found == expected).count();
        let off = logits
            .iter()
            .flatten()
            .zip(expected.1.iter().flatten())
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        println!(
            "{} {name}: {right} of {} right ({:.2} %), {:.2} % agree with f32, logits off by {off:.3} at most",
            data.name,
            truth.len(),
            percent(right, truth.len())?,
            percent(same, truth.len())?
        );
    }
    Ok(())
}

fn largest(row: &[f32]) -> Option<usize> {
    row.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(label, _)| label)
}

fn percent(part: usize, whole: usize) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(part)?) * 100.0 / f64::from(u32::try_from(whole)?))
}

/// Tokens a second of processor time, all engines taking turns.
fn time(
    data: &DataSet,
    engines: &[(String, Engine)],
    mut other: Option<&mut Other>,
    index: usize,
) -> anyhow::Result<()> {
    let timed = data.timed();
    let chosen: Vec<&Batch> = timed.iter().filter_map(|&batch| data.batches.get(batch)).collect();
    let tokens =
        f64::from(u32::try_from(chosen.iter().map(|batch| batch.tokens()).sum::<usize>())?);
    let mut best = vec![f64::MAX; engines.len() + 1];
    for _ in 0..ROUNDS {
        for ((_, engine), best) in engines.iter().zip(&mut best) {
            let began = cpu_seconds()?;
            for batch in &chosen {
                batch.run(engine)?;
            }
            *best = best.min(cpu_seconds()? - began);
        }
        if let (Some(other), Some(best)) = (other.as_deref_mut(), best.last_mut()) {
            let taken = other.ask(&format!("time {index} {}", serde_json::to_string(&timed)?))?;
            *best = best.min(taken.as_f64().context("no seconds")?);
        }
    }
    let names = engines.iter().map(|(name, _)| name.as_str()).chain(["onnxruntime int8"]);
    let slowest = best.first().copied().unwrap_or(f64::MAX);
    for (name, best) in names.zip(&best).filter(|(_, best)| **best < f64::MAX) {
        println!(
            "{} {name}: {:.0} tokens/s, {:.2} times f32",
            data.name,
            tokens / best,
            slowest / best
        );
    }
    Ok(())
}

impl Other {
    fn start(folder: &str, data: &[DataSet]) -> anyhow::Result<Option<Self>> {
        #[expect(clippy::disallowed_methods, reason = "tells an example how to start its rival")]
        let Ok(command) = env::var("VERDICT_ORT") else { return Ok(None) };
        let mut words = command.split_whitespace();
        let program = words.next().context("VERDICT_ORT is empty")?;
        let mut process = Command::new(program)
            .args(words)
            .arg(Path::new(folder).join("model.onnx"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let asks = process.stdin.take().context("no input")?;
        let answers = BufReader::new(process.stdout.take().context("no output")?);
        let mut other = Self { process, asks, answers };
        let batches: Vec<&Vec<Batch>> = data.iter().map(|data| &data.batches).collect();
        println!("{}", other.ask(&serde_json::to_string(&batches)?)?.as_str().unwrap_or_default());
        Ok(Some(other))
    }

    fn ask(&mut self, line: &str) -> anyhow::Result<serde_json::Value> {
        writeln!(self.asks, "{line}")?;
        self.asks.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        serde_json::from_str(&answer).with_context(|| format!("onnxruntime answered `{answer}`"))
    }
}
