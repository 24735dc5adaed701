//! `.bedrock_agentcore.yaml`, the file of AgentCore's Python toolkit: read, and written as its `configure` writes it. What is not known here is kept as it is.
//!
//! What the toolkit has no word for stands below `frontdesk:` of an agent. Source: the file as version 0.3.14 of the toolkit writes it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::entry_point::Language;
use super::files::{Agent, OwnSettings};
use super::yaml::Yaml;

/// The file's name, in the folder where the command line is used.
pub(crate) const FILE_NAME: &str = ".bedrock_agentcore.yaml";

/// The file of one folder.
#[derive(Debug)]
pub(crate) struct ToolkitFile {
    pub(crate) path: PathBuf,
    document: Yaml,
    /// As it stands in the file.
    written: Yaml,
}

/// What `configure` says of an agent; what is `None` stays as it was, or is the toolkit's default.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    pub(crate) name: String,
    /// Absolute; with `:object` where one was named. Empty for an image.
    pub(crate) entry_point: String,
    pub(crate) source_path: PathBuf,
    pub(crate) language: Option<Language>,
    /// Such as `PYTHON_3_11`.
    pub(crate) runtime_type: Option<String>,
    pub(crate) execution_role: Option<String>,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) protocol: Option<String>,
    pub(crate) idle_timeout_s: Option<u32>,
    pub(crate) lifetime_max_s: Option<u32>,
    pub(crate) request_headers: Option<Vec<String>>,
    pub(crate) authorizer: Option<serde_json::Value>,
    pub(crate) own: OwnSettings,
}

impl ToolkitFile {
    /// Reads the folder's file; `None` where there is none.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Option<ToolkitFile>> {
        let path = folder.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
        };
        let document = Yaml::parse(&text).with_context(|| format!("{} has a mistake", path.display()))?;
        if !matches!(document, Yaml::Map(_) | Yaml::Null) {
            bail!("{} has a mistake: it is no map of names and values", path.display());
        }
        Ok(Some(ToolkitFile { path, written: document.clone(), document }))
    }

    pub(crate) fn read_or_new(folder: &Path) -> anyhow::Result<ToolkitFile> {
        let read = ToolkitFile::read(folder)?;
        Ok(read.unwrap_or_else(|| ToolkitFile { path: folder.join(FILE_NAME), document: Yaml::Map(Vec::new()), written: Yaml::Null }))
    }

    /// The names of its agents, in its order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.document.at(&["agents"]).map(|agents| agents.entries().iter().map(|(name, _)| name.as_str()).collect()).unwrap_or_default()
    }

    pub(crate) fn default_agent(&self) -> Option<&str> {
        self.document.at(&["default_agent"])?.as_text()
    }

    /// Reads an agent.
    pub(crate) fn agent(&self, name: &str) -> anyhow::Result<Option<Agent>> {
        let Some(agent) = self.document.at(&["agents", name]) else { return Ok(None) };
        let of_agent = || format!("the agent {name} in {} cannot be read", self.path.display());
        self.agent_of(name, agent).map(Some).with_context(of_agent)
    }

    fn agent_of(&self, name: &str, agent: &Yaml) -> anyhow::Result<Agent> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let text = |path: &[&str]| agent.at(path).and_then(Yaml::as_text).map(str::to_owned);
        let seconds = |path: &[&str]| -> anyhow::Result<Option<u32>> {
            let Some(value) = agent.at(path) else { return Ok(None) };
            let seconds = value.as_text().and_then(|text| text.parse().ok());
            seconds.map(Some).with_context(|| format!("{} is no number of seconds", path.join(".")))
        };
        let source = text(&["source_path"]).map_or_else(|| folder.to_owned(), |source| folder.join(source));
        let headers = agent.at(&["request_header_configuration", "requestHeaderAllowlist"]).map(Yaml::to_json);
        let authorizer = agent.at(&["authorizer_configuration"]).map(Yaml::to_json);
        let own = agent.at(&["frontdesk"]).map(Yaml::to_json);
        Ok(Agent {
            name: name.to_owned(),
            entry_point: text(&["entrypoint"]).unwrap_or_default(),
            source,
            runtime_type: text(&["runtime_type"]),
            protocol: text(&["aws", "protocol_configuration", "server_protocol"]),
            idle_timeout_s: seconds(&["aws", "lifecycle_configuration", "idle_runtime_session_timeout"])?,
            lifetime_max_s: seconds(&["aws", "lifecycle_configuration", "max_lifetime"])?,
            request_headers: headers.map(serde_json::from_value).transpose().context("requestHeaderAllowlist")?.unwrap_or_default(),
            authorizer,
            description: None,
            environment: BTreeMap::new(),
            own: own.map(serde_json::from_value).transpose().context("frontdesk")?.unwrap_or_default(),
            arn: text(&["bedrock_agentcore", "agent_arn"]),
            session_id: text(&["bedrock_agentcore", "agent_session_id"]),
        })
    }

    /// Puts an agent in, or changes what is said of it; the first agent, and the one that was configured last, is the default.
    pub(crate) fn configure(&mut self, configured: &Configured) {
        let agents = self.document.entry("agents");
        let is_new = agents.get(&configured.name).is_none();
        let agent = agents.entry(&configured.name);
        if is_new {
            *agent = defaults(configured);
        }
        agent.merge(changes(configured));
        if configured.own.image.is_none() && agent.get("frontdesk").is_some() {
            agent.entry("frontdesk").remove("image");
        }
        // Whole values, not to be joined with what stood there.
        if let Some(headers) = &configured.request_headers {
            let headers = headers.iter().map(Yaml::text).collect();
            agent.put(&["request_header_configuration"], Yaml::map([("requestHeaderAllowlist", Yaml::List(headers))]));
        }
        if let Some(authorizer) = &configured.authorizer {
            agent.put(&["authorizer_configuration"], of_json(authorizer));
        }
        self.set_default(&configured.name);
    }

    /// Makes an agent the one that is meant when none is named.
    pub(crate) fn set_default(&mut self, name: &str) {
        let has_default = self.document.get("default_agent").is_some();
        self.document.put(&["default_agent"], Yaml::text(name));
        if let (false, Yaml::Map(entries)) = (has_default, &mut self.document) {
            // It stands first, as the toolkit has it.
            entries.rotate_right(1);
        }
    }

    /// Notes where an agent was launched. Its next call begins a new session: the old one may be of another version.
    pub(crate) fn note_launched(&mut self, name: &str, id: &str, arn: &str) {
        let noted = Yaml::map([("agent_id", Yaml::text(id)), ("agent_arn", Yaml::text(arn)), ("agent_session_id", Yaml::Null)]);
        self.agent_entry(name).entry("bedrock_agentcore").merge(noted);
    }

    /// Notes the session of the last call, for the next one; `None` forgets it.
    pub(crate) fn note_session(&mut self, name: &str, session_id: Option<&str>) {
        self.agent_entry(name).put(&["bedrock_agentcore", "agent_session_id"], Yaml::text_or_null(session_id));
    }

    /// Notes that an agent was destroyed: what was configured stays.
    pub(crate) fn note_destroyed(&mut self, name: &str) {
        let noted = Yaml::map([("agent_id", Yaml::Null), ("agent_arn", Yaml::Null), ("agent_session_id", Yaml::Null)]);
        self.agent_entry(name).entry("bedrock_agentcore").merge(noted);
    }

    fn agent_entry(&mut self, name: &str) -> &mut Yaml {
        self.document.entry("agents").entry(name)
    }

    /// Writes the file if it says anything else than before: whole or not at all.
    pub(crate) fn write(&mut self) -> anyhow::Result<()> {
        if self.document == self.written {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            let mut beside = tempfile::Builder::new().prefix(".bedrock_agentcore-").tempfile_in(folder)?;
            beside.write_all(self.document.to_text().as_bytes())?;
            let permissions = std::fs::metadata(&self.path).map(|metadata| metadata.permissions());
            let permissions = permissions.unwrap_or_else(|_| std::os::unix::fs::PermissionsExt::from_mode(0o644));
            beside.as_file().set_permissions(permissions)?;
            beside.persist(&self.path)?;
            Ok(())
        };
        write().with_context(|| format!("failed to write {}", self.path.display()))?;
        self.written = self.document.clone();
        Ok(())
    }
}

/// A new agent as the toolkit's `configure` writes one.
fn defaults(configured: &Configured) -> Yaml {
    let null = || Yaml::Null;
    let is_python = configured.language == Some(Language::Python);
    let mut agent = Yaml::map([("name", Yaml::text(&configured.name))]);
    // The toolkit knows two languages and refuses the whole file for a third; without one it takes its default, which does no harm.
    if let Some(language) = configured.language {
        agent.put(&["language"], Yaml::text(language.in_toolkit()));
    }
    agent.merge(Yaml::map([
        ("entrypoint", null()),
        ("deployment_type", Yaml::text(if is_python { "direct_code_deploy" } else { "container" })),
        ("runtime_type", null()),
        ("platform", Yaml::text("linux/arm64")),
        ("container_runtime", Yaml::text("none")),
        ("source_path", null()),
        (
            "aws",
            Yaml::map([
                ("execution_role", null()),
                ("execution_role_auto_create", Yaml::Bool(configured.execution_role.is_none())),
                ("account", null()),
                ("region", null()),
                ("ecr_repository", null()),
                ("ecr_auto_create", Yaml::Bool(!is_python)),
                ("s3_path", null()),
                ("s3_auto_create", Yaml::Bool(is_python)),
                ("network_configuration", Yaml::map([("network_mode", Yaml::text("PUBLIC")), ("network_mode_config", null())])),
                ("protocol_configuration", Yaml::map([("server_protocol", Yaml::text("HTTP"))])),
                ("observability", Yaml::map([("enabled", Yaml::Bool(true))])),
                ("lifecycle_configuration", Yaml::map([("idle_runtime_session_timeout", null()), ("max_lifetime", null())])),
            ]),
        ),
        ("bedrock_agentcore", Yaml::map([("agent_id", null()), ("agent_arn", null()), ("agent_session_id", null())])),
        ("authorizer_configuration", null()),
        ("request_header_configuration", null()),
    ]));
    agent
}

/// What was said, put over what is there.
fn changes(configured: &Configured) -> Yaml {
    let Configured { entry_point, source_path, runtime_type, execution_role, account, region, protocol, .. } = configured;
    let mut changes = Yaml::map([
        ("entrypoint", Yaml::text(entry_point)),
        ("source_path", Yaml::text(source_path.to_string_lossy())),
        ("aws", Yaml::map([("account", Yaml::text(account)), ("region", Yaml::text(region))])),
    ]);
    let seconds = |seconds: Option<u32>| seconds.map(|seconds| Yaml::Plain(seconds.to_string()));
    let text = |text: &Option<String>| text.as_deref().map(Yaml::text);
    let said = [
        (&["runtime_type"][..], text(runtime_type)),
        (&["aws", "execution_role"], text(execution_role)),
        (&["aws", "execution_role_auto_create"], execution_role.is_some().then_some(Yaml::Bool(false))),
        (&["aws", "protocol_configuration", "server_protocol"], text(protocol)),
        (&["aws", "lifecycle_configuration", "idle_runtime_session_timeout"], seconds(configured.idle_timeout_s)),
        (&["aws", "lifecycle_configuration", "max_lifetime"], seconds(configured.lifetime_max_s)),
    ];
    for (path, value) in said {
        if let Some(value) = value {
            changes.put(path, value);
        }
    }
    let own = serde_json::to_value(&configured.own).unwrap_or_default();
    if own.as_object().is_some_and(|own| !own.is_empty()) {
        changes.put(&["frontdesk"], of_json(&own));
    }
    changes
}

fn of_json(value: &serde_json::Value) -> Yaml {
    match value {
        serde_json::Value::Null => Yaml::Null,
        serde_json::Value::Bool(bool) => Yaml::Bool(*bool),
        serde_json::Value::Number(number) => Yaml::Plain(number.to_string()),
        serde_json::Value::String(text) => Yaml::text(text),
        serde_json::Value::Array(items) => Yaml::List(items.iter().map(of_json).collect()),
        serde_json::Value::Object(entries) => Yaml::Map(entries.iter().map(|(name, value)| (name.clone(), of_json(value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(name: &str) -> Configured {
        Configured {
            name: name.to_owned(),
            entry_point: format!("/project/{name}.py"),
            source_path: PathBuf::from("/project"),
            language: Some(Language::Python),
            account: "012345678901".to_owned(),
            region: "us-east-1".to_owned(),
            ..Configured::default()
        }
    }

    #[test]
    fn a_new_file_is_the_toolkit_s() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = ToolkitFile::read_or_new(folder.path()).unwrap();
        file.configure(&Configured { idle_timeout_s: Some(60), ..configured("first") });
        file.write().unwrap();
        let text = std::fs::read_to_string(folder.path().join(FILE_NAME)).unwrap();
        let begin = "default_agent: first\nagents:\n  first:\n    name: first\n    language: python\n    entrypoint: /project/first.py\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains("      account: '012345678901'\n      region: us-east-1\n"), "{text}");
        assert!(text.contains("        idle_runtime_session_timeout: 60\n        max_lifetime: null\n"), "{text}");
        let agent = ToolkitFile::read(folder.path()).unwrap().unwrap().agent("first").unwrap().unwrap();
        assert_eq!((agent.entry_point.as_str(), agent.idle_timeout_s, agent.arn), ("/project/first.py", Some(60), None));
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let text = "default_agent: other\nfuture: [1, two]\nagents:\n  other:\n    name: other\n    entrypoint: o.py\n    memory: {mode: NO_MEMORY}\n  \
                    first:\n    name: first\n    entrypoint: f.py\n    aws:\n      new_thing: 5\n      region: eu-west-1\n    frontdesk:\n      sessions: shared\n";
        std::fs::write(folder.path().join(FILE_NAME), text).unwrap();
        let mut file = ToolkitFile::read(folder.path()).unwrap().unwrap();
        let other_before = file.document.at(&["agents", "other"]).cloned();
        file.configure(&configured("first"));
        file.note_launched("first", "first-1234567890", "arn:x");
        file.note_session("first", Some("s"));
        file.write().unwrap();
        let file = ToolkitFile::read(folder.path()).unwrap().unwrap();
        assert_eq!((file.names(), file.default_agent()), (vec!["other", "first"], Some("first")));
        assert_eq!(file.document.at(&["agents", "other"]).cloned(), other_before);
        assert_eq!(file.document.at(&["future"]).unwrap().to_json(), serde_json::json!([1, "two"]));
        assert_eq!(file.document.at(&["agents", "first", "aws", "new_thing"]), Some(&Yaml::Plain("5".to_owned())));
        assert_eq!(file.document.at(&["agents", "first", "aws", "region"]), Some(&Yaml::text("us-east-1")));
        let agent = file.agent("first").unwrap().unwrap();
        assert_eq!(
            (agent.arn.as_deref(), agent.session_id.as_deref(), agent.own.sessions.as_deref()),
            (Some("arn:x"), Some("s"), Some("shared"))
        );
    }

    #[test]
    fn destroying_keeps_what_was_configured() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = ToolkitFile::read_or_new(folder.path()).unwrap();
        file.configure(&configured("first"));
        let before = file.document.clone();
        file.note_launched("first", "i", "a");
        file.note_session("first", Some("s"));
        assert_ne!(file.document, before);
        file.note_destroyed("first");
        assert_eq!(file.document, before);
    }
}
