//! IAM's patterns: `*` is any number of characters, `?` is exactly one, `${key}` is what the request's context says, everything else is itself.
//!
//! Source of the variables: "IAM policy elements: Variables and tags" in the IAM User Guide
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>).

use std::borrow::Cow;

use super::condition::Context;

/// What a pattern may hold besides characters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syntax {
    /// `*` and `?`.
    pub(super) wildcards: bool,
    /// `${…}`, which only policies of version 2012-10-17 know.
    pub(super) variables: bool,
}

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The characters before the first token that is none; of most patterns nearly all.
    prefix: String,
    rest: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Char(char),
    /// `${key}` or `${key, 'default'}`.
    Variable {
        key: String,
        default: Option<String>,
    },
}

impl Pattern {
    pub(super) fn parse(text: &str, syntax: Syntax) -> Pattern {
        Pattern::of(&tokens(text, syntax))
    }

    fn of(tokens: &[Token]) -> Pattern {
        let characters = tokens.iter().map_while(|token| if let Token::Char(character) = token { Some(*character) } else { None });
        let prefix: String = characters.clone().collect();
        Pattern { rest: tokens[characters.count()..].to_vec(), prefix }
    }

    /// Whether `text` matches; nothing when that hangs on a variable that the context does not hold.
    pub(super) fn matches(&self, text: &str, context: &Context) -> Option<bool> {
        let rest = self.resolved(context)?;
        Some(text.strip_prefix(&*self.prefix).is_some_and(|text| tokens_match(&rest, text)))
    }

    /// What is behind the prefix, with characters in place of variables: what a variable stands for is never a wildcard.
    fn resolved(&self, context: &Context) -> Option<Cow<'_, [Token]>> {
        if !self.rest.iter().any(|token| matches!(token, Token::Variable { .. })) {
            return Some(Cow::Borrowed(&self.rest));
        }
        let mut resolved = Vec::with_capacity(self.rest.len());
        for token in &self.rest {
            let Token::Variable { key, default } = token else {
                resolved.push(token.clone());
                continue;
            };
            let value = match context.get(key) {
                // Of several values none is meant.
                Some([value]) => value,
                _ => default.as_ref()?,
            };
            resolved.extend(value.chars().map(Token::Char));
        }
        Some(Cow::Owned(resolved))
    }
}

impl Token {
    fn in_braces(inside: &str) -> Token {
        // `${*}`, `${?}` and `${$}` are the characters themselves.
        if let "*" | "?" | "$" = inside {
            return Token::Char(inside.chars().next().unwrap_or('$'));
        }
        let (key, default) = match inside.split_once(',') {
            Some((key, default)) => {
                let default = default.trim();
                let unquoted = default.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                (key, Some(unquoted.unwrap_or(default).to_owned()))
            }
            None => (inside, None),
        };
        Token::Variable { key: key.trim().to_owned(), default }
    }
}

/// What a text says.
fn tokens(text: &str, syntax: Syntax) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let variable = rest.strip_prefix("${").filter(|_| syntax.variables).and_then(|inner| inner.split_once('}'));
        if let Some((inside, behind)) = variable {
            tokens.push(Token::in_braces(inside));
            rest = behind;
            continue;
        }
        tokens.push(match next {
            '*' if syntax.wildcards => Token::Any,
            '?' if syntax.wildcards => Token::One,
            other => Token::Char(other),
        });
        rest = &rest[next.len_utf8()..];
    }
    tokens
}

/// Whether `text` matches tokens without variables, in time proportional to the product of their lengths at worst.
fn tokens_match(tokens: &[Token], text: &str) -> bool {
    let (mut tokens, mut text) = (tokens.iter(), text.chars());
    // After the last star: the pattern behind it, and the text that it has not swallowed yet. Earlier stars need no second try, because the
    // part between them and the last one has matched as early as it can.
    let mut retry = None;
    loop {
        let is_matched = match tokens.next() {
            // Whatever is left.
            Some(Token::Any) if tokens.as_slice().is_empty() => return true,
            Some(Token::Any) => {
                retry = Some((tokens.clone(), text.clone()));
                true
            }
            Some(Token::One) => text.next().is_some(),
            Some(Token::Char(expected)) => text.next() == Some(*expected),
            Some(Token::Variable { .. }) => false,
            None if text.next().is_none() => return true,
            None => false,
        };
        if !is_matched {
            let Some((behind_star, left)) = &mut retry else { return false };
            if left.next().is_none() {
                return false;
            }
            (tokens, text) = (behind_star.clone(), left.clone());
        }
    }
}

/// A pattern for ARNs, matched part by part, so that a star for the region does not swallow the account: each of an ARN's six parts "is checked
/// separately" (IAM User Guide, ARN condition operators). The sixth holds all further colons. `*` alone is every resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArnPattern {
    Everything,
    Parts(Vec<Pattern>),
}

impl ArnPattern {
    pub(super) fn parse(text: &str, variables: bool) -> ArnPattern {
        if text == "*" {
            return ArnPattern::Everything;
        }
        // Split behind parsing: the colon of `${aws:username}` is none of the ARN's.
        let tokens = tokens(text, Syntax { wildcards: true, variables });
        ArnPattern::Parts(tokens.splitn(6, |token| *token == Token::Char(':')).map(Pattern::of).collect())
    }

    /// Whether it is `*` or has the six parts of an ARN.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            ArnPattern::Everything => true,
            ArnPattern::Parts(parts) => parts.len() == 6,
        }
    }

    pub(super) fn matches(&self, arn: &str, context: &Context) -> Option<bool> {
        let ArnPattern::Parts(patterns) = self else { return Some(true) };
        let (mut patterns, mut parts, mut is_certain) = (patterns.iter(), arn.splitn(6, ':'), true);
        loop {
            let matched = match (patterns.next(), parts.next()) {
                (Some(pattern), Some(part)) => pattern.matches(part, context),
                (None, None) => return is_certain.then_some(true),
                _ => Some(false),
            };
            match matched {
                Some(true) => {}
                Some(false) => return Some(false),
                None => is_certain = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Syntax = Syntax { wildcards: true, variables: true };

    #[test]
    fn stars_and_question_marks() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let matched = Pattern::parse(pattern, ALL).matches(text, &Context::new());
            assert_eq!(matched, Some(expected), "{pattern} ~ {text}");
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
        check("${*}${?}${$}", "*?$", true);
        check("${*}", "x", false);
        check("${", "${", true);
    }

    #[test]
    fn variables_are_what_the_context_says() {
        let context = Context::new().with("aws:username", "ann").with("aws:UserAgent", "*").with_all("aws:TagKeys", ["a", "b"]);
        let check = |pattern: &str, text: &str, expected: Option<bool>| {
            assert_eq!(Pattern::parse(pattern, ALL).matches(text, &context), expected, "{pattern} ~ {text}");
        };
        check("home/${aws:username}/*", "home/ann/x", Some(true));
        check("home/${AWS:UserName}", "home/ann", Some(true));
        check("home/${aws:username}", "home/bob", Some(false));
        check("${aws:UserAgent}", "anything", Some(false));
        check("${aws:PrincipalTag/team}", "red", None);
        check("${aws:PrincipalTag/team, 'red'}", "red", Some(true));
        check("${aws:TagKeys}", "a", None);
    }

    #[test]
    fn a_star_stays_in_its_part_of_an_arn() {
        let context = Context::new().with("aws:username", "faq");
        let check = |pattern: &str, arn: &str, expected: bool| {
            assert_eq!(ArnPattern::parse(pattern, true).matches(arn, &context), Some(expected), "{pattern} ~ {arn}");
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
        check("arn:aws:bedrock-agentcore:*:*:runtime/${aws:username}-*", arn, true);
        check("arn:aws:logs:r:a:group:*", "arn:aws:logs:r:a:group:stream:x", true);
    }
}
