//! Frontdesk: an AI agent behind a simple API key. One executable with several places to live; this file chooses which.

#[cfg(feature = "host")]
mod agent_metrics;
#[cfg(feature = "host")]
mod agentcore_calls;
#[cfg(feature = "host")]
mod alarm_teller;
#[cfg(feature = "host")]
mod ca_bundle;
mod cli;
mod commands;
#[cfg(feature = "host")]
mod control_client;
#[cfg(feature = "deploy")]
mod deployment;
#[cfg(feature = "deploy")]
mod diagnosis;
#[cfg(feature = "host")]
mod exec_environment;
#[cfg(feature = "host")]
mod fetch;
#[cfg(feature = "host")]
mod front_door;
#[cfg(feature = "host")]
mod function_calls;
#[cfg(feature = "deploy")]
mod handout;
#[cfg(feature = "host")]
mod host;
#[cfg(feature = "host")]
mod https;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "host")]
mod log_groups;
#[cfg(feature = "agent")]
mod otlp;
#[cfg(feature = "host")]
mod project;
#[cfg(feature = "host")]
mod run_file;
#[cfg(feature = "aws")]
mod secret;
#[cfg(feature = "host")]
mod seed;
#[cfg(feature = "host")]
mod session_meter;
#[cfg(feature = "agent")]
mod settings;
#[cfg(feature = "host")]
mod toolkit;
#[cfg(feature = "host")]
mod transport;

use std::process::ExitCode;

use clap::Parser as _;

/// As who it was called.
fn run() -> anyhow::Result<()> {
    #[cfg(feature = "host")]
    if toolkit::Toolkit::is_meant(std::env::args_os().next().as_ref()) {
        return toolkit::Toolkit::parse().run();
    }
    cli::Cli::parse_from(cli::arguments(std::env::args_os())).run()
}

fn main() -> ExitCode {
    // A host starts this executable once more to keep its agents' processes.
    #[cfg(feature = "host")]
    frontdesk_process::supervise_if_asked();
    match run() {
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
