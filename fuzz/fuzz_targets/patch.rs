//! Patch operations on APIs, stages, methods, integrations, plans, keys and usage, through the control plane to a database in memory.
#![no_main]

use std::cell::OnceCell;

use frontdesk_control::fuzzing::PatchBench;
use frontdesk_gateway::metrics::Metrics;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

thread_local! {
    static BENCH: OnceCell<(TempDir, PatchBench)> = const { OnceCell::new() };
}

fn bench() -> (TempDir, PatchBench) {
    // In memory where there is such a folder: a disk would be most of the work.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("there is a folder for the database");
    let bench = PatchBench::new(folder.path(), Metrics::register(&mut Registry::default()));
    (folder, bench)
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| BENCH.with(|cell| cell.get_or_init(bench).1.patch(input)));
