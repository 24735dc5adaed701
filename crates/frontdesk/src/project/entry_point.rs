//! What an entry point is: a Python file, a TypeScript or JavaScript file, an executable, or a container image.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Files that are looked for in a folder, in this order: the toolkits' own choices.
const USUAL_FILES: [&str; 9] = ["main.py", "agent.py", "app.py", "main.ts", "index.ts", "agent.ts", "main.js", "index.js", "agent.js"];

/// The toolkit's languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    TypeScript,
}

impl Language {
    /// Its word in the toolkit's file.
    pub(crate) fn in_toolkit(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::TypeScript => "typescript",
        }
    }
}

/// An entry point. Files are absolute and there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryPoint {
    Python {
        file: PathBuf,
        /// The application's name in the file, where one was given as `file.py:name`.
        object: Option<String>,
    },
    Node {
        file: PathBuf,
    },
    Executable {
        file: PathBuf,
    },
    Image {
        name: String,
    },
}

impl EntryPoint {
    /// Finds what `text` (a file, `file.py:object`, or a folder) below `folder` is.
    pub(crate) fn find(text: &str, folder: &Path) -> anyhow::Result<EntryPoint> {
        let (text, object) = match text.rsplit_once(':') {
            Some((file, object)) if is_script(file) => (file, Some(object.to_owned())),
            _ => (text, None),
        };
        let path = std::path::absolute(folder.join(text))?;
        let metadata = std::fs::metadata(&path).with_context(|| format!("the entry point {} cannot be read", path.display()))?;
        let file = if metadata.is_dir() { usual_file(&path)? } else { path };
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("py") => Ok(EntryPoint::Python { file, object }),
            Some("ts" | "tsx" | "mts" | "cts" | "js" | "jsx" | "mjs" | "cjs") => Ok(EntryPoint::Node { file }),
            _ if is_executable(&file) => Ok(EntryPoint::Executable { file }),
            _ => bail!(
                "{} is no entry point: that is a Python file (.py), a TypeScript or JavaScript file (.ts, .js), or an executable (`chmod +x` makes a file one)",
                file.display()
            ),
        }
    }

    /// The file; an image has none.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            EntryPoint::Python { file, .. } | EntryPoint::Node { file } | EntryPoint::Executable { file } => Some(file),
            EntryPoint::Image { .. } => None,
        }
    }

    /// How the toolkit's file names it.
    pub(crate) fn in_toolkit(&self) -> String {
        match self {
            EntryPoint::Python { file, object: Some(object) } => format!("{}:{object}", file.display()),
            EntryPoint::Image { .. } => String::new(),
            other => other.file().map(|file| file.display().to_string()).unwrap_or_default(),
        }
    }

    pub(crate) fn language(&self) -> Option<Language> {
        match self {
            EntryPoint::Python { .. } => Some(Language::Python),
            EntryPoint::Node { .. } => Some(Language::TypeScript),
            EntryPoint::Executable { .. } | EntryPoint::Image { .. } => None,
        }
    }
}

fn is_script(file: &str) -> bool {
    file.ends_with(".py") || file.ends_with(".ts") || file.ends_with(".js")
}

fn usual_file(folder: &Path) -> anyhow::Result<PathBuf> {
    let found = USUAL_FILES.iter().map(|name| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{} has none of the usual entry points ({}): name the file", folder.display(), USUAL_FILES.join(", ")))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in ["agent.py", "agent.ts", "tool", "notes.txt"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        std::fs::set_permissions(folder.join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = |name: &str| folder.join(name);
        let find = |text: &str| EntryPoint::find(text, folder).map_err(|error| format!("{error:#}"));
        assert_eq!(find("agent.py"), Ok(EntryPoint::Python { file: file("agent.py"), object: None }));
        assert_eq!(find("agent.py:app"), Ok(EntryPoint::Python { file: file("agent.py"), object: Some("app".to_owned()) }));
        assert_eq!(find("."), Ok(EntryPoint::Python { file: file("agent.py"), object: None }));
        assert_eq!(find("agent.ts"), Ok(EntryPoint::Node { file: file("agent.ts") }));
        assert_eq!(find("tool"), Ok(EntryPoint::Executable { file: file("tool") }));
        assert!(find("notes.txt").unwrap_err().contains("chmod +x"));
        assert!(find("missing.py").unwrap_err().contains("missing.py"));
        std::fs::create_dir(folder.join("empty")).unwrap();
        assert!(find("empty").unwrap_err().contains("main.py"));
    }
}
