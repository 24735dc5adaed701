//! A function's code: the zip file that was uploaded, kept by its hash, and unpacked where the function's processes find it.

use std::fs::{self, File};
use std::io::{self, Cursor, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frontdesk_store::FunctionCode;
use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use crate::error::FunctionError;

/// Lambda's limit on a zip file that is uploaded in a request (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const ZIP_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Lambda's limit on code, unpacked.
const UNPACKED_BYTES_MAX: u64 = 250 * 1024 * 1024;
/// Files that a zip may hold; far more than any package of a function has.
const FILES_MAX: usize = 100_000;

/// The folder of all code.
#[derive(Debug, Clone)]
pub(crate) struct CodeFolder(PathBuf);

/// Lambda's name for code's hash: SHA-256 in base64.
pub(crate) fn sha256_base64(code: &FunctionCode) -> String {
    STANDARD.encode(hex::decode(&code.sha256).unwrap_or_default())
}

impl CodeFolder {
    pub(crate) fn new(folder: PathBuf) -> CodeFolder {
        CodeFolder(folder)
    }

    /// What a zip file is, without keeping it.
    ///
    /// # Errors
    /// When it is too large, or no zip file.
    pub(crate) fn check(zip: &[u8]) -> Result<FunctionCode, FunctionError> {
        if zip.len() > ZIP_BYTES_MAX {
            return Err(FunctionError::TooLarge(format!("Zipped size must be smaller than {ZIP_BYTES_MAX} bytes")));
        }
        let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|_| not_unzipped())?;
        if archive.is_empty() {
            return Err(FunctionError::Invalid("Uploaded file must be a non-empty zip".to_owned()));
        }
        if archive.len() > FILES_MAX {
            return Err(FunctionError::Invalid(format!("Uploaded file must have at most {FILES_MAX} entries")));
        }
        let mut unpacked = 0_u64;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(|_| not_unzipped())?;
            if entry.enclosed_name().is_none() {
                return Err(not_unzipped());
            }
            unpacked = unpacked.saturating_add(entry.size());
        }
        if unpacked > UNPACKED_BYTES_MAX {
            return Err(FunctionError::Invalid(format!("Unzipped size must be smaller than {UNPACKED_BYTES_MAX} bytes")));
        }
        Ok(FunctionCode { sha256: hex::encode(Sha256::digest(zip)), bytes: zip.len() as u64 })
    }

    /// Keeps a zip file.
    ///
    /// # Errors
    /// As [`CodeFolder::check`], and when the file cannot be written.
    pub(crate) fn keep(&self, zip: &[u8]) -> Result<FunctionCode, FunctionError> {
        let code = CodeFolder::check(zip)?;
        let folder = self.of(&code);
        let written = fs::create_dir_all(&folder).and_then(|()| {
            let partial = folder.join(format!("code.zip.{}", uuid::Uuid::new_v4().simple()));
            fs::write(&partial, zip)?;
            fs::rename(partial, folder.join("code.zip"))
        });
        written.map_err(|error| FunctionError::Failed(format!("failed to keep code in {}: {error}", folder.display())))?;
        Ok(code)
    }

    /// The folder with the code unpacked (`LAMBDA_TASK_ROOT`), which is made if it is not there.
    ///
    /// # Errors
    /// In a sentence: what could not be read or written.
    pub(crate) fn unpacked(&self, code: &FunctionCode) -> Result<PathBuf, String> {
        let folder = self.of(code);
        let task = folder.join("task");
        if task.is_dir() {
            return Ok(task);
        }
        let partial = folder.join(format!("task.{}", uuid::Uuid::new_v4().simple()));
        unpack(&folder.join("code.zip"), &partial)
            .map_err(|error| format!("failed to unpack the code into {}: {error}", partial.display()))?;
        match fs::rename(&partial, &task) {
            Ok(()) => {}
            // Another was faster.
            Err(_) if task.is_dir() => drop(fs::remove_dir_all(&partial)),
            Err(error) => return Err(format!("failed to make the folder {}: {error}", task.display())),
        }
        Ok(task)
    }

    /// Forgets code that no function has any more.
    pub(crate) fn forget(&self, code: &FunctionCode) {
        let _ = fs::remove_dir_all(self.of(code));
    }

    fn of(&self, code: &FunctionCode) -> PathBuf {
        self.0.join(&code.sha256)
    }
}

fn not_unzipped() -> FunctionError {
    FunctionError::Invalid("Could not unzip uploaded file. Please check your file, then try to upload again.".to_owned())
}

fn unpack(zip: &Path, folder: &Path) -> io::Result<()> {
    let mut archive = ZipArchive::new(File::open(zip)?)?;
    fs::create_dir_all(folder)?;
    let mut left = UNPACKED_BYTES_MAX;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.enclosed_name().ok_or_else(|| io::Error::other("a name that leads out of the zip file"))?;
        let path = folder.join(name);
        if entry.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        // A link could lead anywhere.
        if entry.is_symlink() {
            return Err(io::Error::other(format!("{} is a link, which is not unpacked", entry.name())));
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = entry.unix_mode().unwrap_or(0o644);
        // What the zip says of a length may be wrong.
        let written = io::copy(&mut (&mut entry).take(left + 1), &mut File::create(&path)?)?;
        left = left.checked_sub(written).ok_or_else(|| io::Error::other("the code is larger than it says"))?;
        // Readable for all, as in Lambda; a file that was executable stays so.
        fs::set_permissions(&path, fs::Permissions::from_mode(if mode & 0o111 == 0 { 0o644 } else { 0o755 }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn zip(files: &[(&str, u32, &str)]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, mode, content) in files {
            writer.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn code_is_kept_by_its_hash_and_unpacked_once() {
        let folder = tempfile::tempdir().unwrap();
        let codes = CodeFolder::new(folder.path().to_owned());
        let code = codes.keep(&zip(&[("app.py", 0o600, "x = 1"), ("bin/tool", 0o700, "#!/bin/sh\n")])).unwrap();
        assert_eq!(codes.keep(&zip(&[("app.py", 0o600, "x = 1"), ("bin/tool", 0o700, "#!/bin/sh\n")])).unwrap(), code);
        let task = codes.unpacked(&code).unwrap();
        assert_eq!(fs::read_to_string(task.join("app.py")).unwrap(), "x = 1");
        let mode = |name| fs::metadata(task.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("app.py"), mode("bin/tool")), (0o644, 0o755));
        assert_eq!(codes.unpacked(&code).unwrap(), task);
        codes.forget(&code);
        assert!(!task.exists());
    }

    #[test]
    fn what_is_no_harmless_zip_is_refused() {
        let check = |zip: &[u8], expected: &str| {
            let error = CodeFolder::check(zip).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"no zip", "Could not unzip uploaded file");
        check(&zip(&[]), "non-empty");
        check(&zip(&[("../out.py", 0o644, "")]), "Could not unzip uploaded file");
        check(&vec![0; ZIP_BYTES_MAX + 1], "smaller than");
    }
}
