//! What the passes look for, by what is computed.

use std::sync::Arc;

use tract_onnx::{
    prelude::*,
    tract_core::internal::DimLike as _,
    tract_core::ops::{
        einsum::EinSum,
        nn::{RmsNorm, Softmax, SoftmaxKind},
    },
};

use super::{
    fused::{Fused, Part},
    weights::{Heads, Matrix, Norm},
};

/// A product of something with a constant matrix.
pub(super) struct Product {
    /// What is multiplied.
    pub(super) input: OutletId,
    pub(super) matrix: Matrix,
    /// How many of the input's last axes are summed over.
    pub(super) axes: usize,
    /// Whether there is one row a text.
    pub(super) is_flat: bool,
    /// What to replace: the sum with the bias, if there is one.
    pub(super) output: OutletId,
}

/// Attention: softmax(scale queries x keys + mask) x values.
pub(super) struct AttentionFound {
    /// Queries, keys and values `[rows, tokens, width]`.
    pub(super) inputs: [OutletId; 3],
    pub(super) mask: MaskFound,
    pub(super) heads: Heads,
}

/// How scores are masked.
pub(super) enum MaskFound {
    /// This is added to them.
    Added(OutletId),
    /// Where the condition is `when`, they become `value`.
    Chosen { condition: OutletId, when: bool, value: f32 },
}

pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> Option<Arc<Tensor>> {
    model.outlet_fact(outlet).ok()?.konst.clone()
}

pub(super) fn numbers(tensor: &Tensor) -> Option<Vec<f32>> {
    Some(tensor.cast_to::<f32>().ok()?.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec())
}

pub(super) fn node_if<'a>(
    model: &'a TypedModel,
    outlet: OutletId,
    operation: &str,
) -> Option<&'a TypedNode> {
    let node = model.nodes().get(outlet.node)?;
    (node.op().name() == operation).then_some(node)
}

pub(super) fn part(model: &TypedModel, outlet: OutletId) -> Option<(&TypedNode, &Arc<Part>)> {
    let node = model.nodes().get(outlet.node)?;
    Some((node, &node.op_as::<Fused>()?.part))
}

fn inputs<const N: usize>(node: &TypedNode) -> Option<[OutletId; N]> {
    <[OutletId; N]>::try_from(node.inputs.as_slice()).ok()
}

/// The operand of `operation` that is no constant, and the one that is.
fn with_constant(
    model: &TypedModel,
    outlet: OutletId,
    operation: &str,
) -> Option<(OutletId, Arc<Tensor>)> {
    let [left, right] = inputs(node_if(model, outlet, operation)?)?;
    match (constant(model, left), constant(model, right)) {
        (None, Some(value)) => Some((left, value)),
        (Some(value), None) => Some((right, value)),
        _ => None,
    }
}

fn scalar(tensor: &Tensor) -> Option<f32> {
    let [value] = numbers(tensor)?[..] else { return None };
    Some(value)
}

/// What remains of `outlet` without factors that are constant numbers, and their product.
fn without_factors(model: &TypedModel, mut outlet: OutletId) -> (OutletId, f32) {
    let mut factor = 1.0;
    while let Some((rest, value)) = with_constant(model, outlet, "Mul") {
        let Some(value) = scalar(&value) else { break };
        (outlet, factor) = (rest, factor * value);
    }
    (outlet, factor)
}

fn successors(model: &TypedModel, outlet: OutletId) -> Vec<&TypedNode> {
    let output = model.nodes().get(outlet.node).and_then(|node| node.outputs.get(outlet.slot));
    let inlets = output.into_iter().flat_map(|output| &output.successors);
    inlets.filter_map(|inlet| model.nodes().get(inlet.node)).collect()
}

/// A product of `node`'s first input with a constant, and the bias that is added to it.
pub(super) fn product(model: &TypedModel, node: &TypedNode) -> Option<Product> {
    let axes = node.op_as::<EinSum>()?.axes.to_string();
    let [input, weights] = inputs(node)?;
    let tensor = constant(model, weights)?;
    if tensor.datum_type() != f32::datum_type() || constant(model, input).is_some() {
        return None;
    }
    // Leading axes stay, the others of the input are summed over, and a last one comes from the matrix.
    let (sides, result) = axes.split_once("->")?;
    let (of_input, of_weights) = sides.split_once(',')?;
    let new = result.chars().last()?;
    let leading = result.strip_suffix(new)?;
    let summed = of_input.strip_prefix(leading)?;
    // An axis of one that is summed over alone is no axis of the matrix.
    let fact = model.outlet_fact(input).ok()?;
    let size = |axis: char| of_input.find(axis).and_then(|at| fact.shape.get(at));
    let is_of_weights =
        |axis: &char| of_weights.contains(*axis) || size(*axis) != Some(&1.to_dim());
    let weighted: String = summed.chars().filter(is_of_weights).collect();
    let is_plain = of_weights == format!("{weighted}{new}");
    let is_turned = of_weights == format!("{new}{weighted}");
    if leading.is_empty() || weighted.is_empty() || !(is_plain || is_turned) {
        return None;
    }
    let (first, last) = (*tensor.shape().first()?, *tensor.shape().last()?);
    let outputs = if is_plain { last } else { first };
    let mut values = numbers(&tensor)?;
    let inputs = values.len().checked_div(outputs)?;
    if is_turned {
        let given = values;
        values = (0..inputs)
            .flat_map(|input| given.iter().skip(input).step_by(inputs))
            .copied()
            .collect();
    }
    let mut output = OutletId::from(node.id);
    let mut bias = vec![0.0; outputs];
    if let [only] = successors(model, output)[..]
        && let Some((_, added)) = with_constant(model, only.id.into(), "Add")
        && added.len() == outputs
        && added.shape().last() == Some(&outputs)
    {
        (output, bias) = (only.id.into(), numbers(&added)?);
    }
    if values.iter().chain(&bias).any(|value| !value.is_finite()) {
        return None;
    }
    let matrix = Matrix { inputs, outputs, values, bias };
    Some(Product { input, matrix, axes: summed.len(), is_flat: leading.len() == 1, output })
}

/// The node that is GELU of `outlet` and the only one that reads it.
pub(super) fn gelu_of(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let [only] = successors(model, outlet)[..] else { return None };
    (only.op().name() == "GeluExact").then(|| only.id.into())
}

/// Layer normalisation whose last operation is `node`: what is normalised, and how.
pub(super) fn norm(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, Norm)> {
    let (scaled, shift) = with_constant(model, node.id.into(), "Add")?;
    let (normalised, gain) = with_constant(model, scaled, "Mul")?;
    let normalised = node_if(model, normalised, "RmsNorm")?;
    let RmsNorm { axis, eps } = normalised.op_as()?;
    let [centred] = inputs(normalised)?;
    let [input, mean] = inputs(node_if(model, centred, "Sub")?)?;
    let (sum, share) = with_constant(model, mean, "Mul")?;
    let sum = node_if(model, sum, "Reduce<Sum>")?;
    let fact = model.outlet_fact(input).ok()?;
    let width = fact.shape.last()?.to_usize().ok()?;
    let (gain, shift) = (numbers(&gain)?, numbers(&shift)?);
    #[expect(clippy::cast_precision_loss, reason = "a width")]
    let is_mean = (scalar(&share)? * width as f32 - 1.0).abs() < 1e-5;
    let is_last = *axis + 1 == fact.rank();
    let is_of_input = sum.inputs.as_slice() == [input] && is_summed_over(model, sum, *axis);
    if !(is_mean && is_last && is_of_input && gain.len() == width && shift.len() == width) {
        return None;
    }
    Some((input, Norm { gain, shift, epsilon: scalar(eps)? }))
}

/// Whether `sum` sums over `axis` and no other: its shape says so.
fn is_summed_over(model: &TypedModel, sum: &TypedNode, axis: usize) -> bool {
    let Ok(summed) = model.outlet_fact(sum.id.into()) else { return false };
    let Some(Ok(fact)) = sum.inputs.first().map(|input| model.outlet_fact(*input)) else {
        return false;
    };
    summed.rank() == fact.rank()
        && summed.shape.iter().zip(fact.shape.iter()).enumerate().all(|(at, (after, before))| {
            if at == axis { *after == 1.to_dim() } else { after == before }
        })
}

/// Two tensors of one shape whose sum `outlet` is, if only the `readers` operations of a normalisation read it.
pub(super) fn residual_sum(
    model: &TypedModel,
    outlet: OutletId,
    readers: usize,
) -> Option<[OutletId; 2]> {
    let [left, right] = inputs(node_if(model, outlet, "Add")?)?;
    let (first, second) = (model.outlet_fact(left).ok()?, model.outlet_fact(right).ok()?);
    let is_plain = first.konst.is_none() && second.konst.is_none() && first.shape == second.shape;
    (is_plain && successors(model, outlet).len() == readers).then_some([left, right])
}

/// Attention whose last operation is `node`.
pub(super) fn attention(model: &TypedModel, node: &TypedNode) -> Option<AttentionFound> {
    if node.op_as::<EinSum>()?.axes.to_string() != "abmk,akbn->ambn" {
        return None;
    }
    let [shares, values] = inputs(node)?;
    let softmax = model.nodes().get(shares.node)?;
    let Softmax { axes, kind, .. } = softmax.op_as()?;
    if axes.as_slice() != [3] || *kind != SoftmaxKind::Softmax {
        return None;
    }
    let [masked] = inputs(softmax)?;
    let (scores, mask) = masking(model, masked)?;
    let (scores, scale) = without_factors(model, scores);
    let scores = model.nodes().get(scores.node)?;
    if scores.op_as::<EinSum>()?.axes.to_string() != "ambk,anbk->abmn" {
        return None;
    }
    let [queries, keys] = inputs(scores)?;
    let fact = model.outlet_fact(queries).ok()?;
    let [count, size] = [fact.shape.get(2)?.to_usize().ok()?, fact.shape.get(3)?.to_usize().ok()?];
    let (queries, of_queries) = joined(model, queries)?;
    let (keys, of_keys) = joined(model, keys)?;
    let (values, of_values) = joined(model, values)?;
    if size % 16 != 0 || of_values.total_cmp(&1.0).is_ne() || !is_mask(model, &mask, queries) {
        return None;
    }
    let heads = Heads { count, size, scale: scale * of_queries * of_keys };
    Some(AttentionFound { inputs: [queries, keys, values], mask, heads })
}

/// The tensor `[rows, tokens, width]` whose heads `outlet` has apart, and the factors on the way.
fn joined(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, f32)> {
    let (apart, outer) = without_factors(model, outlet);
    let [together] = inputs(node_if(model, apart, "Reshape")?)?;
    let (together, inner) = without_factors(model, together);
    let (fact, apart) = (model.outlet_fact(together).ok()?, model.outlet_fact(apart).ok()?);
    let kept = fact.rank() == 3
        && apart.rank() == 4
        && fact.shape.iter().take(2).eq(apart.shape.iter().take(2));
    kept.then_some((together, outer * inner))
}

/// The scores that `outlet` masks, and how.
fn masking(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, MaskFound)> {
    if let Some(node) = node_if(model, outlet, "Iff") {
        let [condition, yes, no] = inputs(node)?;
        let (scores, when, value) = match (constant(model, yes), constant(model, no)) {
            (Some(value), None) => (no, true, value),
            (None, Some(value)) => (yes, false, value),
            _ => return None,
        };
        let value = scalar(&value)?;
        // So far down that adding it is the same as putting it in place.
        let condition = unspread(model, condition);
        return (value < -1e6).then_some((scores, MaskFound::Chosen { condition, when, value }));
    }
    let [left, right] = inputs(node_if(model, outlet, "Add")?)?;
    let is_scores = |outlet| {
        let scores = model.nodes().get(without_factors(model, outlet).0.node);
        scores.is_some_and(TypedNode::op_is::<EinSum>)
    };
    match (is_scores(left), is_scores(right)) {
        (true, false) => Some((left, MaskFound::Added(unspread(model, right)))),
        (false, true) => Some((right, MaskFound::Added(unspread(model, left)))),
        _ => None,
    }
}

/// What `outlet` repeats along some axes.
fn unspread(model: &TypedModel, outlet: OutletId) -> OutletId {
    let repeated = node_if(model, outlet, "MultiBroadcastTo").and_then(inputs::<1>);
    match repeated {
        Some([inner]) if model.outlet_fact(inner).is_ok_and(|fact| fact.rank() == 4) => inner,
        _ => outlet,
    }
}

/// Whether the mask is one for all heads, and one row for each of the batch: `[rows, 1, 1 or tokens, tokens]`.
fn is_mask(model: &TypedModel, mask: &MaskFound, queries: OutletId) -> bool {
    let (MaskFound::Added(outlet) | MaskFound::Chosen { condition: outlet, .. }) = *mask;
    let (Ok(fact), Ok(queries)) = (model.outlet_fact(outlet), model.outlet_fact(queries)) else {
        return false;
    };
    let ([rows, heads, spread, tokens], [batch, length, _]) = (&fact.shape[..], &queries.shape[..])
    else {
        return false;
    };
    let is_spread = *spread == 1.to_dim() || spread == length;
    rows == batch && *heads == 1.to_dim() && is_spread && tokens == length
}
