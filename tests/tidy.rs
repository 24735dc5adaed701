//! The invariants that Cargo cannot hold: which room may know which, who may name the database, what must not stand in the repository, links that lead somewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use frontdesk_tests::host::repository;

/// Which rooms a room may depend on. `frontdesk` may know all.
const DIRECTION: &[(&str, &[&str])] = &[
    ("aws", &[]),
    ("process", &[]),
    ("trace", &[]),
    ("metrics", &[]),
    ("upstream", &[]),
    ("agentcore", &["trace"]),
    ("store", &["aws", "metrics"]),
    ("proxy", &["aws", "trace"]),
    ("deploy", &["aws"]),
    ("gateway", &["aws", "metrics", "store", "trace", "upstream"]),
    ("runtime", &["aws", "metrics", "process", "store", "trace", "upstream"]),
    ("functions", &["aws", "metrics", "process", "store"]),
    ("control", &["aws", "functions", "gateway", "metrics", "runtime", "store", "trace"]),
    ("agent", &["agentcore"]),
];

fn tracked_files() -> Vec<PathBuf> {
    let listed = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(repository()).output().unwrap();
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<_> = listed.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    files.into_iter().filter(|file| repository().join(file).exists()).collect()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(repository().join(file)).unwrap_or_default()
}

fn rust_files_of(room: &str) -> Vec<PathBuf> {
    let folder = Path::new("crates").join(room).join("src");
    tracked_files()
        .into_iter()
        .filter(|file| file.starts_with(&folder) && file.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn dependencies(room: &str) -> Vec<String> {
    let manifest: toml::Table = read(&Path::new("crates").join(room).join("Cargo.toml")).parse().unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn rooms_know_only_the_rooms_below_them() {
    let rooms: BTreeMap<_, _> = DIRECTION.iter().copied().collect();
    for entry in std::fs::read_dir(repository().join("crates")).unwrap() {
        let room = entry.unwrap().file_name().into_string().unwrap();
        if room == "frontdesk" {
            continue;
        }
        let allowed = rooms.get(room.as_str()).unwrap_or_else(|| panic!("crates/{room} has no row in DIRECTION"));
        for dependency in dependencies(&room) {
            let known = dependency.strip_prefix("frontdesk-").or((dependency == "agentcore").then_some("agentcore"));
            if let Some(known) = known {
                assert!(allowed.contains(&known), "{room} must not depend on {known}");
            }
        }
    }
}

#[test]
fn only_store_names_the_database() {
    for (room, _) in DIRECTION.iter().filter(|(room, _)| *room != "store") {
        let named = dependencies(room).into_iter().find(|name| ["rusqlite", "tokio-postgres"].contains(&name.as_str()));
        assert_eq!(named, None, "{room} depends on a database");
    }
}

#[test]
fn only_the_executable_names_opentelemetry() {
    for (room, _) in DIRECTION {
        assert!(!dependencies(room).iter().any(|name| name.starts_with("opentelemetry")), "{room} depends on OpenTelemetry");
    }
}

#[test]
fn the_aws_dialect_is_pure() {
    for forbidden in ["tokio", "hyper", "reqwest", "rusqlite", "tokio-postgres"] {
        assert!(!dependencies("aws").iter().any(|name| name == forbidden), "aws depends on {forbidden}");
    }
    for file in rust_files_of("aws") {
        let text = read(&file);
        for forbidden in ["SystemTime::now", "Instant::now", "now_utc()", "async fn", "std::fs", "std::net"] {
            assert!(!text.contains(forbidden), "{} has {forbidden}", file.display());
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    let files = tracked_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let silent: Vec<_> = files.filter(|file| !read(file).starts_with("//!") && !file.ends_with("build.rs")).collect();
    assert!(silent.is_empty(), "these files begin without a //! paragraph: {silent:?}");
}

#[test]
fn nothing_names_a_registrys_host_or_a_path_of_some_machine() {
    // Assembled, so that this file does not contain what it looks for.
    let forbidden = [
        ["index.crates", ".io"].concat(),
        ["static.crates", ".io"].concat(),
        ["registry.npmjs", ".org"].concat(),
        ["files.pythonhosted", ".org"].concat(),
        ["pypi", ".org"].concat(),
        ["deb.debian", ".org"].concat(),
        ["/ro", "ot/"].concat(),
        ["/wo", "rk/"].concat(),
        ["art", "ifactory"].concat(),
    ];
    for file in tracked_files().into_iter().filter(|file| !file.ends_with("Cargo.lock")) {
        let text = read(&file);
        for word in &forbidden {
            assert!(!text.contains(word.as_str()), "{} names {word}", file.display());
        }
    }
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    let pages = tracked_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    let mut broken = Vec::new();
    for page in pages {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.starts_with("http") || link.starts_with("mailto:") {
                continue;
            }
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap_or(Path::new("")).join(file) };
            let exists = repository().join(&target).exists();
            if !exists || !(anchor.is_empty() || anchors(&read(&target)).any(|found| found == anchor)) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> impl Iterator<Item = String> {
    page.lines().filter(|line| line.starts_with('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        heading
            .chars()
            .filter_map(|c| if c == ' ' { Some('-') } else { (c.is_alphanumeric() || c == '-' || c == '_').then_some(c) })
            .collect()
    })
}

#[test]
fn no_weights_no_wheels_no_large_files() {
    for file in tracked_files() {
        let bytes = std::fs::metadata(repository().join(&file)).unwrap().len();
        assert!(bytes < 512 * 1024, "{} has {bytes} bytes", file.display());
        let name = file.to_string_lossy().into_owned();
        let heavy = [".safetensors", ".onnx", ".whl", ".gguf", ".bin"];
        assert!(!heavy.iter().any(|ending| name.ends_with(ending)), "{name} must not be committed");
    }
}
