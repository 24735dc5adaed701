//! Images without Docker: an OCI image written directly, as a layout folder. The same input gives the same digest.
//!
//! Four layers, what changes least at the bottom: the base (CA roots, user, libraries), the model, the program, the knowledge. A changed FAQ changes the last one,
//! a few kilobytes; the others are neither compressed nor pushed again. What the program does is not known here but for the variables that tell it where its
//! files are.

mod base;
pub(crate) mod document;
mod gzip;
mod layer;
pub(crate) mod layout;
mod libraries;
mod platform;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

pub use document::Descriptor;
use document::{CONFIG_TYPE, Configuration, Execution, History, INDEX_TYPE, Index, MANIFEST_TYPE, Manifest, PlatformDocument, RootFs};
use layer::{Entry, Layer};
use layout::{Layout, WrittenLayer};
use platform::Executable;
pub use platform::Platform;

/// The user that an image's program runs as: nobody's id on any distribution, and the one that distroless images use.
pub const USER: u64 = 65532;
/// Where the program lies.
const PROGRAM: &str = "/usr/local/bin/frontdesk";
const MODEL_FOLDER: &str = "/opt/frontdesk/model";
const KNOWLEDGE_FOLDER: &str = "/opt/frontdesk/knowledge";
/// AgentCore calls its containers there.
const AGENT_PORT: u16 = 8080;
/// All times in an image, for a time of day would make every build another one.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of the image's.
    #[error("failed to read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the layout's.
    #[error("failed to write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was given as the program.
    #[error("{path} is no program for an image: {reason}; give a Linux executable with --agent-binary")]
    NotAProgram {
        /// Which.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// The program would not start where it is sent.
    #[error(
        "{path} is built for {found}, but the image is for {wanted}: give one for it with --agent-binary (`make build-arm64`, or `cargo build --release --target {}`, makes one)",
        target(*wanted)
    )]
    WrongPlatform {
        /// Which.
        path: PathBuf,
        /// What its header says.
        found: Platform,
        /// What was asked for.
        wanted: Platform,
    },
    /// A dynamic program without its libraries.
    #[error(
        "the program needs `{name}` for {platform}, which is not on this machine: install the C library of that platform, or link the program statically"
    )]
    LibraryMissing {
        /// Which.
        name: String,
        /// Whose.
        platform: Platform,
    },
    /// More libraries than any program has.
    #[error("the program needs more than {count_max} libraries")]
    TooManyLibraries {
        /// The limit.
        count_max: usize,
    },
    /// The folder for the layout holds something else.
    #[error("{path} is not empty and no image layout: choose another folder")]
    NotALayout {
        /// Which.
        path: PathBuf,
    },
}

/// The platform as Rust's compiler names it.
fn target(platform: Platform) -> &'static str {
    match platform {
        Platform::LinuxArm64 => "aarch64-unknown-linux-gnu",
        Platform::LinuxAmd64 => "x86_64-unknown-linux-gnu",
    }
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// The executable, for Linux.
    pub program: PathBuf,
    /// What the image is for; a program for another platform is refused.
    pub platform: Platform,
    /// What the program is told to be, such as `agent`.
    pub arguments: Vec<String>,
    /// The embedding model's files, which lie in one folder in the image.
    pub model: Vec<PathBuf>,
    /// The FAQ: a file, or a folder of them.
    pub knowledge: Option<PathBuf>,
    /// The variables that the program starts with. No secret belongs here: whoever can pull the image reads them.
    pub environment: BTreeMap<String, String>,
    /// The port that the program serves on.
    pub port: Option<u16>,
    /// `org.opencontainers.image.…` and others.
    pub labels: BTreeMap<String, String>,
    /// The image's name in its layout.
    pub tag: String,
}

impl ImageSpec {
    /// The image of an AgentCore runtime: the command `agent` on port 8080, with the FAQ at `knowledge` (a file, or a folder of them) and the files of the
    /// embedding model; without them it searches by keywords.
    pub fn agent(program: &Path, platform: Platform, model: &[PathBuf], knowledge: &Path) -> ImageSpec {
        let mut spec = ImageSpec::new(program, platform, "agent");
        let faq = knowledge_target(knowledge);
        let mut set = |name: &str, value: &str| spec.environment.insert(name.to_owned(), value.to_owned());
        // As the toolkit's own images say it: the agent then serves on all addresses, not on loopback alone.
        set("DOCKER_CONTAINER", "1");
        set("FRONTDESK_AGENT_FAQ", &faq.to_string_lossy());
        set("FRONTDESK_AGENT_CACHE_DIR", "/tmp/frontdesk-cache");
        if !model.is_empty() {
            set("FRONTDESK_AGENT_MODEL_DIR", MODEL_FOLDER);
        }
        ImageSpec { model: model.to_vec(), knowledge: Some(knowledge.to_owned()), port: Some(AGENT_PORT), ..spec }
    }

    /// The image of the Lambda function: the command `lambda`, neither model nor knowledge.
    pub fn lambda(program: &Path, platform: Platform) -> ImageSpec {
        ImageSpec::new(program, platform, "lambda")
    }

    fn new(program: &Path, platform: Platform, command: &str) -> ImageSpec {
        let environment =
            BTreeMap::from([("PATH".to_owned(), "/usr/local/bin".to_owned()), ("HOME".to_owned(), "/home/frontdesk".to_owned())]);
        let label = |name: &str, value: &str| (format!("org.opencontainers.image.{name}"), value.to_owned());
        let labels = BTreeMap::from([
            label("title", &format!("frontdesk-{command}")),
            label("version", env!("CARGO_PKG_VERSION")),
            label("source", env!("CARGO_PKG_REPOSITORY")),
            label("licenses", env!("CARGO_PKG_LICENSE")),
        ]);
        ImageSpec {
            program: program.to_owned(),
            platform,
            arguments: vec![command.to_owned()],
            model: Vec::new(),
            knowledge: None,
            environment,
            port: None,
            labels,
            tag: command.to_owned(),
        }
    }
}

/// Where the FAQ lies in the image: under its own name, whose ending tells its format.
fn knowledge_target(knowledge: &Path) -> PathBuf {
    Path::new(KNOWLEDGE_FOLDER).join(knowledge.file_name().unwrap_or("faq".as_ref()))
}

/// What happens while an image is built. Layers are built at the same time, so their events mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageEvent {
    /// A layer of that many bytes, uncompressed, is begun.
    LayerBegun {
        /// `base`, `model`, `program` or `knowledge`.
        name: &'static str,
        /// The files' bytes.
        bytes: u64,
    },
    /// So many more bytes of it are compressed.
    Compressed {
        /// Which.
        name: &'static str,
        /// More bytes.
        bytes: u64,
    },
    /// It is done.
    LayerDone {
        /// Which.
        name: &'static str,
        /// Whether it was there from an earlier build.
        is_reused: bool,
    },
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLayer {
    /// `base`, `model`, `program` or `knowledge`.
    pub name: &'static str,
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// The digest of the archive before compression.
    pub diff_id: String,
    /// Whether an earlier build had made it.
    pub is_reused: bool,
}

/// An image in its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The layout's folder.
    pub folder: PathBuf,
    /// The manifest: its digest is the image's.
    pub manifest: Descriptor,
    /// The configuration.
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<ImageLayer>,
    /// What it is for.
    pub platform: Platform,
}

impl Image {
    /// What a registry keeps of it, in bytes.
    pub fn size(&self) -> u64 {
        self.manifest.size + self.config.size + self.layers.iter().map(|layer| layer.descriptor.size).sum::<u64>()
    }
}

/// Builds the image of `spec` as the only one of the layout in `folder`. Blocks: it reads, hashes and compresses, a thread a layer.
///
/// # Errors
/// [`ImageError`].
pub fn build(spec: &ImageSpec, folder: &Path, told: &(dyn Fn(ImageEvent) + Sync)) -> Result<Image, ImageError> {
    let program = Executable::read(&spec.program)?;
    if program.platform != spec.platform {
        return Err(ImageError::WrongPlatform { path: spec.program.clone(), found: program.platform, wanted: spec.platform });
    }
    let layout = Layout::open(folder)?;
    let contents = contents(spec, &program)?;
    let written = std::thread::scope(|scope| {
        let layers: Vec<_> = contents.iter().map(|(name, layer)| scope.spawn(|| write_layer(&layout, name, layer, told))).collect();
        layers.into_iter().map(|layer| layer.join().expect("a layer's thread does not panic")).collect::<Result<Vec<_>, _>>()
    })?;
    let layers = contents.iter().zip(written).map(|((name, _), layer)| {
        let WrittenLayer { descriptor, diff_id, is_reused } = layer;
        ImageLayer { name, descriptor, diff_id, is_reused }
    });
    let layers: Vec<ImageLayer> = layers.collect();

    let config = layout.add_document(&configuration(spec, &layers), CONFIG_TYPE)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        config: config.clone(),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        annotations: BTreeMap::new(),
    };
    let manifest = layout.add_document(&manifest, MANIFEST_TYPE)?;
    let platform = PlatformDocument { architecture: spec.platform.architecture().to_owned(), os: "linux".to_owned() };
    let listed = layout::tagged(Descriptor { platform: Some(platform), ..manifest.clone() }, &spec.tag);
    let index = Index { schema_version: 2, media_type: INDEX_TYPE.to_owned(), manifests: vec![listed] };
    let blobs = layers.iter().map(|layer| &layer.descriptor).chain([&config, &manifest]);
    let blobs: BTreeSet<String> = blobs.map(|blob| blob.digest.clone()).collect();
    layout.publish(&index, &blobs)?;
    Ok(Image { folder: folder.to_owned(), manifest, config, layers, platform: spec.platform })
}

/// The layers' files, without the layers that have none.
fn contents(spec: &ImageSpec, program: &Executable) -> Result<Vec<(&'static str, Layer)>, ImageError> {
    let base = base::layer(program)?;
    // Weights are nearly noise: a higher level takes ten times as long for a hundredth of the size.
    let mut model = Layer::compressed(1);
    let (mut programs, mut knowledge) = (Layer::default(), Layer::default());
    for source in &spec.model {
        model.add_tree(&Path::new(MODEL_FOLDER).join(source.file_name().unwrap_or_default()), source)?;
    }
    programs.add(Path::new(PROGRAM), Entry::File { source: spec.program.clone(), mode: 0o755 });
    if let Some(source) = &spec.knowledge {
        knowledge.add_tree(&knowledge_target(source), source)?;
    }
    let layers = [("base", base), ("model", model), ("program", programs), ("knowledge", knowledge)];
    Ok(layers.into_iter().filter(|(_, layer)| !layer.is_empty()).collect())
}

fn write_layer(layout: &Layout, name: &'static str, layer: &Layer, told: &(dyn Fn(ImageEvent) + Sync)) -> Result<WrittenLayer, ImageError> {
    told(ImageEvent::LayerBegun { name, bytes: layer.file_bytes()? });
    let written = layout.add_layer(layer, &|bytes| told(ImageEvent::Compressed { name, bytes }))?;
    told(ImageEvent::LayerDone { name, is_reused: written.is_reused });
    Ok(written)
}

fn configuration(spec: &ImageSpec, layers: &[ImageLayer]) -> Configuration {
    let ports = spec.port.map(|port| (format!("{port}/tcp"), serde_json::Value::Object(serde_json::Map::new())));
    let created_by = |name: &str| History { created: CREATED.to_owned(), created_by: format!("frontdesk: {name}") };
    Configuration {
        created: CREATED.to_owned(),
        architecture: spec.platform.architecture().to_owned(),
        os: "linux".to_owned(),
        config: Execution {
            user: format!("{USER}:{USER}"),
            exposed_ports: ports.into_iter().collect(),
            env: spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            entrypoint: std::iter::once(PROGRAM.to_owned()).chain(spec.arguments.iter().cloned()).collect(),
            working_dir: "/tmp".to_owned(),
            labels: spec.labels.clone(),
            stop_signal: "SIGTERM".to_owned(),
        },
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect() },
        history: layers.iter().map(|layer| created_by(layer.name)).collect(),
    }
}
