//! Images as their readers see them: the same input gives the same digest, a changed FAQ changes one layer, a wrong program is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use frontdesk_deploy::image::{self, Image, ImageError, ImageEvent, ImageSpec, Platform};
use serde_json::Value;

/// What this test itself is built for.
const HERE: Platform = if cfg!(target_arch = "aarch64") { Platform::LinuxArm64 } else { Platform::LinuxAmd64 };

struct Sources {
    folder: tempfile::TempDir,
}

impl Sources {
    fn new() -> Sources {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("program"), static_program(183)).unwrap();
        fs::write(folder.path().join("model.safetensors"), [7; 100_000]).unwrap();
        fs::write(folder.path().join("faq.csv"), "question,answer\nq,a\n").unwrap();
        Sources { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spec(&self) -> ImageSpec {
        let model = [self.path("model.safetensors")];
        ImageSpec::agent(&self.path("program"), Platform::LinuxArm64, &model, &self.path("faq.csv"))
    }

    fn build(&self, layout: &str) -> Image {
        image::build(&self.spec(), &self.path(layout), &|_| ()).unwrap()
    }
}

/// A 64-bit little-endian ELF header of a static program for `machine` (183 is AArch64, 62 x86-64), and some code.
fn static_program(machine: u16) -> Vec<u8> {
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    for half in [2u16, machine, 1, 0] {
        program.extend(half.to_le_bytes());
    }
    program.resize(52, 0);
    for size in [64u16, 56, 0, 64, 0, 0] {
        program.extend(size.to_le_bytes());
    }
    program.resize(5000, 0x90);
    program
}

fn blob(image: &Image, digest: &str) -> PathBuf {
    image.folder.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

fn document(image: &Image, digest: &str) -> Value {
    serde_json::from_slice(&fs::read(blob(image, digest)).unwrap()).unwrap()
}

/// Digests by layer, for comparing.
fn digests(image: &Image) -> Vec<(&str, String)> {
    image.layers.iter().map(|layer| (layer.name, layer.descriptor.digest.clone())).collect()
}

/// Mode, owner and time of each entry, in the archive's order.
fn entries(image: &Image, layer: &str) -> Vec<(String, u32, u64, u64)> {
    let layer = image.layers.iter().find(|found| found.name == layer).unwrap();
    let file = fs::File::open(blob(image, &layer.descriptor.digest)).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        (path, header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap())
    });
    entries.collect()
}

#[test]
fn the_same_input_gives_the_same_digest() {
    let sources = Sources::new();
    let first = sources.build("first");
    // Other times, other places.
    let elsewhere = Sources::new();
    for name in ["program", "faq.csv"] {
        let file = fs::File::options().append(true).open(elsewhere.path(name)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    let second = elsewhere.build("second");
    assert_eq!(digests(&first), digests(&second));
    assert_eq!(first.manifest.digest, second.manifest.digest);
    let read = |image: &Image, name: &str| fs::read(image.folder.join(name)).unwrap();
    assert_eq!(read(&first, "index.json"), read(&second, "index.json"));
    // Over the first build's layout: all is reused, nothing is another.
    let again = sources.build("first");
    assert!(again.layers.iter().all(|layer| layer.is_reused));
    assert_eq!(again.manifest, first.manifest);
}

#[test]
fn a_changed_faq_changes_only_the_knowledge() {
    let sources = Sources::new();
    let before = sources.build("layout");
    fs::write(sources.path("faq.csv"), "question,answer\nq,b\n").unwrap();
    let after = sources.build("layout");
    let changed: Vec<_> = before.layers.iter().zip(&after.layers).filter(|(one, other)| one.descriptor != other.descriptor).collect();
    assert_eq!(changed.iter().map(|(layer, _)| layer.name).collect::<Vec<_>>(), ["knowledge"]);
    assert!(after.layers[3].descriptor.size < 1024, "{after:?}");
    assert_eq!(after.layers.iter().map(|layer| layer.is_reused).collect::<Vec<_>>(), [true, true, true, false]);
    assert_ne!(before.manifest.digest, after.manifest.digest);
    // What only the first image needed is gone: four layers, a configuration, a manifest.
    assert_eq!(fs::read_dir(after.folder.join("blobs/sha256")).unwrap().count(), 6);
}

#[test]
fn a_damaged_earlier_layer_is_made_anew() {
    let sources = Sources::new();
    let image = sources.build("layout");
    let model = &image.layers[1].descriptor.digest;
    let sound = fs::read(blob(&image, model)).unwrap();
    fs::write(blob(&image, model), b"cut").unwrap();
    let again = sources.build("layout");
    assert_eq!(again.layers.iter().map(|layer| layer.is_reused).collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(fs::read(blob(&again, model)).unwrap(), sound);
}

#[test]
fn the_configuration_tells_how_to_run_it() {
    let sources = Sources::new();
    let image = sources.build("layout");
    let config = document(&image, &image.config.digest);
    assert_eq!((config["architecture"].as_str(), config["os"].as_str()), (Some("arm64"), Some("linux")));
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/local/bin/frontdesk", "agent"]));
    assert_eq!(config["config"]["ExposedPorts"], serde_json::json!({"8080/tcp": {}}));
    let environment: Vec<_> = config["config"]["Env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for variable in
        ["DOCKER_CONTAINER=1", "FRONTDESK_AGENT_FAQ=/opt/frontdesk/knowledge/faq.csv", "FRONTDESK_AGENT_MODEL_DIR=/opt/frontdesk/model"]
    {
        assert!(environment.contains(&variable), "{environment:?}");
    }
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 4);
    let manifest = document(&image, &image.manifest.digest);
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let index: Value = serde_json::from_slice(&fs::read(image.folder.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], image.manifest.digest);
    assert_eq!(index["manifests"][0]["platform"]["architecture"], "arm64");
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "agent");
}

#[test]
fn files_are_root_s_and_of_no_time() {
    let sources = Sources::new();
    fs::create_dir_all(sources.path("faqs/more")).unwrap();
    for name in ["faqs/b.csv", "faqs/a.csv", "faqs/more/c.md", "faqs/.hidden"] {
        fs::write(sources.path(name), "x").unwrap();
    }
    let spec = ImageSpec { knowledge: Some(sources.path("faqs")), ..sources.spec() };
    let image = image::build(&spec, &sources.path("layout"), &|_| ()).unwrap();
    let knowledge = entries(&image, "knowledge");
    let paths: Vec<_> = knowledge.iter().map(|(path, ..)| path.trim_end_matches('/')).collect();
    let below = |name: &str| format!("opt/frontdesk/knowledge/faqs{name}");
    let expected = [below(""), below("/a.csv"), below("/b.csv"), below("/more"), below("/more/c.md")];
    assert_eq!(paths[3..], expected.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(knowledge.iter().all(|(_, _, owner, time)| (*owner, *time) == (0, 0)), "{knowledge:?}");
    let base: BTreeMap<_, _> = entries(&image, "base").into_iter().map(|(path, mode, owner, time)| (path, (mode, owner, time))).collect();
    assert_eq!(base["tmp"], (0o1777, 0, 0));
    assert_eq!(base["home/frontdesk"], (0o755, 65532, 0));
    assert_eq!(base["etc/passwd"], (0o644, 0, 0));
    assert_eq!(entries(&image, "program").last().unwrap(), &("usr/local/bin/frontdesk".to_owned(), 0o755, 0, 0));
}

#[test]
fn tls_finds_its_roots() {
    let sources = Sources::new();
    let image = sources.build("layout");
    let file = fs::File::open(blob(&image, &image.layers[0].descriptor.digest)).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut bundle = entries.find(|entry| entry.path().unwrap() == Path::new("etc/ssl/certs/ca-certificates.crt")).unwrap();
    let mut pem = String::new();
    bundle.read_to_string(&mut pem).unwrap();
    assert!(pem.matches("-----BEGIN CERTIFICATE-----\n").count() > 100);
    assert!(pem.lines().all(|line| line.len() <= 64));
}

#[test]
fn a_dynamic_program_is_built_for_its_own_platform_with_its_libraries() {
    let sources = Sources::new();
    let spec = ImageSpec::lambda(&std::env::current_exe().unwrap(), HERE);
    let image = image::build(&spec, &sources.path("layout"), &|_| ()).unwrap();
    assert_eq!(image.layers.iter().map(|layer| layer.name).collect::<Vec<_>>(), ["base", "program"]);
    let base = entries(&image, "base");
    assert!(base.iter().any(|(path, mode, ..)| path.ends_with("/libc.so.6") && *mode == 0o755), "{base:?}");
    let config = document(&image, &image.config.digest);
    assert_eq!(config["config"]["Entrypoint"][1], "lambda");
    assert!(config["config"].get("ExposedPorts").is_none());
}

#[test]
fn what_would_not_start_is_refused() {
    let sources = Sources::new();
    let check = |program: &[u8], layout: &str, expected: fn(&ImageError) -> bool, words: &str| {
        fs::write(sources.path("program"), program).unwrap();
        let error = image::build(&sources.spec(), &sources.path(layout), &|_| ()).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    };
    let wrong = |error: &ImageError| matches!(error, ImageError::WrongPlatform { found: Platform::LinuxAmd64, .. });
    check(
        &static_program(62),
        "layout",
        wrong,
        "built for linux/amd64, but the image is for linux/arm64: give one for it with --agent-binary (`make build-arm64`, or `cargo build --release --target aarch64",
    );
    check(b"#!/bin/sh\n", "layout", |error| matches!(error, ImageError::NotAProgram { .. }), "not an ELF file");
    let taken = |error: &ImageError| matches!(error, ImageError::NotALayout { .. });
    check(&static_program(183), ".", taken, "is not empty and no image layout");
    fs::remove_file(sources.path("faq.csv")).unwrap();
    check(&static_program(183), "layout", |error| matches!(error, ImageError::Read { .. }), "faq.csv");
}

#[test]
fn progress_adds_up() {
    let sources = Sources::new();
    let events = Mutex::new(Vec::new());
    image::build(&sources.spec(), &sources.path("layout"), &|event| events.lock().unwrap().push(event)).unwrap();
    let events = events.into_inner().unwrap();
    let compressed = |wanted: &str| -> u64 {
        let bytes = events.iter().filter_map(|event| match event {
            ImageEvent::Compressed { name, bytes } if *name == wanted => Some(*bytes),
            _ => None,
        });
        bytes.sum()
    };
    assert!(events.contains(&ImageEvent::LayerBegun { name: "model", bytes: 100_000 }));
    assert!(compressed("model") > 100_000);
    for name in ["base", "model", "program", "knowledge"] {
        assert!(events.contains(&ImageEvent::LayerDone { name, is_reused: false }), "{name}");
    }
}
