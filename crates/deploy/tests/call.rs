//! Calls against a scripted AWS: what is sent, when it is sent again, and what is said when it is refused.

mod double;

use std::time::Duration;

use double::{Double, says};
use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{self, BodyHash, Scope};
use frontdesk_deploy::call::{Aws, Bucket, Call, CallError, RefusalKind, Retries, operation};

/// Short, for no test waits for a server to recover.
const RETRIES: Retries = Retries { times_max: 2, delay_min: Duration::from_millis(1), delay_max: Duration::from_millis(2) };
const IDENTITY: &str = r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
  <Arn>arn:aws:iam::123456789012:user/ada</Arn><UserId>AIDA</UserId><Account>123456789012</Account></GetCallerIdentityResult>
  <ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"#;

fn credentials() -> Credentials {
    Credentials::new("AKIDEXAMPLE", "secret").with_session_token("token")
}

fn aws(double: &Double) -> Aws {
    Aws::new(credentials(), "eu-west-1", Some(&double.url)).unwrap().with_retries(RETRIES)
}

/// Panics unless the request carries a good signature for `service`.
fn verify(parts: &http::request::Parts, body: &[u8], service: &str) {
    let lookup = |id: &frontdesk_aws::AccessKeyId| (id.as_str() == "AKIDEXAMPLE").then(credentials);
    let scope = Scope { region: "eu-west-1", service };
    sigv4::verify(parts, &BodyHash::of(body), scope, &sigv4::SigningKeys::new(), lookup, now()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the double verifies signatures against the moment they arrive")]
fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}

#[tokio::test]
async fn the_caller_is_asked_for_in_the_query_protocol() {
    let double = Double::start(vec![says(200, &[], IDENTITY)]).await;
    let aws = aws(&double);
    let account = aws.account().await.unwrap();
    assert_eq!((account.id.as_str(), account.arn.as_str()), ("123456789012", "arn:aws:iam::123456789012:user/ada"));
    assert_eq!(account.partition(), "aws");
    let asked = double.asked();
    assert_eq!(asked[0].1, "Action=GetCallerIdentity&Version=2011-06-15");
    verify(&asked[0].0, &asked[0].1, "sts");
    assert_eq!(aws.calls().into_iter().collect::<Vec<_>>(), [("sts:GetCallerIdentity".to_owned(), 1)]);
}

const BUCKET: Bucket<'static> = Bucket { name: "code", owner: "123456789012" };

/// A page of a bucket's list with one object.
fn page(key: &str, is_truncated: &str, more: &str) -> String {
    format!(
        "<R><IsTruncated>{is_truncated}</IsTruncated>{more}<Version><Key>{key}</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest></Version></R>"
    )
}

#[tokio::test]
async fn objects_keep_their_slashes_and_are_signed_once_encoded() {
    let double = Double::start(vec![
        says(200, &[], ""),
        says(
            200,
            &[],
            &page("a&amp;b.zip", "true", "<NextKeyMarker>a&amp;b.zip</NextKeyMarker><NextVersionIdMarker>v/1</NextVersionIdMarker>"),
        ),
        says(200, &[], &page("c.zip", "false", "")),
        says(204, &[], ""),
    ])
    .await;
    let aws = aws(&double);
    aws.put_object(&BUCKET, "agents/a b+c.zip", "application/zip", "bytes".into()).await.unwrap();
    let versions = aws.object_versions(&BUCKET, "a").await.unwrap();
    assert_eq!(
        versions.iter().map(|version| (version.key.as_str(), version.is_current)).collect::<Vec<_>>(),
        [("a&b.zip", true), ("c.zip", true)]
    );
    aws.delete_object_version(&BUCKET, &versions[0]).await.unwrap();
    let asked = double.asked();
    assert_eq!(asked[0].0.uri.path(), "/code/agents/a%20b%2Bc.zip");
    assert_eq!(asked[0].1, "bytes");
    assert_eq!(asked[2].0.uri.query(), Some("prefix=a&versions=&key-marker=a%26b.zip&version-id-marker=v%2F1"));
    assert_eq!(asked[3].0.uri.to_string(), "/code/a%26b.zip?versionId=v1");
    // A bucket of that name that is another's is never written to.
    asked.iter().for_each(|(parts, _)| assert_eq!(parts.headers["x-amz-expected-bucket-owner"], "123456789012"));
    asked.iter().for_each(|(parts, body)| verify(parts, body, "s3"));
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let throttled =
        r#"<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>"#;
    let double = Double::start(vec![says(400, &[], throttled), says(503, &[], "<html>busy</html>"), says(200, &[], IDENTITY)]).await;
    let aws = aws(&double);
    aws.account().await.unwrap();
    assert_eq!(double.asked().len(), 3);
    assert_eq!(aws.calls()["sts:GetCallerIdentity"], 3);
}

#[tokio::test]
async fn attempts_end() {
    let throttled = || says(429, &[("x-amzn-errortype", "TooManyRequestsException")], r#"{"message":"slow down"}"#);
    let double = Double::start(vec![throttled(), throttled(), throttled(), throttled()]).await;
    let error = aws(&double).account().await.unwrap_err();
    assert_eq!(double.asked().len(), 3);
    assert_eq!(error.refusal().unwrap().kind(), RefusalKind::Throttled);
    assert_eq!(
        error.to_string(),
        "sts:GetCallerIdentity on the caller's own identity is throttled, after several attempts: slow down (try again in a minute)"
    );
}

/// One refusal, which must not be tried again: its kind, and what the error says.
async fn check(answer: double::Scripted, kind: RefusalKind, words: &[&str]) {
    let double = Double::start(vec![answer]).await;
    let error = aws(&double).put_object(&BUCKET, "a.zip", "application/zip", "x".into()).await.unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.kind(), kind, "{refusal:?}");
    assert_eq!(double.asked().len(), 1, "{refusal:?}");
    let said = error.to_string();
    for word in ["s3:PutObject", "s3://code/a.zip"].iter().chain(words) {
        assert!(said.contains(word), "`{said}` lacks `{word}`");
    }
}

#[tokio::test]
async fn refusals_name_the_action_the_resource_and_what_to_do() {
    let xml = |code: &str, message: &str| {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message><RequestId>R9</RequestId></Error>")
    };
    check(
        says(403, &[("x-amz-request-id", "R1")], &xml("AccessDenied", "User ada is not authorized")),
        RefusalKind::Denied,
        &["User ada is not authorized", "allow s3:PutObject in a policy", "AWS_PROFILE", "[request R1]"],
    )
    .await;
    check(says(400, &[], &xml("ExpiredToken", "The provided token has expired")), RefusalKind::Expired, &["aws sso login", "[request R9]"])
        .await;
    let in_json = r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The security token is expired"}"#;
    check(says(400, &[("x-amzn-requestid", "R2")], in_json), RefusalKind::Expired, &["The security token is expired", "[request R2]"])
        .await;
    check(
        says(403, &[("x-amzn-errortype", "UnrecognizedClientException:http://x/")], r#"{"message":"invalid"}"#),
        RefusalKind::Unrecognized,
        &["UnrecognizedClientException", "check the access key"],
    )
    .await;
    let late = xml("SignatureDoesNotMatch", "Signature expired: 20261123T000000Z is now earlier than …");
    check(says(403, &[], &late), RefusalKind::ClockIsOff, &["set this machine's clock"]).await;
    check(says(409, &[], &xml("BucketAlreadyExists", "taken")), RefusalKind::Other, &["BucketAlreadyExists", "taken"]).await;
    check(says(400, &[], "<html>a proxy's page</html>"), RefusalKind::Other, &["400", "a proxy's page"]).await;
}

#[tokio::test]
async fn answers_that_break_the_protocol_are_told_as_such() {
    let check = async |body: &str, reason: &str| {
        let double = Double::start(vec![says(200, &[], body)]).await;
        let error = aws(&double).account().await.unwrap_err();
        assert!(matches!(&error, CallError::Malformed { action, .. } if action == "sts:GetCallerIdentity"), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    check("<GetCallerIdentityResponse><Account>1", "it is not XML").await;
    check("", "it is not XML").await;
    check("<GetCallerIdentityResponse/>", "it has no `Account`").await;
    check("<!DOCTYPE a [<!ENTITY x \"1\">]><a><Account>&x;</Account></a>", "it is not XML").await;
}

#[tokio::test]
async fn a_service_that_is_away_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let aws = Aws::new(credentials(), "eu-west-1", Some(&url)).unwrap().with_retries(RETRIES);
    let error = aws.account().await.unwrap_err();
    assert!(error.to_string().contains(&format!("failed to reach {url} for sts:GetCallerIdentity")), "{error}");
    assert_eq!(aws.calls()["sts:GetCallerIdentity"], 3);
}

#[tokio::test]
async fn a_path_s_missing_part_is_told_before_anything_is_sent() {
    let double = Double::start(Vec::new()).await;
    let error = aws(&double).send(Call::new(&operation::PUT_OBJECT, "nothing").bucket("code")).await.unwrap_err();
    assert!(error.to_string().contains("needs a `key`"), "{error}");
    assert!(double.asked().is_empty());
}
