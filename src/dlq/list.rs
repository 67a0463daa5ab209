//! `verdict dlq list`: how many letters there are of each kind, and the latest.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    ops::ControlFlow,
};

use jiff::Timestamp;
use schemas::topics;
use serde_json::json;

use super::{args::ListArgs, filter::Filter, letter::Letter, redriven::Redriven, words};

/// Characters of an error that a line shows.
const MESSAGE_CHARACTERS_MAX: usize = 100;

/// Letters by kind, and the latest of all.
#[derive(Debug, Default)]
pub(super) struct Summary {
    kinds: BTreeMap<(String, &'static str), Kind>,
    /// By when they were refused, then by place.
    latest: BTreeMap<(Timestamp, i32, i64), String>,
    latest_max: usize,
    /// How many letters were noted.
    pub(super) count: usize,
}

#[derive(Debug)]
struct Kind {
    count: usize,
    first: Timestamp,
    last: Timestamp,
    example: String,
}

/// Prints.
pub(super) fn run(args: &ListArgs) -> anyhow::Result<()> {
    let kafka = super::kafka(&args.kafka)?;
    let filter = Filter::new(&args.filter, chassis::clock::now());
    let redriven = Redriven::read(&kafka)?;
    let mut summary = Summary::new(args.limit);
    let mut hidden = 0_usize;
    let mut out = io::stdout().lock();
    super::scan(&kafka, &redriven, |letter| {
        if !filter.selects(letter) {
            return Ok(ControlFlow::Continue(()));
        }
        if filter.hides(letter) {
            hidden += 1;
        } else if args.json {
            writeln!(out, "{}", as_json(letter))?;
        } else {
            summary.note(letter);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if args.json {
        return Ok(out.flush()?);
    }
    let count = summary.count;
    let at = format!("{} at {}", topics::DEAD_LETTERS, kafka.bootstrap_servers);
    writeln!(out, "{count} dead letters in {at}{}", but_hidden(hidden))?;
    summary.write(&mut out)?;
    Ok(out.flush()?)
}

fn but_hidden(hidden: usize) -> String {
    match hidden {
        0 => String::new(),
        hidden => format!(", and {hidden} that were sent again (--all shows them)"),
    }
}

impl Summary {
    /// Keeps the lines of the `latest_max` latest letters.
    pub(super) fn new(latest_max: usize) -> Self {
        Self { latest_max, ..Self::default() }
    }

    /// Counts one letter. One without a reason counts as refused when it was written, or at the beginning of time.
    pub(super) fn note(&mut self, letter: &Letter<'_>) {
        let written = letter.record.written_at().unwrap_or_default();
        let at = letter.note.map_or(written, |note| note.failed_at);
        let kind =
            self.kinds.entry((letter.class().to_owned(), letter.stage())).or_insert_with(|| {
                let example = words::line(letter.message(), MESSAGE_CHARACTERS_MAX);
                Kind { count: 0, first: at, last: at, example }
            });
        kind.count += 1;
        kind.first = kind.first.min(at);
        kind.last = kind.last.max(at);
        self.count += 1;
        self.latest.insert((at, letter.place.partition, letter.place.offset), line(letter, at));
        if self.latest_max < self.latest.len() {
            self.latest.pop_first();
        }
    }

    /// Both tables.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        writeln!(
            out,
            "\n{:>8}  {:<16} {:<9} {:<20}  {:<20}  EXAMPLE",
            "COUNT", "CLASS", "STAGE", "FIRST", "LAST"
        )?;
        for ((class, stage), kind) in &self.kinds {
            let (first, last) = (words::time(kind.first), words::time(kind.last));
            let class = words::line(class, MESSAGE_CHARACTERS_MAX);
            let Kind { count, example, .. } = kind;
            writeln!(out, "{count:>8}  {class:<16} {stage:<9} {first:<20}  {last:<20}  {example}")?;
        }
        if self.latest.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nThe latest {}:", self.latest.len())?;
        writeln!(
            out,
            "{:>12}  {:<20}  {:<16} {:>5}  {:<36}  MESSAGE",
            "AT", "REFUSED", "CLASS", "TRIES", "REVIEW"
        )?;
        for line in self.latest.values() {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

fn line(letter: &Letter<'_>, at: Timestamp) -> String {
    let tries = letter.note.map_or_else(|| "-".to_owned(), |note| note.attempts.to_string());
    let id = letter.id.as_deref().map_or_else(|| "-".to_owned(), |id| words::line(id, 36));
    let again = if letter.redriven.is_some() { "(sent again) " } else { "" };
    format!(
        "{:>12}  {:<20}  {:<16} {tries:>5}  {id:<36}  {again}{}",
        letter.place.to_string(),
        words::time(at),
        words::line(letter.class(), MESSAGE_CHARACTERS_MAX),
        words::line(letter.message(), MESSAGE_CHARACTERS_MAX),
    )
}

/// One letter for programs; what it does not say is null.
fn as_json(letter: &Letter<'_>) -> serde_json::Value {
    let note = letter.note;
    json!({
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "id": letter.id,
        "source": letter.source,
        "class": note.map(|note| note.class),
        "stage": note.map(|note| note.stage.as_str()),
        "message": note.map(|note| note.message),
        "attempts": note.map(|note| note.attempts),
        "failed_at": note.map(|note| note.failed_at),
        "retryable": note.map(|note| note.is_retryable),
        "origin": note.map(|note| json!({
            "topic": note.place.topic, "partition": note.place.partition, "offset": note.place.offset,
        })),
        "value_bytes": letter.record.value.as_ref().map(Vec::len),
        "redriven": letter.redriven,
    })
}

#[cfg(test)]
mod tests {
    use schemas::Stage;

    use super::*;
    use crate::dlq::letter::tests::delivery;

    fn summary(latest_max: usize) -> String {
        let mut summary = Summary::new(latest_max);
        let none = Redriven::default();
        for letter in [
            delivery(Stage::Decode, "InvalidUtf8", 300, "\u{1b}"),
            delivery(Stage::Infer, "ModelFailed", 100, r#"{"id":"a"}"#),
            delivery(Stage::Infer, "ModelFailed", 200, r#"{"id":"b"}"#),
        ] {
            summary.note(&Letter::read(&letter, &none));
        }
        let mut out = Vec::new();
        summary.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn letters_are_counted_by_class_and_stage() {
        let shown = summary(0);
        let row = |class| shown.lines().find(|line| line.contains(class)).unwrap();
        let failed: Vec<&str> = row("ModelFailed").split_whitespace().collect();
        let expected =
            ["2", "ModelFailed", "INFER", "1970-01-01T00:01:40Z", "1970-01-01T00:03:20Z"];
        assert_eq!(failed[..5], expected);
        assert!(row("InvalidUtf8").trim_start().starts_with("1 "), "{shown}");
        assert!(!shown.contains("latest"), "{shown}");
    }

    #[test]
    fn the_latest_are_those_that_were_refused_last() {
        let shown = summary(2);
        let latest: Vec<&str> = shown.lines().rev().take(2).collect();
        assert!(latest[0].contains("0:300") && latest[1].contains("0:200"), "{shown}");
        assert!(!shown.contains("0:100 "), "{shown}");
    }

    #[test]
    fn json_says_all_that_is_known() {
        let (letter, none) =
            (delivery(Stage::Infer, "ModelFailed", 100, r#"{"id":"a"}"#), Redriven::default());
        let json = as_json(&Letter::read(&letter, &none));
        assert_eq!(json["id"], "a");
        assert_eq!(json["origin"]["offset"], 42);
        assert_eq!((&json["attempts"], &json["retryable"]), (&json!(1), &json!(true)));
        assert!(json["redriven"].is_null());
    }
}
