//! What the kernels read: matrices in int8 laid out for a tier, and the parameters of what stands between them.

/// Sixteen columns of a few rows of a matrix: what one integer instruction of 512 bits multiplies.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [u8; 64]);

/// How a tier wants its weights and its activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Rows of the matrix whose products are summed by one instruction: four bytes, or two numbers of 16 bits.
    pub(super) depth: usize,
    /// Lines side by side that are worked on at once.
    pub(super) lines: usize,
    /// What the number of rows is filled up to a multiple of, with zeros: activations are rounded sixteen at a time.
    pub(super) filled: usize,
}

/// What turns the sums of sixteen columns into float32.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Columns {
    /// Minus the sum of the column's integers, which is what each step of an activation's zero point adds too much: as two numbers of
    /// 16 bits, ones and above them 128s, so that one instruction takes it away.
    pub(super) less: [i32; 16],
    /// What an integer of the column stands for.
    pub(super) scale: [f32; 16],
    /// Added at the end.
    pub(super) bias: [f32; 16],
}

/// A matrix of `inputs` rows and `outputs` columns, int8 with a scale for each column, and a bias.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    layout: Layout,
    lines: Vec<Line>,
    columns: Vec<Columns>,
}

/// Normalisation over the last axis (Ba et al. 2016).
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub(super) gain: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) epsilon: f32,
}

/// The heads of an attention (Vaswani et al. 2017).
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub(super) count: usize,
    /// Width of one; a multiple of sixteen.
    pub(super) size: usize,
    /// What scores are multiplied by before the mask is added.
    pub(super) scale: f32,
}

/// A matrix in float32, a row for each output, for the few products that stay exact.
#[derive(Debug)]
pub(super) struct Exact {
    pub(super) inputs: usize,
    /// How many of the input's last axes are summed over.
    pub(super) axes: usize,
    /// `outputs` rows of `inputs`.
    pub(super) rows: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// Float32 matrices side by side that read the same input, to become one of int8.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// `inputs` rows of `outputs`.
    pub(super) values: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Matrix {
    /// The columns of all `parts`, in order; `None` where they have other numbers of inputs.
    pub(super) fn beside(parts: &[&Self]) -> Option<Self> {
        let inputs = parts.first()?.inputs;
        if parts.iter().any(|part| part.inputs != inputs) {
            return None;
        }
        let mut values = Vec::with_capacity(parts.iter().map(|part| part.values.len()).sum());
        for row in 0..inputs {
            for part in parts {
                values.extend_from_slice(
                    part.values.get(row * part.outputs..(row + 1) * part.outputs)?,
                );
            }
        }
        let bias = parts.iter().flat_map(|part| &part.bias).copied().collect();
        Some(Self { inputs, outputs: parts.iter().map(|part| part.outputs).sum(), values, bias })
    }

    fn is_finite(&self) -> bool {
        self.values.iter().chain(&self.bias).all(|value| value.is_finite())
    }

    fn is_whole(&self) -> bool {
        self.values.len() == self.inputs * self.outputs && self.bias.len() == self.outputs
    }
}

/// The integer next to `value`, of two the even one; -127 to 127.
fn nearest(value: f32) -> i8 {
    // Floats of this size have no fraction. The method that does the same is a call of the C library without SSE 4.1.
    const WHOLE: f32 = 12_582_912.0;
    #[expect(clippy::cast_possible_truncation, reason = "clamped to 127")]
    let nearest = ((value + WHOLE) - WHOLE).clamp(-STEPS, STEPS) as i8;
    nearest
}

/// So that a column's sum, in 128s, is a number of 16 bits.
const INPUTS_MAX: usize = 1 << 15;
/// Steps of a column's scale on either side of zero.
const STEPS: f32 = 127.0;

impl Weights {
    /// Rounds `matrix` to 127 steps of each column's largest magnitude. `None` if a number in it is none, if sizes disagree, or with
    /// more than 32,768 rows, whose sums would not fit.
    pub(super) fn round(matrix: &Matrix, layout: Layout) -> Option<Self> {
        if !matrix.is_finite() || !matrix.is_whole() {
            return None;
        }
        let &Matrix { inputs, outputs, .. } = matrix;
        if inputs == 0 || outputs == 0 || INPUTS_MAX < inputs {
            return None;
        }
        let panels = outputs.div_ceil(16 * layout.lines);
        let steps = Self::steps_of(inputs, layout);
        let mut weights = Self {
            inputs,
            outputs,
            layout,
            lines: vec![Line([0; 64]); panels * steps * layout.lines],
            columns: vec![
                Columns { less: [0; 16], scale: [0.0; 16], bias: [0.0; 16] };
                panels * layout.lines
            ],
        };
        let mut largest = vec![f32::MIN_POSITIVE * STEPS; outputs];
        for row in matrix.values.chunks_exact(outputs) {
            for (largest, value) in largest.iter_mut().zip(row) {
                *largest = largest.max(value.abs());
            }
        }
        for ((output, largest), bias) in largest.iter().enumerate().zip(&matrix.bias) {
            if let Some(columns) = weights.columns.get_mut(output / 16) {
                (columns.scale[output % 16], columns.bias[output % 16]) = (largest / STEPS, *bias);
            }
        }
        for (input, row) in matrix.values.chunks_exact(outputs).enumerate() {
            for ((output, value), largest) in row.iter().enumerate().zip(&largest) {
                weights.place(input, output, nearest(value / (largest / STEPS)));
            }
        }
        for sum in weights.columns.iter_mut().flat_map(|columns| &mut columns.less) {
            let (ones, above) = (*sum & 127, *sum >> 7);
            *sum = -ones & 0xffff | -above << 16;
        }
        Some(weights)
    }

    fn place(&mut self, input: usize, output: usize, value: i8) {
        let Layout { depth, lines, .. } = self.layout;
        let (line, lane) = (output / 16, output % 16);
        if let Some(columns) = self.columns.get_mut(line) {
            columns.less[lane] += i32::from(value);
        }
        let at = (line / lines * self.steps() + input / depth) * lines + line % lines;
        let Some(Line(bytes)) = self.lines.get_mut(at) else { return };
        // Four bytes a lane: four numbers of one byte, or two of two.
        let width = 4 / depth;
        let from = lane * 4 + input % depth * width;
        let extended = i32::from(value).to_le_bytes();
        for (byte, extended) in bytes.iter_mut().skip(from).zip(extended).take(width) {
            *byte = extended;
        }
    }

    fn steps_of(inputs: usize, layout: Layout) -> usize {
        inputs.next_multiple_of(layout.filled) / layout.depth
    }

    /// Instructions that go through one column.
    pub(super) fn steps(&self) -> usize {
        Self::steps_of(self.inputs, self.layout)
    }

    /// Panels of [`Layout::lines`] lines, each with the lines of every step, step after step.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[Line]> {
        self.lines.chunks_exact(self.steps() * self.layout.lines)
    }

    /// Panel after panel.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// For each line, what turns its sums into float32.
    pub(super) fn columns(&self) -> &[Columns] {
        &self.columns
    }
}
