//! Frontdesk: an AI agent behind a simple API key. One executable with several places to live; this file chooses which.

mod agent_metrics;
mod cli;
mod commands;
mod control_client;
mod host;
mod lambda;
mod otlp;
mod project;
mod run_file;
mod seed;
mod settings;
mod transport;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // A host starts this executable once more to keep its agents' processes.
    frontdesk_process::supervise_if_asked();
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Causes on one line each, so that the remedy in the first is not buried.
            eprintln!("frontdesk: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
