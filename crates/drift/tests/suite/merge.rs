//! Windows add up to the same whatever the order, survive being written and read, and refuse what is not one.

use std::{num::NonZeroU32, sync::LazyLock};

use drift::{
    Assembly, Model, Reference, Window,
    assembly::{AssemblySettings, Closed, Length, OPEN_MAX, Taken},
    error::{Uncounted, Unmergeable},
    reference::WHOLE,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::synthetic::{Judged, USUAL, World, model, random, reference};

/// Making one takes longer than a hundred cases with it.
static REFERENCE: LazyLock<Reference> = LazyLock::new(|| reference(300, 1));

/// Hour of the made-up reviews, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

fn empty() -> Window {
    Window::empty(model(), &REFERENCE).unwrap()
}

fn window(seed: u64, n: usize) -> Window {
    World { foreign: 0.2, unknown: 0.01, ..USUAL }.window(&REFERENCE, n, &mut random(seed))
}

fn merged<'a>(windows: impl IntoIterator<Item = &'a Window>) -> Window {
    windows.into_iter().fold(empty(), |sum, next| sum.merge(next).unwrap())
}

/// One window of `n` reviews from `first_ms` on, a second apart.
fn at(first_ms: i64, n: i64) -> Window {
    let mut random = random(1);
    let mut window = empty();
    for second in 0..n {
        let Judged { features, .. } = USUAL.review(&mut random);
        window.record(&REFERENCE, first_ms + 1_000 * second, &features).unwrap();
    }
    window
}

fn assembly(length: Length) -> Assembly {
    Assembly::new(AssemblySettings { length, lateness_seconds: 60 }, model())
}

fn hours() -> Length {
    Length::Seconds(NonZeroU32::new(3_600).unwrap())
}

fn closed(assembly: &mut Assembly) -> Vec<Closed> {
    std::iter::from_fn(|| assembly.close()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_is_associative_and_commutative_and_has_an_identity(
        seeds in any::<[u64; 3]>(),
        sizes in [0_usize..20, 0..20, 0..20],
    ) {
        let [a, b, c] = [0, 1, 2].map(|index| window(seeds[index], sizes[index]));
        let left = a.merge(&b).unwrap().merge(&c).unwrap();
        let right = a.merge(&b.merge(&c).unwrap()).unwrap();
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(a.merge(&b).unwrap(), b.merge(&a).unwrap());
        prop_assert_eq!(&a.merge(&empty()).unwrap(), &a);
        prop_assert_eq!(&empty().merge(&a).unwrap(), &a);
    }

    #[test]
    fn however_verdicts_are_split_and_whatever_comes_first_the_sum_is_the_same(
        seed in any::<u64>(),
        parts in prop::collection::vec(0_usize..5, 60),
        order in Just((0..5).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let mut random = random(seed);
        let mut whole = empty();
        let mut windows = vec![empty(); 5];
        for (second, &part) in (0..).zip(&parts) {
            let Judged { features, is_correct } = USUAL.review(&mut random);
            for window in [&mut whole, &mut windows[part]] {
                window.record(&REFERENCE, 1_000 * second, &features).unwrap();
                window.record_label(&REFERENCE, 1_000 * second, features.confidence, is_correct).unwrap();
            }
        }
        prop_assert_eq!(merged(order.iter().map(|&index| &windows[index])), whole);
    }

    #[test]
    fn a_window_is_read_as_it_was_written(seed in any::<u64>(), n in 0_usize..50) {
        let window = window(seed, n);
        let json = serde_json::to_string(&window).unwrap();
        prop_assert_eq!(serde_json::from_str::<Window>(&json).unwrap(), window);
    }

    #[test]
    fn a_part_of_a_program_that_counts_no_words_counts_all_the_same(
        seeds in any::<[u64; 2]>(),
        sizes in [1_usize..20, 1..20],
    ) {
        let [new, other] = [0, 1].map(|index| window(seeds[index], sizes[index]));
        let mut json = serde_json::to_value(&other).unwrap();
        prop_assert!(json.as_object_mut().unwrap().remove("words").is_some());
        let old: Window = serde_json::from_value(json).unwrap();
        let both = new.merge(&old).unwrap();
        prop_assert_eq!(&old.merge(&new).unwrap(), &both);
        prop_assert_eq!(both.n(), new.n() + old.n());
        prop_assert_eq!(&both.sums().words, &new.sums().words);
        prop_assert_eq!(old.merge(&empty()).unwrap(), old);
    }

    #[test]
    fn partial_windows_in_any_order_give_the_same_closed_windows(
        hours_of in prop::collection::vec(0_i64..4, 12),
        order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let partials: Vec<Window> =
            (0..).zip(&hours_of).map(|(index, hour)| at(hour * HOUR_MS + 60_000 * index, 3)).collect();
        let close = |order: &[usize]| {
            let mut assembly = assembly(hours());
            for &index in order {
                assert_eq!(assembly.add(&partials[index]).unwrap(), Taken::Open);
            }
            // Late enough for all of them to be complete.
            assembly.add(&at(9 * HOUR_MS, 1)).unwrap();
            closed(&mut assembly)
        };
        let in_order: Vec<usize> = (0..12).collect();
        prop_assert_eq!(close(&order), close(&in_order));
    }
}

#[test]
fn a_window_stays_small_however_much_it_holds() {
    let few = serde_json::to_vec(&window(1, 500)).unwrap().len();
    let many = serde_json::to_vec(&window(1, 10_000)).unwrap().len();
    assert!(many < 2 * few && many < 8_192, "{few} and {many} bytes");
}

#[test]
fn a_mean_of_fixed_point_sums_is_the_mean() {
    let mut random = random(3);
    let mut window = empty();
    let (mut confidence, mut features_sum) = (0.0, vec![0.0; 64]);
    let (map, _) = REFERENCE.embedding().unwrap();
    for _ in 0..100 {
        let Judged { features, .. } = USUAL.review(&mut random);
        window.record(&REFERENCE, 0, &features).unwrap();
        confidence += f64::from(features.confidence) / 100.0;
        for (sum, feature) in
            features_sum.iter_mut().zip(map.features(&features.projection.unwrap()))
        {
            *sum += feature / 100.0;
        }
    }
    assert!((window.mean_confidence().unwrap() - confidence).abs() < 1e-6);
    let mean = window.mean_embedding(&REFERENCE).unwrap();
    assert!(mean.iter().zip(features_sum).all(|(found, mean)| (found - mean).abs() < 1e-6));
}

#[test]
fn windows_of_two_models_or_of_two_shapes_do_not_merge() {
    let other = Model { version: "2".to_owned(), ..model() };
    let other = Window::empty(other, &REFERENCE).unwrap();
    assert!(matches!(empty().merge(&other), Err(Unmergeable::Models(_))));
    let shipped = include_bytes!("../../../../models/sentiment/1/reference.json");
    let shipped = Reference::from_json(shipped, WHOLE).unwrap();
    let other = Window::empty(model(), &shipped).unwrap();
    assert!(matches!(empty().merge(&other), Err(Unmergeable::Bins(_))));
    let Judged { features, .. } = USUAL.review(&mut random(1));
    assert_eq!(empty().record(&shipped, 0, &features), Err(Uncounted::Reference));
}

#[test]
fn a_refused_verdict_leaves_the_window_as_it_was() {
    let Judged { mut features, .. } = USUAL.review(&mut random(1));
    features.label = "neutral".to_owned();
    let mut window = window(1, 5);
    let before = window.clone();
    assert!(window.record(&REFERENCE, 0, &features).is_err());
    assert!(window.record_label(&REFERENCE, 0, f32::NAN, true).is_err());
    assert_eq!(window, before);
}

#[test]
fn sums_that_cannot_be_those_of_a_window_are_not_read() {
    let written = serde_json::to_value(window(1, 20)).unwrap();
    assert!(serde_json::from_value::<Window>(written.clone()).is_ok());
    for (pointer, value) in [
        ("/n", json!(21)),
        ("/labels/0", json!(u64::MAX)),
        ("/labels", json!([])),
        ("/labels", json!([20, 0, 0, 0, 0])),
        ("/confidence", json!(vec![0; 100])),
        ("/confidence_sum", json!(-1)),
        ("/confidence_sum", json!(i64::MAX)),
        ("/uncertain", json!(21)),
        ("/truncated", json!(21)),
        ("/token_sums/unknown", json!(u64::MAX)),
        ("/token_sums/text_squares", json!(u64::MAX)),
        ("/token_sums/unknown_squares", json!(u64::MAX)),
        ("/token_sums/products", json!(u64::MAX)),
        ("/cross_entropy/n", json!(21)),
        ("/cross_entropy/squares", json!(i64::MAX)),
        ("/words/n", json!(21)),
        ("/words/n", json!(0)),
        ("/words/counts", json!("")),
        ("/words/counts", json!("-2047")),
        ("/words/counts", json!("21 -2047")),
        ("/words/counts", json!(vec![0; 2_048])),
        ("/embedding/n", json!(21)),
        ("/embedding/cosines/0", json!(i64::MIN)),
        ("/labelled/correct", json!(21)),
        ("/labelled/confidence", json!([20])),
        ("/span", Value::Null),
        ("/span/last_ms", json!(-1)),
        ("/model/name", json!("a".repeat(257))),
    ] {
        let mut wrong = written.clone();
        *wrong.pointer_mut(pointer).unwrap() = value.clone();
        // A different number of labels alone is a window of another model.
        let is_another = pointer == "/labels" && value != json!([]);
        assert_eq!(
            serde_json::from_value::<Window>(wrong).is_ok(),
            is_another,
            "{pointer} = {value}"
        );
    }
}

#[test]
fn a_window_of_an_hour_closes_when_the_next_one_is_well_under_way() {
    let mut assembly = assembly(hours());
    assembly.add(&at(10 * HOUR_MS, 5)).unwrap();
    assembly.add(&at(11 * HOUR_MS, 5)).unwrap();
    assert_eq!(closed(&mut assembly), []);
    assembly.add(&at(11 * HOUR_MS + 60_000, 1)).unwrap();
    let [Closed { index: 10, window }] = &closed(&mut assembly)[..] else { panic!("not one") };
    assert_eq!((window.n(), assembly.open()), (5, 1));
    assert_eq!(assembly.add(&at(10 * HOUR_MS + 60_000, 1)), Ok(Taken::Late));
    assert_eq!(assembly.add(&empty()), Ok(Taken::Empty));
    let other = Model { version: "2".to_owned(), ..model() };
    let other = Window::empty(other, &REFERENCE).unwrap();
    assert!(matches!(assembly.add(&other), Err(Unmergeable::Models(_))));
    let straddling = at(12 * HOUR_MS - 1_000, 2);
    assert!(matches!(assembly.add(&straddling), Err(Unmergeable::Slots(_))));
}

fn labels_at(first_ms: i64, n: i64) -> Window {
    let mut window = empty();
    for second in 0..n {
        window.record_label(&REFERENCE, first_ms + 1_000 * second, 0.75, second != 0).unwrap();
    }
    window
}

#[test]
fn labels_alone_are_a_window_and_count_when_they_come() {
    let labels = labels_at(10 * HOUR_MS, 3);
    let written = serde_json::to_string(&labels).unwrap();
    assert_eq!(serde_json::from_str::<Window>(&written).unwrap(), labels);
    let mut assembly = assembly(hours());
    assembly.add(&at(10 * HOUR_MS, 5)).unwrap();
    assert_eq!(assembly.add(&labels), Ok(Taken::Open));
    // Labels of a later hour close nothing.
    assert_eq!(assembly.add(&labels_at(20 * HOUR_MS, 1)), Ok(Taken::Open));
    assert_eq!(closed(&mut assembly), []);
    assembly.add(&at(11 * HOUR_MS + 60_000, 1)).unwrap();
    let [Closed { index: 10, window }] = &closed(&mut assembly)[..] else { panic!("not one") };
    assert_eq!((window.n(), window.sums().labelled.n(), window.sums().labelled.correct), (5, 3, 2));
    // Read after its window was closed, a label counts in the next one.
    assert_eq!(assembly.add(&labels_at(2 * HOUR_MS, 2)), Ok(Taken::Open));
    assembly.add(&at(12 * HOUR_MS + 60_000, 1)).unwrap();
    let [Closed { index: 11, window }] = &closed(&mut assembly)[..] else { panic!("not one") };
    assert_eq!((window.n(), window.sums().labelled.n()), (1, 2));
}

#[test]
fn a_window_of_so_many_reviews_closes_when_it_has_them() {
    let mut assembly = assembly(Length::Reviews(NonZeroU32::new(8).unwrap()));
    let mut sizes = Vec::new();
    for hour in 0..6 {
        assembly.add(&at(hour * HOUR_MS, 5)).unwrap();
        sizes.extend(closed(&mut assembly).iter().map(|closed| (closed.index, closed.window.n())));
    }
    assert_eq!(sizes, [(0, 10), (1, 10), (2, 10)]);
}

#[test]
fn open_windows_are_bounded() {
    let mut assembly = assembly(hours());
    let hours = i64::try_from(OPEN_MAX).unwrap() + 5;
    // Ever older reviews: no window is complete, and the oldest are closed all the same.
    for hour in (0..hours).rev() {
        assembly.add(&at(hour * HOUR_MS, 1)).unwrap();
    }
    assert_eq!(closed(&mut assembly).len() + assembly.open(), usize::try_from(hours).unwrap());
    assert!(assembly.open() <= OPEN_MAX);
}

#[test]
fn an_assembly_goes_on_where_it_was_written_down() {
    let mut here = assembly(hours());
    here.add(&at(10 * HOUR_MS, 5)).unwrap();
    let mut there: Assembly = serde_json::from_str(&serde_json::to_string(&here).unwrap()).unwrap();
    for assembly in [&mut here, &mut there] {
        assembly.add(&at(12 * HOUR_MS, 5)).unwrap();
    }
    assert_eq!(closed(&mut here), closed(&mut there));
}
