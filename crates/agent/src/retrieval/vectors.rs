//! The vectors of a corpus: those that the cache has, and the making of the others on every core. What is ready is saved and told every
//! few seconds, so that a run that is cut short has not been in vain. It knows texts, not entries or chunks.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::cache::{self, EmbeddingCache, Key, Part, Stored};
use super::embed::{EmbedError, Vector};
use super::workers::single_threaded;

/// Texts embedded together: enough to share the reading of the weights, few enough to stay in the cache of one core.
const BATCH: usize = 16;
/// How often progress is saved and told: no more than this is lost when the process is killed.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// Vectors that may wait to be saved: twelve megabytes.
const UNSAVED_MAX: usize = 8192;
/// When more parts than this are found they are joined into one file, so that a process that is killed again and again does not open ever
/// more of them.
const PARTS_FOUND_MAX: usize = 8;

/// Asks work that may take minutes to end soon. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks. There is no taking it back.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Gives one vector for each text. Called on several threads.
pub(super) type Embed<'a> = dyn Fn(&[&str]) -> Result<Vec<Vector>, EmbedError> + Sync + 'a;

/// What a thread made of a batch of texts, which are named by their places.
type Made<'a> = Result<(&'a [usize], Vec<Vector>), EmbedError>;

/// How vectors are made.
pub(super) struct Making<'a> {
    pub(super) embed: &'a Embed<'a>,
    pub(super) threads: usize,
    pub(super) save_interval: Duration,
    pub(super) stop: &'a Stop,
}

impl<'a> Making<'a> {
    /// On every core, until `stop`.
    pub(super) fn on_every_core(embed: &'a Embed<'a>, stop: &'a Stop) -> Making<'a> {
        Making { embed, threads: thread::available_parallelism().map_or(1, usize::from), save_interval: SAVE_INTERVAL, stop }
    }
}

/// What is known of the vectors of some texts, which are named by their places.
pub(super) struct CorpusVectors {
    keys: Vec<Key>,
    /// Texts whose vectors must be made, each text once.
    missing: Vec<usize>,
    stored: Stored,
    made: HashMap<Key, Vector>,
    cache: Option<EmbeddingCache>,
    part: Option<Part>,
}

impl CorpusVectors {
    /// Looks the vectors of `texts` up in the cache.
    pub(super) fn look_up(texts: &[&str], model_sha256: &[u8; 32], cache_dir: Option<&Path>) -> CorpusVectors {
        let cache = cache_dir.map(EmbeddingCache::in_folder);
        let stored = cache.as_ref().map(EmbeddingCache::look_up).unwrap_or_default();
        let keys: Vec<Key> = texts.par_iter().map(|text| cache::key(model_sha256, text)).collect();
        let mut seen = HashSet::new();
        let missing = (0..texts.len()).filter(|text| !stored.contains(&keys[*text]) && seen.insert(keys[*text])).collect();
        CorpusVectors { keys, missing, stored, made: HashMap::new(), cache, part: None }
    }

    /// How many vectors must be made.
    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Makes the vectors that are missing of `texts`, and leaves the cache with exactly those that the texts need. When it is stopped, or
    /// fails, what was made by then is in the cache. Tells whether it came to the end.
    pub(super) fn make(&mut self, texts: &[&str], making: &Making<'_>) -> Result<bool, EmbedError> {
        if !self.missing.is_empty() && self.stored.parts().len() > PARTS_FOUND_MAX {
            self.store();
        }
        let mut missing = std::mem::take(&mut self.missing);
        self.made.reserve(missing.len());
        // The longest first, so that the threads end at about the same time.
        missing.sort_by_key(|text| Reverse(texts[*text].len()));
        let batches: Vec<&[usize]> = missing.chunks(BATCH).collect();
        let next = AtomicUsize::new(0);
        let threads = making.threads.clamp(1, batches.len().max(1));
        let (sender, receiver) = mpsc::sync_channel(threads);
        let made = thread::scope(|scope| {
            for _ in 0..threads {
                let (sender, batches, next) = (sender.clone(), &batches, &next);
                scope.spawn(move || {
                    let _single = single_threaded();
                    while !making.stop.is_set()
                        && let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let batch_texts: Vec<&str> = batch.iter().map(|text| texts[*text]).collect();
                        let vectors = (making.embed)(&batch_texts);
                        // Nobody receives any more once a batch has failed.
                        if sender.send(vectors.map(|vectors| (*batch, vectors))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            self.receive(receiver, texts, &missing, making.save_interval)
        });
        missing.retain(|text| !self.made.contains_key(&self.keys[*text]));
        self.missing = missing;
        made?;
        if !self.missing.is_empty() {
            return Ok(false);
        }
        self.store_if_changed();
        Ok(true)
    }

    /// Takes in what the threads make, until all of them have ended.
    fn receive(
        &mut self,
        batches: Receiver<Made<'_>>,
        texts: &[&str],
        missing: &[usize],
        save_interval: Duration,
    ) -> Result<(), EmbedError> {
        let mut progress = Progress::begin(missing.iter().map(|text| texts[*text].len()), now());
        let mut unsaved = Vec::new();
        let mut saved_at = progress.began;
        let mut result = Ok(());
        for batch in batches {
            let (batch, vectors) = match batch {
                Ok(made) => made,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            for (text, vector) in batch.iter().zip(vectors) {
                self.made.insert(self.keys[*text], vector);
                unsaved.push(self.keys[*text]);
                progress.add(texts[*text].len());
            }
            let now = now();
            let is_due = now.duration_since(saved_at) >= save_interval;
            // The last batches are not worth a part: the whole is about to be stored.
            if (is_due || unsaved.len() >= UNSAVED_MAX) && progress.done < progress.total {
                self.save(&mut unsaved);
            }
            if is_due {
                saved_at = now;
                progress.tell(now);
            }
        }
        if progress.done < progress.total {
            self.save(&mut unsaved);
        }
        result
    }

    /// Appends `unsaved` to this run's part, and empties it. After a failure nothing more is saved: there is no room, or no permission.
    fn save(&mut self, unsaved: &mut Vec<Key>) {
        let keys = std::mem::take(unsaved);
        let Some(cache) = &self.cache else { return };
        if keys.is_empty() {
            return;
        }
        let vectors = keys.iter().map(|key| (key, &self.made[key]));
        let part = match self.part.take() {
            Some(part) => Ok(part),
            None => cache.begin_part(),
        };
        match part.and_then(|mut part| part.append(vectors).map(|()| part)) {
            Ok(part) => self.part = Some(part),
            Err(error) => {
                tracing::warn!(%error, "cannot save embeddings while they are made; a start that is cut short embeds anew");
                self.cache = None;
            }
        }
    }

    fn store_if_changed(&mut self) {
        let used: HashSet<&Key> = self.keys.iter().collect();
        if !self.made.is_empty() || !self.stored.parts().is_empty() || self.stored.len() != used.len() {
            self.store();
        }
    }

    /// Leaves the cache with exactly the vectors that are there and used.
    fn store(&mut self) {
        let Some(cache) = &self.cache else { return };
        let mut seen = HashSet::new();
        let used = self.keys.iter().filter(|key| seen.insert(**key));
        let vectors = used.filter_map(|key| self.find(key).map(|vector| Some((*key, vector?))).transpose());
        match cache.store(vectors) {
            Ok(()) => {
                for part in self.stored.parts().iter().chain(self.part.as_ref().map(|part| &part.path)) {
                    // What stays is read at the next start, and removed at its end.
                    let _ = std::fs::remove_file(part);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot write the cache of embeddings; the next start embeds anew"),
        }
    }

    /// The vector of the text at this place, which must not be missing.
    pub(super) fn of(&self, text: usize) -> io::Result<Vector> {
        let vector = self.find(&self.keys[text])?;
        vector.ok_or_else(|| io::Error::other("a text has no vector yet"))
    }

    fn find(&self, key: &Key) -> io::Result<Option<Vector>> {
        match self.made.get(key) {
            Some(vector) => Ok(Some(*vector)),
            None => self.stored.read(key),
        }
    }
}

/// How far a run is. A text takes time by its length, so bytes tell how much is left.
struct Progress {
    began: Instant,
    total: usize,
    done: usize,
    bytes_total: usize,
    bytes_done: usize,
}

impl Progress {
    fn begin(lengths: impl ExactSizeIterator<Item = usize>, now: Instant) -> Progress {
        Progress { began: now, total: lengths.len(), done: 0, bytes_total: lengths.sum(), bytes_done: 0 }
    }

    fn add(&mut self, bytes: usize) {
        self.done += 1;
        self.bytes_done += bytes;
    }

    /// How long the rest takes at the pace so far.
    fn left(&self, now: Instant) -> Duration {
        let share_left = (self.bytes_total - self.bytes_done) as f64 / self.bytes_done.max(1) as f64;
        now.duration_since(self.began).mul_f64(share_left)
    }

    fn tell(&self, now: Instant) {
        tracing::info!(done = self.done, total = self.total, seconds_left = self.left(now).as_secs(), "the FAQ is being embedded");
    }
}

#[expect(clippy::disallowed_methods, reason = "an edge: a run of minutes looks at the clock after each batch")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    const MODEL: [u8; 32] = [7; 32];

    /// Texts of several batches, each its own.
    fn texts() -> Vec<String> {
        (0..16 * BATCH).map(|number| format!("text {number}")).collect()
    }

    fn vector(text: &str) -> Vector {
        std::array::from_fn(|at| f32::from(text.as_bytes()[at % text.len()]))
    }

    /// Opens the corpus, makes what is missing with a model that calls `before_batch` first, saves after every batch, and returns how many
    /// were missing and what came of it.
    fn run(folder: &Path, stop: &Stop, before_batch: &(dyn Fn() -> Result<(), EmbedError> + Sync)) -> (usize, Result<bool, EmbedError>) {
        let texts = texts();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut vectors = CorpusVectors::look_up(&texts, &MODEL, Some(folder));
        let missing = vectors.missing();
        let embed = |batch: &[&str]| before_batch().map(|()| batch.iter().map(|text| vector(text)).collect());
        let result = vectors.make(&texts, &Making { embed: &embed, threads: 1, save_interval: Duration::ZERO, stop });
        if let Ok(true) = result {
            for (at, text) in texts.iter().enumerate() {
                assert_eq!(vectors.of(at).unwrap(), vector(text));
            }
        }
        (missing, result)
    }

    fn finish(folder: &Path) -> usize {
        let (missing, result) = run(folder, &Stop::default(), &|| Ok(()));
        assert!(result.unwrap());
        assert_eq!(names(folder), ["embeddings.bin"], "nothing is left of the parts");
        missing
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Calls `act` when `batches` batches have been begun.
    fn at_batch(batches: usize, act: impl Fn() -> Result<(), EmbedError> + Sync) -> impl Fn() -> Result<(), EmbedError> + Sync {
        let begun = AtomicUsize::new(0);
        move || if begun.fetch_add(1, Ordering::Relaxed) == batches { act() } else { Ok(()) }
    }

    #[test]
    fn a_run_that_is_stopped_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let all = texts().len();
        let stop = Stop::default();
        let stopping = at_batch(3, || {
            stop.set();
            Ok(())
        });
        let (missing, result) = run(folder.path(), &stop, &stopping);
        assert_eq!((missing, result.unwrap()), (all, false));
        // The batch that was begun is finished.
        assert_eq!(finish(folder.path()), all - 4 * BATCH);
        assert_eq!(finish(folder.path()), 0);
    }

    #[test]
    fn a_run_that_fails_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let failing = at_batch(5, || Err(EmbedError::Tokenize("asked to".to_owned())));
        let (_, result) = run(folder.path(), &Stop::default(), &failing);
        assert_eq!(result.unwrap_err().to_string(), "failed to tokenize: asked to");
        assert_eq!(finish(folder.path()), texts().len() - 5 * BATCH);
    }

    #[test]
    fn a_run_that_is_killed_is_continued_from_its_last_save() {
        let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let part = folder.path().join("embeddings.0.part");
        let bytes_of_two_batches = 2 * (16 + BATCH * (32 + 384 * 4) + 32) as u64;
        // What a kill during the fourth batch leaves behind: the saved batches, and the beginning of the next.
        let kill = at_batch(3, || {
            while fs::metadata(&part).map_or(0, |metadata| metadata.len()) < bytes_of_two_batches {
                thread::yield_now();
            }
            let bytes = fs::read(&part)?;
            fs::write(killed.path().join("embeddings.0.part"), &bytes[..bytes_of_two_batches as usize])?;
            Ok(())
        });
        assert!(run(folder.path(), &Stop::default(), &kill).1.unwrap());
        let left = File::options().append(true).open(killed.path().join("embeddings.0.part"));
        io::Write::write_all(&mut left.unwrap(), b"FDEMBED1\x80\x01\0\0\x10\0\0\0 cut off").unwrap();
        assert_eq!(finish(killed.path()), texts().len() - 2 * BATCH);
    }

    #[test]
    fn parts_of_many_runs_are_joined() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=PARTS_FOUND_MAX + 1 {
            let stop = Stop::default();
            let stopping = at_batch(0, || {
                stop.set();
                Ok(())
            });
            let (missing, _) = run(folder.path(), &stop, &stopping);
            assert_eq!(missing, texts().len() - number * BATCH);
        }
        assert_eq!(names(folder.path()), ["embeddings.0.part", "embeddings.bin"]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_costs_only_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        fs::write(&file, "").unwrap();
        let (missing, result) = run(&file, &Stop::default(), &|| Ok(()));
        assert_eq!((missing, result.unwrap()), (texts().len(), true));
    }

    #[test]
    fn what_is_left_is_reckoned_by_length() {
        let began = now();
        let mut progress = Progress::begin([10, 10, 30].into_iter(), began);
        progress.add(10);
        progress.add(10);
        let left = progress.left(began + Duration::from_secs(4)).as_secs_f64();
        assert!((left - 6.0).abs() < 1e-6, "{left}");
    }
}
