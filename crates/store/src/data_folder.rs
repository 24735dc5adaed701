//! The data folder: private to its owner, and held by one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// It cannot be made, opened or written.
    #[error("failed to use the data folder {}: {path} cannot be {action}", folder.display(), path = path.display())]
    Io {
        /// The data folder.
        folder: PathBuf,
        /// The file or folder inside it.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("the data folder {} is held by another frontdesk (process {holder}); stop that one, or choose another folder with --data-dir", folder.display())]
    Held {
        /// The data folder.
        folder: PathBuf,
        /// The other process's id, as it wrote it.
        holder: String,
    },
}

/// A data folder that this process holds until the value is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is missing (mode 0700) and takes its lock.
    ///
    /// # Errors
    /// See [`DataFolderError`].
    pub fn hold(path: &Path) -> Result<DataFolder, DataFolderError> {
        let fail = |at: &Path, action: &'static str| {
            let (folder, at) = (path.to_owned(), at.to_owned());
            move |source| DataFolderError::Io { folder, path: at, action, source }
        };
        create_private_folder(path).map_err(fail(path, "created"))?;
        let lock_path = path.join("lock");
        let mut lock =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&lock_path).map_err(fail(&lock_path, "opened"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(DataFolderError::Held { folder: path.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(fail(&lock_path, "locked")(error)),
        }
        // The lock itself is the kernel's; the number inside is for the message above.
        let mut write_pid = || {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write_pid().map_err(fail(&lock_path, "written"))?;
        Ok(DataFolder { path: path.to_owned(), _lock: lock })
    }

    /// The folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only its owner may read, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_private(&self, name: &str, content: &[u8]) -> Result<PathBuf, DataFolderError> {
        let path = self.path.join(name);
        write_private(&path, content).map_err(|source| DataFolderError::Io {
            folder: self.path.clone(),
            path: path.clone(),
            action: "written",
            source,
        })?;
        Ok(path)
    }
}

/// Writes beside the target, flushes, and renames over it.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The rename itself lasts only when the folder has been flushed.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
