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
        context.with(key.to_owned(), value)
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
fn what_is_not_known_grants_nothing_and_exempts_nothing() {
    use Decision::{Allowed, ExplicitDeny, ImplicitDeny};
    let with = |effect: &str, condition: &str| format!(r#"{{"Effect":"{effect}","Action":"*","Resource":"*","Condition":{condition}}}"#);
    let unknown = r#"{"StringEquals":{"k":"${aws:username}"}}"#;
    check(&[&with("Allow", unknown)], "k=1", ImplicitDeny);
    check(&[ALLOW_ALL, &with("Deny", unknown)], "k=1", ExplicitDeny);
    check(&[&with("Allow", unknown)], "k=1 aws:username=1", Allowed);
    check(&[ALLOW_ALL, &with("Deny", unknown)], "k=1 aws:username=2", Allowed);
    // A condition that surely fails settles it, before or behind the unknown one.
    check(&[ALLOW_ALL, &with("Deny", r#"{"StringEquals":{"j":"1","k":"${aws:username}"}}"#)], "j=2 k=1", Allowed);
    check(&[ALLOW_ALL, &with("Deny", r#"{"StringEquals":{"k":"1"},"StringLike":{"j":"${aws:username}"}}"#)], "j=1 k=2", Allowed);

    let variable = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/${aws:username}-*";
    let on = |effect: &str, element: &str, resources: &str| format!(r#"{{"Effect":"{effect}","Action":"*","{element}":[{resources}]}}"#);
    check(&[&on("Allow", "Resource", &format!("\"{variable}\""))], "", ImplicitDeny);
    check(&[&on("Allow", "Resource", &format!("\"{variable}\""))], "aws:username=faq", Allowed);
    check(&[&on("Allow", "Resource", &format!("\"{variable}\""))], "aws:username=f*", ImplicitDeny);
    check(&[&on("Allow", "Resource", &format!("\"{variable}\",\"*\""))], "", Allowed);
    check(&[&on("Allow", "NotResource", &format!("\"{variable}\""))], "", ImplicitDeny);
    check(&[ALLOW_ALL, &on("Deny", "Resource", &format!("\"{variable}\""))], "", ExplicitDeny);
    check(&[ALLOW_ALL, &on("Deny", "NotResource", &format!("\"{variable}\""))], "", ExplicitDeny);
}

/// A condition of an `Allow` on everything, in a context; `k=a,b` is a key with two values.
fn check_condition(condition: &str, context: &str, expected: bool) {
    let policy = policy(&format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}"#));
    let context = context.split_whitespace().fold(Context::new(), |context, pair| {
        let (key, values) = pair.split_once('=').expect("key=values");
        context.with_all(key.to_owned(), values.split(',').filter(|value| !value.is_empty()))
    });
    let is_allowed = evaluate([&policy], ACTION, RUNTIME, &context) == Decision::Allowed;
    assert_eq!(is_allowed, expected, "{condition} {context:?}");
}

#[test]
fn numbers_dates_and_addresses() {
    let table = [
        (r#"{"NumericEquals":{"k":"5"}}"#, "k=5.0", true),
        (r#"{"NumericEquals":{"k":5}}"#, "k=6", false),
        (r#"{"NumericNotEquals":{"k":[5,6]}}"#, "k=6", false),
        (r#"{"NumericNotEquals":{"k":[5,6]}}"#, "", true),
        (r#"{"NumericLessThan":{"k":"5"}}"#, "k=4", true),
        (r#"{"NumericLessThan":{"k":"5"}}"#, "k=5", false),
        (r#"{"NumericLessThanEquals":{"k":"5"}}"#, "k=5", true),
        (r#"{"NumericGreaterThan":{"k":"5"}}"#, "k=5", false),
        (r#"{"NumericGreaterThanEquals":{"k":"5"}}"#, "k=5", true),
        (r#"{"NumericGreaterThan":{"k":"5"}}"#, "k=many", false),
        (r#"{"NumericGreaterThan":{"k":"5"}}"#, "", false),
        (r#"{"NumericGreaterThanIfExists":{"k":"5"}}"#, "", true),
        (r#"{"DateLessThan":{"aws:CurrentTime":"2026-02-01T00:00:00Z"}}"#, "aws:CurrentTime=2026-01-31T23:59:59Z", true),
        (r#"{"DateLessThan":{"aws:CurrentTime":"2026-02-01T00:00:00Z"}}"#, "aws:CurrentTime=2026-02-01T00:00:00Z", false),
        (r#"{"DateLessThan":{"aws:CurrentTime":"2026-02-01T00:00:00+02:00"}}"#, "aws:CurrentTime=2026-01-31T22:30:00Z", false),
        (r#"{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-02-01"}}"#, "aws:CurrentTime=2026-02-01T00:00:00Z", true),
        (r#"{"DateGreaterThan":{"aws:EpochTime":"1769903999"}}"#, "aws:EpochTime=1769904000", true),
        (r#"{"DateEquals":{"aws:EpochTime":"2026-02-01T00:00:00Z"}}"#, "aws:EpochTime=1769904000", true),
        (r#"{"DateNotEquals":{"aws:EpochTime":"2026-02-01T00:00:00Z"}}"#, "aws:EpochTime=1769904000", false),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, "aws:SourceIp=10.200.3.4", true),
        (r#"{"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.1.2.3"]}}"#, "aws:SourceIp=10.1.2.3", true),
        (r#"{"IpAddress":{"aws:SourceIp":"10.1.2.3"}}"#, "aws:SourceIp=10.1.2.4", false),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, "aws:SourceIp=::ffff:10.0.0.1", true),
        (r#"{"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}"#, "aws:SourceIp=2001:db8:1::1", true),
        (r#"{"IpAddress":{"aws:SourceIp":"2001:db8::/32"}}"#, "aws:SourceIp=10.0.0.1", false),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, "", false),
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, "aws:SourceIp=11.0.0.1", true),
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, "aws:SourceIp=10.0.0.1", false),
        (r#"{"BinaryEquals":{"k":"QmluYXJ5"}}"#, "k=QmluYXJ5", true),
    ];
    for (condition, context, expected) in table {
        check_condition(condition, context, expected);
    }
}

#[test]
fn keys_of_several_values() {
    let table = [
        (r#"{"ForAnyValue:StringEquals":{"k":["a","b"]}}"#, "k=b,c", true),
        (r#"{"ForAnyValue:StringEquals":{"k":["a","b"]}}"#, "k=c,d", false),
        (r#"{"ForAnyValue:StringEquals":{"k":["a","b"]}}"#, "", false),
        (r#"{"ForAnyValue:StringEqualsIfExists":{"k":["a","b"]}}"#, "", true),
        (r#"{"ForAnyValue:StringNotEquals":{"k":["a","b"]}}"#, "k=a,c", true),
        (r#"{"ForAnyValue:StringNotEquals":{"k":["a","b"]}}"#, "k=a,b", false),
        (r#"{"ForAllValues:StringEquals":{"k":["a","b"]}}"#, "k=a,b", true),
        (r#"{"ForAllValues:StringEquals":{"k":["a","b"]}}"#, "k=a,c", false),
        (r#"{"ForAllValues:StringEquals":{"k":["a","b"]}}"#, "", true),
        (r#"{"ForAllValues:StringEquals":{"k":["a","b"]}}"#, "k=", true),
        (r#"{"ForAllValues:StringNotEquals":{"k":["a","b"]}}"#, "k=c,d", true),
        (r#"{"ForAllValues:StringNotEquals":{"k":["a","b"]}}"#, "k=a,d", false),
        (r#"{"ForAllValues:StringLike":{"k":"team-*"}}"#, "k=team-a,team-b", true),
        (r#"{"ForAnyValue:ArnLike":{"k":"arn:aws:iam::*:role/*"}}"#, "k=arn:aws:iam::1:role/R", true),
    ];
    for (condition, context, expected) in table {
        check_condition(condition, context, expected);
    }
}

const ACCOUNT: &str = "123456789012";
const ANN: &str = "arn:aws:iam::123456789012:user/ann";

/// What a trust policy says to ann, of the account.
fn check_trust(statement: &str, requester: Requester<'_>, expected: Admission) {
    let policy = Policy::parse_trust(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)).expect(statement);
    let context = Context::new().with("sts:ExternalId", "7");
    assert_eq!(admit(&policy, requester, "sts:AssumeRole", "arn:aws:iam::123456789012:role/R", &context), expected, "{statement}");
}

#[test]
fn trust_policies_name_their_principals() {
    use Admission::{Account, ExplicitDeny, ImplicitDeny, Named};
    let ann = Requester::Aws { account: ACCOUNT, arns: &[ANN] };
    let trusting = |principal: &str| format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}"#);
    check_trust(&trusting(r#""*""#), ann, Named);
    check_trust(&trusting(r#"{"AWS":"*"}"#), ann, Named);
    check_trust(&trusting(&format!(r#"{{"AWS":"{ANN}"}}"#)), ann, Named);
    check_trust(&trusting(&format!(r#"{{"AWS":["arn:aws:iam::{ACCOUNT}:user/bob","{ANN}"]}}"#)), ann, Named);
    check_trust(&trusting(&format!(r#"{{"AWS":"arn:aws:iam::{ACCOUNT}:user/bob"}}"#)), ann, ImplicitDeny);
    check_trust(&trusting(&format!(r#"{{"AWS":"{ACCOUNT}"}}"#)), ann, Account);
    check_trust(&trusting(&format!(r#"{{"AWS":"arn:aws:iam::{ACCOUNT}:root"}}"#)), ann, Account);
    check_trust(&trusting(r#"{"AWS":"999999999999"}"#), ann, ImplicitDeny);
    check_trust(&trusting(r#"{"Service":"lambda.amazonaws.com"}"#), ann, ImplicitDeny);
    check_trust(&trusting(r#"{"Service":["lambda.amazonaws.com"]}"#), Requester::Service("lambda.amazonaws.com"), Named);
    check_trust(&trusting(r#"{"Service":"ec2.amazonaws.com"}"#), Requester::Service("lambda.amazonaws.com"), ImplicitDeny);
    check_trust(&trusting(r#"{"Federated":"accounts.example.com"}"#), ann, ImplicitDeny);
    let with = |effect: &str, id: &str| {
        let condition = format!(r#"{{"StringEquals":{{"sts:ExternalId":"{id}"}}}}"#);
        format!(r#"{{"Effect":"{effect}","Principal":{{"AWS":"{ACCOUNT}"}},"Action":"sts:*","Condition":{condition}}}"#)
    };
    check_trust(&with("Allow", "7"), ann, Account);
    check_trust(&with("Allow", "8"), ann, ImplicitDeny);
    check_trust(&format!("[{},{}]", trusting(r#""*""#), with("Deny", "7")), ann, ExplicitDeny);
    let but = format!(r#"{{"Effect":"Deny","NotPrincipal":{{"AWS":"{ANN}"}},"Action":"sts:AssumeRole"}}"#);
    check_trust(&format!("[{},{but}]", trusting(r#""*""#)), ann, Named);
    let bob = Requester::Aws { account: ACCOUNT, arns: &["arn:aws:iam::123456789012:user/bob"] };
    check_trust(&format!("[{},{but}]", trusting(r#""*""#)), bob, ExplicitDeny);
}

#[test]
fn a_resource_lets_a_service_in() {
    let json = r#"{"Version":"2012-10-17","Statement":[{"Sid":"gateway","Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},
        "Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:123456789012:function:F",
        "Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:execute-api:us-east-1:123456789012:abc/*/POST/invoke"}}}]}"#;
    let policy = Policy::parse_resource_based(json).unwrap();
    let check = |service: &str, source: &str, expected: Admission| {
        let context = Context::new().with("aws:SourceArn", source);
        let function = "arn:aws:lambda:us-east-1:123456789012:function:F";
        assert_eq!(
            admit(&policy, Requester::Service(service), "lambda:InvokeFunction", function, &context),
            expected,
            "{service} {source}"
        );
    };
    check("apigateway.amazonaws.com", "arn:aws:execute-api:us-east-1:123456789012:abc/prod/POST/invoke", Admission::Named);
    check("apigateway.amazonaws.com", "arn:aws:execute-api:us-east-1:123456789012:xyz/prod/POST/invoke", Admission::ImplicitDeny);
    check("events.amazonaws.com", "arn:aws:execute-api:us-east-1:123456789012:abc/prod/POST/invoke", Admission::ImplicitDeny);
}

#[test]
fn malformed_documents_are_refused() {
    let check = |json: &str, expected: &str| {
        let error = Policy::parse(json).expect_err(json).to_string();
        assert!(error.contains(expected), "{json}: {error}");
    };
    check("", "This policy contains invalid Json");
    check("{}", "missing field `Statement`");
    check("[1]", "Syntax errors in policy.");
    check(r#"{"Version":"2020-01-01","Statement":[]}"#, "`2020-01-01` is neither");
    check(r#"{"Statement":{"Effect":"Maybe","Action":"*","Resource":"*"}}"#, "unknown variant `Maybe`, expected `Allow` or `Deny`");
    check(r#"{"Statement":{"Effect":"Allow","Resource":"*"}}"#, "Policy statement must contain actions.");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}}"#, "both Action and NotAction");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*"}}"#, "Policy statement must contain resources.");
    check(r#"{"Statement":{"Effect":"Allow","Action":"Invoke","Resource":"*"}}"#, "must be prefaced by a vendor");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"runtime/x"}}"#, "Resource runtime/x must be in ARN format or \"*\".");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}"#, "should not specify a principal");
    check(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Colour":"*"}}"#, "unknown field `Colour`");
    let with = |condition: &str| format!(r#"{{"Statement":{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}}}"#);
    check(&with(r#"{"Bool":true}"#), "Syntax errors in policy.");
    check(&with(r#"{"Future":{"k":"1"}}"#), "Invalid Condition type : Future.");
    check(&with(r#"{"ForSomeValues:StringEquals":{"k":"1"}}"#), "Invalid Condition type");
    check(&with(r#"{"NullIfExists":{"k":"true"}}"#), "Invalid Condition type");
    check(&with(r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#), "`10.0.0.0/33` is no value for IpAddress");
    check(&with(r#"{"NumericEquals":{"k":"one"}}"#), "is no value for NumericEquals");
    check(&with(r#"{"DateLessThan":{"k":"tomorrow"}}"#), "is no value for DateLessThan");
    check(&with(r#"{"Bool":{"k":"maybe"}}"#), "is no value for Bool");
}

#[test]
fn malformed_trust_is_refused() {
    let check = |statement: &str, expected: &str| {
        let error =
            Policy::parse_trust(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)).expect_err(statement).to_string();
        assert!(error.contains(expected), "{statement}: {error}");
    };
    check(r#"{"Effect":"Allow","Action":"sts:AssumeRole"}"#, "Missing required field Principal");
    check(r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}"#, "Has prohibited field Resource");
    check(r#"{"Effect":"Allow","Principal":"*","Action":"s3:*"}"#, "may only specify STS AssumeRole actions");
    check(r#"{"Effect":"Allow","Principal":{"AWS":"ann"},"Action":"sts:AssumeRole"}"#, r#"Invalid principal in policy: "AWS":"ann""#);
    check(r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/*"},"Action":"sts:AssumeRole"}"#, "Invalid principal");
    check(r#"{"Effect":"Allow","Principal":{"Servic":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}"#, "Invalid principal");
    check(r#"{"Effect":"Allow","Principal":"ann","Action":"sts:AssumeRole"}"#, "Invalid principal");
}

#[test]
fn denials_name_who_may_not_do_what() {
    let check = |decision: Decision, kind: PolicyKind, expected: Option<&str>| {
        let denied = decision.require(kind, "arn:aws:iam::123456789012:user/alice", ACTION, RUNTIME).err();
        assert_eq!(denied.map(|error| error.to_string()).as_deref(), expected);
    };
    let who = "AccessDeniedException: User: arn:aws:iam::123456789012:user/alice is not authorized to perform: \
               bedrock-agentcore:InvokeAgentRuntime on resource: arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/faq-a1B2c3D4e5";
    let none_allows = |kind: &str| format!("{who} because no {kind} allows the bedrock-agentcore:InvokeAgentRuntime action");
    check(Decision::Allowed, PolicyKind::Identity, None);
    check(Decision::ImplicitDeny, PolicyKind::Identity, Some(&none_allows("identity-based policy")));
    check(Decision::ImplicitDeny, PolicyKind::Session, Some(&none_allows("session policy")));
    check(Decision::ImplicitDeny, PolicyKind::Boundary, Some(&none_allows("permissions boundary")));
    check(Decision::ImplicitDeny, PolicyKind::RoleTrust, Some(&none_allows("role trust policy")));
    check(Decision::ExplicitDeny, PolicyKind::Identity, Some(&format!("{who} with an explicit deny in an identity-based policy")));
    check(Decision::ExplicitDeny, PolicyKind::Session, Some(&format!("{who} with an explicit deny in a session policy")));
}
