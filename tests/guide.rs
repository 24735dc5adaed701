//! The FAQ guide runs as written, with no AWS account: every shell block of it, in order and unchanged, in one shell under `frontdesk exec`, as a person pastes them.
//!
//! The guide is not part of this repository: `FRONTDESK_GUIDE` names its file. Without it a walk of our own is taken (`tests/data/guide_walk.md`), and the test says so.
//! [`GUIDE`] says of each block what it must say, what in it fails on AWS too, and why a block is left out; [`OTHERWISE_WITH_VERSION_2`] what is another thing for that
//! version of the aws CLI.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use frontdesk_tests::aws_cli;
use frontdesk_tests::host::{Host, Setup, repository};
use frontdesk_tests::llm_double::{LlmDouble, Mode};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// No block takes so long, but for the first function's: the runtime interface client is built then.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(1800);
/// What the guide has its reader make, and go to.
const PROJECT: &str = "my-agentcore-project";
/// Chapters of the guide that are not for the shell of who follows it: what did not work, and what a third party does.
const NOT_FOLLOWED: [&str; 2] = ["Why API Gateway + Lambda is Required", "Part 4"];

/// What is expected of a block.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// It says all of these, and these commands fail in it and no others (as they begin).
    Run { says: &'static [&'static str], fails: &'static [&'static str] },
    /// It is not run.
    LeftOut(&'static str),
}

const fn says(says: &'static [&'static str]) -> Plan {
    Plan::Run { says, fails: &[] }
}

const fn fails(fails: &'static [&'static str], says: &'static [&'static str]) -> Plan {
    Plan::Run { says, fails }
}

/// The guide's blocks, by heading and number below it.
const GUIDE: &[(&str, Plan)] = &[
    ("Required Tools and Accounts #1", Plan::LeftOut("it installs by Homebrew, on a Mac")),
    ("Required Tools and Accounts #2", fails(UNANSWERED, &["arn:aws:iam::000000000000:root"])),
    ("Required Tools and Accounts #3", Plan::LeftOut("it installs uv from its makers' site, which is no registry")),
    ("Required Tools and Accounts #4", Plan::LeftOut("it installs AgentCore's own toolkit, in whose place `exec` puts this program")),
    // The first of its two ways is a path that stands for one.
    ("Project Setup #1", fails(&["cd "], &[])),
    ("Project Setup #2", Plan::LeftOut("it needs the uv of a block that is left out; `.venv` is made by the test")),
    ("Project Setup #3", says(&[])),
    ("Project Setup #4", says(&["000000000000:root", "Python 3.", "agentcore ", "groq_api_key"])),
    ("Step 1.2 #1", says(&["lauki_qna.csv", "question,answer"])),
    ("Step 1.3 #1", says(&[])),
    // No Python imports a module whose name begins with a digit.
    ("Step 1.4 #1", fails(&["python <<"], &["SyntaxError"])),
    ("Step 1.5 #1", says(&["agentcore_runtime"])),
    ("Step 1.5 #2", says(&["01_agentcore_runtime.py", "region: us-east-1", "network_mode: PUBLIC", "server_protocol: HTTP"])),
    ("Step 1.6 #1", says(&["READY"])),
    ("Step 1.6 #2", says(&["READY", "Agent ID:", "Agent ARN:"])),
    ("Step 1.7 #1", says(&[ANSWER, "\"actor_id\": \"default-user\"", "\"thread_id\": \"default-session\""])),
    ("Step 1.7 #2", Plan::LeftOut("it starts Docker Desktop, on a Mac")),
    ("Step 1.7 #3", fails(UNANSWERED, &["arn:aws:iam::000000000000:root"])),
    ("Step 1.7 #4", says(&[])),
    ("Step 1.8 #1", says(&["agent_arn: arn:aws:bedrock-agentcore:us-east-1:000000000000:runtime/", "Agent ARN:"])),
    ("Step 2.1 #1", says(&["000000000000", "us-east-1", "arn:aws:bedrock-agentcore:us-east-1:000000000000:runtime/"])),
    ("Step 2.2 #1", says(&[])),
    ("Step 2.2 #2", says(&[])),
    ("Step 2.2 #3", says(&["role/AgentCoreLambdaProxyRole", "policy/AgentCoreLambdaProxyPolicy"])),
    ("Step 2.2 #4", says(&["\"RoleName\": \"AgentCoreLambdaProxyRole\""])),
    ("Step 2.3 #1", says(&[])),
    ("Step 2.3 #2", says(&["arn:aws:bedrock-agentcore:us-east-1:000000000000:runtime/"])),
    ("Step 2.3 #3", says(&["1 file"])),
    ("Step 2.3 #4", says(&["function:AgentCoreProxy"])),
    ("Step 2.3 #5", says(&["\"State\": \"Active\""])),
    ("Step 2.4 #1", says(&["ID: "])),
    ("Step 2.4 #2", says(&["ID: "])),
    ("Step 2.4 #3", says(&["\"path\": \"/invoke\"", "INVOKE_RESOURCE_ID: "])),
    ("Step 2.4 #4", says(&["\"apiKeyRequired\": true"])),
    ("Step 2.4 #5", says(&["\"type\": \"AWS_PROXY\""])),
    ("Step 2.4 #6", says(&["apigateway-invoke-permission"])),
    ("Step 2.4 #7", says(&["\"type\": \"MOCK\"", "'Content-Type,x-api-key'"])),
    ("Step 2.4 #8", says(&["\"FunctionName\": \"AgentCoreProxy\"", "CORS"])),
    ("Step 2.5 #1", says(&["✅"])),
    ("Step 2.5 #2", says(&["ID: ", "Value: fd"])),
    // Its name is the one of the plan that the host has made for itself: API Gateway allows it.
    ("Step 2.5 #3", says(&["usage plan: "])),
    ("Step 2.5 #4", says(&["\"type\": \"API_KEY\"", "\"stage\": \"prod\"", "🎉"])),
    ("Step 2.6 #1", says(&[".execute-api.us-east-1.amazonaws.com/prod/invoke", "Key: fd"])),
    ("Step 3.1 #1", says(&[ANSWER, "test-user-001", "test-session-001"])),
    ("Step 3.1 #2", says(&["{\"message\":\"Forbidden\"}"])),
    ("Step 3.1 #3", says(&["{\"message\":\"Forbidden\"}"])),
    ("Step 3.2 #1", says(&["Status Code: 200", ANSWER])),
    ("Step 3.3 #1", fails(TAIL, &["\"logStreamName\""])),
    // Not before the account has a role for it: docs/guide-notes.md.
    ("Step 3.3 #2", fails(&["aws apigateway update-stage"], &["CloudWatch Logs role ARN must be set in account settings"])),
    ("Step 3.4 #1", says(&["\"result\""])),
    ("Issue 1 #1", says(&["\"enabled\": true", "\"stageName\": \"prod\"", "\"stage\": \"prod\"", "\"methodIntegration\""])),
    // Two of its four remedies are for what is not wrong here.
    (
        "Issue 1 #2",
        fails(&["aws apigateway create-usage-plan-key", "aws apigateway update-usage-plan"], &["\"enabled\": true", "ConflictException"]),
    ),
    ("Issue 2 #1", fails(TAIL, &["\"Timeout\": 90", "Agent ARN:"])),
    ("Issue 3 #1", says(&["AgentCoreLambdaProxyPolicy", "\"VersionId\": \"v2\""])),
    ("Issue 4 #1", says(&["\"rateLimit\": 100", "\"burstLimit\": 200"])),
    ("Issue 5 #1", fails(TAIL, &["\"StatusCode\": 200", "\"statusCode\": 200", "Agent ARN:", "\"result\": "])),
    ("Debugging Checklist #1", says(&["\"result\""])),
    ("Debugging Checklist #2", says(&["\"StatusCode\": 200"])),
    ("Debugging Checklist #3", says(&["\"result\": ", "Agent ARN:"])),
    ("Debugging Checklist #4", says(&["AgentCoreLambdaProxyPolicy"])),
    ("Debugging Checklist #5", fails(TAIL, &[])),
    ("Updating the Agent #1", says(&["READY", "\"result\": "])),
    ("Updating Lambda Function #1", says(&["\"result\""])),
    ("Rotating API Keys #1", says(&["New API Key: fd", "\"enabled\": false"])),
    ("Monitoring #1", says(&[])),
    ("Monitoring #2", says(&["\"Label\": \"Count\"", "\"Label\": \"Invocations\""])),
    (COST, says(&["\"ResultsByTime\""])),
    // The second version that issue 3 made is left: AWS refuses it, too.
    ("Cleanup #1", fails(&["aws iam delete-policy"], &["DeleteConflict", "is destroyed"])),
];

/// What the aws CLI's version 2 does otherwise: it has `logs tail`, and takes a payload for base64 (docs/guide-notes.md).
const OTHERWISE_WITH_VERSION_2: &[(&str, Plan)] = &[
    ("Step 3.3 #1", says(&["START RequestId: ", "END RequestId: ", "\"logStreamName\""])),
    ("Issue 2 #1", says(&["\"Timeout\": 90", "Agent ARN:", "END RequestId: "])),
    (
        "Issue 5 #1",
        fails(&["aws lambda invoke", "cat response.json"], &["END RequestId: ", "Invalid base64", "Agent ARN:", "\"result\": "]),
    ),
    ("Debugging Checklist #2", fails(&["aws lambda invoke"], &["Invalid base64"])),
    ("Debugging Checklist #5", says(&["END RequestId: "])),
];

/// The version of the aws CLI that a shell finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AwsCli {
    Version1,
    Version2,
}

impl AwsCli {
    fn plans(self) -> HashMap<&'static str, Plan> {
        let otherwise = if self == AwsCli::Version2 { OTHERWISE_WITH_VERSION_2 } else { &[] };
        GUIDE.iter().chain(otherwise).copied().collect()
    }
}

/// The heading of what only version 2 is asked for, in our own walk.
const FOR_VERSION_2: &str = "With version 2 of the aws CLI";
/// On the first of a month its period has no day, which AWS refuses, too: docs/guide-notes.md.
const COST: &str = "Cost Optimization #1";
/// Nobody answers what `aws configure` asks; the credentials of the environment go on.
const UNANSWERED: &[&str] = &["aws configure"];
/// Version 1 of the CLI has no `logs tail`.
const TAIL: &[&str] = &["aws logs tail"];
/// How the answer to the guide's question about roaming begins, from the sample FAQ.
const ANSWER: &str = "Dial *123#, choose 4";

/// A shell block.
#[derive(Debug)]
struct Block {
    /// Its heading up to a colon, and its number below it.
    key: String,
    line: usize,
    script: String,
}

/// The blocks of a page that are for a shell, those in lists too.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut chapter, mut heading, mut counts) = (String::new(), String::new(), HashMap::<String, usize>::new());
    let mut open: Option<(&str, Vec<&str>)> = None;
    for (number, line) in page.lines().enumerate() {
        let text = line.trim();
        if let Some((language, lines)) = &mut open {
            if text != "```" {
                lines.push(line);
                continue;
            }
            if *language == "bash" {
                let count = counts.entry(heading.clone()).or_default();
                *count += 1;
                if !NOT_FOLLOWED.iter().any(|chapter_not| chapter.starts_with(chapter_not)) {
                    let script = lines.join("\n") + "\n";
                    blocks.push(Block { key: format!("{heading} #{count}"), line: number + 1 - lines.len(), script });
                }
            }
            open = None;
        } else if let Some(language) = text.strip_prefix("```") {
            open = Some((language, Vec::new()));
        } else if let Some(title) = line.strip_prefix('#') {
            let title = title.trim_start_matches('#').trim();
            if line.starts_with("## ") {
                chapter = title.to_owned();
            }
            heading = title.split(':').next().unwrap_or(title).to_owned();
        }
    }
    blocks
}

/// What came of a block.
#[derive(Debug)]
struct Outcome {
    said: String,
    /// The commands that failed, with their exit codes.
    failed: Vec<String>,
}

/// A shell that a person would have open.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
    /// What each block begins with.
    first: String,
    ran: usize,
}

impl Shell {
    /// Opens one under `frontdesk exec`, in a folder.
    async fn open(setup: &Setup, folder: &Path, notes: &Path, aws: AwsCli) -> Shell {
        let mut command = setup.command(folder);
        command.args(["exec", "--", "bash", "--noprofile", "--norc"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        // Each command that fails is noted, whether or not the block goes on.
        let watch = "set -E; trap 'printf \"%s %s\\n\" \"$?\" \"${BASH_COMMAND%%$'\"'\\n'\"'*}\" >> \"$BLOCK_NOTES\"' ERR\n";
        stdin.write_all(watch.as_bytes()).await.unwrap();
        let first = if aws == AwsCli::Version2 { version_2_in_front(notes) } else { String::new() };
        Shell { child, stdin, stdout: BufReader::new(stdout).lines(), folder: notes.to_owned(), first, ran: 0 }
    }

    /// Runs a block in it, whose state stays. `None` when the shell has ended by it.
    async fn run(&mut self, script: &str) -> Option<Outcome> {
        self.ran += 1;
        let file = |kind: &str| self.folder.join(format!("{:02}.{kind}", self.ran));
        let (block, said, notes) = (file("sh"), file("out"), file("failed"));
        std::fs::write(&block, script).unwrap();
        std::fs::write(&notes, "").unwrap();
        // Nobody sits before it: what asks, reads an end.
        let line = format!(
            "{}BLOCK_NOTES='{}'; . '{}' < /dev/null > '{}' 2>&1; echo \"ran {}\"\n",
            self.first,
            notes.display(),
            block.display(),
            said.display(),
            self.ran
        );
        let marker = format!("ran {}", self.ran);
        let _ = self.stdin.write_all(line.as_bytes()).await;
        let waiting = async {
            while self.stdout.next_line().await.ok()?? != marker {}
            Some(())
        };
        let is_open = tokio::time::timeout(BLOCK_TIMEOUT, waiting).await.unwrap_or_else(|_| panic!("block {} hangs:\n{script}", self.ran));
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let failed = read(&notes).lines().filter(|line| !line.contains(" . '")).map(str::to_owned).collect();
        let outcome = Outcome { said: read(&said), failed };
        if is_open.is_none() {
            println!("the shell has ended by block {}:\n{}", self.ran, outcome.said);
            return None;
        }
        Some(outcome)
    }

    async fn close(mut self) {
        drop(self.stdin);
        self.child.wait().await.unwrap();
    }
}

/// Makes an `aws` of version 2 in a folder, as at a terminal. Returns what puts it in front of the others: again and again, for a virtual environment that is activated
/// goes before it.
fn version_2_in_front(folder: &Path) -> String {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let terminal = repository().join("tests/clients/aws_at_a_terminal.py");
    let script = format!("#!/bin/sh\nexec python3 '{}' '{}' \"$@\"\n", terminal.display(), aws_cli::version_2().display());
    std::fs::write(bin.join("aws"), script).unwrap();
    std::fs::set_permissions(bin.join("aws"), Permissions::from_mode(0o755)).unwrap();
    format!("PATH='{}':$PATH; ", bin.display())
}

/// What is wrong with an outcome.
fn complaints(outcome: &Outcome, says: &[&str], fails: &[&str]) -> Vec<String> {
    let is_of = |failed: &str, expected: &str| failed.split_once(' ').is_some_and(|(_, command)| command.starts_with(expected));
    // What the guide's own checks print where they find something wrong.
    let alarm = outcome.said.lines().find(|line| line.contains('❌')).map(|line| format!("it says {line}"));
    let unsaid = says.iter().filter(|text| !outcome.said.contains(**text)).map(|text| format!("it does not say `{text}`"));
    let unexpected = outcome.failed.iter().filter(|failed| !fails.iter().any(|expected| is_of(failed, expected)));
    let unexpected = unexpected.map(|failed| format!("failed with {failed}"));
    let missing = fails.iter().filter(|expected| !outcome.failed.iter().any(|failed| is_of(failed, expected)));
    let missing = missing.map(|expected| format!("`{expected}` did not fail"));
    alarm.into_iter().chain(unsaid).chain(unexpected).chain(missing).collect()
}

/// A host, the model behind its agent and a folder to work in.
struct Place {
    folder: tempfile::TempDir,
    setup: Setup,
    host: Host,
    double: LlmDouble,
}

impl Place {
    async fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let double = LlmDouble::start("127.0.0.1:0".parse().unwrap(), Mode::Instant).await.unwrap();
        // The clients of functions are installed once: beside what is built.
        let executable = Path::new(env!("CARGO_BIN_EXE_frontdesk"));
        let programs = executable.parent().unwrap().to_string_lossy().into_owned();
        let setup = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).variable("FRONTDESK_PROGRAMS_DIR", &programs);
        let host = setup.start(folder.path()).await;
        Place { folder, setup, host, double }
    }

    /// Puts what the guide presumes into the project's folder: the FAQ, an agent of the guide's entry point, a virtual environment.
    fn furnish(&self) {
        let project = self.folder.path().join(PROJECT);
        std::fs::create_dir_all(&project).unwrap();
        std::fs::copy(repository().join("examples/lauki_qna.csv"), project.join("lauki_qna.csv")).unwrap();
        let agent = std::fs::read_to_string(repository().join("tests/data/guide_agent.py")).unwrap();
        std::fs::write(project.join("01_agentcore_runtime.py"), agent.replace("@BASE_URL@", &self.double.base_url())).unwrap();
        let prefix = std::process::Command::new("python3").args(["-c", "import sys; print(sys.prefix)"]).output().unwrap();
        symlink(String::from_utf8(prefix.stdout).unwrap().trim(), project.join(".venv")).unwrap();
    }
}

fn is_first_of_month() -> bool {
    let today = std::process::Command::new("date").args(["-u", "+%d"]).output().unwrap();
    today.stdout.starts_with(b"01")
}

#[tokio::test]
async fn every_block_of_the_guide_runs() {
    follow_the_guide(AwsCli::Version1).await;
}

#[tokio::test]
async fn every_block_of_the_guide_runs_with_version_2_of_the_aws_cli() {
    follow_the_guide(AwsCli::Version2).await;
}

async fn follow_the_guide(aws: AwsCli) {
    let Some(guide) = std::env::var_os("FRONTDESK_GUIDE") else {
        println!("FRONTDESK_GUIDE names no file: not the guide is followed, but our own walk");
        return;
    };
    let blocks = blocks(&std::fs::read_to_string(&guide).unwrap());
    let plans = aws.plans();
    let place = Place::new().await;
    let notes = tempfile::tempdir().unwrap();
    let mut shell = Shell::open(&place.setup, place.folder.path(), notes.path(), aws).await;
    let (mut passed, mut left_out, mut wrong) = (0, 0, Vec::new());
    for block in &blocks {
        let (key, line) = (&block.key, block.line);
        let (says, fails) = match plans.get(key.as_str()) {
            Some(Plan::Run { .. }) if key == COST && is_first_of_month() => (&[][..], &["aws ce"][..]),
            Some(Plan::Run { says, fails }) => (*says, *fails),
            Some(Plan::LeftOut(reason)) => {
                println!("left out  {key}: {reason}");
                left_out += 1;
                continue;
            }
            None => Default::default(),
        };
        let Some(outcome) = shell.run(&block.script).await else {
            wrong.push(format!("{key} (line {line}) ended the shell"));
            break;
        };
        if key == "Project Setup #1" {
            place.furnish();
        }
        let complaints = complaints(&outcome, says, fails);
        match plans.get(key.as_str()) {
            None => wrong.push(format!("{key} (line {line}) is not in the table; {}\n{}", complaints.join("; "), outcome.said)),
            _ if complaints.is_empty() => {
                println!("passed    {key}");
                passed += 1;
            }
            _ => wrong.push(format!("{key} (line {line}): {}\n{}", complaints.join("; "), outcome.said)),
        }
    }
    shell.close().await;
    println!("{} blocks: {passed} passed, {left_out} left out, {} wrong", blocks.len(), wrong.len());
    let unknown: Vec<_> = GUIDE.iter().filter(|(key, _)| !blocks.iter().any(|block| block.key == *key)).collect();
    assert!(unknown.is_empty(), "the guide has none of these blocks: {unknown:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    drop(place.host);
}

#[tokio::test]
async fn every_block_of_our_own_walk_runs() {
    walk(AwsCli::Version1).await;
}

#[tokio::test]
async fn every_block_of_our_own_walk_runs_with_version_2_of_the_aws_cli() {
    walk(AwsCli::Version2).await;
}

async fn walk(aws: AwsCli) {
    let page = std::fs::read_to_string(repository().join("tests/data/guide_walk.md")).unwrap();
    let place = Place::new().await;
    let notes = tempfile::tempdir().unwrap();
    let mut shell = Shell::open(&place.setup, place.folder.path(), notes.path(), aws).await;
    let mut blocks = blocks(&page);
    blocks.retain(|block| aws == AwsCli::Version2 || !block.key.starts_with(FOR_VERSION_2));
    for block in &blocks {
        let outcome = shell.run(&block.script).await.unwrap_or_else(|| panic!("{} ended the shell", block.key));
        if block.key == "Prepare #1" {
            place.furnish();
        }
        let says: Vec<&str> = block.script.lines().filter_map(|line| line.strip_prefix("# says ")).collect();
        let fails: Vec<&str> = block.script.lines().filter_map(|line| line.strip_prefix("# fails ")).collect();
        let complaints = complaints(&outcome, &says, &fails);
        assert!(complaints.is_empty() && !says.is_empty(), "{}: {complaints:?}\n{}", block.key, outcome.said);
    }
    shell.close().await;
    // The agent called its model with the key that it was launched with, and with no other.
    let asked = place.double.recorded();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.authorization.as_deref() == Some("Bearer of-nobody")), "{asked:?}");
    println!("{} blocks passed", blocks.len());
    drop(place.host);
}
