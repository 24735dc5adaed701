//! The loader and the shared libraries that a program linked with glibc needs beside it. A static program needs none.
//!
//! They are taken from the machine that builds the image, so one built elsewhere may differ in them; a static program (`*-unknown-linux-musl`) gives the same image
//! everywhere. Libraries that a program opens by name at run time cannot be known here: glibc 2.34 and later opens none for names and addresses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ImageError;
use super::platform::{Executable, Platform};

/// A program has a handful; a hundred is a mistake, or a loop.
const LIBRARIES_MAX: usize = 100;

/// Where the loader and the libraries of `program` lie on this machine, by their path in the image.
///
/// # Errors
/// [`ImageError::LibraryMissing`] for one that lies in none of the usual folders.
pub(super) fn libraries(program: &Executable) -> Result<BTreeMap<PathBuf, PathBuf>, ImageError> {
    let mut found = BTreeMap::new();
    let Some(interpreter) = &program.interpreter else { return Ok(found) };
    let folders = folders(program.platform);
    let loader_name = interpreter.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    found.insert(interpreter.clone(), find(&loader_name, program.platform, &folders)?.0);

    let mut wanted = program.needed.clone();
    while let Some(name) = wanted.pop() {
        if name == loader_name {
            continue;
        }
        let (path, library) = find(&name, program.platform, &folders)?;
        if found.insert(target(&name, &path), path).is_none() {
            wanted.extend(library.needed);
        }
        if found.len() > LIBRARIES_MAX {
            return Err(ImageError::TooManyLibraries { count_max: LIBRARIES_MAX });
        }
    }
    Ok(found)
}

/// Where the loader finds it: Fedora's kin look in `/lib64`, Debian's in `/lib`, and loader and libraries come from one machine.
fn target(name: &str, path: &Path) -> PathBuf {
    let is_lib64 = path.components().any(|folder| folder.as_os_str() == "lib64");
    Path::new(if is_lib64 { "/lib64" } else { "/lib" }).join(name)
}

/// Where distributions keep the libraries of a platform, their own or for cross-compiling.
fn folders(platform: Platform) -> Vec<PathBuf> {
    let multiarch = platform.multiarch();
    [
        format!("/lib/{multiarch}"),
        format!("/usr/lib/{multiarch}"),
        format!("/usr/{multiarch}/lib"),
        format!("/usr/{multiarch}/sys-root/lib64"),
        "/lib64".to_owned(),
        "/usr/lib64".to_owned(),
        "/lib".to_owned(),
        "/usr/lib".to_owned(),
    ]
    .map(PathBuf::from)
    .to_vec()
}

/// The first library of that name that is for `platform`; one of another platform in a shared folder is passed over.
fn find(name: &str, platform: Platform, folders: &[PathBuf]) -> Result<(PathBuf, Executable), ImageError> {
    let candidates = folders.iter().map(|folder| folder.join(name)).filter(|path| path.is_file());
    let read = candidates.filter_map(|path| Executable::read(&path).ok().map(|library| (path, library)));
    read.into_iter()
        .find(|(_, library)| library.platform == platform)
        .ok_or_else(|| ImageError::LibraryMissing { name: name.to_owned(), platform })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_brings_its_loader_and_libraries() {
        let program = Executable::read(&std::env::current_exe().unwrap()).unwrap();
        let found = libraries(&program).unwrap();
        assert!(found.keys().any(|path| path.ends_with("libc.so.6")), "{found:?}");
        assert!(found.contains_key(program.interpreter.as_deref().unwrap()), "{found:?}");
        assert!(found.values().all(|path| path.is_file()));
    }

    #[test]
    fn what_is_static_needs_nothing_and_what_is_nowhere_is_named() {
        let program = |interpreter: Option<&str>, needed: &[&str]| Executable {
            platform: Platform::LinuxAmd64,
            interpreter: interpreter.map(PathBuf::from),
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert!(libraries(&program(None, &[])).unwrap().is_empty());
        let error = libraries(&program(Some("/lib64/ld-absent.so"), &[])).unwrap_err();
        assert!(error.to_string().contains("`ld-absent.so` for linux/amd64"), "{error}");
    }
}
