//! What a runtime's parts may be, with AgentCore's limits and in AWS's words. The patterns are those of botocore's service model
//! `bedrock-agentcore-control` 2023-06-05.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use frontdesk_aws::arn::check_name;
use frontdesk_store::{Artifact, NetworkConfiguration, RuntimeConfiguration};
use regex::Regex;
use serde_json::Value;

use crate::service::RuntimeError;

const NAME: &str = "[a-zA-Z][a-zA-Z0-9_]{0,47}";
const TIMEOUT_S: RangeInclusive<u32> = 60..=1_209_600;
const VARIABLES_MAX: usize = 50;
const TAGS_MAX: usize = 50;
const CODE_RUNTIMES: [&str; 6] = ["PYTHON_3_10", "PYTHON_3_11", "PYTHON_3_12", "PYTHON_3_13", "PYTHON_3_14", "NODE_22"];

/// A pattern of the service model, for a whole value.
struct Pattern {
    text: &'static str,
    compiled: LazyLock<Regex>,
}

macro_rules! patterns {
    ($($name:ident = $text:literal;)*) => {
        $(static $name: Pattern = Pattern {
            text: $text,
            compiled: LazyLock::new(|| Regex::new(concat!("^(?:", $text, ")$")).expect("the pattern is a constant")),
        };)*
    };
}

patterns! {
    ROLE_ARN = r"arn:aws(-[^:]+)?:iam::([0-9]{12})?:role/.+";
    CONTAINER_URI = r"(([0-9]{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?|public\.ecr\.aws)/((?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*)(?::([^:@]{1,300}))?(?:@(.+))?";
    BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]";
    SECURITY_GROUP = r"sg-[0-9a-zA-Z]{8,17}";
    SUBNET = r"subnet-[0-9a-zA-Z]{8,17}";
    CLIENT_TOKEN = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,256}";
    HEADER = r"[A-Za-z][A-Za-z0-9_-]{0,255}";
    DISCOVERY_URL = r"[^\s?#]+/\.well-known/(openid-configuration|oauth-authorization-server)(/[^\s?#]+)?";
    TAG = r"[a-zA-Z0-9\s._:/=+@-]*";
}

type Checked = Result<(), RuntimeError>;

fn refused(value: impl std::fmt::Display, place: &str, constraint: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Invalid(format!("1 validation error detected: Value '{value}' at '{place}' failed to satisfy constraint: {constraint}"))
}

fn matches(value: &str, place: &str, pattern: &Pattern) -> Checked {
    if pattern.compiled.is_match(value) {
        return Ok(());
    }
    Err(refused(value, place, format_args!("Member must satisfy regular expression pattern: {}", pattern.text)))
}

fn has_length(value: &str, place: &str, characters: RangeInclusive<usize>) -> Checked {
    let length = value.chars().count();
    let (least, most) = (characters.start(), characters.end());
    match length {
        _ if length < *least => Err(refused(value, place, format_args!("Member must have length greater than or equal to {least}"))),
        _ if length > *most => Err(refused(value, place, format_args!("Member must have length less than or equal to {most}"))),
        _ => Ok(()),
    }
}

fn has_items(items: usize, place: &str, number: RangeInclusive<usize>) -> Checked {
    let (least, most) = (number.start(), number.end());
    match items {
        _ if items < *least => Err(refused("[]", place, format_args!("Member must have length greater than or equal to {least}"))),
        _ if items > *most => Err(refused(items, place, format_args!("Member must have length less than or equal to {most}"))),
        _ => Ok(()),
    }
}

/// A name of a runtime or an endpoint.
pub(crate) fn name(value: &str, place: &str) -> Checked {
    check_name(value).map_err(|_| refused(value, place, format_args!("Member must satisfy regular expression pattern: {NAME}")))
}

/// A token that makes a repeated request the same request.
pub(crate) fn client_token(token: Option<&str>) -> Checked {
    let Some(token) = token else { return Ok(()) };
    has_length(token, "clientToken", 33..=256)?;
    matches(token, "clientToken", &CLIENT_TOKEN)
}

/// Tags.
pub(crate) fn tags(tags: &BTreeMap<String, String>) -> Checked {
    has_items(tags.len(), "tags", 0..=TAGS_MAX)?;
    tags.iter().try_for_each(|(key, value)| {
        has_length(key, "tags.key", 1..=128)?;
        matches(key, "tags.key", &TAG)?;
        has_length(value, "tags.value", 0..=256)?;
        matches(value, "tags.value", &TAG)
    })
}

/// An endpoint's description.
pub(crate) fn endpoint_description(description: Option<&str>) -> Checked {
    description.map_or(Ok(()), |description| has_length(description, "description", 1..=256))
}

/// All of a configuration.
pub(crate) fn configuration(wanted: &RuntimeConfiguration) -> Checked {
    artifact(&wanted.artifact)?;
    has_length(&wanted.role_arn, "roleArn", 1..=2048)?;
    matches(&wanted.role_arn, "roleArn", &ROLE_ARN)?;
    if let Some(description) = &wanted.description {
        has_length(description, "description", 1..=4096)?;
    }
    environment(&wanted.environment)?;
    timeouts(wanted.idle_timeout_s, wanted.lifetime_max_s)?;
    has_items(wanted.request_headers.len(), "requestHeaderConfiguration.requestHeaderAllowlist", 0..=20)?;
    let header = |header: &String| matches(header, "requestHeaderConfiguration.requestHeaderAllowlist", &HEADER);
    wanted.request_headers.iter().try_for_each(header)?;
    if let Some(given) = &wanted.authorizer {
        authorizer(given)?;
    }
    network(&wanted.network)?;
    match wanted.limits.cpus {
        Some(cpus) if !(cpus.is_finite() && cpus > 0.0) => Err(refused(cpus, "limits.cpus", "Member must be greater than 0")),
        _ => Ok(()),
    }
}

fn artifact(wanted: &Artifact) -> Checked {
    match wanted {
        Artifact::Program(program) if !program.executable.is_absolute() => {
            Err(refused(program.executable.display(), "program.executable", "Member must be an absolute path"))
        }
        Artifact::Program(_) => Ok(()),
        Artifact::Container { uri } => {
            let place = "agentRuntimeArtifact.containerConfiguration.containerUri";
            has_length(uri, place, 1..=1024)?;
            matches(uri, place, &CONTAINER_URI)
        }
        Artifact::Code { bucket, prefix, version, runtime, entry_point } => {
            let place = |member: &str| format!("agentRuntimeArtifact.codeConfiguration.{member}");
            matches(bucket, &place("code.s3.bucket"), &BUCKET)?;
            has_length(prefix, &place("code.s3.prefix"), 1..=1024)?;
            if let Some(version) = version {
                has_length(version, &place("code.s3.versionId"), 3..=1024)?;
            }
            if !CODE_RUNTIMES.contains(&runtime.as_str()) {
                let known = CODE_RUNTIMES.join(", ");
                return Err(refused(runtime, &place("runtime"), format_args!("Member must satisfy enum value set: [{known}]")));
            }
            has_items(entry_point.len(), &place("entryPoint"), 1..=2)?;
            entry_point.iter().try_for_each(|word| has_length(word, &place("entryPoint"), 1..=128))
        }
    }
}

fn environment(variables: &BTreeMap<String, String>) -> Checked {
    has_items(variables.len(), "environmentVariables", 0..=VARIABLES_MAX)?;
    variables.iter().try_for_each(|(name, value)| {
        has_length(name, "environmentVariables.key", 1..=100)?;
        if name.contains(['=', '\0']) || value.contains('\0') {
            return Err(refused(name, "environmentVariables.key", "Member must be a variable's name, and its value a text without NUL"));
        }
        // The value is likely to be a secret, so it is not repeated.
        has_length(value, "environmentVariables.value", 0..=5000)
            .map_err(|_| refused(name, "environmentVariables.key", "Member's value must have length less than or equal to 5000"))
    })
}

fn timeouts(idle_s: u32, lifetime_s: u32) -> Checked {
    for (seconds, member) in [(idle_s, "idleRuntimeSessionTimeout"), (lifetime_s, "maxLifetime")] {
        let place = format!("lifecycleConfiguration.{member}");
        if seconds < *TIMEOUT_S.start() {
            return Err(refused(seconds, &place, format_args!("Member must have value greater than or equal to {}", TIMEOUT_S.start())));
        }
        if seconds > *TIMEOUT_S.end() {
            return Err(refused(seconds, &place, format_args!("Member must have value less than or equal to {}", TIMEOUT_S.end())));
        }
    }
    if idle_s > lifetime_s {
        return Err(RuntimeError::Invalid(format!(
            "idleRuntimeSessionTimeout ({idle_s}) must be less than or equal to maxLifetime ({lifetime_s})"
        )));
    }
    Ok(())
}

fn authorizer(given: &Value) -> Checked {
    let place = "authorizerConfiguration.customJWTAuthorizer";
    let rules = given.get("customJWTAuthorizer").and_then(Value::as_object);
    let rules = rules.ok_or_else(|| refused(given, "authorizerConfiguration", "Member must hold customJWTAuthorizer"))?;
    let url = rules.get("discoveryUrl").and_then(Value::as_str);
    let url = url.ok_or_else(|| refused("null", &format!("{place}.discoveryUrl"), "Member must not be null"))?;
    matches(url, &format!("{place}.discoveryUrl"), &DISCOVERY_URL)?;
    for member in ["allowedAudience", "allowedClients", "allowedScopes", "customClaims"] {
        let Some(list) = rules.get(member) else { continue };
        let items = list.as_array().map(Vec::len);
        let items = items.ok_or_else(|| refused(list, &format!("{place}.{member}"), "Member must be a list"))?;
        has_items(items, &format!("{place}.{member}"), 1..=usize::MAX)?;
        for item in list.as_array().into_iter().flatten() {
            let place = format!("{place}.{member}.member");
            if member == "customClaims" { custom_claim(item, &place)? } else { required_text(item, &place).map(drop)? }
        }
    }
    Ok(())
}

/// A rule for a claim: its name, its type, and what its value must be.
fn custom_claim(rule: &Value, place: &str) -> Checked {
    required_text(&rule["inboundTokenClaimName"], &format!("{place}.inboundTokenClaimName"))?;
    let one_of = |value: &Value, place: &str, allowed: &[&str]| {
        let is_one = allowed.contains(&required_text(value, place)?);
        if is_one { Ok(()) } else { Err(refused(value, place, format!("Member must satisfy enum value set: [{}]", allowed.join(", ")))) }
    };
    one_of(&rule["inboundTokenClaimValueType"], &format!("{place}.inboundTokenClaimValueType"), &["STRING", "STRING_ARRAY"])?;
    let wanted = &rule["authorizingClaimMatchValue"];
    let place = format!("{place}.authorizingClaimMatchValue");
    one_of(&wanted["claimMatchOperator"], &format!("{place}.claimMatchOperator"), &["EQUALS", "CONTAINS", "CONTAINS_ANY"])?;
    let (one, list) = (&wanted["claimMatchValue"]["matchValueString"], &wanted["claimMatchValue"]["matchValueStringList"]);
    let is_list_fit = list.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    match (one.is_string(), is_list_fit) {
        (true, _) if list.is_null() => Ok(()),
        (_, true) if one.is_null() => Ok(()),
        _ => Err(refused(&wanted["claimMatchValue"], &format!("{place}.claimMatchValue"), "Member must hold one of its values")),
    }
}

fn required_text<'a>(value: &'a Value, place: &str) -> Result<&'a str, RuntimeError> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.ok_or_else(|| refused(value, place, "Member must be a text that is not empty"))
}

fn network(wanted: &NetworkConfiguration) -> Checked {
    let NetworkConfiguration { is_vpc, security_groups, subnets } = wanted;
    let config = "networkConfiguration.networkModeConfig";
    if !is_vpc {
        let is_empty = security_groups.is_empty() && subnets.is_empty();
        return if is_empty { Ok(()) } else { Err(RuntimeError::Invalid("networkModeConfig is for the network mode VPC only".to_owned())) };
    }
    for (items, member, pattern) in [(security_groups, "securityGroups", &SECURITY_GROUP), (subnets, "subnets", &SUBNET)] {
        let place = format!("{config}.{member}");
        has_items(items.len(), &place, 1..=16)?;
        items.iter().try_for_each(|item| matches(item, &place, pattern))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut RuntimeConfiguration), expected: &str) {
        let uri = "123456789012.dkr.ecr.us-west-2.amazonaws.com/faq:latest".to_owned();
        let mut wanted = RuntimeConfiguration::new(Artifact::Container { uri }, "arn:aws:iam::123456789012:role/R".to_owned());
        change(&mut wanted);
        let checked = configuration(&wanted);
        match checked {
            Ok(()) => assert_eq!(expected, ""),
            Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}"),
        }
    }

    #[test]
    fn a_configuration_is_held_to_the_limits_of_agentcore() {
        check(|_| {}, "");
        check(|wanted| wanted.role_arn = "arn:aws:iam::123456789012:user/U".to_owned(), "at 'roleArn' failed to satisfy constraint");
        check(|wanted| wanted.artifact = Artifact::Container { uri: "docker.io/x/y".to_owned() }, "containerUri");
        check(|wanted| wanted.idle_timeout_s = 59, "Value '59' at 'lifecycleConfiguration.idleRuntimeSessionTimeout'");
        check(|wanted| wanted.lifetime_max_s = 1_209_601, "less than or equal to 1209600");
        check(|wanted| (wanted.idle_timeout_s, wanted.lifetime_max_s) = (120, 60), "must be less than or equal to maxLifetime");
        check(|wanted| wanted.description = Some(String::new()), "at 'description'");
        check(|wanted| wanted.environment = (0..50).map(|number| (number.to_string(), String::new())).collect(), "");
        check(|wanted| wanted.environment = (0..51).map(|number| (number.to_string(), String::new())).collect(), "environmentVariables");
        check(|wanted| wanted.environment = [("A=B".to_owned(), String::new())].into(), "'A=B'");
        check(|wanted| wanted.request_headers = vec!["X Y".to_owned()], "requestHeaderAllowlist");
        check(|wanted| wanted.network.is_vpc = true, "securityGroups");
        check(|wanted| wanted.network.subnets = vec!["subnet-12345678".to_owned()], "for the network mode VPC only");
        let jwt = |url: &str| Some(serde_json::json!({ "customJWTAuthorizer": { "discoveryUrl": url, "allowedAudience": ["a"] } }));
        check(|wanted| wanted.authorizer = jwt("https://x/.well-known/openid-configuration"), "");
        check(|wanted| wanted.authorizer = jwt("https://x/"), "discoveryUrl");
        check(|wanted| wanted.authorizer = Some(serde_json::json!({})), "customJWTAuthorizer");
        let with = |member: &str, value: serde_json::Value| {
            let mut authorizer = jwt("https://x/.well-known/openid-configuration").unwrap();
            authorizer["customJWTAuthorizer"][member] = value;
            Some(authorizer)
        };
        check(|wanted| wanted.authorizer = with("allowedScopes", serde_json::json!(["a"])), "");
        check(|wanted| wanted.authorizer = with("allowedScopes", serde_json::json!([])), "allowedScopes");
        check(|wanted| wanted.authorizer = with("allowedScopes", serde_json::json!([1])), "allowedScopes.member");
        let claim = |operator: &str, value: serde_json::Value| {
            serde_json::json!([{
                "inboundTokenClaimName": "group",
                "inboundTokenClaimValueType": "STRING",
                "authorizingClaimMatchValue": { "claimMatchOperator": operator, "claimMatchValue": value },
            }])
        };
        let one = serde_json::json!({ "matchValueString": "a" });
        check(|wanted| wanted.authorizer = with("customClaims", claim("EQUALS", one.clone())), "");
        check(|wanted| wanted.authorizer = with("customClaims", claim("LIKE", one.clone())), "claimMatchOperator");
        check(|wanted| wanted.authorizer = with("customClaims", claim("EQUALS", serde_json::json!({}))), "claimMatchValue");
        check(|wanted| wanted.authorizer = with("customClaims", serde_json::json!([{}])), "inboundTokenClaimName");
        let code = |runtime: &str, words: &[&str]| Artifact::Code {
            bucket: "my-bucket".to_owned(),
            prefix: "agent.zip".to_owned(),
            version: None,
            runtime: runtime.to_owned(),
            entry_point: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        check(|wanted| wanted.artifact = code("PYTHON_3_13", &["main.py"]), "");
        check(|wanted| wanted.artifact = code("PYTHON_2_7", &["main.py"]), "enum value set");
        check(|wanted| wanted.artifact = code("NODE_22", &[]), "entryPoint");
    }

    #[test]
    fn a_secret_is_not_repeated() {
        let variables = BTreeMap::from([("KEY".to_owned(), "s3cret".repeat(1000))]);
        let error = environment(&variables).unwrap_err().to_string();
        assert!(error.contains("'KEY'") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn tokens_and_tags() {
        assert!(client_token(Some(&"a".repeat(33))).is_ok());
        assert!(client_token(Some("short")).is_err());
        assert!(client_token(Some(&"-".repeat(33))).is_err());
        assert!(tags(&BTreeMap::from([("team".to_owned(), "a b".to_owned())])).is_ok());
        assert!(tags(&BTreeMap::from([("a|b".to_owned(), String::new())])).is_err());
    }
}
