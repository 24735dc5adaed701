//! `frontdesk env`: the exports that point a shell's programs at the running host.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use crate::exec_environment::{self, Variables};
use crate::settings::Settings;

/// The flags of `env`.
#[derive(Debug, Args)]
pub(crate) struct EnvArguments {
    /// The shell that reads it
    #[arg(long, value_enum, default_value_t = Shell::Sh)]
    shell: Shell,
    /// Print JSON: a map of variables, null where one is to be unset
    #[arg(long, conflicts_with = "shell")]
    json: bool,
}

/// A way to write variables.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    /// bash, zsh and all that follow POSIX
    Sh,
    Fish,
    Powershell,
}

/// Prints.
pub(crate) fn run(arguments: &EnvArguments, settings: &Settings) -> anyhow::Result<()> {
    let variables = exec_environment::prepare(settings, std::env::vars_os())?;
    if arguments.json {
        let value = |value: &Option<OsString>| value.as_ref().map(|value| value.to_string_lossy().into_owned());
        let document: serde_json::Map<_, _> = variables.iter().map(|(name, text)| (name.clone(), value(text).into())).collect();
        println!("{}", serde_json::to_string_pretty(&document)?);
        return Ok(());
    }
    print!("{}", script(&variables, arguments.shell));
    Ok(())
}

fn script(variables: &Variables, shell: Shell) -> String {
    let text = |value: &OsString| value.to_string_lossy().into_owned();
    let line = |(name, value): &(String, Option<OsString>)| match (shell, value.as_ref().map(text)) {
        (Shell::Sh, Some(value)) => format!("export {name}={}\n", quoted(&value, "'\\''")),
        (Shell::Sh, None) => format!("unset {name}\n"),
        (Shell::Fish, Some(value)) => format!("set -gx {name} {}\n", quoted(&value.replace('\\', "\\\\"), "\\'")),
        (Shell::Fish, None) => format!("set -e {name}\n"),
        (Shell::Powershell, Some(value)) => format!("$env:{name} = {}\n", quoted(&value, "''")),
        (Shell::Powershell, None) => format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue\n"),
    };
    variables.iter().map(line).collect()
}

/// A value in single quotes, with the shell's own way to write one of those.
fn quoted(value: &str, quote: &str) -> String {
    format!("'{}'", value.replace('\'', quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_reads_back_what_was_meant() {
        let variables = vec![("A".to_owned(), Some("it's a \\ $HOME".into())), ("B".to_owned(), None)];
        assert_eq!(script(&variables, Shell::Sh), "export A='it'\\''s a \\ $HOME'\nunset B\n");
        assert_eq!(script(&variables, Shell::Fish), "set -gx A 'it\\'s a \\\\ $HOME'\nset -e B\n");
        let powershell = "$env:A = 'it''s a \\ $HOME'\nRemove-Item Env:B -ErrorAction SilentlyContinue\n";
        assert_eq!(script(&variables, Shell::Powershell), powershell);
    }
}
