//! The virtual environments of Python agents: one for each set of requirements and interpreter, made once and shared.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow, bail};
use sha2::{Digest as _, Sha256};

use super::files::Agent;
use super::prepare::{self, Programs};
use super::run_tool;

/// Requirements that include one another, from file to file.
const FILES_MAX: usize = 64;

/// An interpreter with what the agent needs.
pub(super) struct Environment {
    pub(super) interpreter: PathBuf,
    /// Where it has its libraries from, and its own.
    pub(super) folders: Vec<PathBuf>,
    pub(super) in_words: String,
}

/// What is to be installed.
#[derive(Debug)]
pub(super) struct Requirements {
    /// Where it is from, for messages.
    pub(super) file: PathBuf,
    /// What a file of requirements would say.
    pub(super) lines: String,
    /// All that decides about what is installed.
    fingerprint: Vec<u8>,
}

/// Finds or makes the environment of an agent; without requirements it is the interpreter as it is.
pub(super) fn environment(agent: &Agent, file: &Path, source: &Path, programs: &Programs, rebuild: bool) -> anyhow::Result<Environment> {
    let (interpreter, about) = interpreter(agent.runtime_type.as_deref())?;
    let places: Vec<PathBuf> = about.lines().skip(2).take(2).map(PathBuf::from).collect();
    let [base, prefix] = <[PathBuf; 2]>::try_from(places).map_err(|_| anyhow!("{} does not say where it is", interpreter.display()))?;
    let Some(requirements) = requirements(agent, file, source)? else {
        let in_words = format!("{} as it is (there is no requirements.txt or pyproject.toml)", interpreter.display());
        // The interpreter may be an active environment's, which is another folder than the installation below it.
        return Ok(Environment { interpreter, folders: vec![prefix, base], in_words });
    };
    let mut hasher = Sha256::new();
    for part in [about.as_bytes(), &requirements.fingerprint] {
        hasher.update(Sha256::digest(part));
    }
    let folder = programs.environments();
    let made = folder.join(&hex::encode(hasher.finalize())[..16]);
    if rebuild && made.exists() {
        std::fs::remove_dir_all(&made).with_context(|| format!("failed to remove {}", made.display()))?;
    }
    let is_there = made.exists();
    if !is_there {
        make(&interpreter, &requirements, &folder, &made)
            .with_context(|| format!("the environment for {} could not be made", requirements.file.display()))?;
    }
    let in_words = format!("{} ({}, from {})", made.display(), if is_there { "as before" } else { "new" }, requirements.file.display());
    Ok(Environment { interpreter: made.join("bin/python"), folders: vec![made, base], in_words })
}

/// The `python3` on `PATH`, unless the file names a version that only another one has; and what tells it from others.
fn interpreter(runtime_type: Option<&str>) -> anyhow::Result<(PathBuf, String)> {
    let usual = run_tool::find("python3").or_else(|| run_tool::find("python"));
    let usual = usual.context("there is no python3 on PATH: install Python 3.10 or newer")?;
    let found = identity(&usual)?;
    let Some(version) = runtime_type.and_then(|wanted| wanted.strip_prefix("PYTHON_")).map(|version| version.replace('_', ".")) else {
        return Ok(found);
    };
    let is_wanted = |about: &str| about.lines().nth(1).is_some_and(|found| found == version);
    if is_wanted(&found.1) {
        return Ok(found);
    }
    let exact = run_tool::find(&format!("python{version}")).map(|python| identity(&python)).transpose();
    // A wrapper may stand there for a version that is not installed: its complaint is no reason to give up.
    if let Ok(Some(exact)) = exact
        && is_wanted(&exact.1)
    {
        return Ok(exact);
    }
    eprintln!("The agent is configured for Python {version}, which is not on PATH: {} runs it.", found.0.display());
    Ok(found)
}

/// Asks an interpreter who it is: a wrapper such as pyenv's, or an active environment's, stands for another file.
fn identity(python: &Path) -> anyhow::Result<(PathBuf, String)> {
    let about = run_tool::ask(
        python,
        &[
            "-c",
            "import sys; print(sys.executable); print('%d.%d' % sys.version_info[:2]); print(sys.base_prefix); print(sys.prefix); print(sys.version)",
        ],
    )?;
    let executable = about.lines().next().filter(|path| path.starts_with('/'));
    let executable = executable.with_context(|| format!("{} does not say who it is", python.display()))?;
    Ok((PathBuf::from(executable), about))
}

/// The version as the toolkit writes it, such as `PYTHON_3_11`.
pub(crate) fn runtime_type() -> Option<String> {
    let python = run_tool::find("python3")?;
    run_tool::ask(&python, &["-c", "import sys; print('PYTHON_%d_%d' % sys.version_info[:2])"]).ok()
}

/// Looks for requirements: the file that was configured, else `requirements.txt`, else `pyproject.toml`, beside the entry point, then in the agent's folder.
pub(super) fn requirements(agent: &Agent, file: &Path, source: &Path) -> anyhow::Result<Option<Requirements>> {
    let found = match &agent.own.requirements_file {
        Some(named) => Some(source.join(named)),
        None => {
            let folders = file.parent().into_iter().chain([source]);
            let candidates = folders.flat_map(|folder| ["requirements.txt", "pyproject.toml"].map(|name| folder.join(name)));
            candidates.into_iter().find(|candidate| candidate.is_file())
        }
    };
    found.map(|file| if file.ends_with("pyproject.toml") { of_project(file) } else { of_list(file) }).transpose()
}

fn of_list(file: PathBuf) -> anyhow::Result<Requirements> {
    let lines = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let mut fingerprint = Vec::new();
    let (mut seen, mut open) = (BTreeSet::new(), vec![file.clone()]);
    while let Some(file) = open.pop() {
        if !seen.insert(file.clone()) {
            continue;
        }
        if seen.len() > FILES_MAX {
            bail!("{} includes more than {FILES_MAX} files", file.display());
        }
        let text = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
        fingerprint.extend_from_slice(text.as_bytes());
        fingerprint.push(0);
        let folder = file.parent().unwrap_or(Path::new("."));
        open.extend(text.lines().filter_map(included).map(|name| folder.join(name)));
    }
    Ok(Requirements { file, lines, fingerprint })
}

/// The file that a line of requirements includes.
fn included(line: &str) -> Option<&str> {
    let flags = ["--requirement", "--constraint", "-r", "-c"];
    let rest = flags.iter().find_map(|flag| line.trim().strip_prefix(flag))?;
    let name = rest.trim_start_matches(['=', ' ', '\t']).split_whitespace().next()?;
    (!name.contains("://")).then_some(name)
}

/// What a project depends on; the project itself is not installed, its files are there anyway.
fn of_project(file: PathBuf) -> anyhow::Result<Requirements> {
    let text = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let project: toml::Table = toml::from_str(&text).with_context(|| format!("{} has a mistake", file.display()))?;
    let dependencies = project.get("project").and_then(|project| project.get("dependencies")).and_then(toml::Value::as_array);
    let Some(dependencies) = dependencies else {
        bail!("{} has no list `dependencies` in [project]: write one, or a requirements.txt beside it", file.display());
    };
    let dependencies: Option<Vec<&str>> = dependencies.iter().map(toml::Value::as_str).collect();
    let lines = dependencies.with_context(|| format!("{}: a dependency is no text", file.display()))?.join("\n");
    let fingerprint = lines.clone().into_bytes();
    Ok(Requirements { file, lines, fingerprint })
}

/// Makes an environment beside its place, and moves it there when everything is in it: one that cannot be made leaves nothing.
fn make(interpreter: &Path, requirements: &Requirements, folder: &Path, name: &Path) -> anyhow::Result<()> {
    prepare::sweep(folder);
    let making = prepare::temporary_folder(folder)?;
    let path = making.path();
    let uv = run_tool::find("uv");
    let installer = if uv.is_some() { "uv" } else { "pip" };
    eprintln!("Installing {} into a new environment, by {installer}…", requirements.file.display());
    let list = path.join("frontdesk-requirements.txt");
    let python = path.join("bin/python");
    let mut install = match &uv {
        Some(uv) => {
            let mut make = Command::new(uv);
            make.args(["venv", "--quiet", "--allow-existing", "--python"]).arg(interpreter).arg(path);
            run_tool::show(&mut make, "`uv venv`")?;
            let mut install = Command::new(uv);
            install.args(["pip", "install", "--python"]).arg(&python);
            install
        }
        None => {
            let mut make = Command::new(interpreter);
            make.args(["-m", "venv"]).arg(path);
            run_tool::show(&mut make, "`python3 -m venv`")
                .context("Debian and Ubuntu have it in the package python3-venv; uv does it too, where it is on PATH")?;
            let mut install = Command::new(&python);
            install.args(["-m", "pip", "install", "--disable-pip-version-check"]);
            install
        }
    };
    // Paths in a list of requirements are meant from where it lies.
    install.current_dir(requirements.file.parent().unwrap_or(Path::new(".")));
    if requirements.file.ends_with("pyproject.toml") {
        std::fs::write(&list, &requirements.lines)?;
        install.arg("-r").arg(&list);
    } else {
        install.arg("-r").arg(&requirements.file);
    }
    run_tool::show(&mut install, installer)?;
    rename_in_scripts(path, name)?;
    prepare::settle(making, name)
}

/// Scripts of an environment begin with its interpreter's path.
fn rename_in_scripts(made: &Path, name: &Path) -> anyhow::Result<()> {
    let (made_text, name) = (made.to_string_lossy(), name.to_string_lossy());
    let scripts = std::fs::read_dir(made.join("bin"))?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path());
    for script in scripts.chain([made.join("pyvenv.cfg")]) {
        if !std::fs::symlink_metadata(&script)?.is_file() {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&script) else { continue };
        if text.contains(&*made_text) {
            std::fs::write(&script, text.replace(&*made_text, &name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_included_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("requirements.txt"), "a==1\n-r more.txt # why\n--constraint=bounds.txt\n-r https://x/y.txt\n").unwrap();
        std::fs::write(file("more.txt"), "b\n-r requirements.txt\n").unwrap();
        std::fs::write(file("bounds.txt"), "b<2\n").unwrap();
        let before = of_list(file("requirements.txt")).unwrap().fingerprint;
        assert_eq!(of_list(file("requirements.txt")).unwrap().fingerprint, before);
        std::fs::write(file("bounds.txt"), "b<3\n").unwrap();
        assert_ne!(of_list(file("requirements.txt")).unwrap().fingerprint, before);
        std::fs::remove_file(file("bounds.txt")).unwrap();
        assert!(format!("{:#}", of_list(file("requirements.txt")).unwrap_err()).contains("bounds.txt"));
    }

    #[test]
    fn a_project_s_dependencies_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pyproject.toml");
        std::fs::write(&file, "[project]\nname = 'x'\ndependencies = ['a >= 1', 'b']\n[tool.x]\ny = 1\n").unwrap();
        assert_eq!(of_project(file.clone()).unwrap().lines, "a >= 1\nb");
        std::fs::write(&file, "[tool.poetry.dependencies]\na = '1'\n").unwrap();
        assert!(of_project(file).unwrap_err().to_string().contains("requirements.txt"));
    }
}
