//! The verdicts that moved each signal most: the few of them that are kept while all pass by.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BTreeSet, BinaryHeap},
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
    kept: BTreeMap<Signal, Kept>,
}

/// Those of one signal.
#[derive(Debug, Default)]
struct Kept {
    /// The windows that drifted; where none did alone, any will do.
    windows: BTreeSet<i64>,
    movers: BinaryHeap<Reverse<Mover>>,
}

impl Movers {
    /// For the signals whose difference over the whole period counts, and those that drifted in a window.
    pub(super) fn of(
        whole: &Window,
        reference: &Reference,
        overall: &Judgement,
        judgements: &[Judgement],
    ) -> Self {
        let mut kept: BTreeMap<Signal, Kept> = BTreeMap::new();
        for decision in overall.decisions.iter().filter(|decision| decision.drifted) {
            kept.entry(decision.signal).or_default();
        }
        let of_windows = judgements.iter().flat_map(|judgement| &judgement.decisions);
        for decision in of_windows.filter(|decision| decision.drifted) {
            kept.entry(decision.signal).or_default().windows.insert(decision.window);
        }
        Self { witness: Some(Witness::of(whole, reference)), kept }
    }

    /// Keeps `verdict`, of the window `slot`, where it is among those that moved a signal most.
    pub(super) fn consider(
        &mut self,
        reference: &Reference,
        (slot, verdict): (i64, &Verdict),
        features: &Features,
    ) {
        let Some(witness) = &self.witness else { return };
        for (signal, Kept { windows, movers }) in &mut self.kept {
            if !windows.is_empty() && !windows.contains(&slot) {
                continue;
            }
            if let Some(pull) = witness.pull(reference, *signal, features) {
                keep(movers, pull, verdict, None);
            }
        }
    }

    /// Keeps a verdict that people say is wrong where it is among the surest of these.
    pub(super) fn consider_label(&mut self, verdict: &Verdict, label: &str) {
        if label == verdict.label {
            return;
        }
        if let Some(Kept { movers, .. }) = self.kept.get_mut(&Signal::AccuracyGap) {
            keep(movers, f64::from(verdict.confidence), verdict, Some(label));
        }
    }

    /// Those of `signal`, the strongest first.
    pub(crate) fn of_signal(&self, signal: Signal) -> Vec<&Mover> {
        let kept = self.kept.get(&signal).into_iter().flat_map(|kept| &kept.movers);
        let mut movers: Vec<&Mover> = kept.map(|Reverse(mover)| mover).collect();
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
