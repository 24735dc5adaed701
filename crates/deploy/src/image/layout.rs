//! An OCI image layout: a folder of blobs named by their digests, and an index (<https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>).
//! skopeo, umoci, buildah and crane read it.
//!
//! A layer that the folder has already from an earlier build is not compressed again: its configuration tells what each compressed layer is uncompressed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::ImageError;
use super::document::{Configuration, Descriptor, Index, LAYER_TYPE, Manifest, REF_NAME};
use super::gzip::Gzip;
use super::layer::Layer;

const INDEX: &str = "index.json";
const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// A layer in its layout.
#[derive(Clone, Debug)]
pub(super) struct WrittenLayer {
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: String,
    pub(super) is_reused: bool,
}

/// The folder.
#[derive(Debug)]
pub(super) struct Layout {
    folder: PathBuf,
    /// The compressed layers of an earlier build, by what they are uncompressed.
    known: BTreeMap<String, Descriptor>,
}

impl Layout {
    /// Opens the layout in `folder`, or makes one there.
    ///
    /// # Errors
    /// [`ImageError::NotALayout`] for a folder with other things in it, [`ImageError::Write`].
    pub(super) fn open(folder: &Path) -> Result<Layout, ImageError> {
        let is_layout = folder.join(LAYOUT_FILE).is_file();
        if !is_layout && folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(ImageError::NotALayout { path: folder.to_owned() });
        }
        let layout = Layout { folder: folder.to_owned(), known: BTreeMap::new() };
        fs::create_dir_all(layout.blobs()).map_err(layout.failed(&layout.blobs()))?;
        layout.write(LAYOUT_FILE, LAYOUT.as_bytes())?;
        // An earlier build that cannot be read is an earlier build that is not used.
        let known = layout.earlier_layers().unwrap_or_default();
        Ok(Layout { known, ..layout })
    }

    fn earlier_layers(&self) -> Option<BTreeMap<String, Descriptor>> {
        let index: Index = read_json(&self.folder.join(INDEX))?;
        let mut known = BTreeMap::new();
        for image in index.manifests {
            let manifest: Manifest = read_json(&self.blob(&image.digest))?;
            let configuration: Configuration = read_json(&self.blob(&manifest.config.digest))?;
            known.extend(configuration.rootfs.diff_ids.into_iter().zip(manifest.layers));
        }
        known.retain(|_, layer| fs::metadata(self.blob(&layer.digest)).is_ok_and(|metadata| metadata.len() == layer.size));
        Some(known)
    }

    /// Compresses `layer` into the layout; `written` is told the bytes of its archive as they pass.
    pub(super) fn add_layer(&self, layer: &Layer, written: &dyn Fn(u64)) -> Result<WrittenLayer, ImageError> {
        if !self.known.is_empty() {
            let mut hashed = Hashed::new(io::sink());
            layer.write_tar(&mut hashed)?;
            let diff_id = hashed.finish().0;
            if let Some(descriptor) = self.known.get(&diff_id) {
                return Ok(WrittenLayer { descriptor: descriptor.clone(), diff_id, is_reused: true });
            }
        }
        let failed = self.failed(&self.blobs());
        let file = tempfile::NamedTempFile::new_in(self.blobs()).map_err(&failed)?;
        let gzip = Gzip::new(Hashed::new(io::BufWriter::new(file)), layer.gzip_level).map_err(&failed)?;
        let mut archive = Told { inner: Hashed::new(gzip), written };
        layer.write_tar(&mut archive)?;
        let (diff_id, _, gzip) = archive.inner.finish();
        let (digest, size, file) = gzip.finish().map_err(&failed)?.finish();
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        self.keep(file, &digest)?;
        let descriptor = Descriptor { media_type: LAYER_TYPE.to_owned(), digest, size, annotations: BTreeMap::new(), platform: None };
        Ok(WrittenLayer { descriptor, diff_id, is_reused: false })
    }

    /// Writes a JSON document as a blob.
    pub(super) fn add_document(&self, document: &impl Serialize, media_type: &str) -> Result<Descriptor, ImageError> {
        let bytes = json(document);
        let digest = digest_of(&bytes);
        let failed = self.failed(&self.blobs());
        let mut file = tempfile::NamedTempFile::new_in(self.blobs()).map_err(&failed)?;
        file.write_all(&bytes).map_err(&failed)?;
        self.keep(file, &digest)?;
        let size = bytes.len() as u64;
        Ok(Descriptor { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new(), platform: None })
    }

    /// Makes `image`, whose blobs are `blobs`, the layout's only image, and removes what other images left.
    pub(super) fn publish(&self, index: &Index, blobs: &BTreeSet<String>) -> Result<(), ImageError> {
        self.write(INDEX, &json(index))?;
        let failed = self.failed(&self.blobs());
        for entry in fs::read_dir(self.blobs()).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            if !blobs.contains(&format!("sha256:{}", entry.file_name().to_string_lossy())) {
                fs::remove_file(entry.path()).map_err(&failed)?;
            }
        }
        Ok(())
    }

    fn keep(&self, file: tempfile::NamedTempFile, digest: &str) -> Result<(), ImageError> {
        let path = self.blob(digest);
        let failed = self.failed(&path);
        // A temporary file is its maker's alone; a blob is for whoever reads the layout.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(&failed)?;
        }
        file.persist(&path).map(drop).map_err(|error| failed(error.error))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let path = self.folder.join(name);
        fs::write(&path, bytes).map_err(self.failed(&path))
    }

    fn failed(&self, path: &Path) -> impl Fn(io::Error) -> ImageError + use<> {
        let path = path.to_owned();
        move |source| ImageError::Write { path: path.clone(), source }
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs/sha256")
    }

    fn blob(&self, digest: &str) -> PathBuf {
        blob_path(&self.folder, digest)
    }
}

/// Where the layout in `folder` keeps the blob `sha256:…`.
pub(crate) fn blob_path(folder: &Path, digest: &str) -> PathBuf {
    folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

/// The tag that the index gives an image.
pub(super) fn tagged(mut image: Descriptor, tag: &str) -> Descriptor {
    image.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
    image
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("the documents have text keys only")
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Hashes and counts what passes.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W> Hashed<W> {
    fn new(inner: W) -> Hashed<W> {
        Hashed { inner, hasher: Sha256::new(), bytes: 0 }
    }

    fn finish(self) -> (String, u64, W) {
        (format!("sha256:{}", hex::encode(self.hasher.finalize())), self.bytes, self.inner)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Tells what passes.
struct Told<'a, W> {
    inner: W,
    written: &'a dyn Fn(u64),
}

impl<W: Write> Write for Told<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        (self.written)(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
