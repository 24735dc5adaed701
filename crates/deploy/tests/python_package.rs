//! Packages of Python agents, built by the real pip from wheels made here.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use frontdesk_deploy::python_package::{self, PythonPackageError, PythonPackageSpec};
use zip::ZipArchive;
use zip::write::SimpleFileOptions;

struct Agent {
    folder: tempfile::TempDir,
}

impl Agent {
    /// An agent that needs `greeting`, of which there are wheels for arm64 and for x86-64, and which needs `tone`, of which there is one for all.
    fn new(requirements: &str) -> Agent {
        let agent = Agent { folder: tempfile::tempdir().unwrap() };
        for (name, text) in [
            ("code/agent.py", "import greeting\n"),
            ("code/lib/words.py", "WORDS = 1\n"),
            ("code/.env", "GROQ_API_KEY=secret\n"),
            ("code/__pycache__/agent.cpython-313.pyc", "x"),
            ("code/venv/lib.py", "x"),
            ("code/data/frontdesk.db", "x"),
            ("code/api-gateway-config.env", "API_KEY=x"),
            ("code/frontdesk.toml", ""),
            ("code/tone.py", "OWN = 1\n"),
            ("requirements.txt", requirements),
        ] {
            fs::create_dir_all(agent.path(name).parent().unwrap()).unwrap();
            fs::write(agent.path(name), text).unwrap();
        }
        fs::create_dir(agent.path("wheels")).unwrap();
        let entry_points = "[console_scripts]\ngreet = greeting.main:App.run [x]\n\n[other]\nno = no:no\n";
        for platform in ["manylinux2014_aarch64", "manylinux2014_x86_64"] {
            let files = [
                ("greeting/__init__.py", ""),
                ("greeting/fast.so", platform),
                ("greeting-1.0.data/scripts/greet-now", "#!python\nprint(1)\n"),
                ("greeting-1.0.data/purelib/greeting_extra.py", ""),
                ("greeting-1.0.data/headers/greeting.h", ""),
                ("greeting-1.0.dist-info/entry_points.txt", entry_points),
            ];
            agent.wheel("greeting", &format!("cp313-cp313-{platform}"), "Requires-Dist: tone\n", &files);
        }
        agent.wheel("tone", "py3-none-any", "", &[("tone.py", "OWN = 0\n"), ("tone_more.py", "")]);
        agent.wheel("native", "cp313-cp313-manylinux2014_x86_64", "", &[("native.so", "")]);
        agent
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn wheel(&self, name: &str, tag: &str, metadata: &str, files: &[(&str, &str)]) {
        let file = fs::File::create(self.path(&format!("wheels/{name}-1.0-{tag}.whl"))).unwrap();
        let mut wheel = zip::ZipWriter::new(file);
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}");
        let about = format!("Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n");
        let info = |file: &str| format!("{name}-1.0.dist-info/{file}");
        let mut add = |path: &str, text: &str| {
            wheel.start_file(path, SimpleFileOptions::default()).unwrap();
            wheel.write_all(text.as_bytes()).unwrap();
        };
        add(&info("METADATA"), &metadata);
        add(&info("WHEEL"), &about);
        add(&info("RECORD"), "");
        files.iter().for_each(|(path, text)| add(path, text));
        wheel.finish().unwrap();
    }

    fn spec(&self) -> PythonPackageSpec {
        let wheels = self.path("wheels").to_string_lossy().into_owned();
        PythonPackageSpec {
            source: self.path("code"),
            entry_point: "agent.py".to_owned(),
            requirements: Some(self.path("requirements.txt")),
            added: vec![("start.py", "import agent\n")],
            left_out: vec![self.path("code/data")],
            python_version: "3.13".to_owned(),
            python: PathBuf::from("python3"),
            pip_arguments: vec!["--no-index".to_owned(), "--find-links".to_owned(), wheels],
        }
    }
}

/// Each file's mode and text.
fn files(path: &Path) -> BTreeMap<String, (u32, String)> {
    let mut archive = ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        files.insert(entry.name().to_owned(), (entry.unix_mode().unwrap() & 0o777, text));
    }
    files
}

#[tokio::test]
async fn code_and_wheels_for_arm64_are_one_zip() {
    let agent = Agent::new("greeting==1.0\n");
    let package = python_package::build(&agent.spec(), &agent.path("agent.zip")).await.unwrap();
    let files = files(&package.path);
    let modes: Vec<_> = files.iter().map(|(name, (mode, _))| (name.as_str(), *mode)).collect();
    let expected = [
        ("agent.py", 0o644),
        ("bin/greet", 0o755),
        ("bin/greet-now", 0o755),
        ("greeting-1.0.dist-info/METADATA", 0o644),
        ("greeting-1.0.dist-info/RECORD", 0o644),
        ("greeting-1.0.dist-info/WHEEL", 0o644),
        ("greeting-1.0.dist-info/entry_points.txt", 0o644),
        ("greeting/__init__.py", 0o644),
        ("greeting/fast.so", 0o644),
        ("greeting_extra.py", 0o644),
        ("lib/words.py", 0o644),
        ("start.py", 0o644),
        ("tone-1.0.dist-info/METADATA", 0o644),
        ("tone-1.0.dist-info/RECORD", 0o644),
        ("tone-1.0.dist-info/WHEEL", 0o644),
        ("tone.py", 0o644),
        ("tone_more.py", 0o644),
    ];
    assert_eq!(modes, expected);
    let text = |name: &str| files[name].1.as_str();
    assert_eq!(text("greeting/fast.so"), "manylinux2014_aarch64");
    // The agent's own file goes before a dependency's.
    assert_eq!(text("tone.py"), "OWN = 1\n");
    assert_eq!(text("bin/greet-now"), "#!/usr/bin/env python3\nprint(1)\n");
    assert!(text("bin/greet").ends_with("from greeting.main import App\n\nsys.exit(App.run())\n"), "{}", text("bin/greet"));
    assert_eq!(package.files, expected.len());
    assert!(package.modules.contains("greeting") && package.modules.contains("agent") && !package.modules.contains("absent"));
}

#[tokio::test]
async fn the_same_agent_gives_the_same_zip() {
    let (one, other) = (Agent::new("greeting\n"), Agent::new("greeting\n"));
    let first = python_package::build(&one.spec(), &one.path("agent.zip")).await.unwrap();
    let second = python_package::build(&other.spec(), &other.path("agent.zip")).await.unwrap();
    assert_eq!((first.sha256.clone(), first.bytes), (second.sha256, second.bytes));
    fs::write(one.path("code/agent.py"), "import greeting, sys\n").unwrap();
    let changed = python_package::build(&one.spec(), &one.path("agent.zip")).await.unwrap();
    assert_ne!(changed.sha256, first.sha256);
}

#[tokio::test]
async fn what_cannot_run_on_arm64_is_told() {
    let agent = Agent::new("native\n");
    let error = python_package::build(&agent.spec(), &agent.path("agent.zip")).await.unwrap_err();
    assert!(matches!(&error, PythonPackageError::Pip { said, .. } if said.contains("native")), "{error}");
    assert!(error.to_string().contains("no wheels for Python 3.13 on arm64"), "{error}");

    let spec = PythonPackageSpec { entry_point: "main.py".to_owned(), ..agent.spec() };
    let error = python_package::build(&spec, &agent.path("agent.zip")).await.unwrap_err();
    assert!(error.to_string().contains("has no main.py"), "{error}");

    fs::write(agent.path("wheels/broken-1.0-py3-none-any.whl"), "no zip").unwrap();
    fs::write(agent.path("requirements.txt"), "broken\n").unwrap();
    python_package::build(&agent.spec(), &agent.path("agent.zip")).await.unwrap_err();
}
