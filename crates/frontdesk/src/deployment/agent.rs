//! Which agent goes to AWS: the one that answers at the host's endpoint. The FAQ agent goes as an image, a project's agent in Python as a package of code.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use frontdesk_deploy::python_package::{self, PythonPackage, PythonPackageSpec};
use frontdesk_deploy::stack::{Artifact, StackName};

use crate::project::python_code::{LAUNCHER, PythonCode, START};
use crate::project::{Agent, Project};
use crate::settings::Settings;

/// The variable that tells the start what to start.
const ENTRY_POINT_VARIABLE: &str = "FRONTDESK_ENTRY_POINT";
/// What fetches the model's key on AWS.
const AWS_SDK: &str = "boto3";

/// The agent that is deployed.
#[derive(Debug)]
pub(crate) enum DeployedAgent {
    /// The built-in FAQ agent.
    Faq {
        /// An agent of the folder's project, which somebody may have meant.
        beside: Option<String>,
    },
    /// An image that is in ECR already.
    Image,
    /// A project's agent in Python.
    Python(Box<PythonAgent>),
}

/// A project's agent with its code.
#[derive(Debug)]
pub(crate) struct PythonAgent {
    pub(crate) agent: Agent,
    pub(crate) code: PythonCode,
    /// Files and folders that are no part of it.
    left_out: Vec<PathBuf>,
}

impl DeployedAgent {
    /// The agent that the settings name, unless an image of it was given.
    ///
    /// # Errors
    /// Where `gateway.agent` names one that the folder's project has not, or that cannot go to AWS as it is.
    pub(crate) fn find(settings: &Settings, image: Option<&str>) -> anyhow::Result<DeployedAgent> {
        if image.is_some() {
            return Ok(DeployedAgent::Image);
        }
        let Some(name) = &settings.gateway.agent else {
            // A project that cannot be read is none of this deployment's.
            let beside = Project::find().and_then(|project| project.name(None)).ok().flatten();
            return Ok(DeployedAgent::Faq { beside });
        };
        let agent = Project::find()?
            .expect_agent(Some(name))
            .with_context(|| format!("gateway.agent is {name}, whose project must be in this folder for it to go to AWS"))?;
        if agent.own.image.is_some() {
            bail!("the agent {name} is a container image: push it to ECR, built for linux/arm64, and name it with --image URI");
        }
        if let Some(protocol) = agent.protocol.as_deref().filter(|protocol| !protocol.eq_ignore_ascii_case("HTTP")) {
            bail!("the agent {name} speaks {protocol}, and the endpoint only calls agents that speak HTTP");
        }
        if agent.authorizer.as_ref().is_some_and(|authorizer| !authorizer.is_null()) {
            bail!(
                "the agent {name} wants its callers' tokens (authorizer_configuration), and the stack calls it with a role: remove that from the project"
            );
        }
        let code = PythonCode::of(&agent)?;
        let left_out = [std::fs::canonicalize(&settings.data_dir).ok(), std::fs::canonicalize(settings.programs_folder()?).ok()];
        Ok(DeployedAgent::Python(Box::new(PythonAgent { agent, code, left_out: left_out.into_iter().flatten().collect() })))
    }

    /// What AgentCore is told to run.
    ///
    /// # Errors
    /// Where what the agent needs cannot be read.
    pub(crate) fn artifact(&self, stack: &StackName) -> anyhow::Result<Artifact> {
        match self {
            DeployedAgent::Faq { .. } | DeployedAgent::Image => Ok(Artifact::Image { repository: stack.repository("agent") }),
            DeployedAgent::Python(python) => {
                Ok(Artifact::Code { runtime: python.code.runtime.clone(), entry_point: python.code.command()? })
            }
        }
    }

    /// The project's agent, where it is one.
    pub(crate) fn python(&self) -> Option<&PythonAgent> {
        match self {
            DeployedAgent::Python(python) => Some(python),
            DeployedAgent::Faq { .. } | DeployedAgent::Image => None,
        }
    }

    /// In words, for whoever deploys.
    pub(crate) fn in_words(&self) -> String {
        match self {
            DeployedAgent::Faq { beside: None } => "the FAQ agent".to_owned(),
            DeployedAgent::Faq { beside: Some(name) } => {
                format!("the FAQ agent (not this folder's {name}: gateway.agent = \"{name}\" deploys that)")
            }
            DeployedAgent::Image => "the image that was named".to_owned(),
            DeployedAgent::Python(python) => {
                let PythonAgent { agent, code, .. } = python.as_ref();
                format!("{}: {} on Python {}", agent.name, code.source.join(&code.entry_point).display(), code.version())
            }
        }
    }
}

impl PythonAgent {
    /// Its variables on AWS, but for those of its model's key.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let entry_point = (ENTRY_POINT_VARIABLE.to_owned(), self.code.entry_point.clone());
        self.agent.environment.clone().into_iter().chain([entry_point])
    }

    /// Builds the package below `folder`; `left_out` are files that this deployment writes itself.
    ///
    /// # Errors
    /// As [`python_package::build`]; where the model's key is wanted and nothing in the package could fetch it.
    pub(crate) async fn package(&self, folder: &Path, left_out: &Path, key_variable: Option<&str>) -> anyhow::Result<PythonPackage> {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
        let made = tempfile::tempdir().context("failed to make a temporary folder")?;
        let code = &self.code;
        let mut all_left_out = self.left_out.clone();
        all_left_out.extend(std::fs::canonicalize(left_out).ok());
        let spec = PythonPackageSpec {
            source: code.source.clone(),
            entry_point: code.file().to_owned(),
            requirements: code.requirements_file(made.path())?,
            added: vec![START, LAUNCHER],
            left_out: all_left_out,
            python_version: code.version(),
            python: code.python.clone(),
            pip_arguments: Vec::new(),
        };
        let package = python_package::build(&spec, &folder.join("agent.zip")).await?;
        if let Some(variable) = key_variable.filter(|_| !package.modules.contains(AWS_SDK)) {
            bail!(
                "the agent is given {variable} from Secrets Manager, by {AWS_SDK}, which is not in its package: name {AWS_SDK} in its requirements, \
                 or set deploy.model = \"extractive\" where it needs no key"
            );
        }
        Ok(package)
    }
}
