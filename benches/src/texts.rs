//! Reviews to measure with: a file's, or sentences of our own.

use std::path::Path;

use anyhow::{Context as _, ensure};

const SUBJECTS: [&str; 10] = [
    "the room",
    "our waiter",
    "this film",
    "the second half of the book",
    "the battery",
    "the view from the balcony",
    "customer service",
    "the soundtrack",
    "breakfast",
    "the whole trip",
];
const VERBS: [&str; 8] =
    ["was", "felt", "turned out", "is", "remained", "seemed", "proved to be", "looked"];
const JUDGEMENTS: [&str; 10] = [
    "wonderful",
    "far too expensive for what it is",
    "clean and affordable",
    "a complete waste of time",
    "better than anything we had hoped for",
    "dull",
    "rather ordinary, though never bad",
    "broken on the first day",
    "charming in an old-fashioned way",
    "so loud that nobody could sleep",
];
const ENDINGS: [&str; 6] = [
    "",
    ", and I would come back tomorrow",
    ", which is a shame",
    "; my sister says the same, and she is hard to please",
    ", but the price was fair",
    ". Ask for a table by the window and take your time",
];

/// `count` texts, no two alike, so that scoring equal texts once flatters nobody. A short file is gone round again with a
/// number at the end.
pub(crate) fn read(file: Option<&Path>, count: usize) -> anyhow::Result<Vec<String>> {
    let texts: Vec<String> = match file {
        None => (0..count).map(sentence).collect(),
        Some(path) => {
            let content = std::fs::read_to_string(path)
                .with_context(|| format!("reading {}", path.display()))?;
            content.lines().filter(|line| !line.trim().is_empty()).map(text_of).collect()
        }
    };
    ensure!(!texts.is_empty(), "the file has no reviews");
    let numbered = |number: usize, text: &String| match number.checked_div(texts.len()) {
        Some(0) | None => text.clone(),
        Some(round) => format!("{text} {round}"),
    };
    Ok(texts
        .iter()
        .cycle()
        .take(count)
        .enumerate()
        .map(|(number, text)| numbered(number, text))
        .collect())
}

fn text_of(line: &str) -> String {
    let object: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let field = |name: &str| object.as_ref()?.get(name)?.as_str().map(str::to_owned);
    field("review").or_else(|| field("text")).unwrap_or_else(|| line.to_owned())
}

/// The words of sentence `number`, different for each number.
fn sentence(number: usize) -> String {
    let pick = |words: &'static [&'static str], stride: usize| {
        words.get(number / stride % words.len()).copied().unwrap_or_default()
    };
    format!(
        "On visit {number}, {} {} {}{}.",
        pick(&SUBJECTS, 1),
        pick(&VERBS, 3),
        pick(&JUDGEMENTS, 7),
        pick(&ENDINGS, 11)
    )
}
