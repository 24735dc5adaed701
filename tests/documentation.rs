//! The documentation does what it says: every shell block of README and docs is run, or says why it cannot; the settings page is the program's own.

use std::path::PathBuf;

use frontdesk_tests::host::{Setup, repository};

/// A fenced shell block.
#[derive(Debug)]
struct Block {
    line: usize,
    script: String,
    /// From a comment above the block: `<!-- not run: the reason -->`.
    reason_not_to_run: Option<String>,
}

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut pages: Vec<_> = std::iter::once(repository().join("README.md")).chain(docs).collect();
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut above, mut open): (&str, Option<Block>) = ("", None);
    for (number, line) in page.lines().enumerate() {
        match &mut open {
            None if line == "```sh" => {
                let reason = above.strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->"));
                open = Some(Block { line: number + 1, script: String::new(), reason_not_to_run: reason.map(str::to_owned) });
            }
            None => {
                assert!(!matches!(line, "```bash" | "```shell" | "```console"), "shell blocks are ```sh: line {}", number + 1);
                if !line.is_empty() {
                    above = line;
                }
            }
            Some(_) if line == "```" => {
                blocks.extend(open.take());
                above = "";
            }
            Some(block) => {
                block.script.push_str(line);
                block.script.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Runs the blocks of each page in order, in one shell, beside a host of its own that listens where the documentation says.
#[tokio::test]
async fn every_shell_block_works() {
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_frontdesk"));
    let mut ran_blocks = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = blocks(&text);
        let to_run: Vec<&Block> = blocks.iter().filter(|block| block.reason_not_to_run.is_none()).collect();
        if to_run.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(repository().join("examples/lauki_qna.csv"), folder.path().join("lauki_qna.csv")).unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_frontdesk"));
        let host = setup.start(folder.path()).await;
        for block in to_run {
            let mut path = vec![executable.parent().unwrap().to_owned()];
            path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
            // The addresses in the text are the defaults; this host has picked free ones.
            let script =
                block.script.replace("http://127.0.0.1:8000", &host.ready.gateway).replace("http://127.0.0.1:4566", &host.ready.control);
            let mut bash = tokio::process::Command::new("bash");
            bash.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path()).env("PATH", std::env::join_paths(path).unwrap());
            bash.env("API_KEY", host.key()).env("FRONTDESK_AGENT_MODEL_DIR", "no-model-here");
            bash.env("FRONTDESK_PROGRAMS_DIR", folder.path().join("programs"));
            let ran = bash.output().await.unwrap();
            assert!(ran.status.success(), "{} line {}:\n{script}\n{ran:?}", page.display(), block.line);
            ran_blocks += 1;
        }
    }
    assert!(ran_blocks >= 3, "only {ran_blocks} blocks were run: are they marked as not to be run?");
}

/// A page must be what a command prints; `FRONTDESK_TEST_UPDATE=1` writes it anew.
async fn check_page(page: &str, command: &str) {
    let folder = tempfile::tempdir().unwrap();
    let ran = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).run(folder.path(), &[command]).await;
    let path = repository().join(page);
    if std::env::var_os("FRONTDESK_TEST_UPDATE").is_some() {
        std::fs::write(&path, &ran.stdout).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == ran.stdout, "{page} is not what `frontdesk {command}` prints; FRONTDESK_TEST_UPDATE=1 writes it anew");
}

#[tokio::test]
async fn the_settings_page_is_the_programs_own() {
    check_page("docs/settings.md", "settings-reference").await;
}

#[tokio::test]
async fn the_compatibility_page_is_the_programs_own() {
    check_page("docs/compatibility.md", "compatibility").await;
}

#[test]
fn the_readme_s_agent_is_one_that_is_built() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let (readme, example) = (read("README.md"), read("examples/agents/echo.rs"));
    let (_about, code) = example.split_once("\n\n").unwrap();
    assert!(readme.contains(&format!("```rust\n{code}```\n")), "the README shows another agent than examples/agents/echo.rs:\n{code}");
}
