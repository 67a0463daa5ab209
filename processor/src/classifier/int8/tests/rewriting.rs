//! Graphs that are rewritten, and graphs that are not.

use tract_onnx::{
    prelude::*,
    tract_core::{
        internal::*,
        ops::{
            einsum::EinSum,
            math,
            nn::{Reduce, Reducer, Softmax, SoftmaxKind},
        },
    },
};

use super::{
    super::rewrite::{Unmatched, rewrite},
    *,
};

/// A graph with an input `[rows, tokens, width]`.
fn graph(width: usize) -> (TypedModel, OutletId) {
    let mut model = TypedModel::default();
    let [rows, tokens] =
        ["rows", "tokens"].map(|name| model.symbols.new_with_prefix(name).to_dim());
    let input = model.add_source("input", f32::fact([rows, tokens, width.to_dim()])).unwrap();
    (model, input)
}

fn tensor(shape: &[usize], seed: u64) -> Tensor {
    let values: Vec<f32> =
        numbers(shape.iter().product(), seed).into_iter().map(|value| value / 4.0).collect();
    Tensor::from_shape(shape, &values).unwrap()
}

fn product(model: &mut TypedModel, axes: &str, inputs: &[OutletId]) -> OutletId {
    let einsum = EinSum::new(axes.parse().unwrap(), f32::datum_type());
    model.wire_node(format!("product-{}", model.nodes().len()), einsum, inputs).unwrap()[0]
}

fn finished(mut model: TypedModel, output: OutletId) -> TypedModel {
    model.select_output_outlets(&[output]).unwrap();
    model.into_decluttered().unwrap()
}

fn run(model: &TypedModel, input: Tensor) -> Vec<f32> {
    let runnable = model.clone().into_optimized().unwrap().into_runnable().unwrap();
    let output = runnable.run(tvec!(input.into_tvalue())).unwrap();
    output[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect()
}

fn operations(model: &TypedModel) -> Vec<String> {
    model
        .nodes()
        .iter()
        .map(|node| node.op().name().to_string())
        .filter(|name| name != "Const")
        .collect()
}

#[test]
fn a_layer_is_found_whichever_way_its_matrix_lies_and_with_or_without_a_bias() {
    for tier in Tier::all() {
        for (axes, shape, has_bias) in [
            ("amk,kn->amn", [40, 24], true),
            ("amk,nk->amn", [24, 40], true),
            ("amk,kn->amn", [40, 24], false),
        ] {
            let (mut model, input) = graph(40);
            let weights = model.add_const("weights", tensor(&shape, 3)).unwrap();
            let mut output = product(&mut model, axes, &[input, weights]);
            if has_bias {
                let bias = model.add_const("bias", tensor(&[1, 1, 24], 4)).unwrap();
                output = model.wire_node("sum", math::add(), &[output, bias]).unwrap()[0];
            }
            let model = finished(model, output);
            let rewritten = rewrite(&model, tier).unwrap();
            assert_eq!(operations(&rewritten), ["Source", "Int8Linear"], "{axes}");
            let given = tensor(&[2, 3, 40], 5);
            let (found, expected) = (run(&rewritten, given.clone()), run(&model, given));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 0.1, "{axes}: {found} instead of {expected}");
            }
        }
    }
}

#[test]
fn a_layer_with_one_row_a_text_stays_exact_and_has_as_many_labels_as_it_likes() {
    for tier in Tier::all() {
        for labels in [2, 3, 64, 1_000] {
            let (mut model, input) = graph(40);
            let layer = model.add_const("layer", tensor(&[40, 48], 3)).unwrap();
            let over_tokens = product(&mut model, "amk,kn->amn", &[input, layer]);
            let sum = model
                .wire_node("sum", Reduce::new(tvec![1], Reducer::Sum), &[over_tokens])
                .unwrap();
            let first = model.wire_node("flat", AxisOp::Rm(1), &sum).unwrap()[0];
            let weights = model.add_const("head", tensor(&[labels, 48], 3)).unwrap();
            let output = product(&mut model, "mk,nk->mn", &[first, weights]);
            let rewritten = rewrite(&finished(model, output), tier).unwrap();
            let names = operations(&rewritten);
            assert!(
                names.contains(&"ExactLinear".to_owned())
                    && names.contains(&"Int8Linear".to_owned()),
                "{names:?}"
            );
            assert_eq!(run(&rewritten, tensor(&[3, 5, 40], 1)).len(), 3 * labels);
        }
    }
}

#[test]
fn what_is_not_known_stays_as_it_is() {
    for tier in Tier::all() {
        let (mut model, input) = graph(40);
        let output = product(&mut model, "amk,ank->amn", &[input, input]);
        assert!(matches!(
            rewrite(&finished(model, output), tier),
            Err(Unmatched::Left { count: 1, .. })
        ));

        let (mut model, input) = graph(40);
        let weights = model.add_const("weights", tensor(&[40, 24], 3)).unwrap();
        let scores = product(&mut model, "amk,kn->amn", &[input, weights]);
        let softmax = Softmax::new(tvec![2], None, SoftmaxKind::Softmax);
        let output = model.wire_node("softmax", softmax, &[scores]).unwrap()[0];
        let error = rewrite(&finished(model, output), tier).unwrap_err();
        assert!(error.to_string().contains("1 operations `Softmax`"), "{error}");

        let (mut model, input) = graph(40);
        let output = model.wire_node("twice", math::add(), &[input, input]).unwrap()[0];
        assert!(matches!(rewrite(&finished(model, output), tier), Err(Unmatched::NoLayer)));
    }
}
