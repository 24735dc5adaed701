//! The value of an API key: how one is made, and how a given one is judged.
//!
//! Generated keys are 40 letters and digits, as AWS's are: `fd` names the issuer, 32 are random (190 bits), and six are a checksum (CRC-32 in base 62), so
//! that a scanner for leaked secrets can tell a Frontdesk key from noise.

use frontdesk_store::SecretText;

const ISSUER: &str = "fd";
const RANDOM_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
/// API Gateway's bounds on a key that is given, not generated.
const GIVEN_CHARS: std::ops::RangeInclusive<usize> = 20..=128;
/// A longer value in a request is wrong without a look.
pub const VALUE_BYTES_MAX: usize = 128 * 4;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a given value cannot be a key. The texts are API Gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyValueError {
    /// Shorter than 20 characters.
    #[error("API Key value should be at least 20 characters")]
    TooShort,
    /// Longer than 128 characters.
    #[error("API Key value exceeds maximum size of 128 characters")]
    TooLong,
    /// Cannot be sent in a header.
    #[error("API Key value may hold printable ASCII characters only, and no spaces")]
    NotHeaderSafe,
}

/// The random generator's error.
pub type RandomError = getrandom::Error;

/// Makes a new key.
///
/// # Errors
/// When the system's random generator fails.
pub fn generate() -> Result<SecretText, RandomError> {
    let mut value = String::with_capacity(ISSUER.len() + RANDOM_CHARS + CHECKSUM_CHARS);
    value.push_str(ISSUER);
    value.push_str(&random_text(RANDOM_CHARS, ALPHABET)?);
    value.push_str(&checksum(&value));
    Ok(SecretText::new(value))
}

/// Makes a resource id: ten lower-case letters and digits.
///
/// # Errors
/// When the system's random generator fails.
pub fn generate_id() -> Result<String, RandomError> {
    random_text(10, b"0123456789abcdefghijklmnopqrstuvwxyz")
}

/// Whether a value has the form and the checksum of a generated key.
#[must_use]
pub fn is_generated(value: &str) -> bool {
    value.len() == ISSUER.len() + RANDOM_CHARS + CHECKSUM_CHARS
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && value.starts_with(ISSUER)
        && value.split_at(ISSUER.len() + RANDOM_CHARS).1 == checksum(&value[..ISSUER.len() + RANDOM_CHARS])
}

/// Judges a value that somebody wants to use as a key.
///
/// # Errors
/// See [`KeyValueError`].
pub fn check_given(value: &str) -> Result<(), KeyValueError> {
    let chars = value.chars().count();
    if chars < *GIVEN_CHARS.start() {
        Err(KeyValueError::TooShort)
    } else if chars > *GIVEN_CHARS.end() {
        Err(KeyValueError::TooLong)
    } else if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(KeyValueError::NotHeaderSafe)
    } else {
        Ok(())
    }
}

/// Draws characters evenly: bytes that would favour the alphabet's beginning are thrown away.
pub fn random_text(chars: usize, alphabet: &[u8]) -> Result<String, RandomError> {
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(chars);
    let mut bytes = [0; 64];
    while text.len() < chars {
        getrandom::fill(&mut bytes)?;
        let drawn = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        text.extend(drawn.map(|byte| char::from(alphabet[byte % alphabet.len()])).take(chars - text.len()));
    }
    Ok(text)
}

/// CRC-32 (IEEE) of the text before it, in base 62, most significant digit first. Six digits hold it: 62⁶ > 2³².
fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut digits = [0; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_has_the_documented_form() {
        let key = generate().unwrap();
        assert_eq!(key.expose().len(), 40);
        assert!(is_generated(key.expose()));
        assert_eq!(check_given(key.expose()), Ok(()));
        assert_ne!(key, generate().unwrap());
    }

    #[test]
    fn one_wrong_letter_breaks_the_checksum() {
        let key = generate().unwrap();
        for position in 0..40 {
            let mut wrong = key.expose().to_owned().into_bytes();
            wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
            assert!(!is_generated(std::str::from_utf8(&wrong).unwrap()), "position {position}");
        }
    }

    fn check(value: &str, expected: Result<(), KeyValueError>) {
        assert_eq!(check_given(value), expected, "{value}");
    }

    #[test]
    fn given_values_have_bounds() {
        check(&"a".repeat(19), Err(KeyValueError::TooShort));
        check(&"a".repeat(20), Ok(()));
        check(&"a".repeat(128), Ok(()));
        check(&"a".repeat(129), Err(KeyValueError::TooLong));
        check(&"ä".repeat(20), Err(KeyValueError::NotHeaderSafe));
        check(&" a".repeat(20), Err(KeyValueError::NotHeaderSafe));
    }
}
