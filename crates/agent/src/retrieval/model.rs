//! The embedding model's files on disk: which they are, where they lie, and whether they are what they should be. Getting
//! them is [`pull`]'s.
//!
//! Files are known by SHA-256. Hashing 91 MB at every start would cost more than loading the model, so a file that has been
//! checked is noted in `verified.json` with its size and time of change, and is hashed again only when one of them differs.

pub mod pull;

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use pull::{PullError, PullOptions};

const WEIGHTS: ModelFile =
    ModelFile { name: "model.safetensors", bytes: 90_868_376, sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db" };
const TOKENIZER: ModelFile =
    ModelFile { name: "tokenizer.json", bytes: 466_247, sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037" };
const FILES: [ModelFile; 2] = [WEIGHTS, TOKENIZER];
const MARKER: &str = "verified.json";

/// A file of the model as it must be.
#[derive(Clone, Copy, Debug)]
struct ModelFile {
    name: &'static str,
    bytes: u64,
    /// 64 lower-case hexadecimal digits.
    sha256: &'static str,
}

/// The checked files of all-MiniLM-L6-v2: six layers, 384 dimensions, as published by sentence-transformers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    weights: PathBuf,
    tokenizer: PathBuf,
    sha256: [u8; 32],
}

/// Why the files in a folder are not used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is not the one it should be: damaged, or another model's.
    #[error("{path} has the SHA-256 {found}, expected {expected}; run `frontdesk model pull` to replace it")]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash it should have.
        expected: &'static str,
    },
    /// A file is there and cannot be read.
    #[error("failed to read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Where the model lies unless told otherwise: `$FRONTDESK_MODEL_DIR`, else `frontdesk/models/all-MiniLM-L6-v2` in
/// `$XDG_CACHE_HOME`, `~/.cache`, or, without a home, the folder for temporary files.
pub fn default_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("FRONTDESK_MODEL_DIR").unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("frontdesk/models/all-MiniLM-L6-v2")
    })
}

impl ModelFiles {
    /// The files in `dir`, if all of them are there and right. Files that are new or have changed since the last look are
    /// hashed, which takes a fraction of a second; so files put there by hand are taken too.
    ///
    /// # Errors
    /// A file with the wrong content is an error, not an absence: whoever has it wants to know.
    pub fn locate(dir: &Path) -> Result<Option<ModelFiles>, ModelError> {
        if !verify(dir, &FILES)? {
            return Ok(None);
        }
        let mut sha256 = [0; 32];
        hex::decode_to_slice(WEIGHTS.sha256, &mut sha256).expect("the constant is 64 hexadecimal digits");
        Ok(Some(ModelFiles { weights: dir.join(WEIGHTS.name), tokenizer: dir.join(TOKENIZER.name), sha256 }))
    }

    /// Downloads what is missing or wrong in `dir` and returns the files; returns at once if nothing is. See [`pull`].
    pub async fn pull(dir: &Path, options: &PullOptions) -> Result<ModelFiles, PullError> {
        pull::pull(dir, &FILES, options).await?;
        ModelFiles::locate(dir)?.ok_or_else(|| PullError::Vanished { dir: dir.to_owned() })
    }

    /// `model.safetensors`.
    pub fn weights(&self) -> &Path {
        &self.weights
    }

    /// `tokenizer.json`.
    pub fn tokenizer(&self) -> &Path {
        &self.tokenizer
    }

    /// What names the model: the SHA-256 of its weights.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

/// The content of `verified.json`.
#[derive(Default, Deserialize, Serialize, PartialEq)]
struct Marker {
    files: Vec<Checked>,
}

/// A file as it was when its hash was found right.
#[derive(Deserialize, Serialize, PartialEq)]
struct Checked {
    name: String,
    bytes: u64,
    modified_ns: u64,
    sha256: String,
}

impl Checked {
    fn new(file: &ModelFile, metadata: &Metadata) -> Checked {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Checked {
            name: file.name.to_owned(),
            bytes: metadata.len(),
            modified_ns: modified.map_or(0, |since| since.as_nanos() as u64),
            sha256: file.sha256.to_owned(),
        }
    }
}

/// Whether all of `files` are in `dir`; an error if one is there and wrong.
fn verify(dir: &Path, files: &[ModelFile]) -> Result<bool, ModelError> {
    let marker_path = dir.join(MARKER);
    let known: Marker = fs::read(&marker_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let mut marker = Marker::default();
    for file in files {
        let path = dir.join(file.name);
        let failed = |source| ModelError::Io { path: path.clone(), source };
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let checked = Checked::new(file, &metadata);
        if !known.files.contains(&checked) {
            let found = File::open(&path).and_then(sha256).map_err(failed)?;
            if found != file.sha256 {
                return Err(ModelError::WrongHash { path, found, expected: file.sha256 });
            }
        }
        marker.files.push(checked);
    }
    if marker != known {
        // A folder that cannot be written to costs the hashing at each start, nothing more.
        if let Err(error) = write_marker(dir, &marker) {
            tracing::debug!(dir = %dir.display(), %error, "cannot note that the model is verified");
        }
    }
    Ok(true)
}

fn write_marker(dir: &Path, marker: &Marker) -> io::Result<()> {
    let temporary = dir.join(format!("{MARKER}.{}.tmp", std::process::id()));
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec_pretty(marker)?)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(MARKER))
}

/// The SHA-256 of everything `source` has, in hexadecimal.
fn sha256(mut source: impl io::Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    const HELLO: ModelFile =
        ModelFile { name: "hello", bytes: 5, sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" };

    fn change(path: &Path, content: &str, modified: SystemTime) {
        fs::write(path, content).unwrap();
        File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    }

    #[test]
    fn a_folder_without_the_files_has_no_model() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!verify(dir.path(), &[HELLO]).unwrap());
        assert_eq!(ModelFiles::locate(&dir.path().join("nowhere")).unwrap(), None);
    }

    #[test]
    fn a_file_is_hashed_once_and_again_when_it_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        let then = UNIX_EPOCH + Duration::from_secs(1_000_000);
        change(&path, "hello", then);
        assert!(verify(dir.path(), &[HELLO]).unwrap());

        // Of the same size and time: taken at the marker's word, which shows that it is not hashed again.
        change(&path, "HELLO", then);
        assert!(verify(dir.path(), &[HELLO]).unwrap());

        change(&path, "HELLO", then + Duration::from_nanos(100));
        let message = verify(dir.path(), &[HELLO]).unwrap_err().to_string();
        let found = "3733cd977ff8eb18b987357e22ced99f46097f31ecb239e878ae63760e83e4d5";
        let expected = HELLO.sha256;
        assert_eq!(
            message,
            format!("{} has the SHA-256 {found}, expected {expected}; run `frontdesk model pull` to replace it", path.display()),
        );
    }

    #[test]
    fn a_marker_of_another_version_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let then = UNIX_EPOCH + Duration::from_secs(1_000_000);
        change(&dir.path().join("hello"), "HELLO", then);
        let checked = Checked { sha256: "00".repeat(32), ..Checked::new(&HELLO, &fs::metadata(dir.path().join("hello")).unwrap()) };
        write_marker(dir.path(), &Marker { files: vec![checked] }).unwrap();
        assert!(matches!(verify(dir.path(), &[HELLO]), Err(ModelError::WrongHash { .. })));
        fs::write(dir.path().join(MARKER), "not JSON").unwrap();
        assert!(matches!(verify(dir.path(), &[HELLO]), Err(ModelError::WrongHash { .. })));
    }
}
