//! A version's files: a copy of the agent's folder that nothing changes any more, named by what is in it. Edits are for nobody to see until the next launch, and
//! going back to a version goes back to its files.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

/// AgentCore's own limit on unpacked code.
const BYTES_MAX: u64 = 750 * 1024 * 1024;
const FILES_MAX: usize = 100_000;
const FOLDERS_DEEP_MAX: usize = 64;

/// What is no part of an agent: version control, environments, caches, editors' and toolkits' files, and `.env`, whose secrets are given by `--env-file`.
const LEFT_OUT: [&str; 19] = [
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".tox",
    ".idea",
    ".vscode",
    ".DS_Store",
    ".env",
    ".env.local",
    ".bedrock_agentcore",
    ".bedrock_agentcore.yaml",
    ".frontdesk",
    ".dockerignore",
];

/// Something to be copied, below the folder.
struct Item {
    below: PathBuf,
    kind: Kind,
}

enum Kind {
    Folder,
    File { executable: bool },
    Link { target: PathBuf },
}

/// Copies `source` into `into`, as a folder named by its content; gives back that folder. `left_out` are folders inside `source` that are not its own.
pub(super) fn copy(source: &Path, into: &Path, left_out: &[&Path], with_node_modules: bool) -> anyhow::Result<PathBuf> {
    let items = list(source, left_out, with_node_modules)?;
    std::fs::create_dir_all(into).with_context(|| format!("failed to make the folder {}", into.display()))?;
    // Sessions may run as another user and must come through; nobody else of this machine need find the copies by looking.
    std::fs::set_permissions(into, std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    super::prepare::sweep(into);
    let beside = super::prepare::temporary_folder(into)?;
    let mut hasher = Sha256::new();
    for item in &items {
        copy_item(source, beside.path(), item, &mut hasher)
            .with_context(|| format!("failed to copy {}", source.join(&item.below).display()))?;
    }
    let name = &hex::encode(hasher.finalize())[..16];
    let copied = into.join(name);
    super::prepare::settle(beside, &copied)?;
    Ok(copied)
}

fn list(source: &Path, left_out: &[&Path], with_node_modules: bool) -> anyhow::Result<Vec<Item>> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let path = source.join(&folder);
        let entries = std::fs::read_dir(&path).with_context(|| format!("failed to read the folder {}", path.display()))?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            let is_left_out = LEFT_OUT.contains(&name.as_str())
                || name.ends_with(".pyc")
                || (name == "node_modules" && !with_node_modules)
                || left_out.contains(&path.as_path())
                || path.join("pyvenv.cfg").exists();
            if is_left_out {
                continue;
            }
            let metadata = std::fs::symlink_metadata(&path)?;
            let below = folder.join(entry.file_name());
            let kind = if metadata.is_symlink() {
                Kind::Link { target: std::fs::read_link(&path)? }
            } else if metadata.is_dir() {
                if depth == FOLDERS_DEEP_MAX {
                    bail!("{} lies more than {FOLDERS_DEEP_MAX} folders deep", path.display());
                }
                folders.push((below.clone(), depth + 1));
                Kind::Folder
            } else if metadata.is_file() {
                use std::os::unix::fs::PermissionsExt as _;
                bytes += metadata.len();
                Kind::File { executable: metadata.permissions().mode() & 0o111 != 0 }
            } else {
                continue; // Sockets and pipes belong to whoever runs there now.
            };
            items.push(Item { below, kind });
            if bytes > BYTES_MAX || items.len() > FILES_MAX {
                bail!(
                    "the agent's folder {} holds more than {} MB or {FILES_MAX} files: give the agent a folder of its own, or launch it with --in-place, \
                     where it runs in that folder itself",
                    source.display(),
                    BYTES_MAX / 1024 / 1024
                );
            }
        }
    }
    // By name, so that the hash does not depend on the order in which folders were read.
    items.sort_by(|one, other| one.below.cmp(&other.below));
    Ok(items)
}

/// Copies and hashes in one pass: what is named is what was copied, even while somebody edits.
fn copy_item(source: &Path, into: &Path, item: &Item, hasher: &mut Sha256) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    let to = into.join(&item.below);
    hasher.update(item.below.as_os_str().as_bytes());
    match &item.kind {
        Kind::Folder => {
            hasher.update(b"\0d\0");
            std::fs::create_dir(&to)
        }
        Kind::Link { target } => {
            hasher.update(b"\0l");
            hasher.update(target.as_os_str().as_bytes());
            hasher.update(b"\0");
            // A link out of the folder by a relative path would lead elsewhere from the copy.
            let leads = source.join(&item.below).parent().map(|folder| folder.join(target));
            let stays = target.is_relative() && leads.as_ref().is_some_and(|leads| is_below(leads, source));
            std::os::unix::fs::symlink(if stays { target.clone() } else { leads.unwrap_or_else(|| target.clone()) }, &to)
        }
        Kind::File { executable } => {
            let (mut from, mut to_file) = (std::fs::File::open(source.join(&item.below))?, std::fs::File::create_new(&to)?);
            let mut contents = Sha256::new();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let read = from.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                contents.update(&buffer[..read]);
                to_file.write_all(&buffer[..read])?;
            }
            hasher.update(if *executable { b"\0x\0" } else { b"\0f\0" });
            hasher.update(contents.finalize());
            to_file.set_permissions(std::fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 }))
        }
    }
}

/// Whether a path, with its `..` followed by name, is below a folder.
fn is_below(path: &Path, folder: &Path) -> bool {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain.starts_with(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_named_by_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (source, into) = (folder.path().join("source"), folder.path().join("copies"));
        let write = |name: &str, text: &str| {
            let file = source.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("agent.py", "1");
        write("data/faq.csv", "q,a");
        for left_out in [".env", ".git/config", "env/pyvenv.cfg", "__pycache__/a.pyc", "node_modules/x/index.js", "held/frontdesk.db"] {
            write(left_out, "secret");
        }
        std::os::unix::fs::symlink("data/faq.csv", source.join("inside")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", source.join("outside")).unwrap();
        let held = source.join("held");
        let copy_again = || copy(&source, &into, &[&held], false).unwrap();
        let first = copy_again();
        let mut names: Vec<_> = std::fs::read_dir(&first).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["agent.py", "data", "inside", "outside"]);
        assert_eq!(std::fs::read_to_string(first.join("inside")).unwrap(), "q,a");
        assert_eq!(std::fs::read_link(first.join("outside")).unwrap(), source.join("../elsewhere"));
        assert_eq!(copy_again(), first, "nothing changed");
        write(".env", "another secret");
        assert_eq!(copy_again(), first, "what is left out does not count");
        write("agent.py", "2");
        let second = copy_again();
        assert_ne!(second, first);
        assert_eq!(std::fs::read_to_string(first.join("agent.py")).unwrap(), "1", "the first version keeps its files");
        write("agent.py", "1");
        assert_eq!(copy_again(), first);
        assert_eq!(std::fs::read_dir(&into).unwrap().count(), 2, "nothing half-made is left");
        assert!(copy(&source, &into, &[&held], true).unwrap().join("node_modules/x/index.js").exists());
    }
}
