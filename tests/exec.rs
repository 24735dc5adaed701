//! `frontdesk env`, `frontdesk exec` and the intercepting proxy: AWS's clients and hard-coded URLs reach a running host; strangers and other hosts do not get by.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frontdesk_tests::host::{Host, Setup, repository};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

/// The variables of `frontdesk env`.
async fn variables(host: &Host) -> Value {
    host.run_json(&["env", "--json"]).await
}

/// Sends one head to the control port and reads all that comes back.
async fn say(host: &Host, head: &str) -> String {
    let address = host.ready.control.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// A request's head with the proxy's credential.
async fn with_credential(host: &Host, request: &str) -> String {
    let proxy = variables(host).await["HTTPS_PROXY"].as_str().unwrap().to_owned();
    let credential = proxy.strip_prefix("http://").unwrap().split_once('@').unwrap().0.to_owned();
    let encoded = STANDARD.encode(credential);
    format!("{request} HTTP/1.1\r\nhost: x\r\nproxy-authorization: Basic {encoded}\r\nconnection: close\r\n\r\n")
}

fn check_status(heard: &str, expected: u16, about: &str) {
    assert!(heard.starts_with(&format!("HTTP/1.1 {expected} ")), "{about}: {heard}");
}

#[tokio::test]
async fn every_client_reaches_the_host_under_aws_s_names() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    // The same ways with the SDKs' own endpoint variable and without.
    for way in [&["exec", "--"][..], &["exec", "--proxy-only", "--"]] {
        let mut command = setup().command(folder.path());
        command.args(way).arg("python3").arg(repository().join("tests/clients/exec.py"));
        command.env("API_KEY", host.key()).env("AGENT_ARN", &host.ready.agent_runtime_arn);
        // What would lead elsewhere does not.
        command.env("NO_PROXY", "*").env("AWS_PROFILE", "of-somebody").env("AWS_SESSION_TOKEN", "old");
        command.env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
        let ran = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("every client reached this host"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    }
}

/// The one API of a fresh host.
async fn api_id(host: &Host) -> String {
    let ran = host.run(&["exec", "--", "aws", "apigateway", "get-rest-apis", "--query", "items[0].id", "--output", "text"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout.trim().to_owned()
}

#[tokio::test]
async fn java_s_own_clients_reach_the_host_with_no_word_of_it_in_their_code() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().variable("FRONTDESK_CONTROL_FOREIGN_HOSTS", "refuse").start(folder.path()).await;
    let mut command = setup().command(folder.path());
    command.args(["exec", "--proxy-only", "--", "java"]).arg(repository().join("tests/clients/Exec.java")).arg("https://example.com/");
    command.env("API_ID", api_id(&host).await).env("API_KEY", host.key()).env("AGENT_ARN", &host.ready.agent_runtime_arn);
    // A person's own options stay; those that lead elsewhere do not.
    command.env("JAVA_TOOL_OPTIONS", "-Dof.a.person=1 -Dhttps.proxyHost=192.0.2.1").env("JDK_JAVA_OPTIONS", "-Dhttp.nonProxyHosts=*");
    let ran = command.output().await.unwrap();
    let (said, errors) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("both of Java's clients reached this host"), "{said}{errors}");
    assert!(errors.contains("-Dof.a.person=1 -Dhttps.proxyHost=127.0.0.1"), "{errors}");
    // Java prints its options; the credential is none of them.
    let proxy = variables(&host).await["HTTPS_PROXY"].as_str().unwrap().to_owned();
    let password = proxy.split([':', '@']).nth(2).unwrap();
    assert!(password.len() == 64 && !errors.contains(password), "{errors}");
    // Other hosts are asked of the proxy too, which refuses them by this setting.
    assert_eq!(said.matches("refused: ").count(), 2, "{said}{errors}");

    // The same program without the credential in its environment proves nothing; without the host's certificates it trusts nobody.
    let java = |script: &str| {
        let mut command = setup().command(folder.path());
        command.args(["exec", "--proxy-only", "--", "sh", "-c", script, "sh"]).arg(repository().join("tests/clients/Exec.java"));
        command.env("API_ID", "a").env("API_KEY", "b").env("AGENT_ARN", "c");
        command
    };
    let ran = java("unset HTTPS_PROXY https_proxy; exec java \"$1\"").output().await.unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && errors.contains("407"), "{errors}");
    let without = "JDK_JAVA_OPTIONS=-Djavax.net.ssl.trustStore=/dev/null exec java \"$1\"";
    let ran = java(without).output().await.unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success() && errors.contains("SSLHandshakeException"), "{errors}");

    // Java's own tool reads the store: the authority's certificate is the first, the machine's roots come after.
    let keytool = "keytool -keystore .frontdesk/exec/trust-store.jks -storepass changeit";
    let ran = host.run(&["exec", "--", "sh", "-c", &format!("{keytool} -list && {keytool} -exportcert -rfc -alias root-1")]).await;
    let unbroken = |text: &str| text.replace(['\r', '\n'], "");
    let authority = std::fs::read_to_string(folder.path().join(".frontdesk/ca.pem")).unwrap();
    assert!(ran.code == Some(0) && unbroken(&ran.stdout).contains(&unbroken(&authority)), "{ran:?}");
    assert!(ran.stdout.matches("trustedCertEntry").count() > 10, "{}", ran.stdout);
}

#[tokio::test]
async fn a_client_that_shows_nothing_is_known_by_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let ask = "
import os, socket, sys
host, port = os.environ['CONTROL'].rsplit(':', 1)
connection = socket.create_connection((host, int(port)))
connection.sendall('\\r\\n'.join([sys.argv[1] + ' HTTP/1.1', 'host: x', *sys.argv[2:], '', '']).encode())
print(connection.recv(12).decode())
";
    let address = host.ready.control.strip_prefix("http://").unwrap();
    let ask = async |before: &[&str], request: &str, headers: &[&str]| {
        let mut command = setup().command(folder.path());
        command.args(["exec", "--", "env"]).args(before).args(["python3", "-c", ask, request]).args(headers).env("CONTROL", address);
        let ran = command.output().await.unwrap();
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    };
    let connect = "CONNECT sts.us-east-1.amazonaws.com:443";
    assert_eq!(ask(&[], connect, &[]).await, "HTTP/1.1 200");
    assert_eq!(ask(&["-u", "HTTPS_PROXY"], connect, &[]).await, "HTTP/1.1 200");
    // What is shown counts, also where it is wrong; and a whole URL shows it or is refused.
    assert_eq!(ask(&[], connect, &["proxy-authorization: Basic ZXhlYzp3cm9uZw=="]).await, "HTTP/1.1 407");
    assert_eq!(ask(&[], "GET https://sts.us-east-1.amazonaws.com/", &[]).await, "HTTP/1.1 407");
    // Started otherwise, or with another's.
    assert_eq!(ask(&["-u", "HTTPS_PROXY", "-u", "https_proxy"], connect, &[]).await, "HTTP/1.1 407");
    let others = format!("http://exec:{}@{address}", "0".repeat(64));
    let others = [format!("HTTPS_PROXY={others}"), format!("https_proxy={others}")];
    assert_eq!(ask(&[&others[0], &others[1]], connect, &[]).await, "HTTP/1.1 407");
}

#[tokio::test]
async fn a_shell_is_told_by_env_and_a_command_becomes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let ran = setup().run(folder.path(), &["exec", "--", "true"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("no host is running"), "{ran:?}");

    let host = setup().start(folder.path()).await;
    let executable = env!("CARGO_BIN_EXE_frontdesk");
    let script =
        format!("eval \"$({executable} env)\" && test -z \"$AWS_SESSION_TOKEN\" && aws sts get-caller-identity --query Arn --output text");
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder.path()).env("AWS_SESSION_TOKEN", "old");
    let ran = shell.output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "arn:aws:iam::000000000000:root\n", "{ran:?}");

    // A host of that shell would call itself through its own proxy.
    let script = format!("eval \"$({executable} env)\" && {executable} up");
    let mut shell = tokio::process::Command::new("sh");
    let ran = shell.args(["-c", &script]).current_dir(folder.path()).output().await.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(1) && said.contains("is that of `frontdesk env`") && said.contains("another shell"), "{ran:?}");

    for (command, code) in [(&["sh", "-c", "exit 7"][..], 7), (&["no-such-command"], 127), (&["/"], 126)] {
        let ran = host.run(&[&["exec", "--"], command].concat()).await;
        assert_eq!(ran.code, Some(code), "{command:?}: {ran:?}");
    }
    let mut killed = setup().command(folder.path());
    let status = killed.args(["exec", "--", "sh", "-c", "kill -USR1 $$"]).status().await.unwrap();
    assert_eq!(status.signal(), Some(10), "{status}");

    // From any folder, the toolkit is this program's.
    let ran = host.run(&["exec", "--", "sh", "-c", "cd / && agentcore --version && agentcore status -a lauki_faq"]).await;
    assert!(ran.stdout.starts_with("agentcore ") && ran.stdout.contains(&host.ready.agent_runtime_arn), "{ran:?}");
    // A person's own files of credentials are not touched.
    let ran =
        host.run(&["exec", "--", "sh", "-c", "printf '\\n\\n\\nno-such-output\\n' | aws configure; aws sts get-caller-identity"]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("root"), "{ran:?}");
    assert!(folder.path().join(".frontdesk/exec/aws-config").exists());

    assert_eq!(host.end("-KILL").await, None);
    let ran = setup().run(folder.path(), &["exec", "--", "true"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("does not answer"), "{ran:?}");
}

#[tokio::test]
async fn it_is_no_open_relay() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let sts = "sts.us-east-1.amazonaws.com:443";
    // No credential, a wrong one, one of another kind.
    for credential in ["", "proxy-authorization: Basic ZXhlYzp3cm9uZw==\r\n", "proxy-authorization: Bearer x\r\n"] {
        for request in [format!("CONNECT {sts}"), "CONNECT 127.0.0.1:9".to_owned(), "GET https://sts.us-east-1.amazonaws.com/".to_owned()] {
            let heard = say(&host, &format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{credential}\r\n")).await;
            check_status(&heard, 407, &request);
            assert!(heard.contains("proxy-authenticate: Basic realm="), "{heard}");
        }
    }
    // A host of AWS's is never passed on; one that is not is, without being read.
    let heard = say(&host, &with_credential(&host, "CONNECT sts.us-east-1.amazonaws.com:22").await).await;
    check_status(&heard, 403, "another port");
    let heard = say(&host, &with_credential(&host, "GET http://example.com/").await).await;
    check_status(&heard, 501, "a plain request for another host");
    let heard = say(&host, &with_credential(&host, "CONNECT 127.0.0.1:1").await).await;
    check_status(&heard, 502, "nobody listens");
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let foreign = format!("CONNECT localhost:{}", server.local_addr().unwrap().port());
    let answering = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        stream.write_all(b"not TLS at all").await.unwrap();
    });
    let heard = say(&host, &with_credential(&host, &foreign).await).await;
    check_status(&heard, 200, "another host");
    assert!(heard.ends_with("\r\n\r\nnot TLS at all"), "{heard}");
    answering.await.unwrap();

    // The key of the authority is its owner's alone, and is told nobody.
    let data_folder = folder.path().join(".frontdesk");
    let file = data_folder.join("local-ca.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let authority: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let bundle = std::fs::read_to_string(variables(&host).await["AWS_CA_BUNDLE"].as_str().unwrap()).unwrap();
    let certificate = authority["certificate"].as_str().unwrap().replace("\r\n", "\n");
    assert!(bundle.starts_with(&certificate) && !bundle.contains("PRIVATE KEY"));
    assert_eq!(std::fs::read_to_string(data_folder.join("ca.pem")).unwrap().replace("\r\n", "\n"), certificate);
    // A restart is the same authority, and the same credential.
    let before = variables(&host).await["HTTPS_PROXY"].clone();
    assert_eq!(host.end("-TERM").await, Some(0));
    let host = setup().variable("FRONTDESK_CONTROL_FOREIGN_HOSTS", "refuse").start(folder.path()).await;
    let password = |url: &Value| url.as_str().unwrap().split('@').next().unwrap().to_owned();
    assert_eq!(password(&variables(&host).await["HTTPS_PROXY"]), password(&before));
    assert_eq!(std::fs::read_to_string(data_folder.join("ca.pem")).unwrap().replace("\r\n", "\n"), certificate);
    // Nothing is let out where the settings say so.
    let heard = say(&host, &with_credential(&host, "CONNECT localhost:443").await).await;
    check_status(&heard, 403, "refused by the settings");
    assert!(heard.contains("control.foreign_hosts"), "{heard}");
}

#[tokio::test]
async fn tunnels_have_a_limit_and_places_come_back() {
    const TUNNELS_MAX: usize = 256;
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let head = with_credential(&host, &format!("CONNECT {}", server.local_addr().unwrap())).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            // Until its client is done.
            tokio::spawn(async move { stream.read(&mut [0]).await });
        }
    });
    let address = host.ready.control.strip_prefix("http://").unwrap();
    let connect = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        (String::from_utf8_lossy(&first).into_owned(), stream)
    };
    let mut tunnels = Vec::new();
    for _ in 0..TUNNELS_MAX {
        let (status, stream) = connect().await;
        assert_eq!(status, "HTTP/1.1 200");
        tunnels.push(stream);
    }
    assert_eq!(connect().await.0, "HTTP/1.1 503");
    // A client says what it was told.
    assert_eq!(host.run(&["exec", "--", "curl", "-sS", "https://sts.us-east-1.amazonaws.com/"]).await.code, Some(56));
    drop(tunnels);
    let freed = async { while connect().await.0 != "HTTP/1.1 200" {} };
    tokio::time::timeout(Duration::from_secs(60), freed).await.expect("a place comes back when its tunnel is closed");
    // An open tunnel does not hold the host up.
    let _open = connect().await;
    assert_eq!(host.end("-TERM").await, Some(0));
}

#[tokio::test]
async fn the_certificates_pass_openssl_s_strictest_check() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let variables = variables(&host).await;
    let proxy = variables["HTTPS_PROXY"].as_str().unwrap().strip_prefix("http://exec:").unwrap();
    let (password, address) = proxy.split_once('@').unwrap();
    let script = format!(
        "openssl s_client -proxy {address} -proxy_user exec -proxy_pass pass:{password} -connect iam.amazonaws.com:443 -servername iam.amazonaws.com \
         -CAfile .frontdesk/ca.pem -verify_hostname iam.amazonaws.com -x509_strict -verify_return_error -alpn h2 < /dev/null 2>&1"
    );
    let ran = tokio::process::Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().await.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("Verify return code: 0 (ok)") && said.contains("ALPN protocol: h2"), "{said}");
    let ran = tokio::process::Command::new("openssl")
        .args(["x509", "-in", ".frontdesk/ca.pem", "-noout", "-text"])
        .current_dir(folder.path())
        .output();
    let said = String::from_utf8(ran.await.unwrap().stdout).unwrap();
    for mark in ["CA:TRUE, pathlen:0", "Name Constraints: critical", "DNS:amazonaws.com", "IP:0.0.0.0/0.0.0.0"] {
        assert!(said.contains(mark), "{mark}: {said}");
    }
}
