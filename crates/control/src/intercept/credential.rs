//! The credential of the intercepting proxy: a name, and a password that follows from the root secret. It survives a restart, and needs no file of its own.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use ring::hmac;

/// Who may use the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyUser {
    /// What `frontdesk exec` started, or was told by `frontdesk env`.
    Exec,
    /// A Lambda function.
    Function,
}

impl ProxyUser {
    const ALL: [ProxyUser; 2] = [ProxyUser::Exec, ProxyUser::Function];

    /// Its name in the credential.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ProxyUser::Exec => "exec",
            ProxyUser::Function => "function",
        }
    }
}

/// What the passwords follow from.
pub struct ProxyCredentials(hmac::Key);

impl std::fmt::Debug for ProxyCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ProxyCredentials(…)")
    }
}

impl ProxyCredentials {
    /// Those of the host with this root secret access key.
    #[must_use]
    pub fn new(root_secret: &str) -> ProxyCredentials {
        ProxyCredentials(hmac::Key::new(hmac::HMAC_SHA256, root_secret.as_bytes()))
    }

    /// A user's password: 64 hexadecimal digits, which stand in a URL as they are.
    #[must_use]
    pub fn password(&self, user: ProxyUser) -> String {
        let tag = hmac::sign(&self.0, &message(user));
        tag.as_ref().iter().fold(String::with_capacity(64), |mut password, byte| {
            let _ = write!(password, "{byte:02x}");
            password
        })
    }

    /// The proxy's URL for a user, its credential in it. `control` is the control face's own URL, `http://HOST:PORT`.
    #[must_use]
    pub fn url(&self, user: ProxyUser, control: &str) -> String {
        let address = control.trim_start_matches("http://").trim_end_matches('/');
        format!("http://{}:{}@{address}", user.name(), self.password(user))
    }

    /// The user whose credential a request shows (`Proxy-Authorization: Basic …`), if it is right.
    pub(super) fn user(&self, headers: &HeaderMap) -> Option<ProxyUser> {
        let value = headers.get(header::PROXY_AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        self.check(std::str::from_utf8(&decoded).ok()?)
    }

    /// The user whose credential stands in the proxy's URL, if it is right.
    pub(super) fn user_of_url(&self, url: &str) -> Option<ProxyUser> {
        self.check(url.strip_prefix("http://")?.split_once('@')?.0)
    }

    /// The user of `NAME:PASSWORD`.
    fn check(&self, credential: &str) -> Option<ProxyUser> {
        let (name, password) = credential.split_once(':')?;
        let user = ProxyUser::ALL.into_iter().find(|user| user.name() == name)?;
        // In constant time, whatever was sent.
        hmac::verify(&self.0, &message(user), &hexadecimal(password)?).ok().map(|()| user)
    }
}

fn message(user: ProxyUser) -> Vec<u8> {
    format!("frontdesk intercepting proxy\n{}", user.name()).into_bytes()
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(value: &str, expected: Option<ProxyUser>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::PROXY_AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        assert_eq!(ProxyCredentials::new("secret").user(&headers), expected, "{value}");
    }

    #[test]
    fn only_the_right_password_of_the_right_user_is_let_in() {
        let basic = |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let credentials = ProxyCredentials::new("secret");
        let exec = credentials.password(ProxyUser::Exec);
        check(&basic("exec", &exec), Some(ProxyUser::Exec));
        check(&basic("exec", &exec).replace("Basic", "basic"), Some(ProxyUser::Exec));
        check(&basic("function", &credentials.password(ProxyUser::Function)), Some(ProxyUser::Function));
        for (user, password) in [
            ("exec", credentials.password(ProxyUser::Function)),
            ("exec", ProxyCredentials::new("other").password(ProxyUser::Exec)),
            ("exec", exec[..62].to_owned()),
            ("exec", format!("{exec}0")),
            ("exec", String::new()),
            ("exec", "no hexadecimal".to_owned()),
            ("root", exec.clone()),
        ] {
            check(&basic(user, &password), None);
        }
        check(&format!("Bearer {exec}"), None);
        check("Basic", None);
        check("Basic %", None);
        assert_eq!(HeaderMap::new().get(header::PROXY_AUTHORIZATION), None);
        assert_eq!(credentials.user(&HeaderMap::new()), None);
    }

    #[test]
    fn the_url_holds_the_credential() {
        let credentials = ProxyCredentials::new("secret");
        let password = credentials.password(ProxyUser::Function);
        assert_eq!(credentials.url(ProxyUser::Function, "http://127.0.0.1:4566"), format!("http://function:{password}@127.0.0.1:4566"));
        assert_eq!(credentials.user_of_url(&format!("http://function:{password}@127.0.0.1:4566")), Some(ProxyUser::Function));
        for wrong in
            [format!("http://exec:{password}@127.0.0.1:4566"), format!("function:{password}@x"), "http://127.0.0.1:4566".to_owned()]
        {
            assert_eq!(credentials.user_of_url(&wrong), None, "{wrong}");
        }
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
