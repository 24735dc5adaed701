//! An agent in Python as `deploy` takes it to AWS: where its code is, what it needs, and which of AgentCore's runtimes runs it. Nothing is installed here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::entry_point::EntryPoint;
use super::files::Agent;
use super::{python, run_tool};

/// What starts the agent on AgentCore: a file's name in the package, and its text.
pub(crate) const START: (&str, &str) = ("frontdesk_start.py", include_str!("start.py"));
/// What it serves the agent by: the same launcher that a host uses.
pub(crate) const LAUNCHER: (&str, &str) = ("frontdesk_launcher.py", include_str!("launcher.py"));
/// AgentCore's runtimes. Source: the type `AgentManagedRuntimeType` of its control plane's API.
const RUNTIMES: [&str; 5] = ["PYTHON_3_10", "PYTHON_3_11", "PYTHON_3_12", "PYTHON_3_13", "PYTHON_3_14"];
/// What brings the program that traces an agent, `opentelemetry-instrument`.
const TRACER: &str = "aws-opentelemetry-distro";
const TRACING_PROGRAM: &str = "opentelemetry-instrument";

/// An agent's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PythonCode {
    /// Its folder.
    pub(crate) source: PathBuf,
    /// The file that runs, below `source`; with `:object` where one is named.
    pub(crate) entry_point: String,
    /// What it needs.
    pub(crate) requirements: Requirements,
    /// Such as `PYTHON_3_13`.
    pub(crate) runtime: String,
    /// The Python on this machine, whose pip downloads.
    pub(crate) python: PathBuf,
}

/// Where pip reads what an agent needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Requirements {
    /// Nothing is named.
    None,
    /// A file as pip reads it.
    File(PathBuf),
    /// A project's dependencies, a line each.
    Lines(String),
}

impl PythonCode {
    /// The code of a project's agent.
    ///
    /// # Errors
    /// Where the agent is no file of Python, its files are not there, or AgentCore has no such Python.
    pub(crate) fn of(agent: &Agent) -> anyhow::Result<PythonCode> {
        let name = &agent.name;
        if agent.entry_point.is_empty() {
            bail!("the agent {name} has no entry point: `frontdesk configure -e FILE --name {name}` names one");
        }
        let source = std::fs::canonicalize(&agent.source)
            .with_context(|| format!("failed to find the agent's folder {}", agent.source.display()))?;
        let entry_point = EntryPoint::find(&agent.entry_point, &source)?;
        let EntryPoint::Python { file, object } = &entry_point else {
            bail!(
                "the agent {name} is no file of Python, which is what is packaged for AWS: push an image of it to ECR, and name it with --image URI"
            );
        };
        let file = std::fs::canonicalize(file)?;
        // As on a host: an entry point elsewhere is taken with its own folder.
        let source = if file.starts_with(&source) { source } else { file.parent().unwrap_or(&source).to_owned() };
        let below = file.strip_prefix(&source).unwrap_or(&file).display().to_string();
        let python = run_tool::find("python3").context("there is no python3 on PATH, whose pip fetches what the agent needs")?;
        let runtime = match agent.runtime_type.clone().or_else(python::runtime_type) {
            Some(runtime) if RUNTIMES.contains(&runtime.as_str()) => runtime,
            found => bail!(
                "the agent {name} runs on {}, which AgentCore has not: it has {}. Name one as its `runtime_type` in the project's file",
                found.as_deref().unwrap_or("an unknown Python"),
                RUNTIMES.join(", ")
            ),
        };
        let requirements = match python::requirements(agent, &file, &source)? {
            None => Requirements::None,
            Some(found) if found.file.ends_with("pyproject.toml") => Requirements::Lines(found.lines),
            Some(found) => Requirements::File(found.file),
        };
        let entry_point = object.as_ref().map_or_else(|| below.clone(), |object| format!("{below}:{object}"));
        Ok(PythonCode { source, entry_point, requirements, runtime, python })
    }

    /// The file alone.
    pub(crate) fn file(&self) -> &str {
        self.entry_point.rsplit_once(".py:").map_or(&self.entry_point, |(stem, _object)| &self.entry_point[..stem.len() + ".py".len()])
    }

    /// Such as `3.13`.
    pub(crate) fn version(&self) -> String {
        self.runtime.trim_start_matches("PYTHON_").replace('_', ".")
    }

    /// What AgentCore runs: our start, traced where the agent asks for it.
    pub(crate) fn command(&self) -> anyhow::Result<Vec<String>> {
        let lines = match &self.requirements {
            Requirements::None => String::new(),
            Requirements::File(file) => std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?,
            Requirements::Lines(lines) => lines.clone(),
        };
        let is_traced = lines.lines().any(|line| line.trim().to_lowercase().replace('_', "-").starts_with(TRACER));
        let program = is_traced.then(|| TRACING_PROGRAM.to_owned());
        Ok(program.into_iter().chain([START.0.to_owned()]).collect())
    }

    /// The file that pip reads; `folder` is a place for one that must be written.
    pub(crate) fn requirements_file(&self, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
        match &self.requirements {
            Requirements::None => Ok(None),
            Requirements::File(file) => Ok(Some(file.clone())),
            Requirements::Lines(lines) => {
                let file = folder.join("requirements.txt");
                std::fs::write(&file, lines).with_context(|| format!("failed to write {}", file.display()))?;
                Ok(Some(file))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_s_agent_is_found_with_what_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let folder = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir_all(folder.join("src")).unwrap();
        for (name, text) in [("src/agent.py", ""), ("requirements.txt", "AWS_OpenTelemetry.distro\n"), ("tool.js", "")] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let agent = |entry_point: &str, runtime: &str| Agent {
            name: "desk".to_owned(),
            entry_point: entry_point.to_owned(),
            source: folder.clone(),
            runtime_type: Some(runtime.to_owned()),
            ..Agent::default()
        };
        let code = PythonCode::of(&agent("src/agent.py:app", "PYTHON_3_12")).unwrap();
        assert_eq!((code.entry_point.as_str(), code.file(), code.version().as_str()), ("src/agent.py:app", "src/agent.py", "3.12"));
        assert_eq!(code.requirements, Requirements::File(folder.join("requirements.txt")));
        assert_eq!(code.command().unwrap(), ["frontdesk_start.py"]);
        std::fs::write(folder.join("requirements.txt"), "boto3\naws_opentelemetry_distro>=0.10\n").unwrap();
        assert_eq!(code.command().unwrap(), ["opentelemetry-instrument", "frontdesk_start.py"]);
        let refused = |agent: &Agent| PythonCode::of(agent).unwrap_err().to_string();
        assert!(refused(&agent("src/agent.py", "PYTHON_3_9")).contains("PYTHON_3_9, which AgentCore has not"));
        assert!(refused(&agent("tool.js", "PYTHON_3_12")).contains("--image URI"));
        assert!(refused(&agent("", "PYTHON_3_12")).contains("frontdesk configure"));
    }
}
