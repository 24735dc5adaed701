//! The deployer against a scripted AWS: what it does in which order, and what it says when something goes wrong half way.

mod double;

use std::time::Duration;

use double::{Double, Scripted, says};
use frontdesk_aws::Credentials;
use frontdesk_deploy::call::{Account, Aws, Retries};
use frontdesk_deploy::deployer::{DeployError, Deployer, Outcome, Progress, Removed, Wanted, undeploy};
use frontdesk_deploy::python_package::PythonPackage;
use frontdesk_deploy::stack::{self, StackName, outputs};

/// Short, for no test waits for a server to recover.
const RETRIES: Retries = Retries { times_max: 2, delay_min: Duration::from_millis(1), delay_max: Duration::from_millis(2) };
const STACK_ID: &str = "arn:aws:cloudformation:eu-west-1:123456789012:stack/faq/1";

fn aws(double: &Double) -> Aws {
    Aws::new(Credentials::new("AKIDEXAMPLE", "secret"), "eu-west-1", Some(&double.url)).unwrap().with_retries(RETRIES)
}

fn name() -> StackName {
    StackName::new("faq").unwrap()
}

fn refused(code: &str, message: &str) -> Scripted {
    let body = format!("<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>");
    says(400, &[], &body)
}

fn no_stack() -> Scripted {
    refused("ValidationError", "Stack with id faq does not exist")
}

fn stack_with(status: &str, tag: &str, more: &str) -> Scripted {
    let body = format!(
        "<R><DescribeStacksResult><Stacks><member><StackId>{STACK_ID}</StackId><StackName>faq</StackName><StackStatus>{status}</StackStatus>\
         <Tags><member><Key>made-by</Key><Value>{tag}</Value></member></Tags>\
         <Outputs><member><OutputKey>ApiId</OutputKey><OutputValue>abc123</OutputValue></member>\
         <member><OutputKey>ApiKeyId</OutputKey><OutputValue>k1</OutputValue></member>\
         <member><OutputKey>AgentArn</OutputKey><OutputValue>arn:runtime/faq-1</OutputValue></member></Outputs>{more}</member></Stacks></DescribeStacksResult></R>"
    );
    says(200, &[], &body)
}

fn stack_in(status: &str) -> Scripted {
    stack_with(status, "frontdesk", "")
}

fn account(role: Option<&str>) -> Scripted {
    says(200, &[], &role.map_or_else(|| "{}".to_owned(), |role| format!(r#"{{"cloudwatchRoleArn":"{role}"}}"#)))
}

fn change_set_made() -> Scripted {
    says(200, &[], "<R><CreateChangeSetResult><Id>arn:cs/1</Id></CreateChangeSetResult></R>")
}

fn change_set(status: &str, reason: &str, changes: &[&str]) -> Scripted {
    let change = |resource: &&str| {
        format!(
            "<member><ResourceChange><Action>Add</Action><LogicalResourceId>{resource}</LogicalResourceId>\
             <ResourceType>AWS::Lambda::Function</ResourceType></ResourceChange></member>"
        )
    };
    let changes: String = changes.iter().map(change).collect();
    let body = format!(
        "<R><DescribeChangeSetResult><Status>{status}</Status><StatusReason>{reason}</StatusReason><StackId>{STACK_ID}</StackId>\
         <Changes>{changes}</Changes></DescribeChangeSetResult></R>"
    );
    says(200, &[], &body)
}

/// Events, newest first as CloudFormation tells them: id, resource, status, reason.
fn events(events: &[(&str, &str, &str, &str)]) -> Scripted {
    let event = |(id, resource, status, reason): &(&str, &str, &str, &str)| {
        let kind = if *resource == "faq" { "AWS::CloudFormation::Stack" } else { "AWS::Lambda::Function" };
        format!(
            "<member><EventId>{id}</EventId><LogicalResourceId>{resource}</LogicalResourceId><ResourceType>{kind}</ResourceType>\
             <ResourceStatus>{status}</ResourceStatus><ResourceStatusReason>{reason}</ResourceStatusReason></member>"
        )
    };
    let events: String = events.iter().map(event).collect();
    says(200, &[], &format!("<R><DescribeStackEventsResult><StackEvents>{events}</StackEvents></DescribeStackEventsResult></R>"))
}

fn done() -> Scripted {
    says(200, &[], "<R/>")
}

/// What was called, in order, by the operation's or the path's name.
fn called(double: &Double) -> Vec<String> {
    let name = |(parts, body): (http::request::Parts, axum::body::Bytes)| {
        let body = String::from_utf8_lossy(&body).into_owned();
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).map(str::to_owned);
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()?.rsplit('.').next().map(str::to_owned));
        action.or(target).unwrap_or_else(|| parts.uri.path().to_owned())
    };
    double.asked().into_iter().map(name).collect()
}

/// What one deployment came to, and what was told meanwhile.
struct Ran {
    outcome: Result<Outcome, DeployError>,
    told: Vec<String>,
    double: Double,
}

async fn deploy(script: Vec<Scripted>) -> Ran {
    let double = Double::start(script).await;
    let aws = aws(&double);
    let deployer = Deployer { aws: &aws, pause: Duration::ZERO };
    let name = name();
    let wanted = Wanted { name: &name, template: "{\"Resources\":{}}", parameters: vec![(stack::AGENT_IMAGE, "image".to_owned())] };
    let mut told = Vec::new();
    let outcome = deployer.deploy(&wanted, &mut |progress| told.push(format!("{progress:?}"))).await;
    Ran { outcome, told, double }
}

#[tokio::test]
async fn a_first_deployment_is_planned_executed_and_watched() {
    let ran = deploy(vec![
        no_stack(),
        account(None),
        change_set_made(),
        change_set("CREATE_IN_PROGRESS", "", &[]),
        change_set("CREATE_COMPLETE", "", &["Proxy"]),
        events(&[("1", "faq", "REVIEW_IN_PROGRESS", "")]),
        done(),
        stack_in("CREATE_IN_PROGRESS"),
        events(&[("2", "Proxy", "CREATE_IN_PROGRESS", ""), ("1", "faq", "REVIEW_IN_PROGRESS", "")]),
        stack_in("CREATE_COMPLETE"),
        events(&[("3", "Proxy", "CREATE_COMPLETE", ""), ("2", "Proxy", "CREATE_IN_PROGRESS", "")]),
        stack_in("CREATE_COMPLETE"),
    ])
    .await;
    let outcome = ran.outcome.unwrap();
    assert!(matches!(&outcome, Outcome::Deployed(stack) if stack.output(outputs::API_ID).unwrap() == "abc123"), "{outcome:?}");
    let asked = ran.double.asked();
    let made = String::from_utf8_lossy(&asked[2].1).into_owned();
    for part in
        ["ChangeSetType=CREATE", "Capabilities.member.1=CAPABILITY_IAM", "made-by", "ParameterKey=MakeLogRole&", "ParameterValue=true"]
    {
        assert!(made.contains(part), "{made} lacks {part}");
    }
    // The event of before is not told again.
    let happened = ran.told.iter().filter(|told| told.starts_with("Happened")).count();
    assert_eq!(happened, 2, "{:?}", ran.told);
    assert!(ran.told[0].starts_with("Planned") && ran.told[0].contains("Proxy"), "{:?}", ran.told);
    assert_eq!(called(&ran.double)[6], "ExecuteChangeSet");
}

#[tokio::test]
async fn a_long_silence_is_broken_with_what_is_under_way() {
    let mut script = vec![no_stack(), account(None), change_set_made(), change_set("CREATE_COMPLETE", "", &["Proxy"]), events(&[]), done()];
    let before = || events(&[("2", "AgentRuntime", "CREATE_IN_PROGRESS", ""), ("1", "Proxy", "CREATE_COMPLETE", "")]);
    for _ in 0..25 {
        script.extend([stack_in("CREATE_IN_PROGRESS"), before()]);
    }
    script.extend([stack_in("CREATE_COMPLETE"), before(), stack_in("CREATE_COMPLETE")]);
    let ran = deploy(script).await;
    assert!(matches!(ran.outcome, Ok(Outcome::Deployed(_))), "{:?}", ran.outcome);
    let told = ran.told.iter().filter(|told| *told == "StillAt({\"AgentRuntime\"})").count();
    assert_eq!(told, 2, "after ten quiet looks and after twenty: {:?}", ran.told);
}

#[tokio::test]
async fn a_role_that_the_account_has_is_not_made_again() {
    let script =
        vec![no_stack(), account(Some("arn:aws:iam::123456789012:role/theirs")), refused("ValidationError", "Template format error.")];
    let ran = deploy(script).await;
    let made = String::from_utf8_lossy(&ran.double.asked()[2].1).into_owned();
    assert!(made.contains("ParameterKey=MakeLogRole&") && made.contains("ParameterValue=false"), "{made}");
    assert_eq!(ran.outcome.unwrap_err().to_string(), "CloudFormation refuses the change: Template format error. Nothing was changed");
}

#[tokio::test]
async fn a_stack_that_made_the_role_keeps_it() {
    let parameters =
        "<Parameters><member><ParameterKey>MakeLogRole</ParameterKey><ParameterValue>true</ParameterValue></member></Parameters>";
    let ran = deploy(vec![stack_with("CREATE_COMPLETE", "frontdesk", parameters), refused("ValidationError", "no")]).await;
    let made = String::from_utf8_lossy(&ran.double.asked()[1].1).into_owned();
    assert!(made.contains("ParameterValue=true") && made.contains("ChangeSetType=UPDATE"), "{made}");
}

#[tokio::test]
async fn what_is_unchanged_is_said_to_be() {
    let reason = "The submitted information didn't contain changes. Submit different information to create a change set.";
    let ran = deploy(vec![stack_in("UPDATE_COMPLETE"), account(None), change_set_made(), change_set("FAILED", reason, &[]), done()]).await;
    assert!(matches!(ran.outcome.unwrap(), Outcome::Unchanged(_)));
    assert_eq!(ran.told, Vec::<String>::new());
    assert_eq!(called(&ran.double).last().unwrap(), "DeleteChangeSet");
}

#[tokio::test]
async fn the_first_failure_is_the_reason_and_the_rollback_is_told() {
    let check = async |first: Scripted, status: &str, after: &str| {
        let is_new = status == "ROLLBACK_COMPLETE";
        let failed = events(&[
            ("5", "Stage", "CREATE_FAILED", "Resource creation cancelled"),
            ("4", "Proxy", "CREATE_FAILED", "The role defined for the function cannot be assumed by Lambda."),
            ("3", "Other", "CREATE_FAILED", "Resource creation cancelled"),
        ]);
        let mut script = vec![first, account(None), change_set_made(), change_set("CREATE_COMPLETE", "", &["Proxy"])];
        script.extend([events(&[]), done(), stack_in("ROLLBACK_IN_PROGRESS"), failed, stack_in(status), events(&[("5", "", "", "")])]);
        let ran = deploy(script).await;
        let error = ran.outcome.unwrap_err().to_string();
        let cause = "Proxy (AWS::Lambda::Function) failed: The role defined for the function cannot be assumed by Lambda. ";
        assert_eq!(error, format!("{cause}{after}"), "new: {is_new}");
    };
    check(no_stack(), "ROLLBACK_COMPLETE", "What had been made was removed again; the next deployment starts anew").await;
    check(stack_in("UPDATE_COMPLETE"), "UPDATE_ROLLBACK_COMPLETE", "The stack was rolled back, and runs as before").await;
}

#[tokio::test]
async fn what_is_left_of_a_failed_creation_is_removed_first() {
    let ran = deploy(vec![
        stack_in("ROLLBACK_COMPLETE"),
        done(),
        stack_in("DELETE_COMPLETE"),
        events(&[]),
        account(None),
        refused("ValidationError", "enough"),
    ])
    .await;
    // Watched from its first event on, since nobody looked before.
    assert_eq!(called(&ran.double)[..4], ["DescribeStacks", "DeleteStack", "DescribeStacks", "DescribeStackEvents"]);
    assert!(ran.told[0].starts_with("RemovingFailedStack"), "{:?}", ran.told);
    let made = String::from_utf8_lossy(&ran.double.asked()[5].1).into_owned();
    assert!(made.contains("ChangeSetType=CREATE"), "{made}");
}

#[tokio::test]
async fn what_is_another_s_or_at_work_is_left_alone() {
    let check = async |script: Vec<Scripted>, words: &[&str]| {
        let calls = script.len();
        let ran = deploy(script).await;
        let error = ran.outcome.unwrap_err().to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "`{error}` lacks `{word}`"));
        assert_eq!(called(&ran.double).len(), calls, "{:?}", called(&ran.double));
    };
    check(vec![stack_with("CREATE_COMPLETE", "somebody", "")], &["stack faq exists and was not made by frontdesk", "deploy.stack_name"])
        .await;
    check(vec![stack_in("UPDATE_IN_PROGRESS")], &["being changed right now (UPDATE_IN_PROGRESS)"]).await;
    check(
        vec![stack_in("UPDATE_ROLLBACK_FAILED")],
        &["stuck in UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name faq", "frontdesk undeploy"],
    )
    .await;
    let overtaken = vec![
        stack_in("UPDATE_COMPLETE"),
        account(None),
        change_set_made(),
        change_set("CREATE_COMPLETE", "", &["Proxy"]),
        events(&[]),
        refused("InvalidChangeSetStatus", "ChangeSet cannot be executed in its current status of OBSOLETE"),
    ];
    check(overtaken, &["somebody else has changed the stack faq", "Nothing was changed"]).await;
    // Two deployments at once: the second's change set takes the first's place.
    let gone = || refused("ChangeSetNotFound", "ChangeSet [arn:cs/1] does not exist");
    let two = || vec![stack_in("UPDATE_COMPLETE"), account(None), change_set_made()];
    let mut while_waiting = two();
    while_waiting.push(gone());
    check(while_waiting, &["or deploys to it"]).await;
    let mut before_executing = two();
    before_executing.extend([change_set("CREATE_COMPLETE", "", &["Proxy"]), events(&[]), gone()]);
    check(before_executing, &["or deploys to it"]).await;
}

#[tokio::test]
async fn throttling_on_the_way_is_waited_out_and_expired_credentials_end_the_watch() {
    let before = || vec![no_stack(), account(None), change_set_made(), change_set("CREATE_COMPLETE", "", &["Proxy"]), events(&[]), done()];
    let mut throttled = before();
    throttled.insert(1, refused("Throttling", "Rate exceeded"));
    throttled.insert(0, refused("Throttling", "Rate exceeded"));
    throttled.extend([stack_in("CREATE_COMPLETE"), events(&[]), stack_in("CREATE_COMPLETE")]);
    assert!(matches!(deploy(throttled).await.outcome.unwrap(), Outcome::Deployed(_)));
    let mut expired = before();
    expired.push(refused("ExpiredToken", "The security token included in the request is expired"));
    let error = deploy(expired).await.outcome.unwrap_err().to_string();
    assert!(error.contains("credentials have expired, at cloudformation:DescribeStacks"), "{error}");
}

#[tokio::test]
async fn a_plan_leaves_nothing_behind() {
    let double = Double::start(vec![
        no_stack(),
        account(None),
        change_set_made(),
        change_set("CREATE_COMPLETE", "", &["Proxy", "Stage"]),
        done(),
        done(),
    ])
    .await;
    let aws = aws(&double);
    let name = name();
    let wanted = Wanted { name: &name, template: "{}", parameters: Vec::new() };
    let changes = Deployer { aws: &aws, pause: Duration::ZERO }.plan(&wanted).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.resource.as_str()).collect::<Vec<_>>(), ["Proxy", "Stage"]);
    assert_eq!(called(&double)[4..], ["DeleteChangeSet", "DeleteStack"]);
}

#[tokio::test]
async fn the_agent_s_logs_are_kept_as_long_as_wanted_whoever_made_their_groups() {
    let there = says(400, &[], r#"{"__type":"ResourceAlreadyExistsException","message":"there"}"#);
    let double = Double::start(vec![stack_in("CREATE_COMPLETE"), says(200, &[], ""), says(200, &[], ""), there, says(200, &[], "")]).await;
    let aws = aws(&double);
    let deployer = Deployer { aws: &aws, pause: Duration::ZERO };
    let stack = deployer.stack(&name()).await.unwrap();
    deployer.keep_agent_logs(&stack, 30).await.unwrap();
    assert_eq!(called(&double)[1..], ["CreateLogGroup", "PutRetentionPolicy", "CreateLogGroup", "PutRetentionPolicy"]);
    let last = String::from_utf8_lossy(&double.asked()[4].1).into_owned();
    assert_eq!(last, r#"{"logGroupName":"/aws/bedrock-agentcore/runtimes/faq-1-DEFAULT","retentionInDays":30}"#);
}

/// What one look after the secret did.
async fn store_key(script: Vec<Scripted>) -> (Result<String, DeployError>, Vec<String>, Double) {
    let double = Double::start(script).await;
    let aws = aws(&double);
    let mut told = Vec::new();
    let stored = Deployer { aws: &aws, pause: Duration::ZERO }
        .store_key(&name(), "gsk-very-secret", &mut |progress| told.push(format!("{progress:?}")))
        .await;
    (stored, told, double)
}

#[tokio::test]
async fn the_model_s_key_is_stored_once_and_shown_never() {
    let absent = || says(400, &[], r#"{"__type":"ResourceNotFoundException","message":"can't find the specified secret"}"#);
    let found = |maker: &str| says(200, &[], &format!(r#"{{"ARN":"arn:s","Tags":[{{"Key":"made-by","Value":"{maker}"}}]}}"#));
    let value = |value: &str| says(200, &[], &format!(r#"{{"SecretString":"{value}"}}"#));
    let check = async |script: Vec<Scripted>, expected: &[&str]| {
        let (stored, told, double) = store_key(script).await;
        assert_eq!(stored.unwrap(), "arn:s");
        assert_eq!(called(&double), expected);
        assert!(!told.join(" ").contains("gsk-very-secret"), "{told:?}");
    };
    check(vec![absent(), says(200, &[], r#"{"ARN":"arn:s"}"#)], &["DescribeSecret", "CreateSecret"]).await;
    check(vec![found("frontdesk"), value("gsk-very-secret")], &["DescribeSecret", "GetSecretValue"]).await;
    check(vec![found("frontdesk"), value("old"), says(200, &[], "{}")], &["DescribeSecret", "GetSecretValue", "PutSecretValue"]).await;
    let (stored, _, double) = store_key(vec![found("them")]).await;
    assert!(stored.unwrap_err().to_string().contains("secret faq/model-key exists and was not made by frontdesk"));
    assert_eq!(called(&double), ["DescribeSecret"]);
}

#[tokio::test]
async fn a_question_is_asked_until_it_is_answered_or_cannot_be() {
    let ask = async |script: Vec<Scripted>| {
        let double = Double::start(script).await;
        let aws = aws(&double);
        let mut waits = 0;
        let mut count = |progress: Progress<'_>| waits += usize::from(matches!(progress, Progress::NotYet(_)));
        let deployer = Deployer { aws: &aws, pause: Duration::ZERO };
        let said = deployer.ask(&format!("{}/prod/invoke", double.url), "key", "Hello?", &mut count).await;
        (said.map_err(|error| error.to_string()), waits, double)
    };
    let forbidden = || says(403, &[], r#"{"message":"Forbidden"}"#);
    let (said, waits, double) = ask(vec![forbidden(), says(504, &[], "{}"), says(200, &[], r#"{"result":"Hi"}"#)]).await;
    assert_eq!((said, waits), (Ok("Hi".to_owned()), 2));
    assert_eq!(double.asked()[0].0.headers["x-api-key"], "key");
    let (said, waits, _) = ask(vec![says(400, &[], r#"{"error":"Missing required field: prompt"}"#)]).await;
    assert!(said.unwrap_err().contains("answers 400: {\"error\":\"Missing required field: prompt\"}"));
    assert_eq!(waits, 0);
    let (said, ..) = ask((0..12).map(|_| forbidden()).collect()).await;
    assert!(said.unwrap_err().contains("answers 403"));
}

/// A bucket's tags: one.
fn tags(key: &str, value: &str) -> Scripted {
    says(200, &[], &format!("<Tagging><TagSet><Tag><Key>{key}</Key><Value>{value}</Value></Tag></TagSet></Tagging>"))
}

/// What becomes of a package of code when S3 answers so.
async fn store_code(script: Vec<Scripted>) -> (Result<bool, String>, Vec<String>) {
    let double = Double::start(script).await;
    let aws = aws(&double);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.zip");
    std::fs::write(&path, "zip").unwrap();
    let package = PythonPackage { path, sha256: "ab".repeat(32), bytes: 3, files: 1, modules: Default::default() };
    let account = Account { id: "123456789012".to_owned(), arn: "arn:aws:iam::123456789012:user/ada".to_owned() };
    let stored = Deployer { aws: &aws, pause: Duration::ZERO }.store_code(&account, &name(), &package).await;
    let calls =
        double.asked().into_iter().map(|(parts, _)| format!("{} {}", parts.method, parts.uri.query().unwrap_or_default())).collect();
    (stored.map(|stored| stored.is_new).map_err(|error| error.to_string()), calls)
}

#[tokio::test]
async fn code_goes_into_a_bucket_of_the_stack_s_own_and_into_no_other() {
    let error = |status, code: &str| says(status, &[], &format!("<Error><Code>{code}</Code><Message>no</Message></Error>"));
    let listed =
        |key: &str| says(200, &[], &format!("<R><Version><Key>{key}</Key><VersionId>1</VersionId><IsLatest>true</IsLatest></Version></R>"));
    let there = format!("agent/{}.zip", "ab".repeat(32));
    let (stored, calls) = store_code(vec![error(404, "NoSuchBucket"), done(), done(), done(), done()]).await;
    assert_eq!(stored, Ok(true));
    assert_eq!(calls, ["GET tagging=", "PUT ", "GET prefix=agent&versions=", "PUT tagging=", "PUT "]);
    // One whose tags were never written, because the deployment was cut off.
    assert_eq!(store_code(vec![error(404, "NoSuchTagSet"), done(), done(), done()]).await.0, Ok(true));
    assert_eq!(store_code(vec![tags("made-by", "frontdesk"), listed(&there)]).await.0, Ok(false));
    assert_eq!(store_code(vec![tags("made-by", "frontdesk"), listed("agent/other.zip"), done()]).await.0, Ok(true));

    let check = async |script: Vec<Scripted>, words: &str| {
        let (stored, calls) = store_code(script).await;
        let error = stored.unwrap_err();
        assert!(error.contains(words), "`{error}` lacks `{words}`");
        assert!(!calls.iter().any(|call| call == "PUT tagging="), "{calls:?}");
    };
    check(vec![error(404, "NoSuchTagSet"), listed("theirs")], "was not made by frontdesk").await;
    check(vec![tags("made-by", "somebody"), done()], "was not made by frontdesk").await;
    check(vec![error(403, "AccessDenied")], "(which must be account 123456789012's) is missing").await;
    check(vec![error(404, "NoSuchBucket"), error(409, "BucketAlreadyExists")], "(another account's) exists").await;
}

#[tokio::test]
async fn undeploying_removes_what_was_made_and_names_what_stays() {
    let resources = "<R><StackResourceSummaries>\
        <member><LogicalResourceId>LogRole</LogicalResourceId><PhysicalResourceId>faq-LogRole-X</PhysicalResourceId>\
        <ResourceType>AWS::IAM::Role</ResourceType><ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>\
        <member><LogicalResourceId>Proxy</LogicalResourceId><ResourceType>AWS::Lambda::Function</ResourceType>\
        <ResourceStatus>CREATE_COMPLETE</ResourceStatus></member></StackResourceSummaries></R>";
    let run = async |script: Vec<Scripted>| {
        let double = Double::start(script).await;
        let aws = aws(&double);
        let deployer = Deployer { aws: &aws, pause: Duration::ZERO };
        let account = Account { id: "123456789012".to_owned(), arn: "arn:aws:iam::123456789012:user/ada".to_owned() };
        (undeploy(&deployer, &account, &name(), &mut |_| {}).await, double)
    };
    let absent = || says(400, &[], r#"{"__type":"ResourceNotFoundException","message":"no"}"#);
    let (done_, double) = run(vec![
        stack_in("CREATE_COMPLETE"),
        says(200, &[], resources),
        says(200, &[], r#"{"item":[{"id":"k1","name":"first","enabled":true},{"id":"k2","name":"theirs"},{"id":"k3","name":"beside","tags":{"frontdesk-stack":"faq"}}]}"#),
        events(&[("9", "faq", "CREATE_COMPLETE", "")]),
        done(),
        stack_in("DELETE_IN_PROGRESS"),
        events(&[("10", "Proxy", "DELETE_COMPLETE", ""), ("9", "faq", "CREATE_COMPLETE", "")]),
        stack_in("DELETE_COMPLETE"),
        events(&[("10", "Proxy", "DELETE_COMPLETE", "")]),
        says(200, &[], "{}"),
        says(400, &[], r#"{"__type":"ResourceNotFoundException","message":"no group"}"#),
        says(202, &[], ""),
        says(200, &[], r#"{"ARN":"arn:s","Tags":[{"Key":"made-by","Value":"frontdesk"}]}"#),
        says(200, &[], "{}"),
        says(200, &[], r#"{"repositories":[{"repositoryArn":"arn:r","repositoryName":"faq/agent","repositoryUri":"host/faq/agent"}]}"#),
        says(200, &[], r#"{"tags":[{"Key":"made-by","Value":"frontdesk"}]}"#),
        says(200, &[], r#"{"imageDetails":[{"imageDigest":"sha256:a"},{"imageDigest":"sha256:b"}]}"#),
        says(200, &[], "{}"),
        says(200, &[], r#"{"repositories":[{"repositoryArn":"arn:r","repositoryName":"faq/proxy","repositoryUri":"host/faq/proxy"}]}"#),
        says(200, &[], r#"{"tags":[]}"#),
        tags("made-by", "frontdesk"),
        says(200, &[], "<R><DeleteMarker><Key>agent/a.zip</Key><VersionId>2</VersionId></DeleteMarker><Version><Key>agent/a.zip</Key><VersionId>1</VersionId></Version></R>"),
        says(204, &[], ""),
        says(204, &[], ""),
        says(204, &[], ""),
    ])
    .await;
    let removed = done_.unwrap();
    let logs = "log group /aws/bedrock-agentcore/runtimes/faq-1-live";
    let expected = ["stack faq (1 resources)", logs, "API key beside", "secret faq/model-key", "image repository faq/agent (2 images)"];
    assert_eq!(removed.removed[..5], expected);
    assert!(removed.removed[5].starts_with("bucket faq-code-") && removed.removed[5].ends_with("(2 objects)"), "{removed:?}");
    assert_eq!(removed.kept[0].what, "AWS::IAM::Role faq-LogRole-X");
    let calls = called(&double);
    assert!(calls.contains(&"/apikeys/k3".to_owned()) && !calls.contains(&"/apikeys/k2".to_owned()), "{calls:?}");
    // The proxy's repository lacks the mark.
    assert_eq!(calls.iter().filter(|call| *call == "DeleteRepository").count(), 1);

    let (refused_, double) = run(vec![stack_with("CREATE_COMPLETE", "somebody", "")]).await;
    assert!(matches!(refused_, Err(DeployError::NotOurs { .. })));
    assert_eq!(called(&double), ["DescribeStacks"]);

    let no_repository = || says(400, &[], r#"{"__type":"RepositoryNotFoundException","message":"no"}"#);
    let no_bucket = says(404, &[], "<Error><Code>NoSuchBucket</Code><Message>no</Message></Error>");
    let (nothing, _) = run(vec![no_stack(), absent(), no_repository(), no_repository(), no_bucket]).await;
    assert_eq!(nothing.unwrap(), Removed::default());
    let denied = says(403, &[], "<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
    let (unseen, _) = run(vec![no_stack(), absent(), no_repository(), no_repository(), denied]).await;
    assert_eq!(unseen.unwrap().kept[0].why, "the permission s3:GetBucketTagging is missing");
}
