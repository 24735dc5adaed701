//! An agent in Python as AgentCore's direct code deployment wants it: its code and its dependencies' wheels for arm64 in one zip, which goes to S3.
//!
//! Dependencies are downloaded, never built: a source distribution would run its setup on this machine, and give this machine's binaries. Files are sorted and of
//! no time, so that the same code and wheels give the same zip. Source of the format: the starter toolkit's `utils/runtime/package.py`
//! (<https://github.com/aws/bedrock-agentcore-starter-toolkit>).

mod wheel;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::call::{Aws, Bucket, CallError};

/// AgentCore's machines, newest ABI first: a wheel for an older one fits too.
const PLATFORMS: &[&str] = &["manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"];
/// AgentCore takes no larger zip.
const ZIP_BYTES_MAX: u64 = 250 * 1024 * 1024;
/// A download that takes longer is stuck.
const PIP_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Of what pip said before it failed, in characters.
const SAID_CHARS_MAX: usize = 2000;
/// What no agent needs at run time; hidden files, a `.env` with keys among them, stay out too.
const LEFT_OUT: &[&str] = &["__pycache__", "frontdesk.toml", "node_modules", "venv"];
/// `api-gateway-config.env` among them, which a deployment writes, and which holds a key.
const ENDINGS_LEFT_OUT: &[&str] = &[".egg-info", ".env", ".pyc"];

/// What a package is made of.
#[derive(Clone, Debug)]
pub struct PythonPackageSpec {
    /// The folder of the agent's code.
    pub source: PathBuf,
    /// The file in it that AgentCore runs, such as `agent.py`.
    pub entry_point: String,
    /// A requirements file for pip; an agent may need nothing.
    pub requirements: Option<PathBuf>,
    /// Files beside the agent's own, by their path in the zip: what starts it.
    pub added: Vec<(&'static str, &'static str)>,
    /// Files and folders below `source` that are no part of the agent, absolute as `source` is.
    pub left_out: Vec<PathBuf>,
    /// Such as `3.13`.
    pub python_version: String,
    /// The Python whose pip downloads.
    pub python: PathBuf,
    /// More arguments for pip, such as another index.
    pub pip_arguments: Vec<String>,
}

/// A package on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonPackage {
    /// The zip.
    pub path: PathBuf,
    /// Of the zip: 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Of the zip.
    pub bytes: u64,
    /// How many are in it.
    pub files: usize,
    /// The modules and packages that code in it can import, by their names.
    pub modules: BTreeSet<String>,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum PythonPackageError {
    /// A file of the agent's, of a wheel's, or the zip.
    #[error("failed to read or write {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing to run.
    #[error("{path} has no {entry_point}: name the file that calls `app.run()`")]
    NoEntryPoint {
        /// The source folder.
        path: PathBuf,
        /// What is not in it.
        entry_point: String,
    },
    /// A dependency that cannot be had for arm64, as a rule.
    #[error("pip found no wheels for Python {python_version} on arm64 (a dependency without a wheel cannot be used): {said}")]
    Pip {
        /// The version that was asked for.
        python_version: String,
        /// pip's own words.
        said: String,
    },
    /// A download that is no wheel.
    #[error("{path} is no wheel")]
    Wheel {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: zip::result::ZipError,
    },
    /// AgentCore would refuse it.
    #[error("the package has {bytes} bytes, and AgentCore takes {ZIP_BYTES_MAX}: leave dependencies out, or deploy a container image")]
    TooLarge {
        /// The zip's size.
        bytes: u64,
    },
}

/// What stands at a path of the zip.
pub(crate) enum Content {
    File(PathBuf),
    Bytes { bytes: Vec<u8>, is_executable: bool },
}

type Contents = BTreeMap<String, Content>;

/// Builds the zip of `spec` at `path`.
///
/// # Errors
/// [`PythonPackageError`].
pub async fn build(spec: &PythonPackageSpec, path: &Path) -> Result<PythonPackage, PythonPackageError> {
    if !spec.source.join(&spec.entry_point).is_file() {
        return Err(PythonPackageError::NoEntryPoint { path: spec.source.clone(), entry_point: spec.entry_point.clone() });
    }
    let mut contents = Contents::new();
    if let Some(requirements) = &spec.requirements {
        let folder = tempfile::tempdir().map_err(failed(&std::env::temp_dir()))?;
        download(spec, requirements, folder.path()).await?;
        let mut wheels = fs::read_dir(folder.path()).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed(folder.path()))?;
        wheels.sort_by_key(fs::DirEntry::file_name);
        for wheel in wheels {
            wheel::unpack(&wheel.path(), &mut contents)?;
        }
    }
    // The agent's own files go last, so that they win over a dependency's of the same name.
    add_source(&spec.source, "", &spec.left_out, &mut contents)?;
    for (name, text) in &spec.added {
        contents.insert((*name).to_owned(), Content::Bytes { bytes: text.as_bytes().to_vec(), is_executable: false });
    }
    write(&contents, path)
}

impl PythonPackage {
    /// Puts the zip into `bucket` as `key`.
    ///
    /// # Errors
    /// As [`Aws::send`]; [`CallError::Unwritable`] when the zip cannot be read.
    pub async fn upload(&self, aws: &Aws, bucket: &Bucket<'_>, key: &str) -> Result<(), CallError> {
        let unreadable = |error: io::Error| CallError::Unwritable {
            action: "s3:PutObject".to_owned(),
            reason: format!("failed to read {}: {error}", self.path.display()),
        };
        let bytes = fs::read(&self.path).map_err(unreadable)?;
        aws.put_object(bucket, key, "application/zip", bytes.into()).await
    }
}

/// Has pip put the wheels of all dependencies into `folder`.
async fn download(spec: &PythonPackageSpec, requirements: &Path, folder: &Path) -> Result<(), PythonPackageError> {
    let mut command = Command::new(&spec.python);
    command.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--implementation=cp"]);
    command.arg("--python-version").arg(&spec.python_version).arg("--dest").arg(folder).arg("--requirement").arg(requirements);
    command.args(PLATFORMS.iter().flat_map(|platform| ["--platform", platform])).args(&spec.pip_arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let refused = |said: String| PythonPackageError::Pip { python_version: spec.python_version.clone(), said };
    let ran = tokio::time::timeout(PIP_TIMEOUT, command.output()).await;
    let ran = ran.map_err(|_| refused(format!("it took longer than {} minutes", PIP_TIMEOUT.as_secs() / 60)))?;
    let ran = ran.map_err(failed(&spec.python))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let skipped = said.chars().count().saturating_sub(SAID_CHARS_MAX);
    Err(refused(said.chars().skip(skipped).collect::<String>().trim().to_owned()))
}

/// Adds the files of the agent's `folder`, whose path in the zip begins with `prefix`.
fn add_source(folder: &Path, prefix: &str, left_out: &[PathBuf], contents: &mut Contents) -> Result<(), PythonPackageError> {
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || LEFT_OUT.contains(&name.as_str()) || ENDINGS_LEFT_OUT.iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        let path = entry.path();
        if left_out.contains(&path) {
            continue;
        }
        if fs::metadata(&path).map_err(failed(&path))?.is_dir() {
            add_source(&path, &format!("{prefix}{name}/"), left_out, contents)?;
        } else {
            contents.insert(format!("{prefix}{name}"), Content::File(path));
        }
    }
    Ok(())
}

fn write(contents: &Contents, path: &Path) -> Result<PythonPackage, PythonPackageError> {
    let zip_failed = |error: zip::result::ZipError| failed(path)(io::Error::other(error));
    let mut archive = ZipWriter::new(BufWriter::new(File::create(path).map_err(failed(path))?));
    for (name, content) in contents {
        let (mut read, is_executable): (Box<dyn io::Read>, bool) = match content {
            Content::File(source) => (Box::new(File::open(source).map_err(failed(source))?), false),
            Content::Bytes { bytes, is_executable } => (Box::new(bytes.as_slice()), *is_executable),
        };
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        // The first moment that a zip can tell: a time of day would make every build another one.
        let options = options.last_modified_time(DateTime::default()).unix_permissions(if is_executable { 0o755 } else { 0o644 });
        archive.start_file(name, options).map_err(zip_failed)?;
        io::copy(&mut read, &mut archive).map_err(failed(path))?;
    }
    archive.finish().and_then(|mut file| Ok(file.flush()?)).map_err(zip_failed)?;
    let mut hasher = Sha256::new();
    let bytes = io::copy(&mut File::open(path).map_err(failed(path))?, &mut hasher).map_err(failed(path))?;
    if bytes > ZIP_BYTES_MAX {
        return Err(PythonPackageError::TooLarge { bytes });
    }
    let modules =
        contents.keys().filter_map(|name| name.split_once('/').map_or_else(|| name.strip_suffix(".py"), |(package, _)| Some(package)));
    let modules = modules.map(str::to_owned).collect();
    Ok(PythonPackage { path: path.to_owned(), sha256: hex::encode(hasher.finalize()), bytes, files: contents.len(), modules })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PythonPackageError + use<> {
    let path = path.to_owned();
    move |source| PythonPackageError::File { path: path.clone(), source }
}
