//! From an agent of a project to a program that a host can start: its files copied, its environment made, its launcher written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use frontdesk_control::{IsolationDocument, LaunchRequest, LimitsDocument, ProgramDocument};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::entry_point::EntryPoint;
use super::files::Agent;
use super::{container, node, python, source_copy};

pub(crate) use python::runtime_type as python_runtime_type;

/// AgentCore's protocols.
pub(crate) const PROTOCOLS: [&str; 4] = ["HTTP", "MCP", "A2A", "AGUI"];
/// What is being made has this prefix and the maker's process id.
const TEMPORARY: &str = ".making-";

/// Where programs are kept: a folder for all hosts of this machine's user, with one inside for the copies of each host's agents.
pub(crate) struct Programs {
    root: PathBuf,
    data_dir: PathBuf,
}

/// What `launch` may want otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    /// Run in the agent's own folder instead of a copy.
    pub(crate) in_place: bool,
    /// Make the environment anew.
    pub(crate) rebuild: bool,
}

/// A program, and what is to be told of it.
pub(crate) struct Prepared {
    pub(crate) program: ProgramDocument,
    /// Variables that the program itself needs.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) notes: Vec<(&'static str, String)>,
}

impl Programs {
    pub(crate) fn new(root: &Path, data_dir: &Path) -> anyhow::Result<Programs> {
        let root = std::path::absolute(root)?;
        let data_dir = std::fs::canonicalize(data_dir).with_context(|| format!("failed to find the data folder {}", data_dir.display()))?;
        Ok(Programs { root, data_dir })
    }

    /// The copies of an agent's files, of this host.
    pub(crate) fn copies_of(&self, agent: &str) -> PathBuf {
        let host = Sha256::digest(self.data_dir.as_os_str().as_encoded_bytes());
        self.root.join("agents").join(&hex::encode(host)[..12]).join(agent)
    }

    pub(super) fn environments(&self) -> PathBuf {
        self.root.join("environments")
    }

    /// Writes a launcher, named by its content, so that agents of an older frontdesk keep theirs.
    pub(super) fn launcher(&self, text: &str, ending: &str) -> anyhow::Result<PathBuf> {
        let folder = self.root.join("launchers");
        let file = folder.join(format!("{}.{ending}", &hex::encode(Sha256::digest(text))[..16]));
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            let mut beside = tempfile::Builder::new().prefix(TEMPORARY).permissions(mode(0o644)).tempfile_in(&folder)?;
            std::io::Write::write_all(&mut beside, text.as_bytes())?;
            beside.persist(&file)?;
            Ok(())
        };
        if !file.exists() {
            write().with_context(|| format!("failed to write the launcher {}", file.display()))?;
        }
        Ok(file)
    }
}

/// Makes the program of an agent.
pub(crate) fn program(agent: &Agent, programs: &Programs, how: How) -> anyhow::Result<Prepared> {
    let protocol = protocol(agent)?;
    if let Some(image) = &agent.own.image {
        return container::program(image, agent, protocol);
    }
    if agent.entry_point.is_empty() {
        bail!("the agent {} has no entry point: `frontdesk configure -e FILE --name {}` names one", agent.name, agent.name);
    }
    let source =
        std::fs::canonicalize(&agent.source).with_context(|| format!("failed to find the agent's folder {}", agent.source.display()))?;
    let entry_point = EntryPoint::find(&agent.entry_point, &source)?;
    let file = entry_point.file().map(std::fs::canonicalize).transpose()?.context("an entry point of this kind is a file")?;
    // An entry point elsewhere is taken with its own folder; one of a package with all of that, for its modules.
    let source = if file.starts_with(&source) { source } else { file.parent().unwrap_or(&source).to_owned() };
    let package = if matches!(entry_point, EntryPoint::Node { .. }) { node::package_folder(&file) } else { None };
    let source = package.filter(|package| source.starts_with(package)).unwrap_or(source);
    let place = |with_node_modules: bool| -> anyhow::Result<PathBuf> {
        if how.in_place {
            return Ok(source.clone());
        }
        let left_out = [programs.data_dir.as_path(), programs.root.as_path()];
        source_copy::copy(&source, &programs.copies_of(&agent.name), &left_out, with_node_modules)
    };
    let moved = |place: &Path| place.join(file.strip_prefix(&source).unwrap_or(&file));
    let mut notes = vec![("Entry point", file.display().to_string())];
    let (executable, arguments, working_dir, readable) = match &entry_point {
        EntryPoint::Python { object, .. } => {
            let environment = python::environment(agent, &file, &source, programs, how.rebuild)?;
            notes.push(("Environment", environment.in_words));
            let place = place(false)?;
            let launcher = programs.launcher(include_str!("launcher.py"), "py")?;
            let mut entry = moved(&place).into_os_string();
            if let Some(object) = object {
                entry.push(":");
                entry.push(object);
            }
            let mut readable = environment.folders;
            readable.push(launcher.clone());
            (environment.interpreter, vec!["-u".into(), launcher.into(), protocol.into(), entry], place, readable)
        }
        EntryPoint::Node { .. } => {
            let (interpreter, flags) = node::interpreter(&file, how.in_place)?;
            let place = place(true)?;
            let launcher = programs.launcher(include_str!("launcher.cjs"), "cjs")?;
            let readable = node::installation(&interpreter).into_iter().chain([launcher.clone()]).collect();
            let mut arguments: Vec<std::ffi::OsString> = flags.into_iter().map(Into::into).collect();
            arguments.extend([launcher.into(), protocol.into(), moved(&place).into()]);
            (interpreter, arguments, place, readable)
        }
        // An executable finds what it needs by its own place, and is often surrounded by what made it: it is not copied.
        EntryPoint::Executable { .. } => (file.clone(), Vec::new(), source.clone(), Vec::new()),
        EntryPoint::Image { .. } => unreachable!("an image has been dealt with above"),
    };
    let text =
        |argument: std::ffi::OsString| argument.into_string().map_err(|argument| anyhow::anyhow!("{} is no Unicode", argument.display()));
    let arguments = arguments.into_iter().map(text).collect::<anyhow::Result<_>>()?;
    notes.push(("Runs in", working_dir.display().to_string()));
    let program = ProgramDocument { executable, arguments, port_flag: None, working_dir: Some(working_dir), readable };
    Ok(Prepared { program, environment: BTreeMap::new(), notes })
}

/// The whole request: the program, what the project says, and the variables given.
pub(crate) fn request(agent: &Agent, prepared: Prepared, given: BTreeMap<String, String>) -> anyhow::Result<LaunchRequest> {
    let protocol = protocol(agent)?.to_owned();
    let mut environment = prepared.environment;
    environment.extend(agent.environment.clone());
    environment.extend(given);
    let own = &agent.own;
    let limits = LimitsDocument { memory_bytes: own.memory_bytes, processes: own.processes, open_files: own.open_files, cpus: own.cpus };
    Ok(LaunchRequest {
        program: prepared.program,
        environment,
        protocol: Some(protocol),
        idle_runtime_session_timeout: agent.idle_timeout_s,
        max_lifetime: agent.lifetime_max_s,
        request_header_allowlist: agent.request_headers.clone(),
        authorizer_configuration: agent.authorizer.clone(),
        sessions: word("sessions", own.sessions.as_deref())?,
        // An engine keeps its containers apart by itself, and its client must reach it.
        isolation: if own.image.is_some() { Some(IsolationDocument::None) } else { word("isolation", own.isolation.as_deref())? },
        limits: (limits != LimitsDocument::default()).then_some(limits),
        description: agent.description.clone(),
    })
}

/// Reads one of a setting's words.
fn word<T: serde::de::DeserializeOwned>(setting: &str, word: Option<&str>) -> anyhow::Result<Option<T>> {
    let read = word.map(|word| serde_json::from_value(serde_json::Value::from(word))).transpose();
    read.with_context(|| format!("the project's file has a mistake in `{setting}`"))
}

fn protocol(agent: &Agent) -> anyhow::Result<&'static str> {
    let wanted = agent.protocol.as_deref().unwrap_or("HTTP");
    let known = PROTOCOLS.iter().find(|known| known.eq_ignore_ascii_case(wanted));
    known
        .copied()
        .with_context(|| format!("the agent {} has the protocol {wanted}: it must be one of {}", agent.name, PROTOCOLS.join(", ")))
}

fn mode(mode: u32) -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

/// A folder to make something in; it is gone if that fails.
pub(super) fn temporary_folder(into: &Path) -> anyhow::Result<TempDir> {
    std::fs::create_dir_all(into).with_context(|| format!("failed to make the folder {}", into.display()))?;
    let made = tempfile::Builder::new().prefix(&format!("{TEMPORARY}{}-", std::process::id())).tempdir_in(into);
    made.with_context(|| format!("failed to make a folder in {}", into.display()))
}

/// Gives what was made its name, at once. If somebody else was faster with the same, theirs stays.
pub(super) fn settle(made: TempDir, name: &Path) -> anyhow::Result<()> {
    // Sessions may run as another user.
    std::fs::set_permissions(made.path(), mode(0o755))?;
    if let Err(error) = std::fs::rename(made.path(), name) {
        if !name.exists() {
            return Err(error).with_context(|| format!("failed to make {}", name.display()));
        }
        return Ok(());
    }
    let _ = made.keep();
    Ok(())
}

/// Removes what makers that were killed left half-made.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY)).and_then(|rest| rest.split('-').next());
        let Some(maker) = maker.and_then(|maker| maker.parse::<i32>().ok()) else { continue };
        if !is_alive(maker) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_alive(process: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), None) != Err(nix::errno::Errno::ESRCH)
}
