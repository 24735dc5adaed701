//! The transformer of all-MiniLM-L6-v2: token numbers in, one unit vector for each text out. It is BERT's encoder
//! (Devlin et al. 2019, <https://arxiv.org/abs/1810.04805>) with six layers, erf-GELU, mean pooling and L2 normalisation,
//! computed with rten's matrix products. It knows no words and no queues.
//!
//! The weights are packed once, straight from the file, into the layout that the matrix product wants: that is the only
//! copy kept (43 MB). Texts of a batch are laid one after the other without padding, so that every product runs over
//! real tokens only, and attention is computed for each text by itself; no mask is needed.

use std::io;
use std::ops::Range;
use std::path::Path;

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_simd::{SimdOp as _, SimdUnaryOp as _};
use rten_tensor::{Matrix, NdTensorView};
use rten_vecmath::{Gelu, Normalize, NormalizeOptions, Softmax, Sum, SumSquare, SumSquareSub};

use super::weights::{RowTable, Weights, WeightsError};

/// Numbers in a vector.
pub const DIMENSIONS: usize = 384;
/// Tokens of a text that count, the two special ones included; sentence-transformers' `max_seq_length` for this model.
pub(crate) const TOKENS_MAX: usize = 256;

/// Tokens that go through the layers together, short of a single text's. Fewer read the weights too often; with more, what lies between two layers leaves the
/// processor's caches (32 pages of 61 tokens: 387 ms at 512, 425 at 64, 487 all at once).
const TOKENS_TOGETHER: usize = 512;

const VOCABULARY: usize = 30_522;
const POSITIONS: usize = 512;
const LAYERS: usize = 6;
const HEADS: usize = 12;
const HEAD_SIZE: usize = DIMENSIONS / HEADS;
const INTERMEDIATE: usize = 1536;
const LAYER_NORM_EPSILON: f32 = 1e-12;

/// What a text becomes: [`DIMENSIONS`] numbers of length 1, so that a dot product is a cosine.
pub type Vector = [f32; DIMENSIONS];

/// The model's weights, ready for use from any number of threads.
pub(crate) struct Encoder {
    words: RowTable,
    /// [`TOKENS_MAX`] × [`DIMENSIONS`]: the embedding of each position plus that of token type 0, the only one in use.
    positions: Vec<f32>,
    embedding_norm: LayerNorm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Query, key and value side by side: [`DIMENSIONS`] → 3 × [`DIMENSIONS`].
    attention_input: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

struct Linear {
    weight: PackedBMatrix<f32>,
    bias: Vec<f32>,
}

struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// The rows of a batch that one text occupies.
type Rows = Range<usize>;

impl Encoder {
    /// Reads and packs the weights; about 60 ms.
    pub(crate) fn load(path: &Path) -> Result<Encoder, WeightsError> {
        let weights = Weights::open(path)?;
        let gemm = GemmExecutor::default();

        let types = weights.read("embeddings.token_type_embeddings.weight", &[2, DIMENSIONS])?;
        let mut positions = weights.read("embeddings.position_embeddings.weight", &[POSITIONS, DIMENSIONS])?;
        positions.truncate(TOKENS_MAX * DIMENSIONS);
        for row in positions.chunks_exact_mut(DIMENSIONS) {
            row.iter_mut().zip(&types[..DIMENSIONS]).for_each(|(position, token_type)| *position += token_type);
        }

        Ok(Encoder {
            words: weights.rows("embeddings.word_embeddings.weight", [VOCABULARY, DIMENSIONS])?,
            positions,
            embedding_norm: LayerNorm::load(&weights, "embeddings.LayerNorm")?,
            layers: (0..LAYERS).map(|layer| Layer::load(&weights, &gemm, layer)).collect::<Result<_, _>>()?,
        })
    }

    /// The vector of each text, given as token numbers with the special tokens in place; at most [`TOKENS_MAX`] count.
    ///
    /// # Errors
    /// An empty text, a token number beyond the vocabulary, and a weights file that can no longer be read.
    pub(crate) fn encode(&self, texts: &[&[u32]]) -> io::Result<Vec<Vector>> {
        let mut vectors = Vec::with_capacity(texts.len());
        let (mut hidden, mut rows) = (Vec::new(), Vec::new());
        for text in texts {
            if hidden.len() / DIMENSIONS + text.len().min(TOKENS_MAX) > TOKENS_TOGETHER {
                self.finish(&mut rows, &mut hidden, &mut vectors);
            }
            let start = hidden.len() / DIMENSIONS;
            self.embed_tokens(text, &mut hidden)?;
            rows.push(start..hidden.len() / DIMENSIONS);
        }
        self.finish(&mut rows, &mut hidden, &mut vectors);
        Ok(vectors)
    }

    /// Runs the layers over the texts in `hidden`, which is left empty.
    fn finish(&self, rows: &mut Vec<Rows>, hidden: &mut Vec<f32>, vectors: &mut Vec<Vector>) {
        let gemm = GemmExecutor::default();
        for layer in &self.layers {
            layer.apply(&gemm, rows, hidden);
        }
        vectors.extend(rows.drain(..).map(|rows| pool(&hidden[rows.start * DIMENSIONS..rows.end * DIMENSIONS])));
        hidden.clear();
    }

    fn embed_tokens(&self, text: &[u32], hidden: &mut Vec<f32>) -> io::Result<()> {
        if text.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a text without tokens, not even special ones"));
        }
        let start = hidden.len();
        let tokens = &text[..text.len().min(TOKENS_MAX)];
        hidden.extend_from_slice(&self.positions[..tokens.len() * DIMENSIONS]);
        for (token, row) in tokens.iter().zip(hidden[start..].chunks_exact_mut(DIMENSIONS)) {
            self.words.add_row(*token as usize, row)?;
        }
        self.embedding_norm.apply(&mut hidden[start..]);
        Ok(())
    }
}

impl Layer {
    fn load(weights: &Weights, gemm: &GemmExecutor, number: usize) -> Result<Layer, WeightsError> {
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        let attention = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
        let one = |part: &str, inputs, outputs| Linear::load(weights, gemm, &[name(part)], inputs, outputs);
        Ok(Layer {
            attention_input: Linear::load(weights, gemm, &attention, DIMENSIONS, DIMENSIONS)?,
            attention_output: one("attention.output.dense", DIMENSIONS, DIMENSIONS)?,
            attention_norm: LayerNorm::load(weights, &name("attention.output.LayerNorm"))?,
            intermediate: one("intermediate.dense", DIMENSIONS, INTERMEDIATE)?,
            output: one("output.dense", INTERMEDIATE, DIMENSIONS)?,
            output_norm: LayerNorm::load(weights, &name("output.LayerNorm"))?,
        })
    }

    /// `hidden` is tokens × [`DIMENSIONS`], and is replaced.
    fn apply(&self, gemm: &GemmExecutor, texts: &[Rows], hidden: &mut [f32]) {
        let attended = attention(gemm, texts, &self.attention_input.apply(gemm, hidden));
        self.attention_output.add(gemm, &attended, hidden);
        self.attention_norm.apply(hidden);

        let mut intermediate = self.intermediate.apply(gemm, hidden);
        Gelu {}.map_mut(&mut intermediate);
        self.output.add(gemm, &intermediate, hidden);
        self.output_norm.apply(hidden);
    }
}

/// Scaled dot-product attention of every head within every text. `input` is tokens × (query, key, value); the result is
/// tokens × [`DIMENSIONS`].
fn attention(gemm: &GemmExecutor, texts: &[Rows], input: &[f32]) -> Vec<f32> {
    const STRIDE: usize = 3 * DIMENSIONS;
    let mut attended = vec![0.0; input.len() / 3];
    let mut scores = Vec::new();
    let mut mixed = Vec::new();
    for rows in texts {
        let tokens = rows.len();
        scores.resize(tokens * tokens, 0.0);
        mixed.resize(tokens * HEAD_SIZE, 0.0);
        for head in 0..HEADS {
            let part = |which: usize| -> Matrix<'_> {
                let start = rows.start * STRIDE + which * DIMENSIONS + head * HEAD_SIZE;
                let end = start + (tokens - 1) * STRIDE + HEAD_SIZE;
                NdTensorView::from_slice_with_strides([tokens, HEAD_SIZE], &input[start..end], [STRIDE, 1])
                    .expect("the slice ends with the last row's last element")
            };
            let (query, key, value) = (part(0), part(1), part(2));

            let scaled = GemmOptions { alpha: (HEAD_SIZE as f32).sqrt().recip(), ..GemmOptions::default() };
            multiply(gemm, &mut scores, query, GemmInputB::Unpacked(key.transposed()), scaled);
            for row in scores.chunks_exact_mut(tokens) {
                Softmax::new_mut(row).dispatch();
            }
            let weights = NdTensorView::from_data([tokens, tokens], scores.as_slice());
            multiply(gemm, &mut mixed, weights, GemmInputB::Unpacked(value), GemmOptions::default());
            for (row, mixed) in rows.clone().zip(mixed.chunks_exact(HEAD_SIZE)) {
                let start = row * DIMENSIONS + head * HEAD_SIZE;
                attended[start..start + HEAD_SIZE].copy_from_slice(mixed);
            }
        }
    }
    attended
}

impl Linear {
    /// The layers `names` side by side, each `inputs` → `outputs`.
    fn load(weights: &Weights, gemm: &GemmExecutor, names: &[String], inputs: usize, outputs: usize) -> Result<Linear, WeightsError> {
        let mut weight = Vec::with_capacity(names.len() * outputs * inputs);
        let mut bias = Vec::with_capacity(names.len() * outputs);
        for name in names {
            weight.extend(weights.read(&format!("{name}.weight"), &[outputs, inputs])?);
            bias.extend(weights.read(&format!("{name}.bias"), &[outputs])?);
        }
        // PyTorch keeps a row for each output; the product wants a column for each.
        let weight = NdTensorView::from_data([bias.len(), inputs], weight.as_slice());
        Ok(Linear { weight: gemm.prepack_b(weight.transposed()), bias })
    }

    fn apply(&self, gemm: &GemmExecutor, input: &[f32]) -> Vec<f32> {
        let mut output = vec![0.0; input.len() / self.weight.rows() * self.weight.cols()];
        self.multiply(gemm, input, &mut output, 0.0);
        output
    }

    /// Adds this layer's output to `sum`: the residual connection.
    fn add(&self, gemm: &GemmExecutor, input: &[f32], sum: &mut [f32]) {
        self.multiply(gemm, input, sum, 1.0);
    }

    fn multiply(&self, gemm: &GemmExecutor, input: &[f32], output: &mut [f32], beta: f32) {
        let inputs = self.weight.rows();
        let input = NdTensorView::from_data([input.len() / inputs, inputs], input);
        let options = GemmOptions { beta, bias: Some(BiasVector::Row(&self.bias)), ..GemmOptions::default() };
        multiply(gemm, output, input, GemmInputB::Packed(&self.weight), options);
    }
}

fn multiply(gemm: &GemmExecutor, output: &mut [f32], a: Matrix<'_>, b: GemmInputB<'_, f32>, options: GemmOptions<'_, f32, f32, f32>) {
    gemm.gemm(output, GemmInputA::Unpacked(a), b, options).expect("the shapes follow from those checked when loading");
}

impl LayerNorm {
    fn load(weights: &Weights, name: &str) -> Result<LayerNorm, WeightsError> {
        Ok(LayerNorm {
            weight: weights.read(&format!("{name}.weight"), &[DIMENSIONS])?,
            bias: weights.read(&format!("{name}.bias"), &[DIMENSIONS])?,
        })
    }

    fn apply(&self, hidden: &mut [f32]) {
        for row in hidden.chunks_exact_mut(DIMENSIONS) {
            let mean = Sum::new(row).dispatch() / DIMENSIONS as f32;
            let variance = SumSquareSub::new(row, mean).dispatch() / DIMENSIONS as f32;
            let options = NormalizeOptions {
                pre_scale_bias: mean,
                scale: (variance + LAYER_NORM_EPSILON).sqrt().recip(),
                element_scale: Some(&self.weight),
                element_bias: Some(&self.bias),
                ..NormalizeOptions::default()
            };
            Normalize::new_mut(row, options).dispatch();
        }
    }
}

/// The mean of a text's tokens, scaled to length 1.
fn pool(hidden: &[f32]) -> Vector {
    let mut vector = [0.0; DIMENSIONS];
    for row in hidden.chunks_exact(DIMENSIONS) {
        vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    // The number of tokens cancels out. A vector of zeros stays one, as in PyTorch's `normalize`.
    let length = SumSquare::new(&vector).dispatch().sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}
