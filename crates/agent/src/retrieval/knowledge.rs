//! What the agent knows: the FAQ's entries, cut into chunks and made searchable, by vectors where the embedding model is
//! present and by keywords where it is not.

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::embed::{DIMENSIONS, EmbedError, LoadError, TextEncoder};
use super::index::VectorIndex;
use super::keyword::KeywordIndex;
use super::load::{Faq, FaqEntry};
use super::model::ModelFiles;
use super::search::{self, Embedded, Search, SearchKind};
use super::split::Splitter;
use super::vectors::{CorpusVectors, Making, Stop};
use super::workers::Workers;

/// The most results a search returns.
pub const RESULTS_MAX: usize = 50;

/// A searchable FAQ.
pub struct Knowledge {
    corpus: Arc<Corpus>,
    kind: SearchKind,
    search: Search,
    embedded: usize,
}

/// The entries of an FAQ, and the pieces that are searched.
pub struct Corpus {
    entries: Vec<FaqEntry>,
    chunks: Vec<Chunk>,
}

/// The embedding model in memory. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct EmbeddingModel {
    encoder: Arc<TextEncoder>,
    sha256: [u8; 32],
}

/// An FAQ whose vectors may still have to be made, which takes some milliseconds each.
pub struct Preparation {
    corpus: Arc<Corpus>,
    search: SearchKind,
    embedding_threads: usize,
    /// `None` where the search is by keywords.
    embedding: Option<(EmbeddingModel, CorpusVectors)>,
}

/// A piece of a page, short enough to be found and to be read by a language model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The entry it comes from, as its place among the entries.
    pub entry: usize,
    /// What it says, at most 500 characters.
    pub text: Arc<str>,
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The chunk's place among the chunks.
    pub chunk: usize,
    /// The entry it comes from.
    pub entry: usize,
    /// What the chunk says.
    pub text: Arc<str>,
    /// By vectors: between -1 and 1, the mean of two cosines, by weights: of query and chunk, and of query and the entry's
    /// question. By keywords: the share of the query that the chunk answers to, above 0 and at most 1. The two are not comparable
    /// with each other.
    pub score: f32,
}

/// What [`Knowledge::open`] and [`Preparation::begin`] work with.
#[derive(Clone, Debug)]
pub struct KnowledgeOptions {
    /// The embedding model; without it the search is by keywords.
    pub model: Option<ModelFiles>,
    /// How to search.
    pub search: SearchKind,
    /// Where embeddings are kept between starts; without it every start embeds the whole FAQ.
    pub cache_dir: Option<PathBuf>,
    /// Threads that embed questions, each on one core; at least one. While the FAQ is read every core embeds.
    pub embedding_threads: usize,
    /// How pages are cut.
    pub splitter: Splitter,
}

impl Default for KnowledgeOptions {
    fn default() -> KnowledgeOptions {
        KnowledgeOptions {
            model: None,
            search: SearchKind::default(),
            cache_dir: None,
            embedding_threads: 1,
            splitter: Splitter::default(),
        }
    }
}

/// Why an FAQ could not be made searchable.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// The embedding model.
    #[error("failed to load the embedding model; `frontdesk model pull` repairs it: {0}")]
    Model(#[from] LoadError),
    /// The entries.
    #[error("failed to embed the FAQ: {0}")]
    Embed(#[from] EmbedError),
    /// The threads that embed questions.
    #[error("failed to start the embedding threads: {0}")]
    Threads(std::io::Error),
    /// A file of the cache that was sound a moment ago.
    #[error("failed to read the cache of embeddings: {0}")]
    Cache(std::io::Error),
    /// The work was stopped before its end.
    #[error("the embedding of the FAQ was stopped")]
    Stopped,
}

/// Why a search found no answer; not that there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The queue is full. Worth another try in a second.
    #[error("too many questions are waiting to be embedded")]
    Busy,
    /// The search itself failed, through no fault of the question.
    #[error("search failed: {reason}")]
    Failed {
        /// For the log.
        reason: String,
    },
    /// The knowledge was dropped while the question waited.
    #[error("search has stopped")]
    Stopped,
}

impl EmbeddingModel {
    /// Reads the model; about a tenth of a second.
    ///
    /// # Errors
    /// Files that are no model, or another one.
    pub fn load(files: &ModelFiles) -> Result<EmbeddingModel, LoadError> {
        Ok(EmbeddingModel { encoder: Arc::new(TextEncoder::load(files)?), sha256: *files.sha256() })
    }
}

impl Corpus {
    fn cut(faq: Faq, splitter: &Splitter) -> Corpus {
        let chunks = faq.pages().par_iter().enumerate().flat_map_iter(|(entry, page)| {
            let texts = splitter.split(page);
            texts.into_iter().map(move |text| Chunk { entry, text: text.into() })
        });
        Corpus { chunks: chunks.collect(), entries: faq.entries }
    }

    /// All entries, in the order of the file.
    pub fn entries(&self) -> &[FaqEntry] {
        &self.entries
    }

    fn chunk_texts(&self) -> impl Iterator<Item = &str> {
        self.chunks.iter().map(|chunk| &*chunk.text)
    }

    /// What is embedded: the chunks, and after them the question of each entry.
    fn texts(&self) -> Vec<&str> {
        self.chunk_texts().chain(self.entries.iter().map(|entry| entry.question.as_str())).collect()
    }

    fn keywords(&self) -> KeywordIndex {
        KeywordIndex::new(self.chunk_texts())
    }

    fn index(&self, vectors: &CorpusVectors) -> std::io::Result<VectorIndex> {
        let mut indexed = vec![[0.0; DIMENSIONS]; self.chunks.len()];
        indexed.par_iter_mut().enumerate().try_for_each(|(at, indexed)| {
            let question = self.chunks.len() + self.chunks[at].entry;
            *indexed = search::indexed(&vectors.of(at)?, &vectors.of(question)?);
            Ok::<(), std::io::Error>(())
        })?;
        Ok(VectorIndex::new(indexed))
    }
}

impl Preparation {
    /// Splits the FAQ, and looks up which vectors there are; without a `model`, or where `options` want none, none are needed. The model that
    /// `options` name is not looked at. Blocks for about a second where there are 100,000 entries.
    pub fn begin(faq: Faq, model: Option<EmbeddingModel>, options: &KnowledgeOptions) -> Preparation {
        let corpus = Arc::new(Corpus::cut(faq, &options.splitter));
        let model = model.filter(|_| options.search != SearchKind::Keyword);
        let search = if model.is_some() { options.search } else { SearchKind::Keyword };
        let embedding = model.map(|model| {
            let vectors = CorpusVectors::look_up(&corpus.texts(), &model.sha256, options.cache_dir.as_deref());
            (model, vectors)
        });
        Preparation { corpus, search, embedding_threads: options.embedding_threads, embedding }
    }

    /// The entries and their chunks.
    pub fn corpus(&self) -> &Arc<Corpus> {
        &self.corpus
    }

    /// How many texts (chunks and questions) must be embedded: those that are not in the cache.
    pub fn missing(&self) -> usize {
        self.embedding.as_ref().map_or(0, |(_, vectors)| vectors.missing())
    }

    /// Embeds what is missing, on every core, and makes the FAQ searchable. Every few seconds it saves and logs how far it is. Blocks.
    ///
    /// # Errors
    /// A model that cannot be run, and [`KnowledgeError::Stopped`] after `stop`; what was embedded by then is in the cache. A cache that
    /// cannot be written is only logged.
    pub fn complete(self, stop: &Stop) -> Result<Knowledge, KnowledgeError> {
        let embedded = self.missing();
        let Preparation { corpus, search: kind, embedding_threads, embedding } = self;
        let Some((EmbeddingModel { encoder, .. }, mut vectors)) = embedding else {
            return Ok(Knowledge::by_keywords(corpus));
        };
        let texts = corpus.texts();
        let embed = |batch: &[&str]| encoder.embed(batch);
        if !vectors.make(&texts, &Making::on_every_core(&embed, stop))? {
            return Err(KnowledgeError::Stopped);
        }
        tracing::info!(texts = texts.len(), embedded, "the FAQ is embedded");
        let index = corpus.index(&vectors).map_err(KnowledgeError::Cache)?;
        let keywords = (kind == SearchKind::Hybrid).then(|| corpus.keywords());
        let workers = Workers::start(embedding_threads, Arc::new(Embedded { encoder, index, keywords }));
        let search = Search::Embedded(workers.map_err(KnowledgeError::Threads)?);
        Ok(Knowledge { corpus, kind, search, embedded })
    }
}

impl Knowledge {
    /// Splits the FAQ and makes it searchable. Blocks until that is done: see [`Preparation`] for the two halves of it.
    ///
    /// # Errors
    /// A model that cannot be loaded or run. A cache that cannot be written is only logged.
    pub fn open(faq: Faq, options: KnowledgeOptions) -> Result<Knowledge, KnowledgeError> {
        let model = match &options.model {
            Some(files) if options.search != SearchKind::Keyword => Some(EmbeddingModel::load(files)?),
            _ => None,
        };
        Preparation::begin(faq, model, &options).complete(&Stop::default())
    }

    /// The entries searched by keywords, as is possible before there are vectors.
    pub fn by_keywords(corpus: Arc<Corpus>) -> Knowledge {
        let search = Search::Keyword(corpus.keywords());
        Knowledge { corpus, kind: SearchKind::Keyword, search, embedded: 0 }
    }

    /// The way of searching that is in use.
    pub fn kind(&self) -> SearchKind {
        self.kind
    }

    /// The entry at `index`, as named by a [`Hit`].
    ///
    /// # Panics
    /// If there are not so many entries.
    pub fn entry(&self, index: usize) -> &FaqEntry {
        &self.corpus.entries[index]
    }

    /// All entries, in the order of the file.
    pub fn entries(&self) -> &[FaqEntry] {
        &self.corpus.entries
    }

    /// All chunks, entry by entry.
    pub fn chunks(&self) -> &[Chunk] {
        &self.corpus.chunks
    }

    /// How many texts (chunks and questions) had to be embedded when the FAQ was opened; the others came from the cache.
    pub fn embedded(&self) -> usize {
        self.embedded
    }

    /// The `k` chunks nearest to `query`, best first; `k` is taken as at least 1 and at most [`RESULTS_MAX`]. Two chunks
    /// may belong to one entry. By vectors there are always `k` unless the FAQ has fewer; by keywords only those that share
    /// one with the query.
    pub async fn search(&self, query: &str, k: usize) -> Result<Vec<Hit>, SearchError> {
        let k = k.clamp(1, RESULTS_MAX);
        let hit = |(chunk, score): (usize, f32)| {
            let Chunk { entry, text } = &self.corpus.chunks[chunk];
            Hit { chunk, entry: *entry, text: Arc::clone(text), score }
        };
        Ok(self.search.search(query, k).await?.into_iter().map(hit).collect())
    }
}
