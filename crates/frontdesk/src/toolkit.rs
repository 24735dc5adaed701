//! The program under the name `agentcore`: AgentCore's toolkit as far as the FAQ guide uses it, answered by the host that `frontdesk exec` names. The commands are this
//! program's own.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::cli::Common;
use crate::commands::{configure, destroy, invoke, launch, logs, status, stop};

/// AgentCore's toolkit, as far as Frontdesk has it: agents go to the host that `frontdesk exec` names.
#[derive(Debug, Parser)]
#[command(name = "agentcore", version, about, max_term_width = 100)]
pub(crate) struct Toolkit {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write what is known of an agent into .bedrock_agentcore.yaml
    Configure(Box<configure::ConfigureArguments>),
    /// Have the running host serve the agent
    #[command(visible_alias = "deploy")]
    Launch(launch::LaunchArguments),
    /// Say how the agent is
    Status(status::StatusArguments),
    /// Call the agent
    Invoke(invoke::InvokeArguments),
    /// End a session of the agent
    StopSession(stop::StopArguments),
    /// Print what the agent's sessions have printed
    Logs(logs::LogsArguments),
    /// Take the agent off the host
    Destroy(destroy::DestroyArguments),
    /// Take the agent off the host, and do not ask
    Delete(destroy::DestroyArguments),
}

impl Toolkit {
    /// Whether this program was started under the toolkit's name.
    pub(crate) fn is_meant(program: Option<&OsString>) -> bool {
        let name = program.and_then(|program| std::path::Path::new(program).file_name());
        name.is_some_and(|name| name == crate::commands::exec::TOOLKIT)
    }

    /// Runs the command.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let settings = self.common.settings(Vec::new())?;
        match self.verb {
            Verb::Configure(arguments) => configure::run(&arguments, &settings),
            Verb::Launch(arguments) => launch::run(&arguments, &settings),
            Verb::Status(arguments) => status::run(&arguments, &settings),
            Verb::Invoke(arguments) => invoke::run(&arguments, &settings),
            Verb::StopSession(arguments) => stop::run(&arguments, &settings),
            Verb::Logs(arguments) => logs::run(&arguments, &settings),
            Verb::Destroy(arguments) => destroy::run(&arguments, &settings),
            // As the rest of the guide's clean-up, which asks nothing either.
            Verb::Delete(arguments) => destroy::run(&arguments.without_asking(), &settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolkit_s_name_makes_it_the_toolkit() {
        for (program, expected) in [("agentcore", true), ("/x/exec/bin/agentcore", true), ("/x/agentcore/frontdesk", false)] {
            assert_eq!(Toolkit::is_meant(Some(&program.into())), expected, "{program}");
        }
        assert!(!Toolkit::is_meant(None));
    }

    #[test]
    fn the_guide_s_commands_are_understood() {
        for line in [
            "agentcore configure -e 01_agentcore_runtime.py",
            "agentcore launch --env GROQ_API_KEY=x",
            "agentcore status",
            "agentcore invoke {}",
            "agentcore delete",
        ] {
            let parsed = Toolkit::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
        // `frontdesk`'s own commands are not the toolkit's.
        assert!(Toolkit::try_parse_from(["agentcore", "up"]).is_err());
    }
}
