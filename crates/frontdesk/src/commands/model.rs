//! `frontdesk model`: the embedding model's files.

use clap::Subcommand;
use frontdesk_agent::retrieval::model::{ModelFiles, PullOptions};

use crate::settings::Settings;

/// What can be done with the model.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Fetch the model's files, if they are not there, and check them
    Pull,
}

/// Does it.
pub(crate) fn run(command: &ModelCommand, settings: &Settings) -> anyhow::Result<()> {
    match command {
        ModelCommand::Pull => {
            let folder = &settings.agent.model_dir;
            let options = PullOptions { progress: true, ..PullOptions::from_environment() };
            super::block_on(async { Ok(ModelFiles::pull(folder, &options).await?) })?;
            println!("The embedding model is in {}.", folder.display());
            Ok(())
        }
    }
}
