//! The passes over the graph.

use std::sync::Arc;

#[allow(
    clippy::wildcard_imports,
    reason = "made to be imported so: its macros use what is in it"
)]
use tract_onnx::{
    prelude::*,
    tract_core::{
        internal::*,
        ops::{einsum::EinSum, logic::Iff, nn::Softmax},
    },
};

use super::{
    Tier,
    fused::{Fused, Part},
    patterns::{self, MaskFound},
    weights::{Exact, Matrix, Norm, Weights},
};

/// Why a network stays in float32.
#[derive(Debug, thiserror::Error)]
pub(in crate::classifier) enum Unmatched {
    /// It has no layer that we know.
    #[error("it has no linear layer over tokens")]
    NoLayer,
    /// Something large is left.
    #[error("it has {count} operations `{operation}` in a place that is not known")]
    Left {
        /// How many.
        count: usize,
        /// What.
        operation: String,
    },
    /// tract refused a change.
    #[error("it could not be rewritten: {0:#}")]
    Refused(#[from] TractError),
}

/// What to put in place of a node, if it is the last of something that is known.
type Pass = fn(&TypedModel, &TypedNode, Tier) -> TractResult<Option<TypedModelPatch>>;

/// Puts operations for `tier` in place of the layers of `model`.
pub(in crate::classifier) fn rewrite(
    model: &TypedModel,
    tier: Tier,
) -> Result<TypedModel, Unmatched> {
    let mut model = model.clone();
    let passes: [Pass; 6] =
        [products, norms, attentions, attention_blocks, feed_forwards, rounding];
    for pass in passes {
        for id in model.eval_order()? {
            let patch = pass(&model, model.node(id), tier)?;
            if let Some(patch) = patch {
                patch.apply(&mut model)?;
            }
        }
        model = model.into_decluttered()?;
    }
    check(&model)?;
    Ok(model)
}

/// Refuses a model in which anything large is left, or nothing was found.
fn check(model: &TypedModel) -> Result<(), Unmatched> {
    let is_large = |node: &&TypedNode| node.op_is::<EinSum>() || node.op_is::<Softmax>();
    let left: Vec<_> = model.nodes().iter().filter(is_large).map(|node| node.op().name()).collect();
    if let Some(operation) = left.first() {
        return Err(Unmatched::Left { count: left.len(), operation: operation.to_string() });
    }
    let is_layer = |node: &TypedNode| {
        let part = node.op_as::<Fused>().map(|fused| &*fused.part);
        matches!(
            part,
            Some(Part::Linear { .. } | Part::AttentionBlock { .. } | Part::FeedForward { .. })
        )
    };
    if model.nodes().iter().any(is_layer) { Ok(()) } else { Err(Unmatched::NoLayer) }
}

/// A patch that computes `part` of `inputs` in place of `output`.
fn replace(
    model: &TypedModel,
    output: OutletId,
    inputs: &[OutletId],
    part: Part,
    tier: Tier,
) -> TractResult<Option<TypedModelPatch>> {
    let mut patch = TypedModelPatch::default();
    let taps = patch.taps(model, inputs)?;
    put(model, patch, output, &taps, part, tier)
}

fn put(
    model: &TypedModel,
    mut patch: TypedModelPatch,
    output: OutletId,
    taps: &[OutletId],
    part: Part,
    tier: Tier,
) -> TractResult<Option<TypedModelPatch>> {
    let fused = Fused { part: Arc::new(part), tier };
    let name = format!("{}.{}", model.node(output.node).name, fused.name());
    let wired = patch.wire_node(name, fused, taps)?;
    patch.shunt_outside(model, output, *wired.first().context("an operation without output")?)?;
    Ok(Some(patch))
}

fn products(
    model: &TypedModel,
    node: &TypedNode,
    tier: Tier,
) -> TractResult<Option<TypedModelPatch>> {
    let Some(found) = patterns::product(model, node) else { return Ok(None) };
    if found.is_flat {
        let Matrix { inputs, outputs, values, bias } = found.matrix;
        let rows = (0..outputs)
            .flat_map(|output| values.iter().skip(output).step_by(outputs))
            .copied()
            .collect();
        return replace(
            model,
            found.output,
            &[found.input],
            Part::Exact(Exact { inputs, axes: found.axes, rows, bias }),
            tier,
        );
    }
    let activated = patterns::gelu_of(model, found.output);
    let part = Part::Found { matrix: found.matrix, gelu: activated.is_some(), axes: found.axes };
    replace(model, activated.unwrap_or(found.output), &[found.input], part, tier)
}

fn norms(model: &TypedModel, node: &TypedNode, tier: Tier) -> TractResult<Option<TypedModelPatch>> {
    let Some((input, norm)) = patterns::norm(model, node) else { return Ok(None) };
    // The mean and the difference from it.
    let summed = patterns::residual_sum(model, input, 2);
    let inputs = summed.as_ref().map_or(std::slice::from_ref(&input), |summed| &summed[..]);
    replace(model, node.id.into(), inputs, Part::Norm(norm), tier)
}

fn attentions(
    model: &TypedModel,
    node: &TypedNode,
    tier: Tier,
) -> TractResult<Option<TypedModelPatch>> {
    let Some(found) = patterns::attention(model, node) else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    let mut taps = patch.taps(model, &found.inputs)?;
    taps.push(match found.mask {
        MaskFound::Added(outlet) => patch.tap_model(model, outlet)?,
        MaskFound::Chosen { condition, when, value } => {
            let condition = patch.tap_model(model, condition)?;
            let number = |value: f32| Tensor::from_shape(&[1, 1, 1, 1], &[value]);
            let masked = patch.add_const(format!("{}.masked", node.name), number(value)?)?;
            let unmasked = patch.add_const(format!("{}.unmasked", node.name), number(0.0)?)?;
            let sides = if when { [masked, unmasked] } else { [unmasked, masked] };
            let added = patch.wire_node(
                format!("{}.mask", node.name),
                Iff,
                &[condition, sides[0], sides[1]],
            )?;
            *added.first().context("a choice without output")?
        }
    });
    put(model, patch, node.id.into(), &taps, Part::Attention(found.heads), tier)
}

/// The two inputs of a normalised sum, either first, and how it is normalised.
fn sums(node: &TypedNode) -> Option<([[OutletId; 2]; 2], &Norm)> {
    let Part::Norm(norm) = &*node.op_as::<Fused>()?.part else { return None };
    let [left, right] = node.inputs[..] else { return None };
    Some(([[left, right], [right, left]], norm))
}

/// The input and the matrix of a linear layer with or without GELU.
fn found(model: &TypedModel, outlet: OutletId, with_gelu: bool) -> Option<(OutletId, &Matrix)> {
    let (node, part) = patterns::part(model, outlet)?;
    match &**part {
        Part::Found { matrix, gelu, .. } if *gelu == with_gelu => {
            Some((*node.inputs.first()?, matrix))
        }
        _ => None,
    }
}

fn attention_blocks(
    model: &TypedModel,
    node: &TypedNode,
    tier: Tier,
) -> TractResult<Option<TypedModelPatch>> {
    let Some((orders, norm)) = sums(node) else { return Ok(None) };
    for [input, mixed] in orders {
        if let Some((mask, part)) = attention_block(model, [input, mixed], norm, tier) {
            return replace(model, node.id.into(), &[input, mask], part, tier);
        }
    }
    Ok(None)
}

/// The mask, and the half of a layer that adds `mixed` to its `input`.
fn attention_block(
    model: &TypedModel,
    [input, mixed]: [OutletId; 2],
    norm: &Norm,
    tier: Tier,
) -> Option<(OutletId, Part)> {
    let (attended, out) = found(model, mixed, false)?;
    let (node, part) = patterns::part(model, attended)?;
    let Part::Attention(heads) = &**part else { return None };
    let [queries, keys, values, mask] = node.inputs[..] else { return None };
    let mut matrices = Vec::new();
    for outlet in [queries, keys, values] {
        let (from, matrix) = found(model, outlet, false)?;
        if from != input || matrix.outputs != heads.count * heads.size {
            return None;
        }
        matrices.push(matrix);
    }
    let qkv = Matrix::beside(&matrices)?;
    if out.inputs * 3 != qkv.outputs || out.outputs != qkv.inputs || norm.gain.len() != qkv.inputs {
        return None;
    }
    let round = |matrix: &Matrix| Weights::round(matrix, tier.layout());
    let part = Part::AttentionBlock {
        qkv: round(&qkv)?,
        heads: *heads,
        out: round(out)?,
        norm: norm.clone(),
    };
    Some((mask, part))
}

fn feed_forwards(
    model: &TypedModel,
    node: &TypedNode,
    tier: Tier,
) -> TractResult<Option<TypedModelPatch>> {
    let Some((orders, norm)) = sums(node) else { return Ok(None) };
    let block = |[input, fed]: [OutletId; 2]| {
        let (activated, down) = found(model, fed, false)?;
        let (from, up) = found(model, activated, true)?;
        let fits = from == input && up.outputs == down.inputs && up.inputs == down.outputs;
        let round = |matrix: &Matrix| Weights::round(matrix, tier.layout());
        let fits = fits && norm.gain.len() == down.outputs;
        if !fits {
            return None;
        }
        Some((input, Part::FeedForward { up: round(up)?, down: round(down)?, norm: norm.clone() }))
    };
    match orders.into_iter().find_map(block) {
        Some((input, part)) => replace(model, node.id.into(), &[input], part, tier),
        None => Ok(None),
    }
}

/// Layers that became part of nothing larger.
fn rounding(
    model: &TypedModel,
    node: &TypedNode,
    tier: Tier,
) -> TractResult<Option<TypedModelPatch>> {
    let Some((_, part)) = patterns::part(model, node.id.into()) else { return Ok(None) };
    let Part::Found { matrix, gelu, axes } = &**part else { return Ok(None) };
    let weights =
        Weights::round(matrix, tier.layout()).context("a layer with numbers that are none")?;
    let part = Part::Linear { weights, gelu: *gelu, axes: *axes };
    replace(model, node.id.into(), &node.inputs, part, tier)
}
