//! A network in tract: as it is, in float32, or with its layers in int8.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use models::manifest::Precision;
use tracing::{info, warn};
use tract_onnx::prelude::*;

use crate::classifier::{
    Classifier, ClassifyError, Kernel, KernelMissing, Scores, Shape, Shapes, catch, int8,
};

/// The shapes on offer: as few as serve real lengths well, since each plan costs memory and time.
///
/// Measured with `examples/shapes` on one core (AMD EPYC of family 25, AVX2, shared with other work), sentiment@1, tokens/s of
/// processor time: 1x16 3,200 - 8x16 5,400 - 16x16 5,500 | 1x24 4,500 - 8x24 5,700 | 1x32 3,900 - 4x32 5,500 - 16x32 5,600 |
/// 1x48 5,100 - 4x48 5,600 | 1x64 5,300 - 2x64 5,300 - 8x64 5,800 | 1x96 5,500 | 1x128 5,200 - 4x128 5,200 | 1x192 5,200 |
/// 1x256 4,800 - 4x256 4,400. A call streams all weights through the cache (21 MB for three layers), which some 128 tokens pay
/// for; more rows only make whoever waits for the thread wait longer. So short texts share a call, long ones have their own,
/// and no call takes more than 55 ms (sentiment@2: about twice that). A plan takes 30 to 100 ms (sentiment@2: 60 to 150 ms)
/// and 22 MB (45 MB).
///
/// Lengths: with this table 17 % of what is computed for SST-2 dev is padding, and 7 % for IMDB cut at 256; without 24 and 48
/// it is 30 % and costs 17 % of the reviews/s, with a length every 8 tokens it is 12 % for 5 % more reviews/s and eight more plans.
pub const OFFERED: [Shape; 14] = {
    const fn shape(rows: usize, tokens: usize) -> Shape {
        Shape { tokens, rows }
    }
    [
        shape(1, 16),
        shape(8, 16),
        shape(1, 24),
        shape(8, 24),
        shape(1, 32),
        shape(4, 32),
        shape(1, 48),
        shape(4, 48),
        shape(1, 64),
        shape(2, 64),
        shape(1, 96),
        shape(1, 128),
        shape(1, 192),
        shape(1, 256),
    ]
};

/// The shapes on offer in int8, where plans share their weights and are made in a millisecond: lengths so close that 2 % of what is
/// computed for SST-2 dev is padding, and 0.5 % for IMDB cut at 256; rows for some 256 tokens a call.
pub fn offered_int8() -> impl Iterator<Item = Shape> {
    let lengths = (8..48).step_by(2).chain((48..96).step_by(4)).chain((96..=256).step_by(8));
    let rows = |tokens: usize| [1, 2, 4, 8].into_iter().filter(move |&rows| rows * tokens <= 256);
    lengths.flat_map(move |tokens| rows(tokens).map(move |rows| Shape { tokens, rows }))
}

/// Largest file of a small network, bytes: its plans are made in a millisecond and hold next to nothing.
pub const SMALL_NETWORK_BYTES_MAX: usize = 1 << 20;

/// The shapes on offer to a small network in float32, where a call takes longer than what it computes: many rows.
pub fn offered_small() -> impl Iterator<Item = Shape> {
    let lengths = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256];
    lengths.into_iter().flat_map(|tokens| [1, 4, 16, 32].map(|rows| Shape { tokens, rows }))
}

/// A network that has been read but not yet planned.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// The ONNX file. Weights lie in it: a file that points to others is refused.
    pub onnx: &'a [u8],
    /// Name of the input for token ids, int64 [rows, tokens].
    pub token_ids: &'a str,
    /// Name of the input that tells tokens (1) from padding (0), int64 [rows, tokens].
    pub attention_mask: &'a str,
    /// Name of the input that tells a first text from a second, int64 [rows, tokens], if there is one: all are of the first.
    pub token_types: Option<&'a str>,
    /// Name of the output of scores, float32 [rows, labels].
    pub logits: &'a str,
    /// Name of the output of the pooled state, float32 [rows, width].
    pub embedding: &'a str,
}

/// Why a network cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum UnusableNetwork {
    /// tract cannot compute it. Another file, or another version of this program.
    #[error("the network cannot be served: {0}")]
    Unreadable(String),
    /// This CPU cannot do what it was told to.
    #[error(transparent)]
    Kernel(#[from] KernelMissing),
}

/// In what numbers a network is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// int8 if its bundle asked for that, the network is known, and there are kernels for it.
    pub precision: Precision,
    /// What multiplies; [`Kernel::F32`] in float32.
    pub kernel: Kernel,
}

/// tract with one network.
pub struct Engine {
    model: TypedModel,
    arithmetic: Arithmetic,
    /// Of inputs, beyond ids and mask.
    has_token_types: bool,
    rows: Symbol,
    tokens: Symbol,
    shapes: Shapes,
    /// One slot a shape, so the cache is bounded by the shapes on offer. A slot is locked while its plan is made: the plan is
    /// made once, and threads that need another shape do not wait.
    plans: HashMap<Shape, Mutex<Option<Arc<Plan>>>>,
}

/// What one shape needs: the plan, which threads share, and a state for each thread that is in it.
struct Plan {
    runnable: Arc<TypedRunnableModel>,
    has_token_types: bool,
    /// States at rest. As many as ever ran at once; a state keeps the scratch memory of its kernels.
    idle: Mutex<Vec<TypedSimpleState>>,
}

impl Engine {
    /// Reads `network`, and offers plans for `shapes`, each made when it is first used or by [`Classifier::warm`].
    ///
    /// With `precision` int8 the layers are computed so by `kernel`. A network that is not one of those which are known, or a CPU
    /// without kernels, means float32, which is logged; only a kernel asked for by name has to be there.
    pub fn new(
        network: Network<'_>,
        shapes: Shapes,
        precision: Precision,
        kernel: Kernel,
    ) -> Result<Self, UnusableNetwork> {
        let tier = kernel.tier()?;
        let parsed = catch(|| parse(network).map_err(|error| format!("{error:#}")));
        let (model, rows, tokens) = parsed.map_err(UnusableNetwork::Unreadable)?;
        let float32 = Arithmetic { precision: Precision::F32, kernel: Kernel::F32 };
        let (model, arithmetic) = match (precision, tier) {
            (Precision::F32, _) => (model, float32),
            (Precision::Int8, None) => {
                info!(%kernel, "the bundle allows int8, the network is computed in float32: no kernel for this CPU, or told so");
                (model, float32)
            }
            (Precision::Int8, Some(tier)) => {
                match catch(|| int8::rewrite(&model, tier).map_err(|error| error.to_string())) {
                    Ok(model) => (model, Arithmetic { precision, kernel: tier.kernel() }),
                    Err(error) => {
                        warn!(
                            error,
                            "the bundle allows int8, the network is computed in float32: it is none that is known"
                        );
                        (model, float32)
                    }
                }
            }
        };
        let plans = slots(&shapes);
        let has_token_types = network.token_types.is_some();
        Ok(Self { model, arithmetic, has_token_types, rows, tokens, shapes, plans })
    }

    /// The same network with other shapes on offer.
    #[must_use]
    pub fn offering(self, shapes: Shapes) -> Self {
        let plans = slots(&shapes);
        Self { shapes, plans, ..self }
    }

    /// In what numbers it is computed.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    fn plan(&self, shape: Shape) -> Result<Arc<Plan>, ClassifyError> {
        let slot = self.plans.get(&shape).ok_or(ClassifyError::NoSuchShape(shape))?;
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = slot.as_ref() {
            return Ok(Arc::clone(plan));
        }
        let made = catch(|| self.make_plan(shape).map_err(|error| format!("{error:#}")));
        let plan = Arc::new(made.map_err(ClassifyError::Failed)?);
        *slot = Some(Arc::clone(&plan));
        Ok(plan)
    }

    fn make_plan(&self, shape: Shape) -> TractResult<Plan> {
        let sizes = HashMap::from([
            (self.rows.clone(), shape.rows.to_dim()),
            (self.tokens.clone(), shape.tokens.to_dim()),
        ]);
        let runnable = self.model.set_symbols(&sizes)?.into_optimized()?.into_runnable()?;
        Ok(Plan { runnable, has_token_types: self.has_token_types, idle: Mutex::default() })
    }
}

impl Classifier for Engine {
    fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn classify(&self, shape: Shape, rows: &[&[u32]]) -> Result<Vec<Scores>, ClassifyError> {
        if shape.rows < rows.len() || rows.iter().any(|row| shape.tokens < row.len()) {
            return Err(ClassifyError::NoSuchShape(shape));
        }
        let plan = self.plan(shape)?;
        catch(|| plan.run(shape, rows).map_err(|error| format!("{error:#}")))
            .map_err(ClassifyError::Failed)
    }

    /// Makes every plan.
    fn warm(&self) -> Result<(), ClassifyError> {
        self.shapes.iter().try_for_each(|shape| self.plan(shape).map(drop))
    }
}

impl Plan {
    fn run(&self, shape: Shape, rows: &[&[u32]]) -> TractResult<Vec<Scores>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut state = match idle {
            Some(state) => state,
            None => self.runnable.spawn()?,
        };
        let (ids, mask) = pad(shape, rows);
        let size = [shape.rows, shape.tokens];
        let mut inputs = tvec!(
            Tensor::from_shape(&size, &ids)?.into_tvalue(),
            Tensor::from_shape(&size, &mask)?.into_tvalue(),
        );
        if self.has_token_types {
            inputs.push(Tensor::zero::<i64>(&size)?.into_tvalue());
        }
        let outputs = state.run(inputs)?;
        let scores = read(&outputs, rows.len());
        // Only a state that came through is used again: after an error or a panic it is dropped.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(state);
        scores
    }
}

fn slots(shapes: &Shapes) -> HashMap<Shape, Mutex<Option<Arc<Plan>>>> {
    shapes.iter().map(|shape| (shape, Mutex::new(None))).collect()
}

/// Token ids and mask of `shape`, row after row. Padding is id 0, masked; a row that is all padding shows the model its first
/// id, since the mean over no token is not a number.
fn pad(shape: Shape, rows: &[&[u32]]) -> (Vec<i64>, Vec<i64>) {
    let mut ids = Vec::with_capacity(shape.tokens_total());
    let mut mask = Vec::with_capacity(shape.tokens_total());
    for position in 0..shape.rows {
        let row = rows.get(position).copied().unwrap_or_default();
        ids.extend(row.iter().map(|&id| i64::from(id)));
        mask.resize(mask.len() + row.len().max(1), 1);
        ids.resize((position + 1) * shape.tokens, 0);
        mask.resize((position + 1) * shape.tokens, 0);
    }
    (ids, mask)
}

fn read(outputs: &[TValue], rows: usize) -> TractResult<Vec<Scores>> {
    let [logits, embedding, ..] = outputs else {
        return Err(TractError::msg(format!("{} outputs, not 2", outputs.len())));
    };
    let logits = logits.to_plain_array_view::<f32>()?;
    let embedding = embedding.to_plain_array_view::<f32>()?;
    let scores = logits.outer_iter().zip(embedding.outer_iter()).take(rows);
    Ok(scores
        .map(|(logits, embedding)| Scores {
            logits: logits.iter().copied().collect(),
            embedding: embedding.iter().copied().collect(),
        })
        .collect())
}

/// The network with symbols for its two dimensions. What does not depend on them, such as unpacking int8 weights, is done
/// here, once, and shared by all plans.
fn parse(network: Network<'_>) -> TractResult<(TypedModel, Symbol, Symbol)> {
    // Read from bytes there is no directory, so tract refuses external data.
    let mut bytes = network.onnx;
    let model = onnx()
        .model_for_read(&mut bytes)?
        .with_input_names(
            [network.token_ids, network.attention_mask].into_iter().chain(network.token_types),
        )?
        .with_outputs_by_name([network.logits, network.embedding])?;
    let rows = model.symbols.new_with_prefix("rows");
    let tokens = model.symbols.new_with_prefix("tokens");
    let input = i64::fact([rows.to_dim(), tokens.to_dim()]);
    let inputs = model.input_outlets()?.len();
    let model =
        (0..inputs).try_fold(model, |model, at| model.with_input_fact(at, input.clone().into()))?;
    Ok((model.into_typed()?.into_decluttered()?, rows, tokens))
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("arithmetic", &self.arithmetic)
            .field("shapes", &self.shapes)
            .finish_non_exhaustive()
    }
}
