//! Finds the entries of an FAQ that answer a question: reads the file ([`load`]), cuts its pages into chunks ([`split`]),
//! embeds them with all-MiniLM-L6-v2 ([`embed`], [`model`]), and searches ([`knowledge`]). It knows nothing of agents,
//! language models or HTTP.

pub mod load;
mod markdown;
pub mod split;
pub mod watch;

pub mod embed;
mod encoder;
pub mod model;
mod weights;

mod cache;
pub mod index;
mod keyword;
pub mod knowledge;
mod search;
mod sketch;
mod vectors;
mod workers;

pub use knowledge::{
    Chunk, Corpus, EmbeddingModel, Hit, Knowledge, KnowledgeError, KnowledgeOptions, Preparation, RESULTS_MAX, SearchError,
};
pub use load::{Faq, FaqEntry, FaqError};
pub use search::SearchKind;
pub use vectors::Stop;
