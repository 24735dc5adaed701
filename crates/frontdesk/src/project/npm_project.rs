//! Projects of the npm toolkit: `agentcore/agentcore.json`. Read, never written.
//!
//! Source: the schema in `@aws/agentcore` 0.30.0.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::files::{Agent, OwnSettings};

/// Folder and file of such a project, below its root.
const FILE: &str = "agentcore/agentcore.json";

/// A project.
#[derive(Debug)]
pub(crate) struct NpmProject {
    pub(crate) path: PathBuf,
    root: PathBuf,
    document: Document,
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    runtimes: Vec<Runtime>,
}

/// What is used here of a runtime; the rest (memories, connections, VPCs) is for AWS.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Runtime {
    name: String,
    description: Option<String>,
    entrypoint: String,
    code_location: PathBuf,
    runtime_version: Option<String>,
    #[serde(default)]
    env_vars: Vec<Variable>,
    protocol: Option<String>,
    #[serde(default)]
    request_header_allowlist: Vec<String>,
    authorizer_type: Option<String>,
    authorizer_configuration: Option<serde_json::Value>,
    #[serde(default)]
    lifecycle_configuration: Lifecycle,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    idle_runtime_session_timeout: Option<u32>,
    max_lifetime: Option<u32>,
}

impl NpmProject {
    /// Finds the project that a folder belongs to, which may be one above it.
    pub(crate) fn find(folder: &Path) -> anyhow::Result<Option<NpmProject>> {
        for root in folder.ancestors() {
            let path = root.join(FILE);
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => continue,
                Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
            };
            let document = serde_json::from_slice(&text).with_context(|| format!("{} has a mistake", path.display()))?;
            return Ok(Some(NpmProject { path, root: root.to_owned(), document }));
        }
        Ok(None)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.document.runtimes.iter().map(|runtime| runtime.name.as_str()).collect()
    }

    pub(crate) fn agent(&self, name: &str) -> anyhow::Result<Option<Agent>> {
        let Some(runtime) = self.document.runtimes.iter().find(|runtime| runtime.name == name) else { return Ok(None) };
        let authorizer = match runtime.authorizer_type.as_deref() {
            None | Some("AWS_IAM") => None,
            Some("CUSTOM_JWT") => Some(authorizer_of(runtime)?),
            Some(other) => bail!("{}: the agent {name} has the authorizer type {other}, which is not served here", self.path.display()),
        };
        Ok(Some(Agent {
            name: runtime.name.clone(),
            entry_point: runtime.entrypoint.clone(),
            source: self.root.join(&runtime.code_location),
            runtime_type: runtime.runtime_version.clone(),
            protocol: runtime.protocol.clone(),
            idle_timeout_s: runtime.lifecycle_configuration.idle_runtime_session_timeout,
            lifetime_max_s: runtime.lifecycle_configuration.max_lifetime,
            request_headers: runtime.request_header_allowlist.clone(),
            authorizer,
            description: runtime.description.clone(),
            environment: runtime.env_vars.iter().map(|Variable { name, value }| (name.clone(), value.clone())).collect::<BTreeMap<_, _>>(),
            own: OwnSettings::default(),
            arn: None,
            session_id: None,
        }))
    }
}

/// The toolkit writes `customJwtAuthorizer`, CreateAgentRuntime takes `customJWTAuthorizer`.
fn authorizer_of(runtime: &Runtime) -> anyhow::Result<serde_json::Value> {
    let given = runtime.authorizer_configuration.as_ref();
    let inner = given.and_then(|given| given.get("customJwtAuthorizer").or(given.get("customJWTAuthorizer")));
    let inner = inner.with_context(|| format!("the agent {} has no authorizerConfiguration.customJwtAuthorizer", runtime.name))?;
    Ok(serde_json::json!({ "customJWTAuthorizer": inner }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_found_from_inside_it() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("app/writer/src");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir(folder.path().join("agentcore")).unwrap();
        let text = r#"{"$schema": "x", "name": "p", "version": 1, "managedBy": "CDK", "memories": [], "runtimes": [{
            "name": "writer", "build": "CodeZip", "entrypoint": "main.py:handler", "codeLocation": "app/writer/", "runtimeVersion": "PYTHON_3_12",
            "envVars": [{"name": "A", "value": "1"}], "protocol": "MCP", "requestHeaderAllowlist": ["Authorization"], "networkMode": "PUBLIC",
            "authorizerType": "CUSTOM_JWT", "authorizerConfiguration": {"customJwtAuthorizer": {"discoveryUrl": "https://x/.well-known/openid-configuration"}},
            "lifecycleConfiguration": {"idleRuntimeSessionTimeout": 60}}]}"#;
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let project = NpmProject::find(&inside).unwrap().unwrap();
        assert_eq!(project.names(), ["writer"]);
        let agent = project.agent("writer").unwrap().unwrap();
        assert_eq!((agent.entry_point.as_str(), agent.source.as_path()), ("main.py:handler", folder.path().join("app/writer").as_path()));
        assert_eq!((agent.protocol.as_deref(), agent.idle_timeout_s, agent.environment["A"].as_str()), (Some("MCP"), Some(60), "1"));
        assert!(agent.authorizer.unwrap().get("customJWTAuthorizer").is_some());
        assert!(project.agent("reader").unwrap().is_none());
        assert!(NpmProject::find(Path::new("/")).unwrap().is_none());
    }
}
