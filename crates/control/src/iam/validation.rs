//! What names, paths, tags and documents may be: the bounds of IAM's model and its quotas
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use frontdesk_aws::policy::Policy;
use frontdesk_store::IdentityKind;

use crate::identity::IamError;
use crate::query::{Parameters, constraint_failed, lower_first};

pub(super) const USERS_MAX: usize = 5000;
pub(super) const GROUPS_MAX: usize = 300;
pub(super) const ROLES_MAX: usize = 1000;
pub(super) const POLICIES_MAX: usize = 1500;
pub(super) const POLICY_VERSIONS_MAX: usize = 5;
pub(super) const ATTACHED_POLICIES_MAX: usize = 10;
pub(super) const GROUPS_OF_USER_MAX: usize = 10;
pub(super) const ACCESS_KEYS_OF_USER_MAX: usize = 2;
const TAGS_MAX: usize = 50;
/// Of managed policies and trust policies, without white space.
const POLICY_CHARS_MAX: usize = 6144;
const TRUST_CHARS_MAX: usize = 2048;
/// As the model bounds every document, with white space.
const DOCUMENT_CHARS_MAX: usize = 131_072;
const DESCRIPTION_CHARS_MAX: usize = 1000;

/// The longest name of an identity.
pub(super) fn name_chars_max(kind: IdentityKind) -> usize {
    match kind {
        IdentityKind::User | IdentityKind::Role => 64,
        IdentityKind::Group => 128,
    }
}

/// A name that a call gives to something new, or by which it asks for something.
pub(super) fn name<'a>(parameters: &'a Parameters, parameter: &str, chars_max: usize) -> Result<&'a str, ServiceError> {
    let name = parameters.required(parameter)?;
    let member = lower_first(parameter);
    if name.chars().count() > chars_max {
        return Err(too_long(name, &member, chars_max));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte)) {
        return Err(ServiceError::validation(format!(
            "The specified value for {member} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
        )));
    }
    Ok(name)
}

/// The names by which a call asks for something, as far as it does: what could be nobody's name is refused before anybody is looked for.
pub(super) fn names(parameters: &Parameters) -> Result<(), ServiceError> {
    for parameter in ["RoleName", "UserName", "GroupName", "PolicyName"] {
        if parameters.get(parameter).is_some_and(|given| !given.is_empty()) {
            name(parameters, parameter, 128)?;
        }
    }
    Ok(())
}

/// `/`, or names between slashes.
pub(super) fn path(parameters: &Parameters, parameter: &str) -> Result<String, ServiceError> {
    let path = parameters.get(parameter).unwrap_or("/");
    let is_fit = path == "/" || (path.len() > 2 && path.starts_with('/') && path.ends_with('/'));
    if !is_fit || path.len() > 512 || path.contains("//") || !path.bytes().all(|byte| matches!(byte, 0x21..=0x7e)) {
        return Err(ServiceError::validation(format!(
            "The specified value for {} is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.",
            lower_first(parameter)
        )));
    }
    Ok(path.to_owned())
}

pub(super) fn description(parameters: &Parameters) -> Result<Option<String>, ServiceError> {
    match parameters.get("Description") {
        Some(text) if text.chars().count() > DESCRIPTION_CHARS_MAX => Err(too_long(text, "description", DESCRIPTION_CHARS_MAX)),
        text => Ok(text.map(str::to_owned)),
    }
}

/// The tags of a call.
pub(super) fn tags(parameters: &Parameters) -> Result<BTreeMap<String, String>, ServiceError> {
    let given = parameters.pairs("Tags", "Key", "Value");
    let mut tags = BTreeMap::new();
    for (key, value) in given {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(too_long(key, "tags.1.member.key", 128));
        }
        if value.chars().count() > 256 {
            return Err(too_long(value, "tags.1.member.value", 256));
        }
        if tags.keys().any(|known: &String| known.eq_ignore_ascii_case(key)) {
            let message = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(IamError::InvalidInput(message.to_owned()).into());
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    check_tags_number(tags.len())?;
    Ok(tags)
}

pub(super) fn check_tags_number(number: usize) -> Result<(), IamError> {
    if number > TAGS_MAX { Err(IamError::quota("TagsPerEntity", TAGS_MAX)) } else { Ok(()) }
}

/// How long a role's session may be, in seconds.
pub(super) fn session_s_max(parameters: &Parameters) -> Result<Option<u32>, ServiceError> {
    let given = parameters.number("MaxSessionDuration")?;
    match given {
        Some(seconds @ (..3600 | 43_201..)) => {
            let (relation, bound) = if seconds < 3600 { ("greater", 3600) } else { ("less", 43_200) };
            let rule = format!("Member must have value {relation} than or equal to {bound}");
            Err(constraint_failed(&format!("Value '{seconds}' at 'maxSessionDuration'"), &rule))
        }
        given => Ok(given),
    }
}

/// The document of a managed policy.
pub(super) fn managed_document(parameters: &Parameters) -> Result<String, ServiceError> {
    let document = document(parameters, "PolicyDocument")?;
    Policy::parse(&document).map_err(IamError::from)?;
    if chars(&document) > POLICY_CHARS_MAX {
        return Err(IamError::quota("PolicySize", POLICY_CHARS_MAX).into());
    }
    Ok(document)
}

/// A role's trust policy.
pub(super) fn trust_document(parameters: &Parameters, parameter: &str) -> Result<String, ServiceError> {
    let document = document(parameters, parameter)?;
    Policy::parse_trust(&document).map_err(IamError::from)?;
    if chars(&document) > TRUST_CHARS_MAX {
        return Err(IamError::quota("ACLSizePerRole", TRUST_CHARS_MAX).into());
    }
    Ok(document)
}

/// A document that is an identity's own.
pub(super) fn inline_document(parameters: &Parameters) -> Result<String, ServiceError> {
    let document = document(parameters, "PolicyDocument")?;
    Policy::parse(&document).map_err(IamError::from)?;
    Ok(document)
}

fn document(parameters: &Parameters, parameter: &str) -> Result<String, ServiceError> {
    let document = parameters.required(parameter)?;
    if document.chars().count() > DOCUMENT_CHARS_MAX {
        return Err(too_long("(the document)", &lower_first(parameter), DOCUMENT_CHARS_MAX));
    }
    Ok(document.to_owned())
}

/// What all inline policies of an identity weigh together, white space left out.
pub(super) fn check_inline_size(kind: IdentityKind, name: &str, inline: &BTreeMap<String, String>) -> Result<(), IamError> {
    let max = match kind {
        IdentityKind::User => 2048,
        IdentityKind::Group => 5120,
        IdentityKind::Role => 10_240,
    };
    let size: usize = inline.values().map(|document| chars(document)).sum();
    if size > max {
        return Err(IamError::LimitExceeded(format!("Maximum policy size of {max} bytes exceeded for {} {name}", kind.name())));
    }
    Ok(())
}

fn chars(document: &str) -> usize {
    document.chars().filter(|char| !char.is_whitespace()).count()
}

fn too_long(value: &str, member: &str, max: usize) -> ServiceError {
    constraint_failed(&format!("Value '{value}' at '{member}'"), &format!("Member must have length less than or equal to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(form: &str) -> Parameters {
        Parameters::read(form.as_bytes()).unwrap()
    }

    #[test]
    fn names_and_paths() {
        let check = |value: &str, expected: &str| {
            let seen = name(&parameters(&format!("RoleName={value}")), "RoleName", 64).map(str::to_owned);
            let seen = seen.unwrap_or_else(|error| error.message);
            assert!(seen.contains(expected), "{value}: {seen}");
        };
        check("Role.1_x-y@z%2B%3D", "Role.1_x-y@z+=");
        check("a+b", "The specified value for roleName is invalid.");
        check(&"a".repeat(64), &"a".repeat(64));
        check(&"a".repeat(65), "Member must have length less than or equal to 64");
        check("", "Value null at 'roleName' failed to satisfy constraint: Member must not be null");
        let check =
            |value: &str, expected: bool| assert_eq!(path(&parameters(&format!("Path={value}")), "Path").is_ok(), expected, "{value}");
        check("/", true);
        check("/a/b/", true);
        check("/a", false);
        check("a/", false);
        check("//", false);
        check("/a b/", false);
    }

    #[test]
    fn durations_tags_and_sizes() {
        let check = |seconds: &str, expected: bool| {
            assert_eq!(session_s_max(&parameters(&format!("MaxSessionDuration={seconds}"))).is_ok(), expected, "{seconds}");
        };
        check("3599", false);
        check("3600", true);
        check("43200", true);
        check("43201", false);
        assert!(tags(&parameters("Tags.member.1.Key=a&Tags.member.1.Value=1&Tags.member.2.Key=A")).is_err());
        let inline = |chars: usize| BTreeMap::from([("p".to_owned(), format!("{}\n ", "x".repeat(chars)))]);
        assert!(check_inline_size(IdentityKind::User, "u", &inline(2048)).is_ok());
        assert!(check_inline_size(IdentityKind::User, "u", &inline(2049)).is_err());
        assert!(check_inline_size(IdentityKind::Role, "u", &inline(2049)).is_ok());
    }
}
