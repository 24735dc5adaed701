//! Whole documents against whole requests.

use super::*;

const ACTION: &str = "bedrock-agentcore:InvokeAgentRuntime";
const RUNTIME: &str = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/faq-a1B2c3D4e5";

fn policy(statement: &str) -> Policy {
    Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)).expect(statement)
}

/// What the statements together say about invoking the runtime, in a context of `key=value` words.
fn check(statements: &[&str], context: &str, expected: Decision) {
    let policies: Vec<Policy> = statements.iter().map(|statement| policy(statement)).collect();
    let context = context.split_whitespace().fold(Context::new(), |context, pair| {
        let (key, value) = pair.split_once('=').expect("key=value");
        context.with(key, value)
    });
    assert_eq!(evaluate(&policies, ACTION, RUNTIME, &context), expected, "{statements:?} {context:?}");
}

const ALLOW_ALL: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;

#[test]
fn actions_and_resources() {
    use Decision::{Allowed, ExplicitDeny, ImplicitDeny};
    check(&[], "", ImplicitDeny);
    check(&[ALLOW_ALL], "", Allowed);
    check(&["[]"], "", ImplicitDeny);
    check(&[r#"[{"Sid":"One","Effect":"Allow","Action":["bedrock-agentcore:InvokeAgentRuntime"],"Resource":["*"]}]"#], "", Allowed);
    check(&[r#"{"Effect":"Allow","Action":"BEDROCK-agentcore:invoke*","Resource":"*"}"#], "", Allowed);
    check(&[r#"{"Effect":"Allow","Action":"bedrock-agentcore:InvokeAgentRuntim?","Resource":"*"}"#], "", Allowed);
    check(&[r#"{"Effect":"Allow","Action":"bedrock-agentcore:Stop*","Resource":"*"}"#], "", ImplicitDeny);
    check(&[r#"{"Effect":"Allow","Action":"bedrock:InvokeAgentRuntime","Resource":"*"}"#], "", ImplicitDeny);
    check(&[r#"{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}"#], "", Allowed);
    check(&[r#"{"Effect":"Allow","NotAction":["iam:*","bedrock-agentcore:*"],"Resource":"*"}"#], "", ImplicitDeny);

    let on = |resource: &str| format!(r#"{{"Effect":"Allow","Action":"*","Resource":"{resource}"}}"#);
    check(&[&on("arn:aws:bedrock-agentcore:*:123456789012:runtime/*")], "", Allowed);
    check(&[&on("arn:aws:bedrock-agentcore:*:123456789012:runtime/other-*")], "", ImplicitDeny);
    check(&[r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::*"}"#], "", Allowed);
    check(&[&format!(r#"{{"Effect":"Allow","Action":"*","NotResource":"{RUNTIME}"}}"#)], "", ImplicitDeny);

    check(&[ALLOW_ALL, r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#], "", ExplicitDeny);
    check(&[r#"{"Effect":"Deny","Action":"bedrock-agentcore:*","Resource":"*"}"#, ALLOW_ALL], "", ExplicitDeny);
    check(&[r#"{"Effect":"Deny","Action":"iam:*","Resource":"*"}"#, ALLOW_ALL], "", Allowed);
}

#[test]
fn conditions() {
    use Decision::{Allowed, ImplicitDeny};
    let check = |condition: &str, context: &str, expected: Decision| {
        check(&[&format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}"#)], context, expected);
    };
    check("{}", "", Allowed);
    check(r#"{"StringEquals":{"aws:SourceAccount":"1"}}"#, "aws:sourceaccount=1", Allowed);
    check(r#"{"StringEquals":{"aws:SourceAccount":["1","2"]}}"#, "aws:SourceAccount=2", Allowed);
    check(r#"{"StringEquals":{"aws:SourceAccount":"1"}}"#, "aws:SourceAccount=2", ImplicitDeny);
    check(r#"{"StringEquals":{"aws:SourceAccount":"1"}}"#, "", ImplicitDeny);
    check(r#"{"StringEquals":{"k":"*"}}"#, "k=x", ImplicitDeny);
    check(r#"{"StringNotEquals":{"k":["1","2"]}}"#, "k=2", ImplicitDeny);
    check(r#"{"StringNotEquals":{"k":["1","2"]}}"#, "k=3", Allowed);
    check(r#"{"StringNotEquals":{"k":"1"}}"#, "", Allowed);
    check(r#"{"StringEqualsIgnoreCase":{"k":"Abc"}}"#, "k=aBC", Allowed);
    check(r#"{"StringNotEqualsIgnoreCase":{"k":"Abc"}}"#, "k=aBC", ImplicitDeny);
    check(r#"{"StringLike":{"k":"a*d"}}"#, "k=abcd", Allowed);
    check(r#"{"StringLike":{"k":"a*d"}}"#, "k=abcde", ImplicitDeny);
    check(r#"{"StringNotLike":{"k":"a*"}}"#, "k=abc", ImplicitDeny);
    check(r#"{"StringEqualsIfExists":{"k":"1"}}"#, "", Allowed);
    check(r#"{"StringEqualsIfExists":{"k":"1"}}"#, "k=2", ImplicitDeny);
    check(r#"{"ArnLike":{"aws:SourceArn":"arn:aws:iam:*:1:role/*"}}"#, "aws:SourceArn=arn:aws:iam::1:role/R", Allowed);
    check(r#"{"ArnEquals":{"aws:SourceArn":"arn:aws:iam:*:1:role/*"}}"#, "aws:SourceArn=arn:aws:iam::2:role/R", ImplicitDeny);
    check(r#"{"ArnNotLike":{"aws:SourceArn":"arn:aws:iam::1:*"}}"#, "aws:SourceArn=arn:aws:iam::1:role/R", ImplicitDeny);
    check(r#"{"Bool":{"aws:SecureTransport":true}}"#, "aws:SecureTransport=true", Allowed);
    check(r#"{"Bool":{"aws:SecureTransport":"false"}}"#, "aws:SecureTransport=true", ImplicitDeny);
    check(r#"{"Null":{"aws:TokenIssueTime":"true"}}"#, "", Allowed);
    check(r#"{"Null":{"aws:TokenIssueTime":true}}"#, "aws:TokenIssueTime=x", ImplicitDeny);
    check(r#"{"Null":{"aws:TokenIssueTime":false}}"#, "aws:TokenIssueTime=x", Allowed);
    // All keys of all operators must hold.
    check(r#"{"StringEquals":{"a":"1","b":"2"},"Bool":{"c":"true"}}"#, "a=1 b=2 c=true", Allowed);
    check(r#"{"StringEquals":{"a":"1","b":"2"},"Bool":{"c":"true"}}"#, "a=1 b=2 c=false", ImplicitDeny);
    check(r#"{"StringEquals":{"a":"1","b":"2"},"Bool":{"c":"true"}}"#, "a=1 c=true", ImplicitDeny);
}

#[test]
fn what_is_not_understood_grants_nothing_and_exempts_nothing() {
    use Decision::{Allowed, ExplicitDeny, ImplicitDeny};
    let with = |effect: &str, condition: &str| format!(r#"{{"Effect":"{effect}","Action":"*","Resource":"*","Condition":{condition}}}"#);
    for unknown in [
        r#"{"NumericLessThan":{"k":"5"}}"#,
        r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#,
        r#"{"ForAnyValue:StringEquals":{"k":"1"}}"#,
        r#"{"StringEquals":{"k":"${aws:username}"}}"#,
        r#"{"StringEquals":{"k":"1"},"Future":{"k":"1"}}"#,
    ] {
        check(&[&with("Allow", unknown)], "k=1", ImplicitDeny);
        check(&[ALLOW_ALL, &with("Deny", unknown)], "k=1", ExplicitDeny);
    }
    // A condition that surely fails settles it, before or behind the unknown one.
    check(&[ALLOW_ALL, &with("Deny", r#"{"StringEquals":{"k":"1"},"Future":{"k":"1"}}"#)], "k=2", Allowed);
    check(&[ALLOW_ALL, &with("Deny", r#"{"Future":{"k":"1"},"StringEquals":{"k":"1"}}"#)], "k=2", Allowed);

    let variable = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/${aws:username}-*";
    let on = |effect: &str, element: &str, resources: &str| format!(r#"{{"Effect":"{effect}","Action":"*","{element}":[{resources}]}}"#);
    check(&[&on("Allow", "Resource", &format!("\"{variable}\""))], "", ImplicitDeny);
    check(&[&on("Allow", "Resource", &format!("\"{variable}\",\"*\""))], "", Allowed);
    check(&[&on("Allow", "NotResource", &format!("\"{variable}\""))], "", ImplicitDeny);
    check(&[ALLOW_ALL, &on("Deny", "Resource", &format!("\"{variable}\""))], "", ExplicitDeny);
    check(&[ALLOW_ALL, &on("Deny", "NotResource", &format!("\"{variable}\""))], "", ExplicitDeny);
}

#[test]
fn malformed_documents_are_refused() {
    let check = |json: &str, expected: &str| {
        let error = Policy::parse(json).expect_err(json).to_string();
        assert!(error.contains(expected), "{json}: {error}");
    };
    check("", "policy document is malformed");
    check("{}", "missing field `Statement`");
    check(r#"{"Version":"2020-01-01","Statement":[]}"#, "`2020-01-01` is neither");
    check(r#"{"Statement":{"Effect":"Maybe","Action":"*","Resource":"*"}}"#, "unknown variant `Maybe`, expected `Allow` or `Deny`");
    check(r#"{"Statement":{"Effect":"Allow","Resource":"*"}}"#, "`Action` or `NotAction`");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}}"#, "`Action` or `NotAction`");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*"}}"#, "`Resource` or `NotResource`");
    check(r#"{"Statement":{"Effect":"Allow","Action":"Invoke","Resource":"*"}}"#, "`Invoke` is neither");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"runtime/x"}}"#, "`runtime/x` is neither");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}"#, "unknown field `Principal`");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":true}}}"#, "malformed");
}

#[test]
fn denials_name_who_may_not_do_what() {
    let check = |decision: Decision, expected: Option<&str>| {
        let denied = decision.require("arn:aws:iam::123456789012:user/alice", ACTION, RUNTIME).err();
        assert_eq!(denied.map(|error| error.to_string()).as_deref(), expected);
    };
    let who = "AccessDeniedException: User: arn:aws:iam::123456789012:user/alice is not authorized to perform: \
               bedrock-agentcore:InvokeAgentRuntime on resource: arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/faq-a1B2c3D4e5";
    check(Decision::Allowed, None);
    check(
        Decision::ImplicitDeny,
        Some(&format!("{who} because no identity-based policy allows the bedrock-agentcore:InvokeAgentRuntime action")),
    );
    check(Decision::ExplicitDeny, Some(&format!("{who} with an explicit deny in an identity-based policy")));
}
