//! Brings the FAQ into service: at the start, and whenever its files change. Nobody waits long for the vectors of a large one: it is searched by
//! keywords while they are being made, and a changed one only takes the place of the one before when it is searched as well.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use crate::faq::FaqAgent;
use crate::llm::{Extractive, Model, Provider};
use crate::retrieval::model::ModelFiles;
use crate::retrieval::watch::FaqWatch;
use crate::retrieval::{Corpus, EmbeddingModel, Faq, Knowledge, KnowledgeOptions, Preparation, SearchKind, Stop};
use crate::settings::AgentSettings;
use crate::threads::Threads;
use crate::tools::FaqTools;

/// How often the FAQ's files are looked at for a change.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// What an agent is made of, but for its knowledge.
pub(crate) struct Assembly {
    /// `None` for the built-in model.
    pub(crate) provider: Option<Arc<Provider>>,
    pub(crate) threads: Arc<Threads>,
    pub(crate) settings: AgentSettings,
}

/// An agent with the knowledge that it was made with.
pub(crate) struct LoadedAgent {
    pub(crate) faq: FaqAgent,
    pub(crate) knowledge: Arc<Knowledge>,
    pub(crate) model: String,
}

impl Assembly {
    /// Blocks: about a second for 100,000 entries.
    pub(crate) fn agent(&self, knowledge: Knowledge) -> anyhow::Result<LoadedAgent> {
        let model = match &self.provider {
            Some(provider) => Model::Provider(provider.clone()),
            None => Model::Extractive(Box::new(Extractive::new(self.settings.company_name(), knowledge.entries()))),
        };
        let name = model.name().to_owned();
        let knowledge = Arc::new(knowledge);
        let faq = FaqAgent::new(model, FaqTools::new(knowledge.clone()), self.threads.clone(), &self.settings)?;
        Ok(LoadedAgent { faq, knowledge, model: name })
    }

    /// [`Assembly::agent`], on a thread that may block.
    async fn assemble(self: &Arc<Assembly>, knowledge: impl FnOnce() -> Knowledge + Send + 'static) -> anyhow::Result<LoadedAgent> {
        let assembly = self.clone();
        blocking(move || assembly.agent(knowledge())).await?
    }
}

/// Reads the FAQ, and the embedding model where it is wanted and there.
pub(crate) async fn read(settings: &AgentSettings) -> anyhow::Result<(Faq, Option<EmbeddingModel>)> {
    let (model_dir, search) = (settings.model_dir.clone(), settings.search);
    let load_model = move || -> anyhow::Result<Option<EmbeddingModel>> {
        match ModelFiles::locate(&model_dir)? {
            _ if search == SearchKind::Keyword => Ok(None),
            Some(files) => {
                EmbeddingModel::load(&files).map(Some).context("failed to load the embedding model; `frontdesk model pull` repairs it")
            }
            None => {
                tracing::warn!(
                    model_dir = %model_dir.display(),
                    "The embedding model is missing, so the search is by keywords; `frontdesk model pull` fetches it"
                );
                Ok(None)
            }
        }
    };
    tokio::try_join!(read_faq(settings.faq.clone()), async { blocking(load_model).await? })
}

async fn read_faq(path: PathBuf) -> anyhow::Result<Faq> {
    Ok(blocking(move || Faq::read(&path)).await??)
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the thread that loads the FAQ panicked")
}

/// An FAQ on its way: its entries are there, its vectors may still be in the making. That ends soon after it is dropped, and what was made is in
/// the cache.
pub(crate) struct Loading {
    corpus: Arc<Corpus>,
    /// Texts that must be embedded.
    missing: usize,
    stop: Stop,
    complete: JoinHandle<anyhow::Result<Knowledge>>,
}

impl Loading {
    /// Cuts `faq` into chunks and looks up which vectors there are; the others are being made when it returns.
    pub(crate) async fn begin(faq: Faq, model: Option<EmbeddingModel>, settings: &AgentSettings) -> anyhow::Result<Loading> {
        let options = KnowledgeOptions {
            search: settings.search,
            cache_dir: settings.cache_dir.clone(),
            embedding_threads: settings.embedding_threads,
            ..KnowledgeOptions::default()
        };
        let preparation = blocking(move || Preparation::begin(faq, model, &options)).await?;
        Ok(Loading::of(preparation, |_| ()))
    }

    /// Completes `preparation` after `before`, both on a thread that may block.
    fn of(preparation: Preparation, before: impl FnOnce(&Stop) + Send + 'static) -> Loading {
        let stop = Stop::default();
        let stopped = stop.clone();
        let (corpus, missing) = (preparation.corpus().clone(), preparation.missing());
        let complete = move || {
            before(&stopped);
            Ok(preparation.complete(&stopped)?)
        };
        Loading { corpus, missing, stop, complete: tokio::task::spawn_blocking(complete) }
    }

    /// The FAQ, searched as it should be. May be dropped and called again, but not after it has answered.
    async fn complete(&mut self) -> anyhow::Result<Knowledge> {
        (&mut self.complete).await.context("the thread that embeds the FAQ panicked")?
    }

    /// Ends it, and waits for that, so that the next one finds in the cache what this one made.
    async fn stop(mut self) {
        self.stop.set();
        // What became of it is of no interest any more.
        let _ = (&mut self.complete).await;
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.stop.set();
    }
}

/// The agent that is in service.
pub(crate) struct Current {
    /// Replaced as a whole.
    agent: ArcSwap<LoadedAgent>,
    assembly: Arc<Assembly>,
    /// Whether vectors are being made.
    is_embedding: AtomicBool,
}

impl Current {
    /// Puts the FAQ of `loading` into service. Where vectors must be made they are waited for as long as the settings say; then it is searched by
    /// keywords, and the loading is handed back, to be given to [`Current::keep`].
    pub(crate) async fn begin(assembly: Assembly, mut loading: Loading) -> anyhow::Result<(Current, Option<Loading>)> {
        let assembly = Arc::new(assembly);
        let wait = if loading.missing == 0 { Duration::MAX } else { Duration::from_millis(assembly.settings.embedding_wait_ms) };
        let (agent, rest) = match tokio::time::timeout(wait, loading.complete()).await {
            Ok(knowledge) => {
                let knowledge = knowledge?;
                (assembly.assemble(|| knowledge).await?, None)
            }
            Err(_) => {
                tracing::info!(
                    entries = loading.corpus.entries().len(),
                    texts_to_embed = loading.missing,
                    "The FAQ takes long to embed, so it is searched by keywords until that is done"
                );
                let corpus = loading.corpus.clone();
                (assembly.assemble(|| Knowledge::by_keywords(corpus)).await?, Some(loading))
            }
        };
        let is_embedding = AtomicBool::new(rest.is_some());
        Ok((Current { agent: ArcSwap::from_pointee(agent), assembly, is_embedding }, rest))
    }

    /// The agent to ask now.
    pub(crate) fn agent(&self) -> Arc<LoadedAgent> {
        self.agent.load_full()
    }

    pub(crate) fn settings(&self) -> &AgentSettings {
        &self.assembly.settings
    }

    /// Whether vectors are being made: those of the FAQ in service, or of a changed one.
    pub(crate) fn is_embedding(&self) -> bool {
        self.is_embedding.load(Ordering::Relaxed)
    }

    /// Takes `loading` into service when it is complete, and from then on each FAQ that is read anew because its files have changed and are at
    /// rest. One that cannot be read leaves the old one in force.
    pub(crate) async fn keep(self: Arc<Self>, model: Option<EmbeddingModel>, mut watch: FaqWatch, mut loading: Option<Loading>) {
        loop {
            let complete = async {
                match &mut loading {
                    Some(loading) => loading.complete().await,
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                knowledge = complete => {
                    loading = None;
                    self.replace(knowledge).await
                }
                () = tokio::time::sleep(WATCH_INTERVAL) => {
                    if !watch.has_changed() {
                        continue;
                    }
                    self.begin_again(model.clone(), &mut loading).await
                }
            };
            self.is_embedding.store(loading.is_some(), Ordering::Relaxed);
            if let Err(error) = done {
                tracing::error!(errorMessage = format!("{error:#}"), "The FAQ cannot be used as it is now; what was in force stays so");
            }
        }
    }

    /// Lets a changed FAQ be loaded in place of `loading`.
    async fn begin_again(&self, model: Option<EmbeddingModel>, loading: &mut Option<Loading>) -> anyhow::Result<()> {
        let faq = read_faq(self.settings().faq.clone()).await?;
        if let Some(before) = loading.take() {
            before.stop().await;
        }
        let begun = Loading::begin(faq, model, self.settings()).await?;
        // An FAQ without vectors is in service, so the changed one need not wait for its own.
        if begun.missing > 0 && self.agent().knowledge.kind() == SearchKind::Keyword {
            let corpus = begun.corpus.clone();
            self.put(self.assembly.assemble(|| Knowledge::by_keywords(corpus)).await?);
        }
        *loading = Some(begun);
        Ok(())
    }

    async fn replace(&self, knowledge: anyhow::Result<Knowledge>) -> anyhow::Result<()> {
        let knowledge = knowledge?;
        self.put(self.assembly.assemble(|| knowledge).await?);
        Ok(())
    }

    fn put(&self, agent: LoadedAgent) {
        let knowledge = &agent.knowledge;
        tracing::info!(
            search = knowledge.kind().name(),
            entries = knowledge.entries().len(),
            embedded = knowledge.embedded(),
            "FAQ reloaded"
        );
        self.agent.store(Arc::new(agent));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;
    use crate::settings::ModelChoice;

    const FAQ: &str = "question,answer\n\
        How do I activate roaming?,Dial *123# before you travel and choose Roaming.\n\
        What happens if my phone is stolen?,Call 611 and we block the SIM at once.\n";

    fn settings(folder: &Path, embedding_wait_ms: u64) -> AgentSettings {
        let faq = folder.join("faq.csv");
        std::fs::write(&faq, FAQ).unwrap();
        AgentSettings { faq, embedding_wait_ms, model: ModelChoice::Extractive, ..AgentSettings::default() }
    }

    fn assembly(settings: &AgentSettings) -> Assembly {
        Assembly { provider: None, threads: Arc::default(), settings: settings.clone() }
    }

    /// The FAQ of `settings` on its way, held up until something is sent, or it is stopped.
    async fn held_up(settings: &AgentSettings) -> (Loading, Option<EmbeddingModel>, mpsc::Sender<()>) {
        let (faq, model) = read(settings).await.unwrap();
        assert!(model.is_some(), "this test needs the model: run `frontdesk model pull`");
        let preparation = Preparation::begin(faq, model.clone(), &KnowledgeOptions::default());
        let (proceed, gate) = mpsc::channel();
        let hold_up = move |stop: &Stop| {
            while !stop.is_set() && gate.try_recv() == Err(mpsc::TryRecvError::Empty) {
                std::thread::yield_now();
            }
        };
        (Loading::of(preparation, hold_up), model, proceed)
    }

    /// The question of the entry that is found first, and how it was searched for.
    async fn found(current: &Current, query: &str) -> (Option<String>, SearchKind) {
        let knowledge = current.agent().knowledge.clone();
        let hits = knowledge.search(query, 1).await.unwrap();
        (hits.first().map(|hit| knowledge.entry(hit.entry).question.clone()), knowledge.kind())
    }

    async fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_faq_is_searched_by_keywords_until_its_vectors_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 0);
        let (loading, model, proceed) = held_up(&settings).await;
        let (current, rest) = Current::begin(assembly(&settings), loading).await.unwrap();
        let current = Arc::new(current);
        assert!(current.is_embedding());
        let stolen = Some("What happens if my phone is stolen?".to_owned());
        assert_eq!(found(&current, "my phone was stolen").await, (stolen.clone(), SearchKind::Keyword));
        assert_eq!(found(&current, "someone took it").await, (None, SearchKind::Keyword));

        let keeping = tokio::spawn(current.clone().keep(model, FaqWatch::of(&settings.faq), rest));
        proceed.send(()).unwrap();
        until(|| !current.is_embedding()).await;
        assert_eq!(found(&current, "someone took my handset").await, (stolen, SearchKind::Vector));
        keeping.abort();
    }

    #[tokio::test]
    async fn vectors_that_are_soon_there_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), u64::MAX);
        let (faq, model) = read(&settings).await.unwrap();
        let loading = Loading::begin(faq, model, &settings).await.unwrap();
        let (current, rest) = Current::begin(assembly(&settings), loading).await.unwrap();
        assert!(rest.is_none() && !current.is_embedding());
        assert_eq!(found(&current, "someone took my handset").await.1, SearchKind::Vector);
    }

    #[tokio::test]
    async fn a_changed_faq_takes_over_when_it_has_vectors_too() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), u64::MAX);
        let (faq, model) = read(&settings).await.unwrap();
        let loading = Loading::begin(faq, model.clone(), &settings).await.unwrap();
        let (current, rest) = Current::begin(assembly(&settings), loading).await.unwrap();
        let current = Arc::new(current);
        let keeping = tokio::spawn(current.clone().keep(model, FaqWatch::of(&settings.faq), rest));
        std::fs::write(&settings.faq, format!("{FAQ}Do you offer eSIM?,Yes.\n")).unwrap();
        until(|| {
            let knowledge = current.agent().knowledge.clone();
            assert_eq!(knowledge.kind(), SearchKind::Vector);
            knowledge.entries().len() == 3
        })
        .await;
        keeping.abort();
    }

    #[tokio::test]
    async fn an_faq_that_changes_before_it_has_vectors_is_served_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), 0);
        let (loading, model, _held_up) = held_up(&settings).await;
        let (current, rest) = Current::begin(assembly(&settings), loading).await.unwrap();
        let current = Arc::new(current);
        let keeping = tokio::spawn(current.clone().keep(model, FaqWatch::of(&settings.faq), rest));
        std::fs::write(&settings.faq, format!("{FAQ}Do you offer eSIM?,Yes.\n")).unwrap();
        // The loading that is replaced would never have come to its end.
        until(|| current.agent().knowledge.entries().len() == 3 && !current.is_embedding()).await;
        assert_eq!(found(&current, "can I get an esim").await, (Some("Do you offer eSIM?".to_owned()), SearchKind::Vector));
        keeping.abort();
    }
}
