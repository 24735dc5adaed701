//! The name of an image in a registry: `host[:port]/repository[:tag]`.

use std::fmt;

use crate::http_client::is_local;

/// An image's name.
///
/// The host is always named: which registry an image goes to is nothing to guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// Host, and port where it has one.
    pub host: String,
    /// The repository, such as `frontdesk/agent`.
    pub repository: String,
    /// The tag; `latest` when none is given.
    pub tag: String,
}

/// What is no name of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no image: it should look like registry.example.com/frontdesk:agent")]
pub struct ReferenceError(String);

impl std::str::FromStr for ImageReference {
    type Err = ReferenceError;

    /// By the grammar of the distribution specification
    /// (<https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests>).
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refused = || ReferenceError(text.to_owned());
        let (host, rest) = text.split_once('/').ok_or_else(refused)?;
        if !(host == "localhost" || host.contains(['.', ':'])) || host.contains(['@', '?', '#', '\\']) {
            return Err(refused());
        }
        let (repository, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        let is_part = |part: &str| {
            let is_plain = part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte));
            is_plain && part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_tag = (1..=128).contains(&tag.len())
            && tag.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
            && tag.bytes().next().is_some_and(is_word);
        if repository.split('/').all(is_part) && is_tag {
            Ok(ImageReference { host: host.to_owned(), repository: repository.to_owned(), tag: tag.to_owned() })
        } else {
            Err(refused())
        }
    }
}

impl ImageReference {
    /// The region, for a repository of ECR: `123456789012.dkr.ecr.eu-west-1.amazonaws.com`.
    pub fn ecr_region(&self) -> Option<&str> {
        let (region, domain) = self.host.split_once(".dkr.ecr.")?.1.split_once('.')?;
        ["amazonaws.com", "amazonaws.com.cn"].contains(&domain).then_some(region)
    }

    /// Whether the registry is on this machine, where it is spoken to without TLS, as Docker does.
    pub(super) fn is_local(&self) -> bool {
        is_local(&self.host)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.host, self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecr_is_known_by_its_host() {
        let check = |host: &str, expected: Option<&str>| {
            let reference: ImageReference = format!("{host}/a").parse().unwrap();
            assert_eq!(reference.ecr_region(), expected, "{host}");
        };
        check("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some("eu-west-1"));
        check("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some("cn-north-1"));
        check("123456789012.dkr.ecr.eu-west-1.example.com", None);
        check("registry.example.com", None);
    }

    #[test]
    fn names_are_read() {
        let check = |text: &str, expected: Option<(&str, &str, &str, bool)>| {
            let found = text.parse::<ImageReference>().ok();
            let is_local = found.as_ref().is_some_and(ImageReference::is_local);
            let found = found.as_ref().map(|name| (name.host.as_str(), name.repository.as_str(), name.tag.as_str(), is_local));
            assert_eq!(found, expected, "{text}");
        };
        check("127.0.0.1:5000/frontdesk", Some(("127.0.0.1:5000", "frontdesk", "latest", true)));
        check("[::1]:5000/a/b:t", Some(("[::1]:5000", "a/b", "t", true)));
        check("localhost/a:T-1.0_x", Some(("localhost", "a", "T-1.0_x", true)));
        let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        check(&format!("{ecr}/frontdesk/agent:v1"), Some((ecr, "frontdesk/agent", "v1", false)));
        check("frontdesk:agent", None);
        check("frontdesk/agent", None);
        check("a.example/Upper:x", None);
        check("a.example/a//b", None);
        check("a.example/a:", None);
        check("a.example/a:.x", None);
        check("user@a.example/a", None);
        check("", None);
    }
}
