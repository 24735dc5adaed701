//! IAM's patterns: `*` is any number of characters, `?` is exactly one, everything else is itself.

/// Whether `text` matches `pattern`, in time proportional to the product of their lengths at worst.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // After the last star: the pattern behind it, and the text that it has not swallowed yet. Earlier stars need no second try, because the
    // part between them and the last one has matched as early as it can.
    let mut retry = None;
    loop {
        let is_matched = match pattern.next() {
            Some('*') => {
                retry = Some((pattern.clone(), text.clone()));
                true
            }
            Some('?') => text.next().is_some(),
            Some(expected) => text.next() == Some(expected),
            None if text.next().is_none() => return true,
            None => false,
        };
        if !is_matched {
            let Some((behind_star, left)) = &mut retry else { return false };
            if left.next().is_none() {
                return false;
            }
            (pattern, text) = (behind_star.clone(), left.clone());
        }
    }
}

/// Whether an ARN matches a pattern part by part, so that a star for the region does not swallow the account: each of an ARN's six parts "is
/// checked separately" (IAM User Guide, ARN condition operators). The sixth holds all further colons. `*` alone is every resource.
pub(super) fn matches_arn(pattern: &str, arn: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let patterns: Vec<&str> = pattern.splitn(6, ':').collect();
    patterns.len() == parts.len() && patterns.iter().zip(parts).all(|(pattern, part)| matches(pattern, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(matches(pattern, text), expected, "{pattern} ~ {text}");
        };
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("*", "anything", true);
        check("a*", "a", true);
        check("a*c", "abbc", true);
        check("a*c", "abcb", false);
        check("a*b*c", "aXbYbZc", true);
        check("*ab", "aab", true);
        check("?", "", false);
        check("?", "é", true);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("*?", "", false);
        check("**", "x", true);
        check("A", "a", false);
    }

    #[test]
    fn a_star_stays_in_its_part_of_an_arn() {
        let check = |pattern: &str, arn: &str, expected: bool| {
            assert_eq!(matches_arn(pattern, arn), expected, "{pattern} ~ {arn}");
        };
        let arn = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/faq-a1B2c3D4e5";
        check("*", arn, true);
        check(arn, arn, true);
        check("arn:aws:bedrock-agentcore:*:123456789012:runtime/*", arn, true);
        check("arn:aws:bedrock-agentcore:*:*:runtime/faq-??????????", arn, true);
        check("arn:aws:bedrock-agentcore:*:999999999999:runtime/*", arn, false);
        check("arn:aws:*:us-west-2:123456789012:runtime/faq-a1B2c3D4e5", arn, true);
        check("arn:aws:bedrock-agentcore:us-*:runtime/faq-a1B2c3D4e5", arn, false);
        check("arn:aws:bedrock-agentcore:us-*:runtime/*:*", arn, false);
        check("arn:aws:logs:r:a:group:*", "arn:aws:logs:r:a:group:stream:x", true);
    }
}
