//! A wheel, laid out as an installer lays it out: its packages at the root, its scripts in `bin/` ("Binary distribution format",
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>).
//!
//! Unpacked here and not installed by pip, whose scripts name the Python of the machine that installs.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zip::ZipArchive;

use super::{Content, Contents, PythonPackageError, failed};

const PORTABLE_SHEBANG: &str = "#!/usr/bin/env python3\n";
/// What a script of a wheel begins with, for an installer to replace.
const PLACEHOLDER_SHEBANG: &str = "#!python";

/// Adds the files of the wheel at `path`.
pub(super) fn unpack(path: &Path, contents: &mut Contents) -> Result<(), PythonPackageError> {
    let no_wheel = |source| PythonPackageError::Wheel { path: path.to_owned(), source };
    let mut wheel = ZipArchive::new(File::open(path).map_err(failed(path))?).map_err(no_wheel)?;
    for index in 0..wheel.len() {
        let mut entry = wheel.by_index(index).map_err(no_wheel)?;
        // A path that would lead out of the folder is no file of a sound wheel.
        let Some(name) = entry.enclosed_name().filter(|_| entry.is_file()) else { continue };
        let name = name.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(failed(path))?;
        if name.ends_with(".dist-info/entry_points.txt") {
            contents.extend(console_scripts(&String::from_utf8_lossy(&bytes)));
        }
        if let Some((name, is_executable)) = installed_name(&name) {
            let bytes = if is_executable { portable(bytes) } else { bytes };
            contents.insert(name, Content::Bytes { bytes, is_executable });
        }
    }
    Ok(())
}

/// Where a file of a wheel goes, and whether it is a script; `None` for headers and data, which belong to a whole Python.
fn installed_name(name: &str) -> Option<(String, bool)> {
    let Some((first, rest)) = name.split_once('/') else { return Some((name.to_owned(), false)) };
    if !first.ends_with(".data") {
        return Some((name.to_owned(), false));
    }
    match rest.split_once('/')? {
        ("purelib" | "platlib", rest) => Some((rest.to_owned(), false)),
        ("scripts", rest) => Some((format!("bin/{rest}"), true)),
        _ => None,
    }
}

fn portable(script: Vec<u8>) -> Vec<u8> {
    if !script.starts_with(PLACEHOLDER_SHEBANG.as_bytes()) {
        return script;
    }
    let rest = script.iter().position(|byte| *byte == b'\n').map_or(script.len(), |end| end + 1);
    [PORTABLE_SHEBANG.as_bytes(), &script[rest..]].concat()
}

/// The programs that a wheel promises: `opentelemetry-instrument`, for one, which AgentCore can start an agent by.
fn console_scripts(entry_points: &str) -> Vec<(String, Content)> {
    let lines = entry_points.lines().map(str::trim);
    let section = lines.skip_while(|line| *line != "[console_scripts]").skip(1).take_while(|line| !line.starts_with('['));
    let scripts = section.filter_map(|line| {
        let (name, target) = line.split_once('=')?;
        // `module:attribute [extra]`
        let (module, attribute) = target.split('[').next()?.trim().split_once(':')?;
        let (root, name) = (attribute.split('.').next()?, name.trim());
        let script = format!("{PORTABLE_SHEBANG}import sys\n\nfrom {module} import {root}\n\nsys.exit({attribute}())\n");
        Some((format!("bin/{name}"), Content::Bytes { bytes: script.into_bytes(), is_executable: true }))
    });
    scripts.collect()
}
