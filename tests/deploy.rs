//! `deploy` and `undeploy` as a user runs them: against moto, and the template before the linters.

use std::path::Path;

use frontdesk_tests::host::repository;
use frontdesk_tests::moto::Moto;
use tokio::process::Command;

const IMAGES: [&str; 4] = [
    "--image",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/faq-desk/agent@sha256:aa",
    "--proxy-image",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/faq-desk/proxy@sha256:bb",
];

/// What a command printed, and whether it went well.
struct Ran {
    succeeded: bool,
    printed: String,
}

async fn run(folder: &Path, program: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", folder);
    command.env("AWS_ACCESS_KEY_ID", "testing").env("AWS_SECRET_ACCESS_KEY", "testing").env("AWS_REGION", "eu-west-1");
    // Version 1 of the aws CLI knows only this one.
    command.env("AWS_DEFAULT_REGION", "eu-west-1");
    let ran = command.output().await.unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    Ran { succeeded: ran.status.success(), printed }
}

async fn frontdesk(folder: &Path, arguments: &[&str]) -> Ran {
    run(folder, env!("CARGO_BIN_EXE_frontdesk"), arguments).await
}

fn settings(folder: &Path, more: &str) {
    std::fs::write(folder.join("frontdesk.toml"), format!("[deploy]\nstack_name = \"faq-desk\"\n{more}")).unwrap();
}

async fn deploy(folder: &Path, moto: &Moto, more: &[&str]) -> Ran {
    let mut arguments = vec!["deploy", "--endpoint", &moto.url, "--pause-ms", "10", "--no-question"];
    arguments.extend(IMAGES);
    arguments.extend(more);
    frontdesk(folder, &arguments).await
}

/// A call of the aws CLI, as JSON.
async fn aws(folder: &Path, moto: &Moto, arguments: &[&str]) -> serde_json::Value {
    let mut all = vec!["--endpoint-url", &moto.url, "--output", "json"];
    all.extend(arguments);
    let ran = run(folder, "aws", &all).await;
    assert!(ran.succeeded, "aws {arguments:?}: {}", ran.printed);
    serde_json::from_str(&ran.printed).unwrap()
}

#[tokio::test]
async fn a_stack_is_planned_made_left_alone_changed_and_removed() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start());
    let folder = folder.path();
    settings(folder, "");

    let planned = deploy(folder, &moto, &["--plan"]).await;
    assert!(planned.succeeded, "{}", planned.printed);
    for part in ["Account:", "123456789012", "eu-west-1", "AWS::BedrockAgentCore::Runtime", "Estimated cost", "together"] {
        assert!(planned.printed.contains(part), "the plan lacks {part}:\n{}", planned.printed);
    }
    assert!(aws(folder, &moto, &["lambda", "list-functions"]).await["Functions"].as_array().unwrap().is_empty());

    let made = deploy(folder, &moto, &[]).await;
    assert!(made.succeeded, "{}", made.printed);
    let functions = aws(folder, &moto, &["lambda", "list-functions"]).await;
    let mut names: Vec<_> =
        functions["Functions"].as_array().unwrap().iter().map(|function| function["FunctionName"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["faq-desk-proxy", "faq-desk-stream-proxy"]);
    let stacks = aws(folder, &moto, &["cloudformation", "describe-stacks", "--stack-name", "faq-desk"]).await;
    assert_eq!(stacks["Stacks"][0]["Tags"][0], serde_json::json!({ "Key": "made-by", "Value": "frontdesk" }));

    let unchanged = deploy(folder, &moto, &[]).await;
    assert!(unchanged.succeeded && unchanged.printed.contains("The stack faq-desk is unchanged."), "{}", unchanged.printed);

    settings(folder, "function_memory_mb = 512\n");
    let changed = deploy(folder, &moto, &[]).await;
    assert!(changed.succeeded && changed.printed.contains("Modify  Proxy"), "{}", changed.printed);
    let functions = aws(folder, &moto, &["lambda", "list-functions"]).await;
    assert!(functions["Functions"].as_array().unwrap().iter().all(|function| function["MemorySize"] == 512), "{functions}");

    // A second first key would not do: callers hold the one there is.
    let config = |ran: &Ran| ran.printed.lines().find(|line| line.contains("API Key:")).unwrap().to_owned();
    assert_eq!(config(&made), config(&changed));
    let unasked = frontdesk(folder, &["undeploy", "--endpoint", &moto.url, "--pause-ms", "10"]).await;
    assert!(!unasked.succeeded && unasked.printed.contains("--yes"), "{}", unasked.printed);
    let removed = frontdesk(folder, &["undeploy", "--endpoint", &moto.url, "--pause-ms", "10", "--yes"]).await;
    assert!(removed.succeeded && removed.printed.contains("Removed: stack faq-desk"), "{}", removed.printed);
    assert!(aws(folder, &moto, &["lambda", "list-functions"]).await["Functions"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_stack_is_looked_at_by_the_commands_that_look_at_a_host() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start());
    let folder = folder.path();
    settings(folder, "");
    let on_aws = async |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--aws", "--endpoint", &moto.url]);
        frontdesk(folder, &all).await
    };
    let absent = on_aws(&["status"]).await;
    assert!(!absent.succeeded && absent.printed.contains("there is no stack faq-desk"), "{}", absent.printed);
    assert!(deploy(folder, &moto, &[]).await.succeeded);

    let status = on_aws(&["status"]).await;
    for part in ["faq-desk (CREATE_COMPLETE)", "READY (version 1)", "/prod/invoke", "faq-desk-throttled OK"] {
        assert!(status.printed.contains(part), "{part} is not in\n{}", status.printed);
    }
    let config = std::fs::read_to_string(folder.join("api-gateway-config.env")).unwrap();
    let value = on_aws(&["keys", "show", "ThirdPartyServerKey", "--value-only"]).await.printed;
    assert!(config.contains(&format!("export API_KEY=\"{}\"", value.trim())), "{config}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder.join("api-gateway-config.env")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    assert!(on_aws(&["keys", "create", "Ada"]).await.succeeded);
    assert!(on_aws(&["keys", "disable", "Ada"]).await.succeeded);
    let listed = on_aws(&["keys", "list"]).await.printed;
    assert!(listed.lines().any(|line| line.contains(" Ada ") && line.contains("no")), "{listed}");
    let kept = on_aws(&["keys", "delete", "ThirdPartyServerKey"]).await;
    assert!(!kept.succeeded && kept.printed.contains("is part of the stack"), "{}", kept.printed);
    let unknown = on_aws(&["keys", "show", "Eve"]).await;
    assert!(!unknown.succeeded && unknown.printed.contains("no API key Eve; it has: "), "{}", unknown.printed);
    let refused = on_aws(&["keys", "create", "Eve", "--expires", "30d"]).await;
    assert!(!refused.succeeded && refused.printed.contains("does not expire"), "{}", refused.printed);

    let well = on_aws(&["doctor", "--no-question"]).await;
    assert!(well.succeeded && well.printed.contains("ok    Agent: READY"), "{}", well.printed);
    // Moto writes the role's policy in Python's words, and has no usage: what cannot be read is said, and not called wrong.
    let of_issues = [
        "opens prod by faq-desk-ThirdPartyUsagePlan",
        "faq-desk-proxy, which the gateway may call",
        "28 s, within the gateway's 29000 ms",
        "its policy least could not be understood",
        "less  Usage of faq-desk-ThirdPartyUsagePlan: it could not be looked at",
    ];
    for said in of_issues {
        assert!(well.printed.contains(said), "{said}: {}", well.printed);
    }
    let alarm =
        ["cloudwatch", "set-alarm-state", "--alarm-name", "faq-desk-throttled", "--state-value", "ALARM", "--state-reason", "too many"];
    let mut set = vec!["--endpoint-url", &*moto.url];
    set.extend(alarm);
    assert!(run(folder, "aws", &set).await.succeeded);
    let ill = on_aws(&["doctor", "--no-question"]).await;
    assert!(!ill.succeeded && ill.printed.contains("BAD   Alarm faq-desk-throttled: too many"), "{}", ill.printed);

    let elsewhere = frontdesk(folder, &["status", "--endpoint", &moto.url]).await;
    assert!(!elsewhere.succeeded && elsewhere.printed.contains("are for --aws"), "{}", elsewhere.printed);
    let removed = frontdesk(folder, &["undeploy", "--endpoint", &moto.url, "--yes", "--pause-ms", "10"]).await;
    assert!(removed.printed.contains("Removed: API key Ada"), "{}", removed.printed);
}

#[tokio::test]
async fn a_stack_that_was_made_otherwise_is_left_alone() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start());
    let folder = folder.path();
    settings(folder, "");
    let template = r#"{"Resources":{"Theirs":{"Type":"AWS::SNS::Topic"}}}"#;
    aws(folder, &moto, &["cloudformation", "create-stack", "--stack-name", "faq-desk", "--template-body", template]).await;
    for ran in [deploy(folder, &moto, &[]).await, frontdesk(folder, &["undeploy", "--endpoint", &moto.url, "--yes"]).await] {
        assert!(!ran.succeeded && ran.printed.contains("was not made by frontdesk"), "{}", ran.printed);
    }
    let topics = aws(folder, &moto, &["sns", "list-topics"]).await;
    assert_eq!(topics["Topics"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_aws_does_otherwise_is_told_first_and_refused_unless_accepted() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start());
    let folder = folder.path();
    settings(folder, "[gateway]\ncache_ttl_s = 60\n");
    let refused = deploy(folder, &moto, &[]).await;
    assert!(!refused.succeeded, "{}", refused.printed);
    for part in ["! answers are cached", "--accept-differences", "Nothing was changed", "RateLimit"] {
        assert!(refused.printed.contains(part), "{part} is not in\n{}", refused.printed);
    }
    let stacks = aws(folder, &moto, &["cloudformation", "list-stacks"]).await;
    assert!(stacks["StackSummaries"].as_array().unwrap().is_empty());
    assert!(deploy(folder, &moto, &["--accept-differences", "--plan"]).await.succeeded);
}

/// A project's agent in Python as `configure` writes it, which needs a wheel that lies beside it; the settings serve it at the endpoint.
async fn python_project(folder: &Path, agent: &str) {
    let make_wheel = "import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + '/greeting-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('greeting.py', 'HELLO = \"Hello from a wheel\"')
    wheel.writestr('greeting-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: greeting\\nVersion: 1.0\\n')
    wheel.writestr('greeting-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('greeting-1.0.dist-info/RECORD', '')";
    let wheels = folder.join(".wheels");
    std::fs::create_dir_all(&wheels).unwrap();
    assert!(run(folder, "python3", &["-c", make_wheel, ".wheels"]).await.succeeded);
    std::fs::write(folder.join("requirements.txt"), format!("--no-index\n--find-links {}\ngreeting\n", wheels.display())).unwrap();
    std::fs::write(folder.join("agent.py"), agent).unwrap();
    let configured = frontdesk(folder, &["configure", "-e", "agent.py", "--name", "greeter", "--idle-timeout", "120"]).await;
    assert!(configured.succeeded, "{}", configured.printed);
    settings(folder, "[gateway]\nagent = \"greeter\"\n");
}

#[tokio::test]
async fn a_project_s_agent_in_python_is_deployed_as_code() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start());
    let folder = folder.path();
    python_project(folder, "import greeting\n").await;
    let deploy = async |more: &[&str]| {
        let mut arguments = vec!["deploy", "--endpoint", &moto.url, "--pause-ms", "10", "--no-question", "--proxy-image", IMAGES[3]];
        arguments.extend(more);
        frontdesk(folder, &arguments).await
    };
    let buckets = async || aws(folder, &moto, &["s3api", "list-buckets"]).await["Buckets"].as_array().unwrap().clone();
    let runtime = async || {
        let runtimes = aws(folder, &moto, &["bedrock-agentcore-control", "list-agent-runtimes"]).await;
        let id = runtimes["agentRuntimes"][0]["agentRuntimeId"].as_str().unwrap().to_owned();
        aws(folder, &moto, &["bedrock-agentcore-control", "get-agent-runtime", "--agent-runtime-id", &id]).await
    };
    let key = |runtime: &serde_json::Value| runtime["agentRuntimeArtifact"]["codeConfiguration"]["code"]["s3"]["prefix"].to_string();

    let planned = deploy(&["--plan"]).await;
    assert!(planned.succeeded && planned.printed.contains("greeter: "), "{}", planned.printed);
    assert!(planned.printed.contains("S3 "), "the code costs something:\n{}", planned.printed);
    assert!(buckets().await.is_empty(), "a plan makes nothing");

    let made = deploy(&[]).await;
    assert!(made.succeeded && made.printed.contains("sent to s3://faq-desk-code-"), "{}", made.printed);
    let first = runtime().await;
    let code = &first["agentRuntimeArtifact"]["codeConfiguration"];
    assert_eq!(code["entryPoint"], serde_json::json!(["frontdesk_start.py"]));
    assert_eq!(first["environmentVariables"]["FRONTDESK_ENTRY_POINT"], "agent.py");
    assert_eq!(first["lifecycleConfiguration"]["idleRuntimeSessionTimeout"], 120);
    let object = aws(
        folder,
        &moto,
        &["s3api", "head-object", "--bucket", code["code"]["s3"]["bucket"].as_str().unwrap(), "--key", key(&first).trim_matches('"')],
    )
    .await;
    assert!(object["ContentLength"].as_u64().unwrap() > 1000, "{object}");

    // What the first deployment wrote beside the code is no part of it.
    let unchanged = deploy(&[]).await;
    for part in ["already", "The stack faq-desk is unchanged."] {
        assert!(unchanged.succeeded && unchanged.printed.contains(part), "{}", unchanged.printed);
    }
    std::fs::write(folder.join("agent.py"), "import greeting\nprint(greeting.HELLO)\n").unwrap();
    let changed = deploy(&[]).await;
    // Moto's change set does not look at parameters; its runtime does.
    assert!(changed.succeeded && changed.printed.contains("sent to s3://"), "{}", changed.printed);
    assert_ne!(key(&runtime().await), key(&first));

    let removed = frontdesk(folder, &["undeploy", "--endpoint", &moto.url, "--pause-ms", "10", "--yes"]).await;
    assert!(removed.succeeded && removed.printed.contains("Removed: bucket faq-desk-code-"), "{}", removed.printed);
    assert!(buckets().await.is_empty());
}

/// The package as AgentCore runs it, but for its port: with its wheels, its key from the secret, and served although the file serves nothing itself.
#[tokio::test]
async fn a_package_serves_its_agent_with_the_key_from_the_secret() {
    let (folder, moto) = (tempfile::tempdir().unwrap(), Moto::start());
    let folder = folder.path();
    let agent = "import greeting, os
def application(environ, start_response):
    start_response('200 OK', [])
    return [f'{greeting.HELLO}, {os.environ[\"GROQ_API_KEY\"]}, {os.path.basename(__file__)}'.encode()]
";
    python_project(folder, agent).await;
    let planned = deploy(folder, &moto, &["--plan"]).await;
    assert!(planned.succeeded && planned.printed.contains("the image that was named"), "an image goes before code: {}", planned.printed);
    let planned = frontdesk(folder, &["deploy", "--plan", "--endpoint", &moto.url, "--pause-ms", "10", "--proxy-image", IMAGES[3]]).await;
    assert!(planned.succeeded, "{}", planned.printed);
    assert!(run(folder, "python3", &["-m", "zipfile", "-e", ".frontdesk/packages/agent.zip", "unpacked"]).await.succeeded);
    let secret = ["secretsmanager", "create-secret", "--name", "key", "--secret-string", "gsk-of-the-test"];
    let secret = aws(folder, &moto, &secret).await["ARN"].as_str().unwrap().to_owned();

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("python3");
    command.arg("unpacked/frontdesk_start.py").current_dir(folder).env_clear().kill_on_drop(true);
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b");
    command.env("AWS_ENDPOINT_URL", &moto.url).env("HOST", "127.0.0.1").env("PORT", port.to_string());
    command.env("FRONTDESK_ENTRY_POINT", "agent.py:application");
    command.env("FRONTDESK_AGENT_API_KEY_SECRET", secret).env("FRONTDESK_AGENT_API_KEY_VARIABLE", "GROQ_API_KEY");
    let mut process = command.spawn().unwrap();
    let said = loop {
        assert!(process.try_wait().unwrap().is_none(), "the agent has ended");
        let asked = run(folder, "curl", &["--silent", "--noproxy", "*", &format!("http://127.0.0.1:{port}/ping")]).await;
        if asked.succeeded {
            break asked.printed;
        }
    };
    assert_eq!(said, "Hello from a wheel, gsk-of-the-test, agent.py");

    // Without what fetches the key there is no package.
    settings(folder, "model = \"groq:x\"\n[gateway]\nagent = \"greeter\"\n");
    let refused = frontdesk(folder, &["deploy", "--plan", "--endpoint", &moto.url, "--proxy-image", IMAGES[3]]).await;
    assert!(!refused.succeeded && refused.printed.contains("name boto3 in its requirements"), "{}", refused.printed);
}

#[tokio::test]
async fn an_agent_that_cannot_go_to_aws_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let check = async |words: &str| {
        let ran = frontdesk(folder, &["deploy", "--print", "template"]).await;
        assert!(!ran.succeeded && ran.printed.contains(words), "`{words}` is not in\n{}", ran.printed);
    };
    settings(folder, "[gateway]\nagent = \"greeter\"\n");
    check("gateway.agent is greeter, whose project must be in this folder").await;
    python_project(folder, "").await;
    assert!(frontdesk(folder, &["configure", "-e", "agent.py", "--name", "greeter", "--protocol", "mcp"]).await.succeeded);
    check("speaks MCP").await;
    assert!(frontdesk(folder, &["configure", "--image", "greeter:latest", "--name", "greeter", "--protocol", "http"]).await.succeeded);
    check("--image URI").await;
}

#[tokio::test]
async fn settings_that_do_not_fit_aws_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |more: &str, word: &str| {
        settings(folder.path(), more);
        let ran = frontdesk(folder.path(), &["deploy", "--print", "template"]).await;
        assert!(!ran.succeeded && ran.printed.contains(word), "{more}: {}", ran.printed);
    };
    // The guide's.
    check("function_timeout_s = 60", "deploy.function_timeout_s is 60").await;
    check("log_retention_days = 31", "deploy.log_retention_days is 31").await;
    check("alarm_address = \"nobody\"", "deploy.alarm_address").await;
    check("session_s_max = 60", "deploy.idle_session_s is 900").await;
    check("[gateway]\nstage = \"my-stage\"", "gateway.stage is \"my-stage\"").await;
    check("[access_log]\nformat = \"$context.status\"", "$context.requestId").await;
    check("[agent]\nmodel = \"openai:x\"\nbase_url = \"http://localhost:11434/v1\"", "agent.base_url").await;
}

/// The template as printed, with a model that needs a key, an address for alarms, each format of the access log, and an agent in Python.
#[tokio::test]
async fn the_linters_find_nothing_in_the_template() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    python_project(folder, "").await;
    for (number, (format, agent)) in [("json", ""), ("clf", ""), ("json", "[gateway]\nagent = \"greeter\"\n")].into_iter().enumerate() {
        let more = format!("model = \"groq:x\"\nalarm_address = \"ops@lauki.example\"\n{agent}[access_log]\nformat = \"{format}\"\n");
        settings(folder, &more);
        let printed = frontdesk(folder, &["deploy", "--print", "template"]).await;
        assert!(printed.succeeded, "{}", printed.printed);
        let file = format!("template-{number}.json");
        std::fs::write(folder.join(&file), &printed.printed).unwrap();
        let linted = run(folder, "cfn-lint", &["--regions", "us-east-1", "eu-central-1", "--", &file]).await;
        assert!(linted.succeeded && linted.printed.trim().is_empty(), "{}", linted.printed);
        let judged = run(folder, "cfripper", &[&file, "--format", "json", "--resolve"]).await;
        let verdict = judged.printed.lines().find(|line| line.starts_with("{\"exceptions\"")).unwrap_or(&judged.printed);
        assert_eq!(verdict, r#"{"exceptions":[],"failures":[]}"#, "{}", judged.printed);
    }
}

/// The policy in the documentation, for the default name; `FRONTDESK_TEST_UPDATE=1` writes it anew.
#[tokio::test]
async fn the_documented_policy_is_the_one_that_the_tables_make() {
    let folder = tempfile::tempdir().unwrap();
    let printed = frontdesk(folder.path(), &["deploy", "--print", "policy"]).await;
    assert!(printed.succeeded, "{}", printed.printed);
    let path = repository().join("docs/deploy.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- policy -->\n```json\n").expect("the page has a place for the policy");
    let (_, after) = rest.split_once("```").unwrap();
    let wanted = format!("{before}<!-- policy -->\n```json\n{}```{after}", printed.printed);
    if std::env::var_os("FRONTDESK_TEST_UPDATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == wanted,
        "docs/deploy.md shows another policy; FRONTDESK_TEST_UPDATE=1 writes it anew"
    );
}
