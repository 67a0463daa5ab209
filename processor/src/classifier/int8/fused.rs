//! Operations of ours in a graph of tract.

use std::{cell::RefCell, sync::Arc};

#[allow(
    clippy::wildcard_imports,
    reason = "made to be imported so: its macros use what is in it"
)]
use tract_onnx::{
    prelude::*,
    tract_core::{internal::*, op_as_typed_op, op_out_of_plan},
};

use super::{
    Tier,
    weights::{Exact, Heads, Matrix, Norm, Weights},
    work::{Mask, Scratch, Work},
};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What an operation computes.
#[derive(Debug)]
pub(super) enum Part {
    /// A linear layer that was found and is not rounded yet: it may become part of a larger operation. `axes` is how many of the
    /// input's last axes are summed over.
    Found { matrix: Matrix, gelu: bool, axes: usize },
    /// A linear layer.
    Linear { weights: Weights, gelu: bool, axes: usize },
    /// A layer with one row a text, in float32.
    Exact(Exact),
    /// Layer normalisation of its input, or of the sum of its two inputs.
    Norm(Norm),
    /// Attention of queries, keys, values (`[rows, tokens, width]`) and a mask; its output has the heads apart.
    Attention(Heads),
    /// The first half of a layer, of `[rows, tokens, width]` and a mask.
    AttentionBlock { qkv: Weights, heads: Heads, out: Weights, norm: Norm },
    /// The second half of a layer.
    FeedForward { up: Weights, down: Weights, norm: Norm },
}

/// An operation for the CPU of `tier`. Equal only to itself, as tract compares operations to merge them.
#[derive(Clone, Debug)]
pub(super) struct Fused {
    pub(super) part: Arc<Part>,
    pub(super) tier: Tier,
}

impl PartialEq for Fused {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.part, &other.part)
    }
}

impl Eq for Fused {}

impl Op for Fused {
    fn name(&self) -> StaticName {
        match &*self.part {
            Part::Found { .. } => "Found".into(),
            Part::Linear { .. } => "Int8Linear".into(),
            Part::Exact(_) => "ExactLinear".into(),
            Part::Norm(_) => "LayerNorm".into(),
            Part::Attention(_) => "FusedAttention".into(),
            Part::AttentionBlock { .. } => "Int8AttentionBlock".into(),
            Part::FeedForward { .. } => "Int8FeedForward".into(),
        }
    }

    op_as_typed_op!();
}

impl TypedOp for Fused {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let first = inputs.first().context("no input")?;
        let leading =
            |axes: usize| first.shape.iter().take(first.rank().saturating_sub(axes)).cloned();
        let shape: TVec<TDim> = match &*self.part {
            Part::Found { matrix: Matrix { outputs, .. }, axes, .. }
            | Part::Linear { weights: Weights { outputs, .. }, axes, .. } => {
                leading(*axes).chain([outputs.to_dim()]).collect()
            }
            Part::Exact(exact) => leading(exact.axes).chain([exact.bias.len().to_dim()]).collect(),
            Part::Attention(heads) => {
                leading(1).chain([heads.count.to_dim(), heads.size.to_dim()]).collect()
            }
            Part::Norm(_) | Part::AttentionBlock { .. } | Part::FeedForward { .. } => {
                leading(0).collect()
            }
        };
        Ok(tvec!(f32::fact(shape)))
    }
}

impl EvalOp for Fused {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let output = SCRATCH.with_borrow_mut(|scratch| match &*self.part {
            Part::Found { .. } => Err(TractError::msg("a layer that was found was not rounded")),
            Part::Linear { weights, gelu, axes } => {
                self.linear(weights, *gelu, *axes, &inputs, scratch)
            }
            Part::Exact(exact) => exact_rows(exact, &inputs),
            Part::Attention(heads) => self.attention(*heads, &inputs, scratch),
            Part::Norm(norm) => {
                let (first, others) = in_place(inputs)?;
                let residual = others
                    .first()
                    .map(|residual| values(residual))
                    .transpose()?
                    .unwrap_or_default();
                change(first, norm.gain.len(), |rows| {
                    ensure!(
                        residual.is_empty() || residual.len() == rows.len(),
                        "sums of other shapes"
                    );
                    self.tier.run(Work::Norm { rows, residual, norm }, scratch);
                    Ok(())
                })
            }
            Part::AttentionBlock { qkv, heads, out, norm } => {
                let (first, others) = in_place(inputs)?;
                let [count, tokens] = [dimension(&first, 0)?, dimension(&first, 1)?];
                let mask = mask(others.first().context("no mask")?, count, tokens)?;
                change(first, qkv.inputs, |rows| {
                    ensure!(rows.len() == count * tokens * qkv.inputs, "an input of another shape");
                    self.tier.run(
                        Work::AttentionBlock { rows, qkv, heads: *heads, mask, out, norm },
                        scratch,
                    );
                    Ok(())
                })
            }
            Part::FeedForward { up, down, norm } => {
                let (first, _) = in_place(inputs)?;
                change(first, up.inputs, |rows| {
                    self.tier.run(Work::FeedForward { rows, up, down, norm }, scratch);
                    Ok(())
                })
            }
        })?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl Fused {
    fn linear(
        &self,
        weights: &Weights,
        gelu: bool,
        axes: usize,
        inputs: &[TValue],
        scratch: &mut Scratch,
    ) -> TractResult<Tensor> {
        let input = inputs.first().context("no input")?;
        let rows = values(input)?;
        let mut shape: TVec<usize> =
            input.shape().iter().take(input.rank().saturating_sub(axes)).copied().collect();
        ensure!(
            rows.len() == shape.iter().product::<usize>() * weights.inputs,
            "an input of another width"
        );
        shape.push(weights.outputs);
        let mut output = Tensor::zero::<f32>(&shape)?;
        let mut view = output.try_as_plain_ram_mut()?;
        self.tier.run(Work::Linear { rows, weights, gelu, output: view.as_slice_mut()? }, scratch);
        Ok(output)
    }

    fn attention(
        &self,
        heads: Heads,
        inputs: &[TValue],
        scratch: &mut Scratch,
    ) -> TractResult<Tensor> {
        let [queries, keys, attended, added] = inputs else {
            return Err(TractError::msg(format!("{} inputs, not 4", inputs.len())));
        };
        let [count, tokens] = [dimension(queries, 0)?, dimension(queries, 1)?];
        let mask = mask(added, count, tokens)?;
        let inputs = [values(queries)?, values(keys)?, values(attended)?];
        let mut output = Tensor::zero::<f32>(&[count, tokens, heads.count, heads.size])?;
        ensure!(inputs.iter().all(|input| input.len() == output.len()), "inputs of other shapes");
        let mut view = output.try_as_plain_ram_mut()?;
        self.tier
            .run(Work::Attention { inputs, heads, mask, output: view.as_slice_mut()? }, scratch);
        Ok(output)
    }
}

/// The first input, to be changed in place, and the others.
fn in_place(mut inputs: TVec<TValue>) -> TractResult<(Tensor, TVec<TValue>)> {
    ensure!(!inputs.is_empty(), "no input");
    let first = inputs.remove(0).into_tensor();
    Ok((first, inputs))
}

fn change(
    mut tensor: Tensor,
    width: usize,
    work: impl FnOnce(&mut [f32]) -> TractResult<()>,
) -> TractResult<Tensor> {
    ensure!(tensor.shape().last() == Some(&width), "an input of another width");
    work(tensor.try_as_plain_ram_mut()?.as_slice_mut()?)?;
    Ok(tensor)
}

fn values(tensor: &Tensor) -> TractResult<&[f32]> {
    tensor.try_as_plain_ram()?.as_slice::<f32>()
}

fn dimension(tensor: &Tensor, axis: usize) -> TractResult<usize> {
    tensor.shape().get(axis).copied().with_context(|| format!("no axis {axis}"))
}

/// The mask `[count, 1, 1 or tokens, tokens]`.
fn mask(tensor: &Tensor, count: usize, tokens: usize) -> TractResult<Mask<'_>> {
    let queries = dimension(tensor, 2)?;
    let values = values(tensor)?;
    ensure!(
        (queries == 1 || queries == tokens)
            && 0 < tokens
            && values.len() == count * queries * tokens,
        "a mask of another shape"
    );
    Ok(Mask { values, tokens, queries })
}

/// Each row times the matrix, in float32: sixteen partial sums a product, so that every row is summed in the same order
/// however many there are.
fn exact_rows(exact: &Exact, inputs: &[TValue]) -> TractResult<Tensor> {
    let input = inputs.first().context("no input")?;
    let count = dimension(input, 0)?;
    let rows = values(input)?;
    ensure!(rows.len() == count * exact.inputs, "an input of another width");
    let mut output = Tensor::zero::<f32>(&[count, exact.bias.len()])?;
    let mut view = output.try_as_plain_ram_mut()?;
    let outputs = view.as_slice_mut::<f32>()?.chunks_exact_mut(exact.bias.len());
    for (row, outputs) in rows.chunks_exact(exact.inputs).zip(outputs) {
        for ((output, weights), bias) in
            outputs.iter_mut().zip(exact.rows.chunks_exact(exact.inputs)).zip(&exact.bias)
        {
            let mut sums = [0.0_f32; 16];
            for (row, weights) in row.chunks(16).zip(weights.chunks(16)) {
                for ((sum, value), weight) in sums.iter_mut().zip(row).zip(weights) {
                    *sum += value * weight;
                }
            }
            *output = sums.iter().sum::<f32>() + bias;
        }
    }
    Ok(output)
}
