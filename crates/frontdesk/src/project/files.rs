//! The project of the folder where the command line is used: the Python toolkit's file, else the npm toolkit's project, else none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::npm_project::NpmProject;
use super::toolkit_file::{FILE_NAME, ToolkitFile};

/// An agent as its project describes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agent {
    pub(crate) name: String,
    /// A file or a folder, absolute or below `source`; with `:object` where one is named. Empty where an image is meant.
    pub(crate) entry_point: String,
    /// The folder of its files, and where it runs.
    pub(crate) source: PathBuf,
    /// Such as `PYTHON_3_11`.
    pub(crate) runtime_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) idle_timeout_s: Option<u32>,
    pub(crate) lifetime_max_s: Option<u32>,
    pub(crate) request_headers: Vec<String>,
    pub(crate) authorizer: Option<serde_json::Value>,
    pub(crate) description: Option<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) own: OwnSettings,
    /// Where it was launched last.
    pub(crate) arn: Option<String>,
    /// The session of the last call.
    pub(crate) session_id: Option<String>,
}

/// What the toolkits have no words for: below `frontdesk:` in the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OwnSettings {
    /// A container image, instead of an entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// A file of requirements other than the one beside the entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requirements_file: Option<PathBuf>,
    /// `process` or `shared`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sessions: Option<String>,
    /// `none`, `process` or `namespace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) isolation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) processes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open_files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<f64>,
}

/// The project of a folder.
#[derive(Debug)]
pub(crate) enum Project {
    Toolkit(ToolkitFile),
    Npm(NpmProject),
    None,
}

impl Project {
    /// Looks into the folder where the command line is used.
    pub(crate) fn find() -> anyhow::Result<Project> {
        let folder = std::env::current_dir().context("failed to find the working folder")?;
        Project::of(&folder)
    }

    fn of(folder: &Path) -> anyhow::Result<Project> {
        if let Some(file) = ToolkitFile::read(folder)? {
            return Ok(Project::Toolkit(file));
        }
        Ok(NpmProject::find(folder)?.map_or(Project::None, Project::Npm))
    }

    /// The name that is meant: the given one, else the project's default, else its only one. `None` where there is no project and no name.
    pub(crate) fn name(&self, given: Option<&str>) -> anyhow::Result<Option<String>> {
        if let Some(given) = given {
            return Ok(Some(given.to_owned()));
        }
        let (names, default): (Vec<&str>, _) = match self {
            Project::Toolkit(file) => (file.names(), file.default_agent()),
            Project::Npm(project) => (project.names(), None),
            Project::None => return Ok(None),
        };
        match (default, names.as_slice()) {
            (Some(default), _) => Ok(Some(default.to_owned())),
            (None, [only]) => Ok(Some((*only).to_owned())),
            (None, []) => bail!("{} has no agent", self.file()),
            (None, several) => bail!("{} has several agents: name one with -a ({})", self.file(), several.join(", ")),
        }
    }

    /// The agent of a name, if the project has it.
    pub(crate) fn agent(&self, name: &str) -> anyhow::Result<Option<Agent>> {
        match self {
            Project::Toolkit(file) => file.agent(name),
            Project::Npm(project) => project.agent(name),
            Project::None => Ok(None),
        }
    }

    /// The named agent, or the default one; it must be there.
    pub(crate) fn expect_agent(&self, given: Option<&str>) -> anyhow::Result<Agent> {
        let name = self.name(given)?;
        let Some(name) = name.filter(|_| !matches!(self, Project::None)) else {
            bail!(
                "there is no agent's project in this folder ({FILE_NAME} or agentcore/agentcore.json): `frontdesk configure -e FILE` makes one"
            );
        };
        match self.agent(&name)? {
            Some(agent) => Ok(agent),
            None => bail!("{} has no agent {name}: `frontdesk configure -e FILE --name {name}` adds it", self.file()),
        }
    }

    /// Changes the toolkit's file, if that is the project and it has the agent. The npm toolkit's files are its own.
    pub(crate) fn note(&mut self, name: &str, change: impl FnOnce(&mut ToolkitFile)) -> anyhow::Result<()> {
        let Project::Toolkit(file) = self else { return Ok(()) };
        // Another command may have written since: its word is kept.
        if let Some(now) = ToolkitFile::read(file.path.parent().unwrap_or(Path::new(".")))? {
            *file = now;
        }
        if file.names().contains(&name) {
            change(file);
            file.write()?;
        }
        Ok(())
    }

    fn file(&self) -> String {
        match self {
            Project::Toolkit(file) => file.path.display().to_string(),
            Project::Npm(project) => project.path.display().to_string(),
            Project::None => "this folder".to_owned(),
        }
    }
}
