//! A JSON web token (RFC 7519) and the keys that may have signed it (RFC 7517).
//!
//! The signature is checked by ring, which is here for TLS already. Only what a provider signs with a key pair is accepted: neither `none` nor a shared secret,
//! and a key serves the algorithms of its own kind alone, so that nobody signs with a public key.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A longer token is none.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A token that has been read and not been checked.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) header: Header,
    pub(super) claims: Map<String, Value>,
    /// Header and claims as they were signed.
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Header {
    alg: Algorithm,
    pub(super) kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

/// The signatures of RFC 7518, section 3.1, and RFC 8037 that are made with a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Token<'_> {
    /// Reads a token.
    pub(super) fn parse(text: &str) -> Option<Token<'_>> {
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let claims = serde_json::from_slice(&decode(claims)?).ok()?;
        header.crit.is_none().then_some(())?;
        Some(Token { header, claims, signed, signature: decode(signature)? })
    }
}

/// A public key of a provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key as it is published.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// Reads a published key; nothing for one that signs no tokens, or in a way unknown here.
    pub(super) fn parse(jwk: &Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
        if jwk.purpose.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let decode = |part: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(part?.trim_end_matches('=')).ok();
        // ring takes numbers without leading zeros only.
        let number = |part| decode(part).map(|bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect());
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { modulus: number(jwk.n)?, exponent: number(jwk.e)? },
            ("EC", Some("P-256")) => Material::P256(point(decode(jwk.x)?, decode(jwk.y)?)),
            ("EC", Some("P-384")) => Material::P384(point(decode(jwk.x)?, decode(jwk.y)?)),
            ("OKP", Some("Ed25519")) => Material::Ed25519(decode(jwk.x)?),
            _ => return None,
        };
        Some(Key { id: jwk.kid, material })
    }

    /// Whether this key made a token's signature.
    pub(super) fn verify(&self, token: &Token<'_>) -> bool {
        let (message, signature) = (token.signed.as_bytes(), token.signature.as_slice());
        let rsa = |parameters: &'static RsaParameters| match &self.material {
            Material::Rsa { modulus, exponent } => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature).is_ok()
            }
            _ => false,
        };
        let plain = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match (token.header.alg, &self.material) {
            (Algorithm::RS256, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::RS384, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            (Algorithm::RS512, _) => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            (Algorithm::PS256, _) => rsa(&signature::RSA_PSS_2048_8192_SHA256),
            (Algorithm::PS384, _) => rsa(&signature::RSA_PSS_2048_8192_SHA384),
            (Algorithm::PS512, _) => rsa(&signature::RSA_PSS_2048_8192_SHA512),
            (Algorithm::ES256, Material::P256(key)) => plain(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Algorithm::ES384, Material::P384(key)) => plain(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Algorithm::EdDsa, Material::Ed25519(key)) => plain(&signature::ED25519, key),
            _ => false,
        }
    }
}

fn point(x: Vec<u8>, y: Vec<u8>) -> Vec<u8> {
    [vec![4], x, y].concat()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn unsigned(header: &Value) -> String {
        format!("{}.{}", encode(header.to_string()), encode(json!({ "sub": "ann" }).to_string()))
    }

    struct Ec {
        pair: EcdsaKeyPair,
        jwk: Value,
    }

    fn ec() -> Ec {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "1", "use": "sig", "x": encode(x), "y": encode(y) });
        Ec { pair, jwk }
    }

    #[test]
    fn a_signature_holds_for_its_key_and_its_text_alone() {
        let (one, two) = (ec(), ec());
        let signed = unsigned(&json!({ "alg": "ES256", "kid": "1" }));
        let signature = one.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let check = |text: &str, jwk: &Value, expected: bool| {
            let is_good = Token::parse(text).is_some_and(|token| Key::parse(jwk).is_some_and(|key| key.verify(&token)));
            assert_eq!(is_good, expected, "{text} {jwk}");
        };
        let text = format!("{signed}.{}", encode(signature));
        check(&text, &one.jwk, true);
        check(&text, &two.jwk, false);
        let other = unsigned(&json!({ "alg": "ES256", "kid": "2" }));
        check(&text.replace(&signed, &other), &one.jwk, false);
        check(&format!("{signed}."), &one.jwk, false);
        // A key for encryption signs nothing.
        let mut for_encryption = one.jwk.clone();
        for_encryption["use"] = json!("enc");
        check(&text, &for_encryption, false);
    }

    #[test]
    fn ed25519_is_known() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let key = Key::parse(&json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()) })).unwrap();
        let signed = unsigned(&json!({ "alg": "EdDSA" }));
        let text = format!("{signed}.{}", encode(pair.sign(signed.as_bytes())));
        assert!(key.verify(&Token::parse(&text).unwrap()));
    }

    /// The example of RFC 7515, appendix A.2.
    #[test]
    fn the_rfc_s_own_rsa_example_holds() {
        let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
        let text = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let key = Key::parse(&json!({ "kty": "RSA", "n": n, "e": "AQAB" })).unwrap();
        assert!(key.verify(&Token::parse(text).unwrap()));
        let altered = text.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Ej", 1);
        assert!(!Token::parse(&altered).is_some_and(|token| key.verify(&token)));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let check = |text: &str| assert!(Token::parse(text).is_none(), "{text}");
        check("");
        check("a.b");
        check("not.a.token");
        check(&format!("{}.x", unsigned(&json!({ "alg": "none" }))));
        check(&format!("{}.", unsigned(&json!({ "alg": "HS256" }))));
        check(&format!("{}.", unsigned(&json!({ "alg": "ES256", "crit": ["exp"] }))));
        check(&format!("{}.{}", unsigned(&json!({ "alg": "ES256" })), "A".repeat(TOKEN_BYTES_MAX)));
    }
}
