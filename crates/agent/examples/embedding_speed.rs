//! Measures the embedding model on one thread: `cargo run --release -p frontdesk-agent --example embedding_speed`
//!
//! With `--json` one object a line: `name`, `text`, `batch`, `median_ms`, `best_ms`, and the first text's `vector`.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::{Duration, Instant};

use anyhow::Context as _;
use frontdesk_agent::retrieval::embed::TextEncoder;
use frontdesk_agent::retrieval::model::{self, ModelFiles};

const RUNS: usize = 200;

fn main() -> anyhow::Result<()> {
    let as_json = std::env::args().any(|argument| argument == "--json");
    // A pool of this thread alone: matrix products started here stay here.
    let _single = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build()?;
    let files = ModelFiles::locate(&model::default_dir())?.context("there is no embedding model: run `frontdesk model pull`")?;
    let started = Instant::now();
    let encoder = TextEncoder::load(&files)?;
    if !as_json {
        println!("load                         {:>8.2} ms", milliseconds(started.elapsed()));
    }

    // Ten words that are a token each, and the two special ones.
    let question = "what do i do if my phone was stolen abroad";
    let page = "question: How do I set up roaming before a trip? answer: Dial *123#, choose Roaming and then the zone; it takes ten \
                minutes. Day passes end at midnight local time, and the app shows what is left of yours at any time.";
    for (name, text, batch) in
        [("one question", question, 1), ("eight questions", question, 8), ("a page", page, 1), ("32 pages", page, 32)]
    {
        let texts = vec![text; batch];
        let runs = (RUNS / batch).max(5);
        let mut times = Vec::with_capacity(runs);
        encoder.embed(&texts)?;
        for _ in 0..runs {
            let started = Instant::now();
            encoder.embed(&texts)?;
            times.push(started.elapsed());
        }
        times.sort();
        let median = milliseconds(times[runs / 2]);
        let best = milliseconds(times[0]);
        if as_json {
            let vector = &encoder.embed(&texts[..1])?[0];
            let measured = serde_json::json!({
                "name": name, "text": text, "batch": batch, "median_ms": median, "best_ms": best, "vector": vector.as_slice(),
            });
            println!("{measured}");
            continue;
        }
        println!("{name:<16} median {median:>8.2} ms   best {best:>8.2} ms   {:>7.1} texts/s", batch as f64 / median * 1000.0);
    }
    // Where there is no such file there is no figure either.
    if !as_json && let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status
            .lines()
            .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM") || line.starts_with("Rss"))
            .for_each(|line| println!("{line}"));
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
