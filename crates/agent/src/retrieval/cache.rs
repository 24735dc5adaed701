//! Embeddings kept on disk between starts, found by content: an unchanged chunk is never embedded twice, whatever row it
//! moves to. The files are a convenience; what is damaged in them is ignored and made anew.
//!
//! `embeddings.bin` holds what the FAQ needed when it was last embedded to the end, and is replaced as a whole. While an FAQ is being
//! embedded, what is ready is appended every few seconds to `embeddings.N.part`, so that a process that is stopped or killed goes on where
//! it was.
//!
//! Either is a row of blocks, each complete in itself, all numbers little-endian: the eight bytes `FDEMBED1`; u32 numbers in a vector;
//! u32 count; count times a 32-byte key and the vector as f32; SHA-256 of the block up to here. A block that is cut off or does not agree
//! with its checksum is not believed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::encoder::{DIMENSIONS, Vector};

const MAGIC: &[u8; 8] = b"FDEMBED1";
/// Part of every key: raise it when the encoder's arithmetic changes so that old vectors no longer fit.
const ENCODER_REVISION: u8 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 4 + 4;
const KEY_BYTES: usize = 32;
const RECORD_BYTES: usize = KEY_BYTES + DIMENSIONS * 4;
const CHECKSUM_BYTES: usize = 32;
/// Records in a block of `embeddings.bin`: six megabytes, enough blocks for every core to check some.
const BLOCK_RECORDS: usize = 4096;
/// Records that are read at once while a block is checked: a hundred kilobytes, which stay in a core's cache.
const PIECE_RECORDS: usize = 64;
/// Every run that is killed leaves a part, and they are joined before there are so many.
const PARTS_MAX: usize = 100;

/// Names a chunk's vector: SHA-256 of the encoder's revision, the model's hash and the chunk's text.
pub(crate) type Key = [u8; KEY_BYTES];

pub(crate) fn key(model_sha256: &[u8; 32], text: &str) -> Key {
    let mut hasher = Sha256::new();
    hasher.update([ENCODER_REVISION]);
    hasher.update(model_sha256);
    hasher.update(text);
    hasher.finalize().into()
}

/// The cache's files in one folder.
pub(crate) struct EmbeddingCache {
    folder: PathBuf,
}

impl EmbeddingCache {
    pub(crate) fn in_folder(folder: &Path) -> EmbeddingCache {
        EmbeddingCache { folder: folder.to_owned() }
    }

    /// Looks at everything that the files hold, and checks it; the vectors stay in the files. A missing file holds nothing; so does what is
    /// damaged, with a warning.
    pub(crate) fn look_up(&self) -> Stored {
        let mut stored = Stored { parts: self.named("embeddings.", ".part"), ..Stored::default() };
        for path in std::iter::once(self.whole()).chain(stored.parts.clone()) {
            match stored.add(&path) {
                Ok(true) => {}
                Ok(false) => tracing::warn!(path = %path.display(), "the cache of embeddings is damaged; what is lost is embedded anew"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read the cache of embeddings; embedding anew"),
            }
        }
        stored
    }

    /// Replaces `embeddings.bin` by these vectors, at once: a reader sees the old file or the new one.
    pub(crate) fn store(&self, vectors: impl Iterator<Item = io::Result<(Key, Vector)>>) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        self.remove_abandoned();
        // Two agents may start on one folder; each writes its own file, and the last rename stays.
        let temporary = self.folder.join(format!("embeddings.bin.{}.tmp", std::process::id()));
        let written = write_whole(&temporary, vectors).and_then(|()| fs::rename(&temporary, self.whole()));
        if written.is_err() {
            // Best effort: the write's own error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes what a writer that was killed has left: a file that nobody holds the lock of.
    fn remove_abandoned(&self) {
        for path in self.named("embeddings.bin.", ".tmp") {
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                // One that stays is tried again by the next writer.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// A new, empty part, which is nobody else's.
    pub(crate) fn begin_part(&self) -> io::Result<Part> {
        fs::create_dir_all(&self.folder)?;
        for number in 0..PARTS_MAX {
            let path = self.folder.join(format!("embeddings.{number}.part"));
            match File::create_new(&path) {
                Ok(file) => return Ok(Part { path, file }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{PARTS_MAX} parts of earlier starts are there already")))
    }

    fn whole(&self) -> PathBuf {
        self.folder.join("embeddings.bin")
    }

    /// The files of the folder whose names begin and end so, in order.
    fn named(&self, beginning: &str, ending: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let is_named = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(beginning) && name.ends_with(ending)
        };
        let mut named: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_named).collect();
        named.sort();
        named
    }
}

/// A file that a run appends its vectors to while it makes them.
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    file: File,
}

impl Part {
    /// Adds a block. There is no `fsync`: a process may be killed at any moment, and after a cut of the power the checksums tell what is lost.
    pub(crate) fn append<'a>(&mut self, vectors: impl ExactSizeIterator<Item = (&'a Key, &'a Vector)>) -> io::Result<()> {
        self.file.write_all(&encode(vectors))
    }
}

/// What the cache has: where the vector of each key stands. It reads from the files as they were, even if they are replaced meanwhile.
#[derive(Default)]
pub(crate) struct Stored {
    files: Vec<File>,
    places: HashMap<Key, Place>,
    parts: Vec<PathBuf>,
}

#[derive(Clone, Copy)]
struct Place {
    file: usize,
    /// Of the vector, in bytes from the file's start.
    offset: u64,
}

impl Stored {
    /// The number of keys.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// The parts that earlier runs have left.
    pub(crate) fn parts(&self) -> &[PathBuf] {
        &self.parts
    }

    /// The vector of `key`, if there is one.
    pub(crate) fn read(&self, key: &Key) -> io::Result<Option<Vector>> {
        let Some(Place { file, offset }) = self.places.get(key) else { return Ok(None) };
        let mut bytes = [0; DIMENSIONS * 4];
        self.files[*file].read_exact_at(&mut bytes, *offset)?;
        let mut vector = [0.0; DIMENSIONS];
        vector.iter_mut().zip(bytes.as_chunks::<4>().0).for_each(|(slot, value)| *slot = f32::from_le_bytes(*value));
        Ok(Some(vector))
    }

    /// Adds what the file at `path` holds, and tells whether all of it is sound.
    fn add(&mut self, path: &Path) -> io::Result<bool> {
        let file = File::open(path)?;
        let (blocks, is_to_the_end) = blocks(&file)?;
        let checked: Vec<Option<Vec<(Key, u64)>>> = blocks.par_iter().map(|block| block.check(&file)).collect::<io::Result<_>>()?;
        let is_sound = is_to_the_end && checked.iter().all(Option::is_some);
        let number = self.files.len();
        self.places.reserve(checked.iter().flatten().map(Vec::len).sum());
        for (key, offset) in checked.into_iter().flatten().flatten() {
            self.places.insert(key, Place { file: number, offset });
        }
        self.files.push(file);
        Ok(is_sound)
    }
}

/// A block of a file, as its header has it.
struct Block {
    offset: u64,
    header: [u8; HEADER_BYTES],
    count: usize,
}

/// The blocks of a file, and whether they fill it to its end.
fn blocks(file: &File) -> io::Result<(Vec<Block>, bool)> {
    let length = file.metadata()?.len();
    let (mut blocks, mut offset) = (Vec::new(), 0);
    while offset + (HEADER_BYTES as u64) <= length {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, offset)?;
        let known = [&MAGIC[..], &(DIMENSIONS as u32).to_le_bytes()].concat();
        let Some(count) = header.strip_prefix(&known[..]).and_then(|count| count.first_chunk::<4>()) else { break };
        let count = u32::from_le_bytes(*count) as usize;
        let end = offset + (HEADER_BYTES + count * RECORD_BYTES + CHECKSUM_BYTES) as u64;
        if end > length {
            break;
        }
        blocks.push(Block { offset, header, count });
        offset = end;
    }
    Ok((blocks, offset == length && length > 0))
}

impl Block {
    /// The block's keys, and the place of each one's vector in the file; none if the block does not agree with its checksum.
    fn check(&self, file: &File) -> io::Result<Option<Vec<(Key, u64)>>> {
        let mut hasher = Sha256::new();
        hasher.update(self.header);
        let mut keys = Vec::with_capacity(self.count);
        let mut buffer = vec![0; PIECE_RECORDS.min(self.count) * RECORD_BYTES];
        let mut offset = self.offset + HEADER_BYTES as u64;
        while keys.len() < self.count {
            let piece = &mut buffer[..PIECE_RECORDS.min(self.count - keys.len()) * RECORD_BYTES];
            file.read_exact_at(piece, offset)?;
            hasher.update(&piece);
            for record in piece.as_chunks::<RECORD_BYTES>().0 {
                let (key, _) = record.split_first_chunk().expect("a record begins with its key");
                keys.push((*key, offset + KEY_BYTES as u64));
                offset += RECORD_BYTES as u64;
            }
        }
        let mut checksum = [0; CHECKSUM_BYTES];
        file.read_exact_at(&mut checksum, offset)?;
        Ok((hasher.finalize().as_slice() == checksum).then_some(keys))
    }
}

fn write_whole(path: &Path, vectors: impl Iterator<Item = io::Result<(Key, Vector)>>) -> io::Result<()> {
    let mut file = File::create(path)?;
    // A file system without locks has writers that nobody disturbs either.
    let _ = file.try_lock();
    let mut vectors = vectors.peekable();
    while vectors.peek().is_some() {
        let block = vectors.by_ref().take(BLOCK_RECORDS).collect::<io::Result<Vec<_>>>()?;
        file.write_all(&encode(block.iter().map(|(key, vector)| (key, vector))))?;
    }
    file.sync_all()
}

/// One block.
fn encode<'a>(vectors: impl ExactSizeIterator<Item = (&'a Key, &'a Vector)>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + vectors.len() * RECORD_BYTES + CHECKSUM_BYTES);
    bytes.extend(MAGIC);
    bytes.extend((DIMENSIONS as u32).to_le_bytes());
    bytes.extend((vectors.len() as u32).to_le_bytes());
    for (key, vector) in vectors {
        bytes.extend(key);
        let start = bytes.len();
        bytes.resize(start + DIMENSIONS * 4, 0);
        bytes[start..].as_chunks_mut::<4>().0.iter_mut().zip(vector).for_each(|(slot, value)| *slot = value.to_le_bytes());
    }
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(texts: &[&str]) -> Vec<(Key, Vector)> {
        let vector = |text: &&str| [f32::from(text.as_bytes()[0]); DIMENSIONS];
        texts.iter().map(|text| (key(&[1; 32], text), vector(text))).collect()
    }

    fn store(cache: &EmbeddingCache, texts: &[&str]) {
        cache.store(sample(texts).into_iter().map(Ok)).unwrap();
    }

    /// That the cache has these texts' vectors, and no others.
    #[track_caller]
    fn check(cache: &EmbeddingCache, texts: &[&str]) {
        let stored = cache.look_up();
        assert_eq!(stored.len(), texts.len());
        for (key, vector) in sample(texts) {
            assert_eq!(stored.read(&key).unwrap(), Some(vector));
        }
    }

    #[test]
    fn what_was_stored_is_found_and_only_that() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::in_folder(&folder.path().join("new"));
        check(&cache, &[]);
        store(&cache, &["a", "b"]);
        check(&cache, &["a", "b"]);
        store(&cache, &["a"]);
        check(&cache, &["a"]);
        assert_eq!(cache.look_up().read(&key(&[1; 32], "b")).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn many_vectors_are_found_across_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::in_folder(folder.path());
        let texts: Vec<String> = (0..=BLOCK_RECORDS).map(|number| number.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        store(&cache, &texts);
        check(&cache, &texts);
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
        store(&cache, &["a", "b"]);
        let whole = fs::read(cache.whole()).unwrap();
        let check_bytes = |bytes: &[u8]| {
            fs::write(cache.whole(), bytes).unwrap();
            check(&cache, &[]);
        };
        for length in [0, 5, HEADER_BYTES, whole.len() - 1] {
            check_bytes(&whole[..length]);
        }
        for at in [0, 9, 13, HEADER_BYTES, HEADER_BYTES + RECORD_BYTES, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            check_bytes(&bytes);
        }
    }

    #[test]
    fn of_a_part_that_is_cut_off_the_whole_blocks_are_believed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::in_folder(folder.path());
        store(&cache, &["a"]);
        let mut part = cache.begin_part().unwrap();
        for texts in [["b", "c"], ["d", "e"]] {
            part.append(sample(&texts).iter().map(|(key, vector)| (key, vector))).unwrap();
        }
        check(&cache, &["a", "b", "c", "d", "e"]);
        let length = fs::metadata(&part.path).unwrap().len();
        for cut in [length - 1, length / 2 + 1] {
            File::options().write(true).open(&part.path).unwrap().set_len(cut).unwrap();
            check(&cache, &["a", "b", "c"]);
        }
        File::options().write(true).open(&part.path).unwrap().set_len(length / 2 - 1).unwrap();
        check(&cache, &["a"]);
        assert_eq!(cache.look_up().parts(), [part.path]);
    }

    #[test]
    fn what_a_killed_writer_has_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (left, held) = (folder.path().join("embeddings.bin.0.tmp"), folder.path().join("embeddings.bin.1.tmp"));
        fs::write(&left, "left").unwrap();
        let held_file = File::create(&held).unwrap();
        held_file.lock().unwrap();
        store(&EmbeddingCache::in_folder(folder.path()), &["a"]);
        assert_eq!((left.exists(), held.exists()), (false, true));
    }

    #[test]
    fn every_run_has_a_part_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::in_folder(folder.path());
        let (first, second) = (cache.begin_part().unwrap(), cache.begin_part().unwrap());
        assert_eq!(cache.look_up().parts(), [first.path, second.path]);
    }
}
