//! The JSON documents of an OCI image: manifest, configuration and index, as the image specification 1.1 has them
//! (<https://github.com/opencontainers/image-spec/blob/v1.1.0/spec.md>). Fields are written in the order given here, for a digest is of bytes.
//!
//! The crate `oci-spec` has these types too; its builders weigh twenty macro crates, for three documents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Of a manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of a configuration.
pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Of a layer. Lambda and AgentCore take gzip; zstd is not promised.
pub(super) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Of an index.
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Names an image in a layout's index.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What a blob is, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// How the blob is to be read.
    pub media_type: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// Notes; an index names its images here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index, whom the image is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformDocument>,
}

/// A platform in an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformDocument {
    /// `arm64` or `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
}

/// The manifest: which configuration, which layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The index of a layout.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    pub(super) media_type: String,
    pub(super) manifests: Vec<Descriptor>,
}

/// The configuration: how the image is run, and what its layers are uncompressed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Configuration {
    pub(super) created: String,
    pub(super) architecture: String,
    pub(super) os: String,
    pub(super) config: Execution,
    pub(super) rootfs: RootFs,
    pub(super) history: Vec<History>,
}

/// How the image is run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Execution {
    pub(super) user: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) exposed_ports: BTreeMap<String, serde_json::Value>,
    pub(super) env: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) working_dir: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) stop_signal: String,
}

/// The layers' digests before compression, lowest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) diff_ids: Vec<String>,
}

/// Where a layer comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct History {
    pub(super) created: String,
    pub(super) created_by: String,
}
