//! The verdicts that moved each signal most: the few of them that are kept while all pass by.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
};

use drift::{Features, Judgement, Reference, Signal, Window, Witness};
use schemas::Verdict;

/// Texts of one signal.
const TEXTS_MAX: usize = 10;

/// Characters of one text that are shown.
const CHARACTERS_MAX: usize = 300;

/// A verdict that moved a signal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mover {
    /// By how much, on a scale of the signal's own.
    pull: f64,
    pub(crate) id: String,
    /// Cut to what is shown; absent where storage of text is off.
    pub(crate) text: Option<String>,
    pub(crate) label: String,
    pub(crate) confidence: f32,
    pub(crate) tokens: u32,
    /// The label that people gave, where that is what it is about.
    pub(crate) given: Option<String>,
}

/// The movers of all signals that moved.
#[derive(Debug, Default)]
pub(crate) struct Movers {
    witness: Option<Witness>,
    kept: BTreeMap<Signal, BinaryHeap<Reverse<Mover>>>,
}

impl Movers {
    /// For the signals whose difference over the whole period counts.
    pub(super) fn of(whole: &Window, reference: &Reference, overall: &Judgement) -> Self {
        let moved = overall.decisions.iter().filter(|decision| decision.drifted);
        let kept = moved.map(|decision| (decision.signal, BinaryHeap::new())).collect();
        Self { witness: Some(Witness::of(whole, reference)), kept }
    }

    /// Keeps `verdict` where it is among those that moved a signal most.
    pub(super) fn consider(
        &mut self,
        reference: &Reference,
        verdict: &Verdict,
        features: &Features,
    ) {
        let Some(witness) = &self.witness else { return };
        for (signal, heap) in &mut self.kept {
            if let Some(pull) = witness.pull(reference, *signal, features) {
                keep(heap, pull, verdict, None);
            }
        }
    }

    /// Keeps a verdict that people say is wrong where it is among the surest of these.
    pub(super) fn consider_label(&mut self, verdict: &Verdict, label: &str) {
        if label == verdict.label {
            return;
        }
        if let Some(heap) = self.kept.get_mut(&Signal::AccuracyGap) {
            keep(heap, f64::from(verdict.confidence), verdict, Some(label));
        }
    }

    /// Those of `signal`, the strongest first.
    pub(crate) fn of_signal(&self, signal: Signal) -> Vec<&Mover> {
        let heap = self.kept.get(&signal);
        let mut movers: Vec<&Mover> = heap.into_iter().flatten().map(|Reverse(it)| it).collect();
        movers.sort_by(|one, other| other.cmp(one));
        movers
    }
}

fn keep(heap: &mut BinaryHeap<Reverse<Mover>>, pull: f64, verdict: &Verdict, given: Option<&str>) {
    // Most are weaker than the weakest that is kept: they cost no copy.
    let is_full = TEXTS_MAX <= heap.len();
    let weakest = heap.peek().map(|Reverse(weakest)| weakest.order());
    if is_full
        && weakest.is_some_and(|weakest| compare((pull, verdict.id.as_str()), weakest).is_le())
    {
        return;
    }
    let text = verdict.review.as_ref().map(|text| text.chars().take(CHARACTERS_MAX).collect());
    heap.push(Reverse(Mover {
        pull,
        id: verdict.id.as_str().to_owned(),
        text,
        label: verdict.label.clone(),
        confidence: verdict.confidence,
        tokens: verdict.tokens,
        given: given.map(str::to_owned),
    }));
    if TEXTS_MAX < heap.len() {
        heap.pop();
    }
}

impl Mover {
    fn order(&self) -> (f64, &str) {
        (self.pull, &self.id)
    }
}

/// By pull; of equal ones the smaller id is the stronger, so that the same rows give the same report.
fn compare(one: (f64, &str), other: (f64, &str)) -> Ordering {
    one.0.total_cmp(&other.0).then_with(|| other.1.cmp(one.1))
}

impl Ord for Mover {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.order(), other.order())
    }
}

impl PartialOrd for Mover {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Mover {}
