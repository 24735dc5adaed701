//! Agents' names: what AgentCore allows, and the name that a file's path suggests.

use std::path::Path;

use anyhow::bail;

/// AgentCore's longest name, in characters.
const NAME_CHARS_MAX: usize = 48;
/// Endings that say what a file is and are no part of its name.
const ENDINGS: [&str; 8] = [".py", ".ts", ".tsx", ".mts", ".js", ".jsx", ".mjs", ".cjs"];

/// Checks a name: a letter, then up to 47 letters, digits and underscores.
pub(crate) fn check(name: &str) -> anyhow::Result<()> {
    let is_fit = name.len() <= NAME_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_fit {
        bail!("`{name}` cannot name an agent: a name is a letter, then up to 47 letters, digits and underscores");
    }
    Ok(())
}

/// The name that a file suggests, as the toolkit makes it of its path below the working folder: without its ending, and with `_` for spaces, dashes and slashes.
/// What AgentCore allows no name to begin with is left out, so that `01_agentcore_runtime.py` is `agentcore_runtime`.
pub(crate) fn infer(file: &Path, working_folder: &Path) -> anyhow::Result<String> {
    let below = match file.strip_prefix(working_folder) {
        Ok(below) => below.to_string_lossy().into_owned(),
        Err(_) => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let without_ending = ENDINGS.iter().find_map(|ending| below.strip_suffix(ending)).unwrap_or(&below);
    let name = without_ending.replace([' ', '-', '/', '\\'], "_");
    let name = name.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit());
    if check(name).is_err() {
        bail!("no name can be made of `{below}`: give the agent one with --name (a letter, then up to 47 letters, digits and underscores)");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_inferred(file: &str, expected: &str) {
        let inferred = infer(Path::new(file), Path::new("/project")).map_err(|error| error.to_string());
        match inferred {
            Ok(name) => assert_eq!(name, expected, "{file}"),
            Err(error) => assert!(expected.is_empty() && error.contains("--name"), "{file}: {error}"),
        }
    }

    #[test]
    fn a_file_s_path_suggests_a_name() {
        check_inferred("/project/01_agentcore_runtime.py", "agentcore_runtime");
        check_inferred("/project/my-agent.ts", "my_agent");
        check_inferred("/project/agents/writer/main.py", "agents_writer_main");
        check_inferred("/elsewhere/agent.py", "agent");
        check_inferred("/project/bin/agent", "bin_agent");
        check_inferred("/project/__main__.py", "main__");
        for nameless in ["/project/2024.py", "/project/агент.py", "/project/my.agent.py", &format!("/project/{}.py", "a".repeat(49))] {
            check_inferred(nameless, "");
        }
    }

    #[test]
    fn agentcore_s_rule_is_kept() {
        for name in ["a", "A_1", &"a".repeat(48)] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "1a", "_a", "a-b", "ä", "a b", &"a".repeat(49)] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
