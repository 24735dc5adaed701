//! Amazon Resource Names: the general form, and those of agent runtimes and their endpoints.
//!
//! Sources: "Identify AWS resources with Amazon Resource Names" in the IAM User Guide
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>), and the patterns of botocore's service model
//! `bedrock-agentcore-control`.

use std::fmt;
use std::str::FromStr;

/// The service part of every AgentCore ARN.
const AGENTCORE: &str = "bedrock-agentcore";
/// The longest name of an agent runtime or endpoint, in characters.
const NAME_CHARACTERS_MAX: usize = 48;
/// The length of the part of a runtime id that AgentCore makes up, in characters.
const SUFFIX_CHARACTERS: usize = 10;

/// `arn:partition:service:region:account:resource`. Region and account are empty where a service has none; the resource may hold colons.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arn {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: String,
    /// Such as `iam`.
    pub service: String,
    /// Such as `us-west-2`; empty for IAM.
    pub region: String,
    /// Twelve digits; empty for S3 buckets.
    pub account: String,
    /// All that follows, such as `role/Name` or `log-group:/aws/x:*`.
    pub resource: String,
}

/// Why a text is no ARN, or not the wanted kind of ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// Not `arn:` and five more parts.
    #[error("`{0}` is not an ARN: expected arn:partition:service:region:account:resource")]
    Form(String),
    /// A part that must not be empty is.
    #[error("`{arn}` is not an ARN: its {part} is empty")]
    Empty {
        /// The whole text.
        arn: String,
        /// `partition`, `service` or `resource`.
        part: &'static str,
    },
    /// An account that is not twelve digits.
    #[error("`{arn}` is not an ARN: its account `{account}` is not twelve digits")]
    Account {
        /// The whole text.
        arn: String,
        /// What stands in the account's place.
        account: String,
    },
    /// A good ARN of something else.
    #[error("`{0}` is not the ARN of an agent runtime: expected arn:aws:bedrock-agentcore:region:account:runtime/name-1234567890")]
    NotAgentRuntime(String),
    /// A name with other characters, too long, or starting with no letter.
    #[error("`{0}` is not a name: expected a letter, then up to {max} letters, digits and underscores", max = NAME_CHARACTERS_MAX - 1)]
    Name(String),
    /// A runtime id without its ten made-up characters.
    #[error("`{0}` is not an agent runtime id: expected a name, a hyphen and {length} letters or digits", length = SUFFIX_CHARACTERS)]
    Id(String),
}

/// The parts of an ARN where they stand in its text.
struct Parts<'a> {
    partition: &'a str,
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Parts<'a>, ArnError> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or_else(|| ArnError::Form(text.to_owned()));
        let ("arn", partition, service, region, account, resource) = (next()?, next()?, next()?, next()?, next()?, next()?) else {
            return Err(ArnError::Form(text.to_owned()));
        };
        for (part, value) in [("partition", partition), ("service", service), ("resource", resource)] {
            if value.is_empty() {
                return Err(ArnError::Empty { arn: text.to_owned(), part });
            }
        }
        // `aws` stands for the account in the ARNs of managed policies.
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if !(account.is_empty() || account == "aws" || is_account) {
            return Err(ArnError::Account { arn: text.to_owned(), account: account.to_owned() });
        }
        Ok(Parts { partition, service, region, account, resource })
    }
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let Parts { partition, service, region, account, resource } = Parts::of(text)?;
        Ok(Self {
            partition: partition.to_owned(),
            service: service.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            resource: resource.to_owned(),
        })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

/// The ARN of an agent runtime, `arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/faq_agent-a1B2c3D4e5`.
///
/// The last part, the runtime's id, is its name, a hyphen and ten letters or digits that AgentCore makes up, so that a name can be used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentRuntimeArn {
    /// The whole; every call of an agent names it several times.
    text: String,
    // Where the parts lie in it.
    region: Place,
    account: Place,
    name: Place,
    id: Place,
}

/// The place of a part in its text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    begin: usize,
    end: usize,
}

impl AgentRuntimeArn {
    /// The ARN of the runtime `name` with the made-up `suffix`, in the partition of `region`.
    ///
    /// # Errors
    ///
    /// [`ArnError::Name`], [`ArnError::Id`] when the suffix is not ten letters or digits, and [`ArnError::Account`].
    pub fn new(region: &str, account: &str, name: &str, suffix: &str) -> Result<Self, ArnError> {
        check_name(name)?;
        let partition = partition_of(region);
        format!("arn:{partition}:{AGENTCORE}:{region}:{account}:runtime/{name}-{suffix}").parse()
    }

    /// Such as `us-west-2`.
    pub fn region(&self) -> &str {
        self.at(self.region)
    }

    /// Twelve digits.
    pub fn account(&self) -> &str {
        self.at(self.account)
    }

    /// The name its owner gave it.
    pub fn name(&self) -> &str {
        self.at(self.name)
    }

    /// The id, `{name}-{10 letters or digits}`, by which the control plane knows it.
    pub fn id(&self) -> &str {
        self.at(self.id)
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn at(&self, Place { begin, end }: Place) -> &str {
        &self.text[begin..end]
    }

    /// The ARN of one of its endpoints, `…:runtime/{id}/runtime-endpoint/{endpoint}`.
    ///
    /// # Errors
    ///
    /// [`ArnError::Name`] when `endpoint` is no name.
    pub fn endpoint(&self, endpoint: &str) -> Result<String, ArnError> {
        check_name(endpoint)?;
        Ok([&self.text, "/runtime-endpoint/", endpoint].concat())
    }
}

impl FromStr for AgentRuntimeArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let Parts { partition, service, region, account, resource } = Parts::of(text)?;
        let id = resource.strip_prefix("runtime/").filter(|id| !id.contains('/'));
        let is_agentcore = service == AGENTCORE && !region.is_empty() && account.len() == 12;
        let Some(id) = id.filter(|_| is_agentcore) else {
            return Err(ArnError::NotAgentRuntime(text.to_owned()));
        };
        let (name, suffix) = id.rsplit_once('-').ok_or_else(|| ArnError::Id(id.to_owned()))?;
        check_name(name)?;
        if suffix.len() != SUFFIX_CHARACTERS || !suffix.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ArnError::Id(id.to_owned()));
        }
        let place = |begin: usize, part: &str| Place { begin, end: begin + part.len() };
        let region = place("arn:".len() + partition.len() + ":".len() + service.len() + ":".len(), region);
        let account = place(region.end + ":".len(), account);
        let id = place(text.len() - id.len(), id);
        Ok(Self { text: text.to_owned(), region, account, name: place(id.begin, name), id })
    }
}

impl fmt::Display for AgentRuntimeArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether `name` may name an agent runtime or an endpoint: `[a-zA-Z][a-zA-Z0-9_]{0,47}`.
///
/// # Errors
///
/// [`ArnError::Name`] when it may not.
pub fn check_name(name: &str) -> Result<(), ArnError> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let goes_on_well = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if starts_well && goes_on_well && name.len() <= NAME_CHARACTERS_MAX { Ok(()) } else { Err(ArnError::Name(name.to_owned())) }
}

/// The partition that a region belongs to, by its prefix as in botocore's `partitions.json`.
fn partition_of(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_print_as_they_were_read() {
        let check = |text: &str, expected: Result<(&str, &str, &str, &str, &str), &str>| {
            let arn = text.parse::<Arn>();
            match (&arn, expected) {
                (Ok(arn), Ok(parts)) => {
                    let read = (&*arn.partition, &*arn.service, &*arn.region, &*arn.account, &*arn.resource);
                    assert_eq!(read, parts);
                    assert_eq!(arn.to_string(), text);
                }
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                _ => panic!("{text}: {arn:?}, expected {expected:?}"),
            }
        };
        check("arn:aws:iam::123456789012:role/R", Ok(("aws", "iam", "", "123456789012", "role/R")));
        check("arn:aws:iam::aws:policy/P", Ok(("aws", "iam", "", "aws", "policy/P")));
        check("arn:aws:s3:::bucket/key", Ok(("aws", "s3", "", "", "bucket/key")));
        check("arn:aws:logs:eu-west-1:123456789012:log-group:/x:*", Ok(("aws", "logs", "eu-west-1", "123456789012", "log-group:/x:*")));
        check("", Err("expected arn:partition"));
        check("arn:aws:iam::123456789012", Err("expected arn:partition"));
        check("urn:aws:iam::123456789012:role/R", Err("expected arn:partition"));
        check("arn::iam::123456789012:role/R", Err("its partition is empty"));
        check("arn:aws:::123456789012:role/R", Err("its service is empty"));
        check("arn:aws:iam::123456789012:", Err("its resource is empty"));
        check("arn:aws:iam::12345:role/R", Err("its account `12345` is not twelve digits"));
    }

    #[test]
    fn agent_runtime_arns() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| {
            let arn = text.parse::<AgentRuntimeArn>();
            match (&arn, expected) {
                (Ok(arn), Ok((name, id))) => {
                    assert_eq!((arn.name(), arn.id()), (name, id));
                    assert_eq!((arn.region(), arn.account()), ("us-west-2", "123456789012"));
                    assert_eq!((arn.to_string().as_str(), arn.as_str()), (text, text));
                }
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                _ => panic!("{text}: {arn:?}, expected {expected:?}"),
            }
        };
        let long = "a".repeat(49);
        let prefix = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime";
        check(&format!("{prefix}/faq_agent-a1B2c3D4e5"), Ok(("faq_agent", "faq_agent-a1B2c3D4e5")));
        check(&format!("{prefix}/faq_agent"), Err("not an agent runtime id"));
        check(&format!("{prefix}/faq_agent-a1B2c3D4e"), Err("not an agent runtime id"));
        check(&format!("{prefix}/faq_agent-a1B2c3D4e_"), Err("not an agent runtime id"));
        check(&format!("{prefix}/faq-agent-a1B2c3D4e5"), Err("`faq-agent` is not a name"));
        check(&format!("{prefix}/1agent-a1B2c3D4e5"), Err("`1agent` is not a name"));
        check(&format!("{prefix}/-a1B2c3D4e5"), Err("`` is not a name"));
        check(&format!("{prefix}/{long}-a1B2c3D4e5"), Err("is not a name"));
        check(&format!("{prefix}/faq_agent-a1B2c3D4e5/runtime-endpoint/DEFAULT"), Err("not the ARN of an agent runtime"));
        check("arn:aws:iam::123456789012:role/R", Err("not the ARN of an agent runtime"));
        check("arn:aws:bedrock-agentcore::123456789012:runtime/a-a1B2c3D4e5", Err("not the ARN of an agent runtime"));
    }

    #[test]
    fn made_arns_and_endpoints() {
        let check = |region: &str, endpoint: &str, expected: &str| {
            let arn = AgentRuntimeArn::new(region, "123456789012", "faq", "a1B2c3D4e5").expect(region);
            let endpoint = arn.endpoint(endpoint).unwrap_or_else(|error| error.to_string());
            assert_eq!(endpoint, expected);
        };
        let endpoint = "123456789012:runtime/faq-a1B2c3D4e5/runtime-endpoint/DEFAULT";
        check("us-west-2", "DEFAULT", &format!("arn:aws:bedrock-agentcore:us-west-2:{endpoint}"));
        check("cn-north-1", "DEFAULT", &format!("arn:aws-cn:bedrock-agentcore:cn-north-1:{endpoint}"));
        check("us-gov-west-1", "DEFAULT", &format!("arn:aws-us-gov:bedrock-agentcore:us-gov-west-1:{endpoint}"));
        check("us-west-2", "a/b", "`a/b` is not a name: expected a letter, then up to 47 letters, digits and underscores");
        assert!(AgentRuntimeArn::new("us-west-2", "123456789012", "faq", "short").is_err());
        assert!(AgentRuntimeArn::new("us-west-2", "1234", "faq", "a1B2c3D4e5").is_err());
    }
}
