//! How Node runs an agent's file: JavaScript as it is, TypeScript by `tsx` where the project has it, else by Node itself where it is new enough.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::run_tool;

/// From this version on Node strips types itself.
const STRIPS_TYPES: (u32, u32) = (22, 6);

/// The interpreter for a file, and its flags.
pub(super) fn interpreter(file: &Path, in_place: bool) -> anyhow::Result<(PathBuf, Vec<&'static str>)> {
    let node = run_tool::find("node").context("there is no node on PATH: install Node 20 or newer")?;
    let version = run_tool::ask(&node, &["--version"])?;
    // A wrapper of a version manager is asked for what it stands for.
    let node = PathBuf::from(run_tool::ask(&node, &["-p", "process.execPath"])?);
    let modules = file.ancestors().skip(1).map(|folder| folder.join("node_modules")).find(|modules| modules.is_dir());
    if let Some(package) = package_folder(file)
        && needs_modules(&package.join("package.json"))?
    {
        let Some(modules) = &modules else {
            bail!("the package in {} names dependencies that are not installed: run `npm install` there first", package.display());
        };
        if !modules.starts_with(&package) && !in_place {
            bail!("the agent's modules lie outside its package, in {}: launch it with --in-place", modules.display());
        }
    }
    let flags = flags(file, &version, modules.is_some_and(|modules| modules.join("tsx").is_dir()))?;
    Ok((node, flags))
}

/// Where an interpreter `…/bin/node` keeps what belongs to it.
pub(super) fn installation(node: &Path) -> Option<PathBuf> {
    Some(node.parent()?.parent()?.to_owned())
}

/// The folder of the package that a file belongs to.
pub(super) fn package_folder(file: &Path) -> Option<PathBuf> {
    file.ancestors().skip(1).find(|folder| folder.join("package.json").is_file()).map(Path::to_owned)
}

fn needs_modules(package: &Path) -> anyhow::Result<bool> {
    let text = std::fs::read(package).with_context(|| format!("failed to read {}", package.display()))?;
    let document: serde_json::Value = serde_json::from_slice(&text).with_context(|| format!("{} has a mistake", package.display()))?;
    Ok(document.get("dependencies").and_then(serde_json::Value::as_object).is_some_and(|dependencies| !dependencies.is_empty()))
}

fn flags(file: &Path, version: &str, has_tsx: bool) -> anyhow::Result<Vec<&'static str>> {
    let is_typescript = file.extension().is_some_and(|ending| ["ts", "tsx", "mts", "cts"].iter().any(|typescript| ending == *typescript));
    if !is_typescript {
        return Ok(Vec::new());
    }
    if has_tsx {
        return Ok(vec!["--import", "tsx"]);
    }
    let mut numbers = version.trim_start_matches('v').split('.').map(|number| number.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= STRIPS_TYPES {
        return Ok(vec!["--experimental-strip-types", "--disable-warning=ExperimentalWarning"]);
    }
    bail!(
        "Node {version} does not run TypeScript by itself: install tsx in the project (`npm install tsx`), or Node {}.{} or newer",
        STRIPS_TYPES.0,
        STRIPS_TYPES.1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, version: &str, has_tsx: bool, expected: &[&str]) {
        assert_eq!(flags(Path::new(file), version, has_tsx).unwrap(), expected, "{file} {version}");
    }

    #[test]
    fn typescript_runs_where_it_can() {
        check("a.js", "v18.0.0", false, &[]);
        check("a.ts", "v20.20.2", true, &["--import", "tsx"]);
        check("a.ts", "v22.6.0", false, &["--experimental-strip-types", "--disable-warning=ExperimentalWarning"]);
        check("a.mts", "v24.1.0", false, &["--experimental-strip-types", "--disable-warning=ExperimentalWarning"]);
        let error = flags(Path::new("a.ts"), "v20.20.2", false).unwrap_err().to_string();
        assert!(error.contains("npm install tsx") && error.contains("v20.20.2"), "{error}");
    }
}
