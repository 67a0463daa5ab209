//! `verdict score`: a file in, verdicts out, with the processor's own pipeline and no broker.

pub(crate) mod input;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use processor::Scorer;
use schemas::{IncomingReview, Refusal, ReviewId, Verdict};
use serde_json::json;

use crate::{
    cli::ScoreArgs,
    score::input::{Fields, Row},
    settings::Settings,
};

/// Rows read, by what came of them.
#[derive(Debug, Default)]
struct Tally {
    verdicts: u64,
    refused: u64,
    labelled: u64,
    right: u64,
}

/// Scores `args.file` to standard output. A refused line is printed in its place and makes the exit status 1.
pub(crate) fn run(args: &ScoreArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings::of_score(args)?;
    let _telemetry = chassis::telemetry::start("verdict", &settings.telemetry)?;
    let bundle = settings.model.open()?;
    let labels = bundle.manifest().labels.clone();
    let bar = ProgressBar::no_length();
    let fields = Fields { text: args.text_field.clone(), label: args.label_field.clone() };
    let rows = input::open(args.file.as_deref(), args.format, fields, &bar)?;
    let pipeline = processor::load(&bundle, &settings.processor)?;
    let mut scorer =
        Scorer::start(pipeline, &settings.processor).context("starting inference threads")?;

    let begun = chassis::clock::monotonic();
    style(&bar);
    // The scorer reads ahead by some rounds; what it does not carry of a row waits here.
    let waiting: RefCell<VecDeque<Row>> = RefCell::default();
    let broken = Cell::new(None);
    let reviews = rows.map_while(|row| match row {
        Ok(row) => {
            let review = incoming(&row);
            waiting.borrow_mut().push_back(row);
            Some(review)
        }
        Err(error) => {
            broken.set(Some(error));
            None
        }
    });
    let mut tally = Tally::default();
    let mut out = BufWriter::new(io::stdout().lock());
    for outcome in scorer.score(reviews) {
        let Some(row) = waiting.borrow_mut().pop_front() else { break };
        tally.note(&row, &outcome, &labels);
        write_line(&mut out, &row, outcome)?;
    }
    out.flush()?;
    bar.finish_and_clear();
    if let Some(error) = broken.take() {
        return Err(error);
    }
    tally.report(begun, args.label_field.is_some());
    Ok(if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the pipeline is given of a row. A row without a text goes in as an empty one, and is refused in its place.
fn incoming(row: &Row) -> IncomingReview {
    let id = row.id.clone().filter(|id| ReviewId::new(id.as_str()).is_ok());
    IncomingReview {
        id: id.or_else(|| Some(format!("line-{}", row.line))),
        review: row.text.clone().unwrap_or_default(),
        ..IncomingReview::default()
    }
}

fn write_line(
    out: &mut impl io::Write,
    row: &Row,
    outcome: Result<Verdict, Refusal>,
) -> anyhow::Result<()> {
    let line = match (outcome, &row.text) {
        (Ok(verdict), _) => serde_json::to_string(&verdict)?,
        (Err(refusal), text) => {
            let reason = text.as_ref().err().unwrap_or(&refusal.message);
            json!({ "line": row.line, "id": row.id, "error": reason, "class": refusal.class })
                .to_string()
        }
    };
    writeln!(out, "{line}")?;
    Ok(())
}

impl Tally {
    fn note(&mut self, row: &Row, outcome: &Result<Verdict, Refusal>, labels: &[String]) {
        let Ok(verdict) = outcome else {
            self.refused += 1;
            return;
        };
        self.verdicts += 1;
        let Some(stated) = &row.label else { return };
        let by_index = stated.parse::<usize>().ok().and_then(|index| labels.get(index));
        self.labelled += 1;
        self.right += u64::from(by_index.unwrap_or(stated) == &verdict.label);
    }

    #[expect(clippy::cast_precision_loss, reason = "rows of a file are far below 2^52")]
    #[expect(clippy::print_stderr, reason = "standard output is for verdicts")]
    fn report(&self, begun: Instant, labelled: bool) {
        let seconds = begun.elapsed().as_secs_f64();
        let rows = self.verdicts + self.refused;
        eprintln!("{rows} reviews in {seconds:.1} s, {:.0} reviews/s", rows as f64 / seconds);
        if 0 < self.refused {
            eprintln!("{} of {rows} refused: see the lines with `error`", self.refused);
        }
        if labelled && 0 < self.labelled {
            let accuracy = 100.0 * self.right as f64 / self.labelled as f64;
            eprintln!("accuracy {accuracy:.1} % ({} of {})", self.right, self.labelled);
        } else if labelled {
            eprintln!("accuracy unknown: no row has a label");
        }
    }
}

/// A bar over the bytes of a file, a counter over those of standard input; nothing where standard error is no terminal, and
/// nothing for input that is being typed.
fn style(bar: &ProgressBar) {
    let template = match bar.length() {
        Some(_known) => "{wide_bar} {percent:>3} %  {bytes} of {total_bytes}  {eta} left",
        None => "{spinner} {bytes} read  {elapsed}",
    };
    if bar.length().is_none() && io::stdin().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    bar.set_style(
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_error| ProgressStyle::default_bar()),
    );
}
