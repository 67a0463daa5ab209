//! `verdict dlq show`: dead letters whole.

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use anyhow::bail;
use schemas::topics;

use super::{
    args::{FilterArgs, ShowArgs},
    filter::Filter,
    letter::{self, Letter},
    redriven::Redriven,
    words,
};

/// Bytes of a value that are shown, unless it is to be shown whole.
const VALUE_BYTES_MAX: usize = 4_000;

/// Prints.
pub(super) fn run(args: &ShowArgs) -> anyhow::Result<()> {
    let filter = selection(args);
    let filter = Filter::new(&filter, chassis::clock::now());
    if filter.is_empty() {
        bail!(
            "say which: PARTITION:OFFSET as `verdict dlq list` prints them, or a filter such as --id"
        );
    }
    let kafka = super::kafka(&args.kafka)?;
    let redriven = Redriven::read(&kafka)?;
    let value_bytes_max = if args.full { usize::MAX } else { VALUE_BYTES_MAX };
    let (mut shown, mut hidden) = (0_usize, 0_usize);
    let mut out = io::stdout().lock();
    super::scan(&kafka, &redriven, |letter| {
        if !filter.selects(letter) {
            return Ok(ControlFlow::Continue(()));
        }
        if filter.hides(letter) {
            hidden += 1;
            return Ok(ControlFlow::Continue(()));
        }
        if shown == args.limit {
            writeln!(out, "There are more; --limit shows more than {shown}.")?;
            return Ok(ControlFlow::Break(()));
        }
        write(&mut out, letter, value_bytes_max)?;
        shown += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    out.flush()?;
    match (shown, hidden) {
        (0, 0) => bail!("no such dead letter in {}: was it purged?", topics::DEAD_LETTERS),
        (0, hidden) => bail!("{hidden} were sent again and are hidden: --all shows them"),
        _ => Ok(()),
    }
}

/// What was named outright is shown, sent again or not.
fn selection(args: &ShowArgs) -> FilterArgs {
    let mut filter = args.filter.clone();
    filter.at.extend(&args.letters);
    filter.all |= !filter.at.is_empty();
    filter
}

fn write(out: &mut impl Write, letter: &Letter<'_>, value_bytes_max: usize) -> io::Result<()> {
    writeln!(out, "{} {}", topics::DEAD_LETTERS, letter.place)?;
    let mut say = |name: &str, what: &str| writeln!(out, "  {name:<12}{what}");
    say("review", &letter.id.as_deref().map_or("-".to_owned(), |id| words::line(id, usize::MAX)))?;
    if let Some(source) = &letter.source {
        say("source", &words::line(source, usize::MAX))?;
    }
    match letter.note {
        None => say("refused", letter.message())?,
        Some(note) => {
            let (stage, class) = (note.stage.as_str(), words::line(note.class, usize::MAX));
            say("refused", &format!("{class} at {stage}, {}", words::time(note.failed_at)))?;
            say("because", &words::line(note.message, usize::MAX))?;
            let hope = if note.is_retryable {
                "may pass another time"
            } else {
                "the record has to change"
            };
            say("tries", &format!("{} ({hope})", note.attempts))?;
            let place = note.place;
            let topic = words::line(place.topic, usize::MAX);
            say("original", &format!("{topic} {}:{}", place.partition, place.offset))?;
        }
    }
    match letter.redriven {
        None => say("sent again", "no")?,
        Some(note) => {
            let by = note.by.as_deref().map_or("-".to_owned(), |by| words::line(by, usize::MAX));
            say("sent again", &format!("{} by {by}", words::time(note.redriven_at)))?;
        }
    }
    let written = letter.record.written_at().map_or("-".to_owned(), words::time);
    say("timestamp", &written)?;
    say("key", &words::bytes(letter.record.key.as_deref()))?;
    for header in &letter.record.headers {
        let name = words::line(&header.name, usize::MAX);
        say("header", &format!("{name}: {}", words::bytes(header.value.as_deref())))?;
    }
    say("value", &value(letter, value_bytes_max))?;
    writeln!(out)
}

/// What the value is, and the value: JSON with line breaks, text, or a hex dump.
fn value(letter: &Letter<'_>, bytes_max: usize) -> String {
    let Some(value) = letter.record.value.as_deref() else { return "null".to_owned() };
    let bytes = value.len();
    if value.is_empty() {
        return "empty".to_owned();
    }
    let pretty = letter::json(letter.record)
        .and_then(|json| serde_json::to_string_pretty(&json).ok())
        .map(|json| ("JSON", json));
    let text = || {
        let text = str::from_utf8(value).ok()?;
        let is_text = !text.chars().any(|it| it.is_control() && !it.is_whitespace());
        is_text.then(|| ("text", text.to_owned()))
    };
    if let Some((kind, text)) = pretty.or_else(text) {
        let (shown, rest) = text.split_at(text.floor_char_boundary(bytes_max));
        return format!("{kind}, {bytes} bytes\n{}{}", words::lines(shown), more(rest.len()));
    }
    let (shown, rest) = value.split_at(bytes.min(bytes_max));
    format!("neither JSON nor text, {bytes} bytes\n{}{}", words::dump(shown), more(rest.len()))
}

fn more(bytes: usize) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!("\n... {bytes} bytes more; --full prints all"),
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Stage, redrive::RedriveNote};

    use super::*;
    use crate::dlq::letter::tests::{at, delivery};

    fn shown(text: &str, bytes_max: usize) -> String {
        let delivery = delivery(Stage::Infer, "ModelFailed", 100, text);
        let mut redriven = Redriven::default();
        let note = RedriveNote {
            redriven_at: at(200),
            by: Some("ada".to_owned()),
            attempts: 1,
            failed_at: at(100),
        };
        redriven.insert("0:100".parse().unwrap(), note);
        let mut out = Vec::new();
        write(&mut out, &Letter::read(&delivery, &redriven), bytes_max).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(text: &str, bytes_max: usize, expected: &str) {
        let shown = shown(text, bytes_max);
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn a_letter_says_why_where_from_and_what_became_of_it() {
        let letter = r#"{"id":"a","source":"web"}"#;
        check(letter, 100, "reviews.v1.dlq 0:100\n");
        check(letter, 100, "review      a\n");
        check(letter, 100, "source      web\n");
        check(letter, 100, "ModelFailed at INFER, 1970-01-01T00:01:40Z");
        check(letter, 100, "because     told to\n");
        check(letter, 100, "1 (may pass another time)");
        check(letter, 100, "original    reviews.v1 3:42\n");
        check(letter, 100, "sent again  1970-01-01T00:03:20Z by ada");
        check(letter, 100, "header      dlq.attempts: 1\n");
    }

    #[test]
    fn a_value_is_shown_as_what_it_is() {
        check(r#"{"id":"a"}"#, 100, "JSON, 10 bytes\n{\n  \"id\": \"a\"\n}\n");
        check("not\tJSON\n", 100, "text, 9 bytes\nnot\tJSON\n");
        check("a\u{1b}b", 100, "neither JSON nor text, 3 bytes\n00000000  61 1b 62 ");
        check("", 100, "value       empty\n");
        check(&"é".repeat(10), 5, "éé\n... 16 bytes more");
        check("\u{0}1234", 2, "00 31 ");
        check("\u{0}1234", 2, "... 3 bytes more");
    }
}
