//! Getting in: what a registry's 401 asks for, and the `Authorization` that answers it. Docker's token protocol
//! (<https://distribution.github.io/distribution/spec/auth/token/>) or HTTP's basic scheme, which ECR takes.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use frontdesk_aws::SecretKey;
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

use super::RegistryError;

/// Who pushes.
#[derive(Clone, Debug)]
pub enum Login {
    /// Nobody: for a registry that lets everybody push.
    Anonymous,
    /// A user with a password or token.
    Password {
        /// `AWS` at ECR.
        user: String,
        /// Prints nothing in `Debug`.
        password: SecretKey,
    },
}

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Token { realm: String, service: Option<String> },
}

impl Challenge {
    /// Reads `WWW-Authenticate`; `None` when it asks for nothing known here.
    pub(super) fn of(headers: &HeaderMap) -> Option<Challenge> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        values.filter_map(Challenge::parse).next()
    }

    fn parse(value: &str) -> Option<Challenge> {
        let (scheme, parameters) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters_of(parameters);
        let parameter =
            |wanted: &str| parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone());
        Some(Challenge::Token { realm: parameter("realm")?, service: parameter("service") })
    }
}

/// `name="value"` pairs, whose values may hold commas.
fn parameters_of(mut text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        parameters.push((name.trim_matches([' ', ',']).to_owned(), value.to_owned()));
        text = after;
    }
    parameters
}

/// The `Authorization` that `challenge` asks for, for pushing to `repository`.
pub(super) async fn authorization(
    http: &reqwest::Client,
    challenge: &Challenge,
    login: &Login,
    repository: &str,
) -> Result<HeaderValue, RegistryError> {
    let malformed = |reason: &str| RegistryError::Malformed { step: "the token".to_owned(), reason: reason.to_owned() };
    let (realm, service) = match challenge {
        Challenge::Basic => return basic(login).ok_or(RegistryError::LoginWanted)?,
        Challenge::Token { realm, service } => (realm, service),
    };
    let mut url = reqwest::Url::parse(realm).map_err(|_| malformed("its address is no URL"))?;
    // The scope of a whole push at once: the challenge of a `HEAD` would ask for `pull` alone.
    url.query_pairs_mut().append_pair("scope", &format!("repository:{repository}:pull,push"));
    if let Some(service) = service {
        url.query_pairs_mut().append_pair("service", service);
    }
    let mut request = http.get(url);
    if let Some(basic) = basic(login) {
        request = request.header(header::AUTHORIZATION, basic?);
    }
    let response = request.send().await.map_err(|source| RegistryError::unreachable("the token", source))?;
    if !response.status().is_success() {
        return Err(RegistryError::refused("the token", response).await);
    }
    let body = response.bytes().await.map_err(|source| RegistryError::unreachable("the token", source))?;
    let document: Value = serde_json::from_slice(&body).map_err(|_| malformed("it is not JSON"))?;
    // One name is Docker's, the other OAuth's; registries answer with either.
    let token = ["token", "access_token"].into_iter().find_map(|name| document.get(name)?.as_str());
    secret(&format!("Bearer {}", token.ok_or_else(|| malformed("it holds no token"))?))
}

/// The basic scheme's header; `None` for nobody.
fn basic(login: &Login) -> Option<Result<HeaderValue, RegistryError>> {
    match login {
        Login::Anonymous => None,
        Login::Password { user, password } => {
            Some(secret(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose())))))
        }
    }
}

fn secret(text: &str) -> Result<HeaderValue, RegistryError> {
    let malformed = |_| RegistryError::Malformed { step: "the token".to_owned(), reason: "it cannot stand in a header".to_owned() };
    let mut value = HeaderValue::from_str(text).map_err(malformed)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let check = |value: &str, expected: Option<Challenge>| assert_eq!(Challenge::parse(value), expected, "{value}");
        let token =
            |realm: &str, service: Option<&str>| Some(Challenge::Token { realm: realm.to_owned(), service: service.map(str::to_owned) });
        check("Basic realm=\"https://x/\",service=\"ecr.amazonaws.com\"", Some(Challenge::Basic));
        check(
            "Bearer realm=\"https://auth/token\",service=\"reg\",scope=\"repository:a:pull,push\"",
            token("https://auth/token", Some("reg")),
        );
        check("bearer scope=\"a,b\", realm=\"http://x\"", token("http://x", None));
        check("Bearer service=reg,realm=http://x", token("http://x", Some("reg")));
        check("Bearer service=\"reg\"", None);
        check("Negotiate", None);
    }
}
