//! Embeddings kept on disk between starts, found by content: an unchanged chunk is never embedded twice, whatever row it
//! moves to. The file is a convenience; if it is damaged it is ignored and written anew.
//!
//! Format of `embeddings.bin`, all numbers little-endian: the eight bytes `FDEMBED1`; u32 numbers in a vector; u32 count;
//! count times a 32-byte key and the vector as f32; SHA-256 of everything before.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::encoder::{DIMENSIONS, Vector};

const MAGIC: &[u8; 8] = b"FDEMBED1";
/// Part of every key: raise it when the encoder's arithmetic changes so that old vectors no longer fit.
const ENCODER_REVISION: u8 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 4 + 4;
const KEY_BYTES: usize = 32;
const RECORD_BYTES: usize = KEY_BYTES + DIMENSIONS * 4;
const CHECKSUM_BYTES: usize = 32;
/// Half a million chunks. A larger file was not written by us.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Names a chunk's vector: SHA-256 of the encoder's revision, the model's hash and the chunk's text.
pub(crate) type Key = [u8; KEY_BYTES];

pub(crate) fn key(model_sha256: &[u8; 32], text: &str) -> Key {
    let mut hasher = Sha256::new();
    hasher.update([ENCODER_REVISION]);
    hasher.update(model_sha256);
    hasher.update(text);
    hasher.finalize().into()
}

/// The cache file in one folder.
pub(crate) struct EmbeddingCache {
    path: PathBuf,
}

impl EmbeddingCache {
    pub(crate) fn in_folder(folder: &Path) -> EmbeddingCache {
        EmbeddingCache { path: folder.join("embeddings.bin") }
    }

    /// Everything the file holds. A missing file holds nothing; so does a damaged one, with a warning.
    pub(crate) fn load(&self) -> HashMap<Key, Vector> {
        let bytes = match read_limited(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return HashMap::new(),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot read the cache of embeddings; embedding anew");
                return HashMap::new();
            }
        };
        decode(&bytes).unwrap_or_else(|| {
            tracing::warn!(path = %self.path.display(), "the cache of embeddings is damaged; embedding anew");
            HashMap::new()
        })
    }

    /// Replaces the file by these vectors, at once: a reader sees the old file or the new one.
    pub(crate) fn store<'a>(&self, vectors: impl ExactSizeIterator<Item = (&'a Key, &'a Vector)>) -> io::Result<()> {
        let folder = self.path.parent().expect("the path was made by joining a name to a folder");
        fs::create_dir_all(folder)?;
        // Two agents may start on one folder; each writes its own file, and the last rename stays.
        let temporary = folder.join(format!("embeddings.bin.{}.tmp", std::process::id()));
        let written = write(&temporary, &encode(vectors)).and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            // Best effort: the write's own error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn encode<'a>(vectors: impl ExactSizeIterator<Item = (&'a Key, &'a Vector)>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + vectors.len() * RECORD_BYTES + CHECKSUM_BYTES);
    bytes.extend(MAGIC);
    bytes.extend((DIMENSIONS as u32).to_le_bytes());
    bytes.extend((vectors.len() as u32).to_le_bytes());
    for (key, vector) in vectors {
        bytes.extend(key);
        bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    }
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<HashMap<Key, Vector>> {
    let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
    let records = content.strip_prefix(MAGIC)?.strip_prefix(&(DIMENSIONS as u32).to_le_bytes())?;
    let (count, records) = records.split_first_chunk::<4>()?;
    let (records, rest) = records.as_chunks::<RECORD_BYTES>();
    let whole = records.len() == u32::from_le_bytes(*count) as usize && rest.is_empty();
    if !whole || Sha256::digest(content).as_slice() != checksum {
        return None;
    }
    records
        .iter()
        .map(|record| {
            let (key, values) = record.split_first_chunk::<KEY_BYTES>()?;
            let mut vector = [0.0; DIMENSIONS];
            let values = values.as_chunks::<4>().0;
            vector.iter_mut().zip(values).for_each(|(slot, value)| *slot = f32::from_le_bytes(*value));
            Some((*key, vector))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> HashMap<Key, Vector> {
        HashMap::from([(key(&[1; 32], "a"), [0.5; DIMENSIONS]), (key(&[1; 32], "b"), [-1.0; DIMENSIONS])])
    }

    #[test]
    fn what_was_stored_is_loaded_and_only_that() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::in_folder(&folder.path().join("new"));
        assert!(cache.load().is_empty());
        cache.store(sample().iter()).unwrap();
        assert_eq!(cache.load(), sample());
        cache.store(sample().iter().take(1).collect::<Vec<_>>().into_iter()).unwrap();
        assert_eq!(cache.load().len(), 1);
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn keys_tell_models_and_texts_apart() {
        assert_ne!(key(&[1; 32], "a"), key(&[2; 32], "a"));
        assert_ne!(key(&[1; 32], "a"), key(&[1; 32], "b"));
    }

    #[test]
    fn a_damaged_file_is_ignored_wherever_the_damage_is() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::in_folder(folder.path());
        let whole = encode(sample().iter());
        let check = |bytes: &[u8]| {
            fs::write(&cache.path, bytes).unwrap();
            assert!(cache.load().is_empty());
        };
        for length in [0, 5, HEADER_BYTES, whole.len() - 1] {
            check(&whole[..length]);
        }
        for at in [0, 9, 13, HEADER_BYTES, HEADER_BYTES + RECORD_BYTES, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            check(&bytes);
        }
    }
}
