//! One layer: its entries, and the tar archive of them. Times, owners and order are fixed, so that the same files give the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::ImageError;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A folder: its mode and its owner.
    Folder { mode: u32, owner: u64 },
    /// A file of this machine.
    File { source: PathBuf, mode: u32 },
    /// A file made here.
    Bytes { bytes: Vec<u8>, mode: u32 },
}

/// A layer's files by their path in the image, without a slash in front.
#[derive(Debug)]
pub(super) struct Layer {
    entries: BTreeMap<PathBuf, Entry>,
    pub(super) gzip_level: i32,
}

impl Default for Layer {
    /// Compressed as everybody compresses.
    fn default() -> Layer {
        Layer::compressed(6)
    }
}

impl Layer {
    /// A layer that will be compressed at that level, from 1, fast, to 9, small.
    pub(super) fn compressed(gzip_level: i32) -> Layer {
        Layer { entries: BTreeMap::new(), gzip_level }
    }

    /// Puts `entry` at `path`, with the folders above it.
    pub(super) fn add(&mut self, path: &Path, entry: Entry) {
        let path = path.strip_prefix("/").unwrap_or(path);
        for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            self.entries.entry(folder.to_owned()).or_insert(Entry::Folder { mode: 0o755, owner: 0 });
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Puts the file `source`, or the files of that folder and of the folders in it, at `path`. What is hidden (`.git`, an editor's) stays out.
    pub(super) fn add_tree(&mut self, path: &Path, source: &Path) -> Result<(), ImageError> {
        let read = |source_error| ImageError::Read { path: source.to_owned(), source: source_error };
        if !std::fs::metadata(source).map_err(read)?.is_dir() {
            self.add(path, Entry::File { source: source.to_owned(), mode: 0o644 });
            return Ok(());
        }
        self.add(path, Entry::Folder { mode: 0o755, owner: 0 });
        for entry in std::fs::read_dir(source).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            if !name.to_string_lossy().starts_with('.') {
                self.add_tree(&path.join(&name), &source.join(&name))?;
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The size of the files, without the archive's own bytes.
    pub(super) fn file_bytes(&self) -> Result<u64, ImageError> {
        let sizes = self.entries.values().map(|entry| match entry {
            Entry::Folder { .. } => Ok(0),
            Entry::Bytes { bytes, .. } => Ok(bytes.len() as u64),
            Entry::File { source, .. } => {
                let metadata = std::fs::metadata(source).map_err(|error| ImageError::Read { path: source.clone(), source: error })?;
                Ok(metadata.len())
            }
        });
        sizes.sum()
    }

    /// Writes the archive.
    pub(super) fn write_tar(&self, output: impl Write) -> Result<(), ImageError> {
        let mut archive = Builder::new(output);
        for (path, entry) in &self.entries {
            append(&mut archive, path, entry).map_err(|error| match entry {
                Entry::File { source, .. } => ImageError::Read { path: source.clone(), source: error },
                _ => ImageError::Write { path: path.clone(), source: error },
            })?;
        }
        archive.finish().map_err(|source| ImageError::Write { path: PathBuf::from("a layer"), source })
    }
}

fn append(archive: &mut Builder<impl Write>, path: &Path, entry: &Entry) -> io::Result<()> {
    match entry {
        Entry::Folder { mode, owner } => archive.append_data(&mut header(EntryType::Directory, *mode, *owner, 0), path, io::empty()),
        Entry::Bytes { bytes, mode } => {
            archive.append_data(&mut header(EntryType::Regular, *mode, 0, bytes.len() as u64), path, bytes.as_slice())
        }
        Entry::File { source, mode } => {
            let file = File::open(source)?;
            let size = file.metadata()?.len();
            let mut content = file.take(size);
            archive.append_data(&mut header(EntryType::Regular, *mode, 0, size), path, &mut content)?;
            if content.limit() > 0 {
                return Err(io::Error::other("it became shorter while it was read"));
            }
            Ok(())
        }
    }
}

/// The header of an entry of 1970: a time of day would make every build another one.
fn header(kind: EntryType, mode: u32, owner: u64, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_size(size);
    header
}
