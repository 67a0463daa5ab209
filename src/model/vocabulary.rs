//! How often each token occurs in the texts that a model was made with.

use std::path::PathBuf;

use anyhow::Context as _;
use processor::tokenizer::Tokenizer;
use schemas::ReviewText;

use super::held_out;

/// Counts by token id over the texts of `files`, read as the model reads them; none without files.
pub(super) fn count(tokenizer: &Tokenizer, files: &[PathBuf]) -> anyhow::Result<Option<Vec<u64>>> {
    let mut counts = vec![0_u64; tokenizer.vocabulary_size()];
    for file in files {
        let reading = || format!("reading {}", file.display());
        for text in held_out::texts(file).with_context(reading)? {
            // What the line refuses is no review, whatever the model was made with.
            let Ok(text) = ReviewText::new(&text.with_context(reading)?) else { continue };
            let encoding = tokenizer.encode(&text).map_err(anyhow::Error::msg);
            add(&mut counts, encoding.with_context(reading)?.text_ids());
        }
    }
    Ok((!files.is_empty()).then_some(counts))
}

fn add(counts: &mut Vec<u64>, ids: &[u32]) {
    for &id in ids {
        let Ok(index) = usize::try_from(id) else { continue };
        if counts.len() <= index {
            counts.resize(index + 1, 0);
        }
        if let Some(count) = counts.get_mut(index) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_counts_and_a_sparse_vocabulary_grows() {
        let mut counts = vec![0; 3];
        add(&mut counts, &[1, 1, 4]);
        assert_eq!(counts, [0, 2, 0, 0, 1]);
    }
}
