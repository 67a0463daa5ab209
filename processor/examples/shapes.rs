//! Measures batch shapes on one core: `shapes MODEL.onnx 1x16,8x16,... [KERNEL]` prints for each shape how long its plan takes to make,
//! what it adds to the resident memory, and how fast it is. `classifier/engine.rs` quotes the figures.

#![expect(clippy::print_stdout, reason = "a program whose result is a table")]

mod measured;

use std::{env, fs, time::Duration};

use anyhow::Context as _;
use chassis::clock::monotonic;
use models::manifest::Precision;
use processor::classifier::{Classifier, Engine, Kernel, Shape, Shapes, engine::Network};

use self::measured::{cpu_seconds, resident};

/// How long each shape is measured.
const MEASURED: Duration = Duration::from_millis(1_500);

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let model = arguments.next().context("usage: shapes MODEL.onnx ROWSxTOKENS,...")?;
    let shapes = arguments.next().context("usage: shapes MODEL.onnx ROWSxTOKENS,...")?;
    let shapes = shapes.split(',').map(parse).collect::<anyhow::Result<Vec<Shape>>>()?;
    let kernel = arguments.next().unwrap_or_else(|| "f32".to_owned());
    let kernel: Kernel = serde_json::from_value(kernel.into())
        .context("KERNEL is auto, amx-int8, avx512-vnni, avx-vnni, avx2 or f32")?;
    let onnx = fs::read(&model).with_context(|| format!("reading {model}"))?;
    let network = Network {
        onnx: &onnx,
        token_ids: "input_ids",
        attention_mask: "attention_mask",
        token_types: None,
        logits: "logits",
        embedding: "embedding",
    };
    let longest = shapes.iter().map(|shape| shape.tokens).max().unwrap_or(1);
    let began = monotonic();
    let engine = Engine::new(
        network,
        Shapes::new(shapes.iter().copied(), longest + 1),
        Precision::Int8,
        kernel,
    )?;
    println!(
        "read in {:.0} ms, {} MB resident",
        (monotonic() - began).as_secs_f64() * 1e3,
        resident()?
    );

    println!(
        "{:>8} {:>9} {:>7} {:>9} {:>11} {:>12}",
        "shape", "plan, ms", "MB", "call, ms", "tokens/s", "reviews/s"
    );
    for shape in shapes {
        let ids: Vec<u32> =
            (0..).map(|id| 1_000 + id * 7_919 % 20_000).take(shape.tokens).collect();
        let rows = vec![ids.as_slice(); shape.rows];
        let before = resident()?;
        let began = monotonic();
        engine.classify(shape, &rows)?;
        let first = monotonic() - began;
        let (mut calls, cpu, began) = (0.0, cpu_seconds()?, monotonic());
        while monotonic() - began < MEASURED {
            engine.classify(shape, &rows)?;
            calls += 1.0;
        }
        let call = (cpu_seconds()? - cpu) / calls;
        let reviews = f64::from(u32::try_from(shape.rows)?) / call;
        let tokens = f64::from(u32::try_from(shape.tokens_total())?) / call;
        println!(
            "{:>8} {:>9.0} {:>7} {:>9.2} {:>11.0} {:>12.1}",
            shape.to_string(),
            (first.as_secs_f64() - call) * 1e3,
            resident()?.saturating_sub(before),
            call * 1e3,
            tokens,
            reviews,
        );
    }
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<Shape> {
    let (rows, tokens) = text.split_once('x').context("a shape is ROWSxTOKENS")?;
    Ok(Shape { rows: rows.parse()?, tokens: tokens.parse()? })
}
