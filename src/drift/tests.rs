//! A store with four clean hours and four in which reviews changed, and what a report says of them.

use std::{collections::BTreeMap, fs, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use drift::Signal;
use jiff::{SignedDuration, Timestamp};
use models::Repository;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use schemas::{DriftFeatures, Feedback, ModelRef, Origin, ReviewId, Verdict};
use store::{FeedbackRow, Row, SqliteSettings, SqliteStore, VerdictStore};
use tempfile::TempDir;

use super::{
    gather::{self, Period, Question},
    judged::Report,
    movers::Mover,
    page, table,
};

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models");
const HOURS: i64 = 8;
/// The first hour in which reviews are otherwise.
const DRIFTED_FROM: i64 = 4;
const REVIEWS_AN_HOUR: i64 = 600;
/// Of the drifted hours every so many-th review has a label.
const LABELLED_EVERY: i64 = 4;

/// As the tiny model's reference has it: counts by deciles of confidence, all about equal, and by tokens.
const CONFIDENCE: [f32; 11] = [
    0.5, 0.572_683, 0.626_258, 0.687_766, 0.747_875, 0.799_577, 0.847_021, 0.896_645, 0.947_404,
    0.983_646, 1.0,
];
const TOKENS: [(u32, u32); 8] =
    [(2, 13), (10, 122), (18, 168), (28, 172), (40, 242), (56, 117), (70, 36), (100, 2)];

fn start() -> Timestamp {
    "2025-03-01T00:00:00Z".parse().unwrap()
}

fn tiny() -> ModelRef {
    let manifest = fs::read(Path::new(MODELS).join("tiny/1/model.toml")).unwrap();
    let digest = models::Digest::of(&manifest).to_string();
    ModelRef { name: "tiny".to_owned(), version: "1".to_owned(), digest }
}

fn verdict(hour: i64, number: i64, model: &ModelRef, random: &mut StdRng) -> Verdict {
    let has_drifted = DRIFTED_FROM <= hour;
    let negative = if has_drifted { 0.75 } else { 411.0 / 872.0 };
    let decile = random.random_range(0..if has_drifted { 5 } else { 10 });
    let confidence = random.random_range(CONFIDENCE[decile]..CONFIDENCE[decile + 1]);
    let mut left = random.random_range(0..872);
    let tokens = TOKENS.iter().find(|(_, count)| {
        let is_here = left < *count;
        left = left.saturating_sub(*count);
        is_here
    });
    let is_negative = random.random_bool(negative);
    let [label, other] =
        if is_negative { ["negative", "positive"] } else { ["positive", "negative"] };
    let at = start() + SignedDuration::from_secs(3_600 * hour + 5 * number);
    let text = if has_drifted { "<script>alert(1)</script> & \"cold\" soup" } else { "Fine." };
    Verdict {
        schema_version: schemas::verdict::SCHEMA_VERSION,
        id: ReviewId::new(format!("review-{hour}-{number:03}")).unwrap(),
        review: Some(format!("{text} {number}")),
        review_sha256: String::new(),
        label: label.to_owned(),
        confidence,
        probabilities: BTreeMap::from([
            (label.to_owned(), confidence),
            (other.to_owned(), 1.0 - confidence),
        ]),
        model: model.clone(),
        tokens: tokens.map_or(20, |(tokens, _)| *tokens),
        precision: None,
        truncated: false,
        // Half of the line says nothing more of its verdicts, as old programs do.
        drift: (number % 2 == 0)
            .then(|| DriftFeatures { special_tokens: 2, ..DriftFeatures::default() }),
        source: None,
        language: None,
        metadata: None,
        origin: None,
        occurred_at: at,
        received_at: at,
        scored_at: at,
        queue_ms: 0.1,
        inference_ms: 0.2,
        batch_size: 1,
        trace_id: None,
    }
}

/// Labels of the drifted hours: every other one is right, whatever the model is sure of.
fn label(verdict: &Verdict, offset: i64) -> FeedbackRow {
    let is_right = offset % 2 == 0;
    let other = verdict.probabilities.keys().find(|label| **label != verdict.label);
    let label = if is_right { verdict.label.clone() } else { other.unwrap().clone() };
    let given_at = Some(verdict.scored_at + SignedDuration::from_secs(10));
    FeedbackRow {
        feedback: Feedback { id: verdict.id.as_str().to_owned(), label, by: None, given_at },
        origin: Origin { topic: "feedback.v1".to_owned(), partition: 0, offset },
    }
}

async fn filled(model: &ModelRef) -> (TempDir, Arc<dyn VerdictStore>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verdicts.db");
    let store = SqliteStore::open(&path, &SqliteSettings::default()).unwrap();
    let mut random = StdRng::seed_from_u64(20_250_301);
    let mut labels = Vec::new();
    for hour in 0..HOURS {
        let verdicts: Vec<_> =
            (0..REVIEWS_AN_HOUR).map(|number| verdict(hour, number, model, &mut random)).collect();
        if DRIFTED_FROM <= hour {
            let labelled = verdicts.iter().step_by(usize::try_from(LABELLED_EVERY).unwrap());
            for verdict in labelled {
                let offset = i64::try_from(labels.len()).unwrap();
                labels.push(label(verdict, offset));
            }
        }
        let rows: Vec<_> = verdicts.into_iter().map(Row::new).collect();
        store.upsert(&rows).await.unwrap();
    }
    // A second opinion does not count, neither does one on a review that is not there.
    let second = FeedbackRow {
        origin: Origin { offset: 10_000, ..labels[0].origin.clone() },
        feedback: Feedback { by: Some("ben".to_owned()), ..labels[0].feedback.clone() },
    };
    let mut nobody = label(&verdict(0, 0, model, &mut random), 10_001);
    nobody.feedback.id = "nobody-wrote-it".to_owned();
    store.keep_feedback(&labels).await.unwrap();
    store.keep_feedback(&[second, nobody]).await.unwrap();
    (folder, Arc::new(store))
}

fn period(from_hour: i64, to_hour: i64) -> Period {
    let at = |hour| start() + SignedDuration::from_hours(hour);
    Period { from: at(from_hour), to: at(to_hour), window_s: NonZeroU32::new(3_600).unwrap() }
}

/// The reports, or what stands in their way.
async fn reports(
    store: &dyn VerdictStore,
    period: Period,
    model: Option<&str>,
) -> Result<Vec<Report>, String> {
    let question = Question {
        period,
        model: model.map(|model| model.parse().unwrap()),
        late_after: Duration::from_hours(1),
        store,
        repository: Repository::directory(MODELS),
        profile: drift::reference::WHOLE,
    };
    let gathered = gather::windows(&question).await.map_err(|error| format!("{error:#}"))?;
    let mut reports: Vec<_> = gathered.into_iter().filter_map(Report::of).collect();
    gather::movers(&question, &mut reports).await.map_err(|error| format!("{error:#}"))?;
    Ok(reports)
}

#[tokio::test]
async fn a_period_that_changed_half_way_is_told_so() {
    let (_folder, store) = filled(&tiny()).await;
    let found = reports(&*store, period(0, HOURS), Some("tiny@1")).await.unwrap();
    let [report] = &found[..] else { panic!("{} reports", found.len()) };
    assert_eq!(report.whole.n(), u64::try_from(HOURS * REVIEWS_AN_HOUR).unwrap());
    assert_eq!((report.judgements.len(), report.uncounted), (8, 0));

    let course = |signal| {
        let course = report.course(signal);
        (course.measured, course.drifted, course.state.name())
    };
    assert_eq!(course(Signal::Labels), (8, 4, "alerting"));
    assert_eq!(course(Signal::Confidence), (8, 4, "alerting"));
    assert_eq!(course(Signal::Tokens), (8, 0, "quiet"));
    assert_eq!(course(Signal::AccuracyGap), (0, 0, "quiet"), "150 labels an hour are too few");
    assert!(report.decision(Signal::Languages).is_none(), "the bundle does not count them");
    let labels = report.decision(Signal::Labels).unwrap();
    assert!(labels.drifted && (0.1..0.2).contains(&labels.measurement.effect), "{labels:?}");

    let labelled = 4 * REVIEWS_AN_HOUR / LABELLED_EVERY;
    assert_eq!(report.whole.sums().labelled.n(), u64::try_from(labelled).unwrap());
    let realised = report.overall.realised_accuracy.unwrap();
    assert!((realised.value - 0.5).abs() < 1e-9, "{realised:?}");
    let gap = report.decision(Signal::AccuracyGap).unwrap();
    assert!(gap.drifted && gap.measurement.n == 600, "over the whole period there are enough");

    let mut text = Vec::new();
    table::write(&mut text, &period(0, HOURS), report).unwrap();
    let text = String::from_utf8(text).unwrap();
    for part in [
        "tiny@1 from 2025-03-01T00:00:00Z to 2025-03-01T08:00:00Z",
        "4800 verdicts in 8 windows of 3600 s, beside 872 held-out ones",
        "alerting (4 of 8 windows drifted)",
        "the share of label `positive` fell from 52.9 % to 38.2 % (4800 reviews, p < 0.0001 on clean data)",
        "realised 50.0 % (\u{b1} 4.1) on 600 labels",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn a_clean_period_is_quiet() {
    let (_folder, store) = filled(&tiny()).await;
    let found = reports(&*store, period(0, DRIFTED_FROM), None).await.unwrap();
    let drifted: Vec<_> =
        Signal::ALL.into_iter().filter(|signal| 0 < found[0].course(*signal).drifted).collect();
    assert_eq!((found.len(), found[0].judgements.len(), drifted), (1, 4, Vec::new()));
    assert_eq!(found[0].overall.realised_accuracy, None);
}

#[tokio::test]
async fn the_texts_that_moved_a_signal_are_shown_as_text() {
    let (_folder, store) = filled(&tiny()).await;
    let found = reports(&*store, period(DRIFTED_FROM, HOURS), None).await.unwrap();
    let report = &found[0];
    let labels = report.movers.of_signal(Signal::Labels);
    assert_eq!(labels.len(), 10);
    assert!(labels.iter().all(|mover| mover.label == "negative"));
    let wrong = report.movers.of_signal(Signal::AccuracyGap);
    assert!(wrong.is_sorted_by(|one, next| one.confidence >= next.confidence), "{wrong:?}");
    assert!(wrong.iter().all(|mover| mover.given.as_ref() != Some(&mover.label)));
    assert!(report.movers.of_signal(Signal::Tokens).is_empty(), "it did not move");

    let html = page::render(&period(DRIFTED_FROM, HOURS), &found);
    let escaped = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;cold&quot; soup";
    assert!(html.contains(escaped));
    assert!(!html.contains("<script"), "a review became markup");
    for part in ["<h1>", "<th scope=\"col\">", "<caption>", "role=\"img\" aria-label=\"", "<title>"]
    {
        assert!(html.contains(part), "{part}");
    }
    for elsewhere in ["http://", "https://", "url(", "@import", "src="] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }

    // Where only half of a period drifted, its texts are of that half.
    let whole = reports(&*store, period(0, HOURS), None).await.unwrap();
    let labels = whole[0].movers.of_signal(Signal::Labels);
    let clean = ["review-0", "review-1", "review-2", "review-3"];
    let is_clean = |mover: &&&Mover| clean.iter().any(|hour| mover.id.starts_with(hour));
    assert_eq!((labels.len(), labels.iter().find(is_clean)), (10, None));
}

#[tokio::test]
async fn what_cannot_be_told_is_said_in_a_line() {
    let (_folder, store) = filled(&tiny()).await;
    let told = async |period, model| reports(&*store, period, model).await.unwrap_err();
    let empty = told(period(100, 101), None).await;
    assert_eq!(empty, "no verdict from 2025-03-05T04:00:00Z to 2025-03-05T05:00:00Z in the store");
    let unknown = told(period(0, 1), Some("other@2")).await;
    assert!(unknown.starts_with("no verdict of other@2 from"), "{unknown}");

    let lost = ModelRef { digest: "sha256:lost".to_owned(), ..tiny() };
    let (_folder, store) = filled(&lost).await;
    let told = reports(&*store, period(0, 1), None).await.unwrap_err();
    assert!(told.starts_with("no reference for tiny@1: "), "{told}");
    assert!(told.contains("sha256:lost") && told.ends_with("(another folder: --models)"), "{told}");
}
