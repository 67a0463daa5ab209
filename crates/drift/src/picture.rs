//! A window beside its reference, in shares of the bins that people can picture: what the statistics were computed of.

use crate::{
    histogram::Edges,
    number::share,
    reference::{Histogram, Reference},
    window::Window,
};

/// One category or bin.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its name, or the values that it holds.
    pub name: String,
    /// Share of the held-out data.
    pub reference: f64,
    /// Share of the window.
    pub observed: f64,
}

/// Shares of the labels.
pub fn labels(window: &Window, reference: &Reference) -> Vec<Bar> {
    let names = reference.labels().map(str::to_owned);
    bars(names, &reference.label_counts(), &window.sums().labels)
}

/// Shares of verdicts by confidence.
pub fn confidence(window: &Window, reference: &Reference) -> Vec<Bar> {
    histogram(&reference.confidence, &window.sums().confidence, 3)
}

/// Shares of reviews by tokens.
pub fn tokens(window: &Window, reference: &Reference) -> Vec<Bar> {
    histogram(&reference.tokens, &window.sums().tokens, 0)
}

/// Shares of the languages; empty where the reference counts none.
pub fn languages(window: &Window, reference: &Reference) -> Vec<Bar> {
    let Some(languages) = &reference.languages else { return Vec::new() };
    let names = (0..languages.counts.len()).map(|index| languages.name(index).to_owned());
    bars(names, &languages.counts, &window.sums().languages)
}

fn histogram(reference: &Histogram, observed: &[u64], decimals: usize) -> Vec<Bar> {
    bars(names(&reference.edges, decimals).into_iter(), &reference.counts, observed)
}

/// `0.500 to 0.731`.
fn names(edges: &Edges, decimals: usize) -> Vec<String> {
    let edges: Vec<f64> = edges.clone().into();
    let pairs = edges.iter().zip(edges.iter().skip(1));
    pairs.map(|(from, to)| format!("{from:.decimals$} to {to:.decimals$}")).collect()
}

fn bars(names: impl Iterator<Item = String>, reference: &[u64], observed: &[u64]) -> Vec<Bar> {
    let (references, n) = (reference.iter().sum(), observed.iter().sum());
    let counts = reference.iter().zip(observed);
    let bar = |(name, (&of_reference, &of_window)): (String, (&u64, &u64))| Bar {
        name,
        reference: share(of_reference, references),
        observed: share(of_window, n),
    };
    names.zip(counts).map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_named_by_what_it_holds() {
        let edges = Edges::new(vec![0.5, 0.75, 1.0]).unwrap();
        assert_eq!(names(&edges, 2), ["0.50 to 0.75", "0.75 to 1.00"]);
        let bars = bars(names(&edges, 1).into_iter(), &[1, 3], &[2, 0]);
        let shares: Vec<_> = bars.iter().map(|bar| (bar.reference, bar.observed)).collect();
        assert_eq!(shares, [(0.25, 1.0), (0.75, 0.0)]);
    }
}
