//! What the agent knows: the FAQ's entries, cut into chunks and made searchable, by vectors where the embedding model is
//! present and by keywords where it is not.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::cache::{self, EmbeddingCache};
use super::embed::{EmbedError, LoadError, TextEncoder, Vector};
use super::index::VectorIndex;
use super::keyword::KeywordIndex;
use super::load::{Faq, FaqEntry};
use super::model::ModelFiles;
use super::search::{self, Embedded, Search, SearchKind};
use super::split::Splitter;
use super::workers::{Workers, single_threaded};

/// The most results a search returns.
pub const RESULTS_MAX: usize = 50;
/// Chunks embedded together when the FAQ is read: enough to share the reading of the weights, few enough to stay in the
/// cache of one core.
const CORPUS_BATCH: usize = 16;

/// A searchable FAQ.
pub struct Knowledge {
    entries: Vec<FaqEntry>,
    chunks: Arc<[Chunk]>,
    kind: SearchKind,
    search: Search,
    model: Option<LoadedModel>,
    embedded: usize,
}

/// The embedding model in memory, and the files it came from.
type LoadedModel = (Arc<TextEncoder>, ModelFiles);

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

/// What [`Knowledge::open`] works with.
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

impl Knowledge {
    /// Splits the FAQ and makes it searchable. Blocks: about 0.1 s when every chunk's embedding is cached, otherwise
    /// some milliseconds more for each chunk that is new.
    ///
    /// # Errors
    /// A model that cannot be loaded or run. A cache that cannot be read or written is only logged.
    pub fn open(faq: Faq, options: KnowledgeOptions) -> Result<Knowledge, KnowledgeError> {
        let model = match &options.model {
            Some(files) if options.search != SearchKind::Keyword => Some((Arc::new(TextEncoder::load(files)?), files.clone())),
            _ => None,
        };
        Knowledge::with_model(faq, model, options)
    }

    /// Other entries, searched in the same way: the embedding model that is loaded serves again, whatever `options` name. Blocks as
    /// [`Knowledge::open`] does.
    ///
    /// # Errors
    /// As [`Knowledge::open`].
    pub fn with_faq(&self, faq: Faq, options: KnowledgeOptions) -> Result<Knowledge, KnowledgeError> {
        Knowledge::with_model(faq, self.model.clone(), options)
    }

    fn with_model(faq: Faq, model: Option<LoadedModel>, options: KnowledgeOptions) -> Result<Knowledge, KnowledgeError> {
        let chunks: Arc<[Chunk]> = faq
            .pages()
            .iter()
            .enumerate()
            .flat_map(|(entry, page)| {
                let texts = options.splitter.split(page);
                texts.into_iter().map(move |text| Chunk { entry, text: text.into() })
            })
            .collect();
        let texts = || chunks.iter().map(|chunk| &*chunk.text);
        let (kind, search, embedded) = match &model {
            Some((encoder, files)) if options.search != SearchKind::Keyword => {
                let questions = faq.entries.iter().map(|entry| entry.question.as_str());
                let texts_and_questions: Vec<&str> = texts().chain(questions).collect();
                let (vectors, embedded) = embed_cached(encoder, files, &texts_and_questions, &options)?;
                let (of_chunks, of_questions) = vectors.split_at(chunks.len());
                let vectors = chunks.iter().zip(of_chunks).map(|(chunk, vector)| search::indexed(vector, &of_questions[chunk.entry]));
                let index = VectorIndex::new(vectors.collect());
                let keywords = (options.search == SearchKind::Hybrid).then(|| KeywordIndex::new(texts()));
                let workers = Workers::start(options.embedding_threads, Arc::new(Embedded { encoder: encoder.clone(), index, keywords }));
                (options.search, Search::Embedded(workers.map_err(KnowledgeError::Threads)?), embedded)
            }
            _ => (SearchKind::Keyword, Search::Keyword(KeywordIndex::new(texts())), 0),
        };
        Ok(Knowledge { entries: faq.entries, chunks, kind, search, model, embedded })
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
        &self.entries[index]
    }

    /// All entries, in the order of the file.
    pub fn entries(&self) -> &[FaqEntry] {
        &self.entries
    }

    /// All chunks, entry by entry.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
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
            let Chunk { entry, text } = &self.chunks[chunk];
            Hit { chunk, entry: *entry, text: Arc::clone(text), score }
        };
        Ok(self.search.search(query, k).await?.into_iter().map(hit).collect())
    }
}

/// The vector of each text, from the cache where it has it, and how many it had not. The cache is left with exactly these.
fn embed_cached(
    encoder: &TextEncoder,
    files: &ModelFiles,
    texts: &[&str],
    options: &KnowledgeOptions,
) -> Result<(Vec<Vector>, usize), KnowledgeError> {
    let keys: Vec<cache::Key> = texts.iter().map(|text| cache::key(files.sha256(), text)).collect();
    let cache = options.cache_dir.as_deref().map(EmbeddingCache::in_folder);
    let mut known = cache.as_ref().map(EmbeddingCache::load).unwrap_or_default();
    let cached = known.len();

    let mut seen = HashSet::new();
    let mut missing: Vec<usize> = (0..texts.len()).collect();
    missing.retain(|text| !known.contains_key(&keys[*text]) && seen.insert(keys[*text]));
    // The longest first, so that the threads end at about the same time.
    missing.sort_by_key(|text| Reverse(texts[*text].len()));
    let new: Vec<&str> = missing.iter().map(|text| texts[*text]).collect();
    let vectors = embed_parallel(encoder, &new, thread::available_parallelism().map_or(1, usize::from))?;
    known.extend(missing.iter().map(|text| keys[*text]).zip(vectors));
    tracing::info!(texts = texts.len(), embedded = missing.len(), "the FAQ is embedded");

    if let Some(cache) = cache {
        let used: HashMap<_, _> = keys.iter().map(|key| (key, &known[key])).collect();
        if (!missing.is_empty() || used.len() != cached)
            && let Err(error) = cache.store(used.into_iter())
        {
            tracing::warn!(%error, "cannot write the cache of embeddings; the next start embeds anew");
        }
    }
    Ok((keys.iter().map(|key| known[key]).collect(), missing.len()))
}

/// The vectors of `texts`, on `threads` threads that each take the next few texts until none are left.
fn embed_parallel(encoder: &TextEncoder, texts: &[&str], threads: usize) -> Result<Vec<Vector>, EmbedError> {
    let batches: Vec<&[&str]> = texts.chunks(CORPUS_BATCH).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let _single = single_threaded();
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(number) else { break Ok::<_, EmbedError>(done) };
            done.push((number, encoder.embed(batch)?));
        }
    };
    let threads = threads.clamp(1, batches.len().max(1));
    let mut done = thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.collect::<Result<Vec<_>, _>>().map(|parts| parts.into_iter().flatten().collect::<Vec<_>>())
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().flat_map(|(_, vectors)| vectors).collect())
}
