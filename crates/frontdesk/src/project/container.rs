//! Agents in container images, where a container engine is present: the engine's client is the agent's process, and ends its container when it ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};
use frontdesk_control::ProgramDocument;

use super::files::Agent;
use super::prepare::Prepared;
use super::run_tool;

/// Engines that understand `run`, `pull` and `image inspect` alike, in the order of their being asked.
const ENGINES: [&str; 4] = ["docker", "podman", "finch", "nerdctl"];
/// Variables by which the engine's client finds its engine.
const CLIENT_VARIABLES: [&str; 7] = ["HOME", "PATH", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "CONTAINER_HOST", "XDG_RUNTIME_DIR"];

/// The program that runs an image; the image is pulled if it is not there.
pub(super) fn program(image: &str, agent: &Agent, protocol: &str) -> anyhow::Result<Prepared> {
    let engine = engine()?;
    if run_tool::ask(&engine, &["image", "inspect", image]).is_err() {
        eprintln!("Pulling {image}…");
        run_tool::show(Command::new(&engine).args(["pull", image]), "pulling the image")?;
    }
    let executable = run_tool::find("sh").context("there is no sh on PATH")?;
    let environment: BTreeMap<String, String> =
        CLIENT_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    let notes = vec![("Image", image.to_owned()), ("Engine", engine.display().to_string())];
    let arguments = arguments(&engine.to_string_lossy(), image, agent, protocol);
    let program = ProgramDocument { executable, arguments, port_flag: None, working_dir: None, readable: Vec::new() };
    Ok(Prepared { program, environment, notes })
}

/// The shell's arguments. Only it knows the port, when the session starts; everything else is handed to it as it is, not to be read by a shell again.
fn arguments(engine: &str, image: &str, agent: &Agent, protocol: &str) -> Vec<String> {
    let port = match protocol {
        "MCP" => 8000,
        "A2A" => 9000,
        _ => 8080,
    };
    // The session's variables by name, but for those that are the client's or name this machine's port.
    let script = format!(
        "for name in $(env | sed -n 's/^\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/\\1/p'); do case $name in {}|PORT|PWD|SHLVL|_|TMPDIR) ;; \
         *) set -- --env \"$name\" \"$@\" ;; esac; done; exec \"$0\" run --rm --init --publish \"127.0.0.1:$PORT:{port}\" \"$@\"",
        CLIENT_VARIABLES.join("|")
    );
    let mut arguments = vec!["-c".to_owned(), script, engine.to_owned()];
    let own = &agent.own;
    let limits = [
        ("--memory", own.memory_bytes.map(|bytes| bytes.to_string())),
        ("--pids-limit", own.processes.map(|processes| processes.to_string())),
        ("--cpus", own.cpus.map(|cpus| cpus.to_string())),
    ];
    for (flag, value) in limits {
        arguments.extend(value.map(|value| format!("{flag}={value}")));
    }
    arguments.push(image.to_owned());
    arguments
}

/// The first engine that answers.
fn engine() -> anyhow::Result<PathBuf> {
    let mut silent = Vec::new();
    for name in ENGINES {
        let Some(engine) = run_tool::find(name) else { continue };
        match run_tool::ask(&engine, &["info"]) {
            Ok(_) => return Ok(engine),
            Err(error) => silent.push(format!("{error:#}")),
        }
    }
    if silent.is_empty() {
        bail!("an image needs a container engine, and none of {} is on PATH; a file as entry point needs none", ENGINES.join(", "));
    }
    bail!("an image needs a container engine that runs; a file as entry point needs none. {}", silent.join("; "))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// An engine that prints how it was called.
    #[test]
    fn the_engine_gets_the_session_s_port_and_variables() {
        let folder = tempfile::tempdir().unwrap();
        let engine = folder.path().join("engine");
        std::fs::write(&engine, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
        std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut agent = Agent::default();
        agent.own.memory_bytes = Some(1024);
        let mut command = Command::new("sh");
        command.args(arguments(engine.to_str().unwrap(), "an image:1 $(x)", &agent, "MCP"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("PORT", "1234").env("A_KEY", "two\nB=3 words");
        let ran = command.output().unwrap();
        let lines = String::from_utf8(ran.stdout).unwrap();
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines[..5], ["run", "--rm", "--init", "--publish", "127.0.0.1:1234:8000"], "{ran:?}", ran = lines);
        assert_eq!(lines[lines.len() - 2..], ["--memory=1024", "an image:1 $(x)"], "{lines:?}");
        assert!(lines.windows(2).any(|pair| pair == ["--env", "A_KEY"]), "{lines:?}");
        assert!(!lines.contains(&"PATH") && !lines.contains(&"PORT"), "{lines:?}");
    }
}
