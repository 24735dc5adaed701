//! Text in, vector out: the tokenizer and the encoder of all-MiniLM-L6-v2, agreeing with sentence-transformers' on
//! the same weights. Everything here computes on the calling thread; it knows no queues.

use std::path::PathBuf;

use tokenizers::{Tokenizer, TruncationParams};

pub use super::encoder::{DIMENSIONS, Vector};
use super::encoder::{Encoder, TOKENS_MAX};
use super::model::ModelFiles;
use super::weights::WeightsError;

/// Bytes of a text that are tokenized at all. The encoder takes 256 tokens, which ordinary text reaches within 2,000
/// characters; a text of a megabyte is not worth reading to its end.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The embedding model: shared by all threads, without state of its own between calls.
pub struct TextEncoder {
    tokenizer: Tokenizer,
    encoder: Encoder,
}

/// Why the embedding model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer's definition.
    #[error("failed to load the tokenizer {path}: {reason}")]
    Tokenizer {
        /// `tokenizer.json`.
        path: PathBuf,
        /// The tokenizer library's reason.
        reason: String,
    },
}

/// Why a text could not be embedded. Neither is the text's fault.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The tokenizer refused.
    #[error("failed to tokenize: {0}")]
    Tokenize(String),
    /// The word embeddings, which stay in their file, could not be read.
    #[error("failed to read the model's word embeddings: {0}")]
    Read(#[from] std::io::Error),
}

impl TextEncoder {
    /// Loads the model from verified files.
    pub fn load(files: &ModelFiles) -> Result<TextEncoder, LoadError> {
        let encoder = Encoder::load(files.weights())?;
        let failed = |error: tokenizers::Error| LoadError::Tokenizer { path: files.tokenizer().to_owned(), reason: error.to_string() };
        let mut tokenizer = Tokenizer::from_file(files.tokenizer()).map_err(failed)?;
        // The file asks for padding and truncation to 128 tokens; sentence-transformers overrides both, and so do we.
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: TOKENS_MAX, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(failed)?;
        Ok(TextEncoder { tokenizer, encoder })
    }

    /// The vector of each text. Texts of one call share the reading of the weights, which is what a short text's time
    /// goes to: eight questions take about three times as long as one.
    ///
    /// The matrix products run in the calling thread's rayon pool: on that thread alone if it is a pool of one.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, EmbedError> {
        let tokens = texts.iter().map(|text| self.tokenize(text)).collect::<Result<Vec<_>, _>>()?;
        let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        Ok(self.encoder.encode(&tokens)?)
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|error| EmbedError::Tokenize(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieval::model;

    pub(crate) fn text_encoder() -> TextEncoder {
        let files = model::ModelFiles::locate(&model::default_dir()).unwrap();
        TextEncoder::load(&files.expect("these tests need the model: run `frontdesk model pull`")).unwrap()
    }

    fn cosine(a: &Vector, b: &Vector) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn a_batch_gives_the_vectors_that_single_texts_give() {
        let encoder = text_encoder();
        let long = "a phone that was bought abroad ".repeat(60);
        let texts = ["roaming", "", "How do I activate my eSIM?", &long];
        let together = encoder.embed(&texts).unwrap();
        for (text, vector) in texts.iter().zip(&together) {
            let alone = encoder.embed(&[text]).unwrap()[0];
            assert!(cosine(&alone, vector) > 0.999_999, "{text:?}: {}", cosine(&alone, vector));
        }
    }

    #[test]
    fn a_text_beyond_the_limit_is_cut_not_refused() {
        let encoder = text_encoder();
        // Two bytes a character, so that the limit falls inside one.
        let endless = "é".repeat(1_000_000);
        assert_eq!(encoder.embed(&[&format!("a{endless}")]).unwrap().len(), 1);
    }
}
