//! Measures the search of vectors on one thread, exact and by sketches: time a query and recall@10 against the exact search.
//!
//! `cargo run --release -p frontdesk-agent --example search_speed -- FOLDER TEXTS…`: TEXTS are FAQs and files of labelled questions in
//! JSON Lines. Their embeddings are mixed with each other and with noise until there are enough; their questions are the queries. Into
//! FOLDER go the same vectors for other programs: `queries.f32` and `SIZE.f32`, rows of 384 little-endian f32.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use frontdesk_agent::retrieval::embed::{TextEncoder, Vector};
use frontdesk_agent::retrieval::index::VectorIndex;
use frontdesk_agent::retrieval::model::{self, ModelFiles};

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];
const QUERIES: usize = 200;
const K: usize = 10;
/// Texts that are embedded: enough to be different.
const TEXTS_MAX: usize = 1_500;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, files)) = arguments.split_first().filter(|(_, files)| !files.is_empty()) else {
        bail!("usage: search_speed FOLDER TEXTS.jsonl…");
    };
    let _single = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build()?;
    let (pages, questions) = texts(files)?;
    let model = ModelFiles::locate(&model::default_dir())?.context("there is no embedding model: run `frontdesk model pull`")?;
    let encoder = TextEncoder::load(&model)?;
    let embed = |texts: &[String]| -> anyhow::Result<Vec<Vector>> {
        let mut vectors = Vec::new();
        for batch in texts.chunks(32) {
            vectors.extend(encoder.embed(&batch.iter().map(String::as_str).collect::<Vec<_>>())?);
        }
        Ok(vectors)
    };
    let queries = embed(&questions[..questions.len().min(QUERIES)])?;
    let parents = embed(&pages)?;
    write(&Path::new(folder).join("queries.f32"), &queries)?;
    println!("{} texts, {} queries, k = {K}, one thread", parents.len(), queries.len());
    println!("| vectors | made in | exact p50 | index p50 | recall@{K} |\n|---|---|---|---|---|");
    for size in SIZES {
        let vectors = mixed(&parents, size);
        write(&Path::new(folder).join(format!("{size}.f32")), &vectors)?;
        let began = Instant::now();
        let index = VectorIndex::new(vectors);
        let made = began.elapsed();
        let (mut exact_times, mut index_times, mut found) = (Vec::new(), Vec::new(), 0);
        for query in &queries {
            let exact: HashSet<usize> = timed(&mut exact_times, || index.nearest_of_all(query, K)).into_iter().map(|(at, _)| at).collect();
            found += timed(&mut index_times, || index.nearest(query, K)).iter().filter(|(at, _)| exact.contains(at)).count();
        }
        let recall = found as f64 / (queries.len() * K) as f64;
        println!(
            "| {size} | {:.0} ms | {:.2} ms | {:.2} ms | {recall:.4} |",
            milliseconds(made),
            median(&mut exact_times),
            median(&mut index_times)
        );
    }
    Ok(())
}

/// What is asked for and what is searched: the questions and the entries of the files.
fn texts(files: &[String]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut pages, mut questions) = (Vec::new(), Vec::new());
    for file in files {
        let content = std::fs::read_to_string(file).with_context(|| format!("failed to read {file}"))?;
        for line in content.lines() {
            let document: serde_json::Value = serde_json::from_str(line).with_context(|| format!("{file} is not JSON Lines"))?;
            match (document["text"].as_str(), document["question"].as_str()) {
                (Some(text), _) => questions.push(text.to_owned()),
                (None, Some(question)) => {
                    pages.push(format!("question: {question}\nanswer: {}", document["answer"].as_str().unwrap_or_default()));
                }
                _ => bail!("{file} holds a line with neither `text` nor `question`"),
            }
        }
    }
    // Questions of every file among the queries; the others are pages too.
    let step = questions.len().div_ceil(QUERIES).max(1);
    let (mut queries, mut others) = (Vec::new(), Vec::new());
    for (at, question) in questions.into_iter().enumerate() {
        if at % step == 0 { queries.push(question) } else { others.push(question) }
    }
    pages.extend(others);
    let step = pages.len().div_ceil(TEXTS_MAX).max(1);
    Ok((pages.into_iter().step_by(step).collect(), queries))
}

/// `count` vectors of length 1, each of two texts' embeddings and noise.
fn mixed(parents: &[Vector], count: usize) -> Vec<Vector> {
    // A linear congruential generator (Numerical Recipes' constants): the same vectors every time.
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..count)
        .map(|_| {
            let first = parents[(random() * parents.len() as f32) as usize % parents.len()];
            let second = parents[(random() * parents.len() as f32) as usize % parents.len()];
            let share = random();
            // Noise of the length 0.35 on average.
            let vector: Vector = std::array::from_fn(|at| share * first[at] + (1.0 - share) * second[at] + 0.062 * (random() - 0.5));
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            vector.map(|value| value / length)
        })
        .collect()
}

fn write(path: &Path, vectors: &[Vector]) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).with_context(|| format!("failed to write {}", path.display()))?);
    for value in vectors.as_flattened() {
        file.write_all(&value.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    times.push(began.elapsed());
    result
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    milliseconds(times[times.len() / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
