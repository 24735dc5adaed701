//! Credentials and regions where every AWS tool finds them: this test runs itself as a child, once for each environment, and asks a double of STS who it is.

use std::convert::Infallible;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use frontdesk_deploy::call::{Aws, AwsOptions};

const CHILD: &str = "FRONTDESK_TEST_CREDENTIALS_CHILD";
const IDENTITY: &str = "<R><Account>123456789012</Account><Arn>arn:aws:iam::123456789012:user/ada</Arn></R>";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if std::env::var_os(CHILD).is_some() {
        return runtime.block_on(child());
    }
    runtime.block_on(async { cases(&Double::start().await) });
    ExitCode::SUCCESS
}

/// Asks who the environment's credentials belong to.
async fn child() -> ExitCode {
    let ask = async {
        let aws = Aws::from_environment(&AwsOptions::default()).await?;
        let account = aws.account().await?;
        println!("{} {}", aws.region(), account.id);
        Ok::<_, frontdesk_deploy::call::CallError>(())
    };
    match ask.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// STS, and the place where a container finds its role's credentials.
struct Double {
    url: String,
    /// `Credential=…` and the session token of each call.
    signed: Arc<Mutex<Vec<String>>>,
}

impl Double {
    async fn start() -> Double {
        let signed = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&signed));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Double { url, signed }
    }
}

async fn answer(State(signed): State<Arc<Mutex<Vec<String>>>>, request: Request) -> Result<String, Infallible> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    if request.uri().path() == "/role" {
        let role = r#"{"AccessKeyId":"AKROLE","SecretAccessKey":"s","Token":"role-token","Expiration":"2099-01-01T00:00:00Z"}"#;
        return Ok(if header("authorization") == "a-proof" { role.to_owned() } else { String::new() });
    }
    let authorization = header("authorization");
    let credential = authorization.split("Credential=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    let parts: Vec<_> = credential.split('/').collect();
    signed.lock().unwrap().push(format!("{} {} {}", parts[0], parts[2], header("x-amz-security-token")).trim().to_owned());
    Ok(IDENTITY.to_owned())
}

fn cases(double: &Double) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let process =
        r#"credential_process = echo '{"Version":1,"AccessKeyId":"AKPROCESS","SecretAccessKey":"s","SessionToken":"process-token"}'"#;
    let text = format!(
        "[default]\nregion = eu-west-3\n[profile work]\nregion = ap-south-1\naws_access_key_id = AKWORK\naws_secret_access_key = s\n[profile tool]\nregion = sa-east-1\n{process}\n[profile sso]\nregion = eu-west-1\nsso_session = company\nsso_account_id = 123456789012\nsso_role_name = Admin\n[sso-session company]\nsso_region = eu-west-1\nsso_start_url = https://company.awsapps.com/start\n"
    );
    std::fs::write(&config, text).unwrap();
    let role = format!("{}/role", double.url);
    let keys = [("AWS_ACCESS_KEY_ID", "AKENV"), ("AWS_SECRET_ACCESS_KEY", "s")];

    // The child's variables, what it prints, and as whom it signed.
    let check = |variables: &[(&str, &str)], printed: &str, signed: Option<&str>| {
        double.signed.lock().unwrap().clear();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.env_clear().env(CHILD, "1").env("HOME", folder.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        child.env("AWS_ENDPOINT_URL", &double.url).env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
        let ran = child.output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        assert!(said.contains(printed), "{variables:?}: `{said}` lacks `{printed}`; {}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.success(), signed.is_some(), "{variables:?}: {said}");
        assert_eq!(double.signed.lock().unwrap().first().map(String::as_str), signed, "{variables:?}");
        println!("ok: {variables:?}");
    };
    let file = ("AWS_CONFIG_FILE", config.to_str().unwrap());
    check(&[keys[0], keys[1], ("AWS_REGION", "eu-west-1")], "eu-west-1 123456789012", Some("AKENV eu-west-1"));
    check(
        &[keys[0], keys[1], ("AWS_SESSION_TOKEN", "t"), ("AWS_REGION", "eu-west-1")],
        "eu-west-1 123456789012",
        Some("AKENV eu-west-1 t"),
    );
    check(&[file, ("AWS_PROFILE", "work")], "ap-south-1 123456789012", Some("AKWORK ap-south-1"));
    check(&[file, ("AWS_PROFILE", "tool")], "sa-east-1 123456789012", Some("AKPROCESS sa-east-1 process-token"));
    check(
        &[file, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &role), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a-proof")],
        "eu-west-3 123456789012",
        Some("AKROLE eu-west-3 role-token"),
    );
    check(&[keys[0], keys[1]], "no AWS region is set: give --region, or set AWS_REGION", None);
    check(&[("AWS_REGION", "eu-west-1")], "found no AWS credentials", None);
    check(&[file, ("AWS_PROFILE", "sso")], "after `aws sso login`, if the profile uses SSO", None);
    // A service's own address goes before the address of all: nobody listens at the latter.
    let endpoints = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ENDPOINT_URL_STS", double.url.as_str())];
    check(&[keys[0], keys[1], ("AWS_REGION", "eu-west-1"), endpoints[0], endpoints[1]], "eu-west-1 123456789012", Some("AKENV eu-west-1"));
}
