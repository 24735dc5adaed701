//! Recognizes what is said to be polite and not to be looked up: greetings, thanks, goodbyes, and the question what this
//! agent is for. English only, as the phrases are; anything else is taken for a question.

/// A kind of pleasantry, the more telling later: "hi, what can you do" asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SmallTalk {
    Greeting,
    Farewell,
    Thanks,
    /// What are you, what can you do.
    Purpose,
}

/// Phrases in lower case, without punctuation. Where two begin alike the longer is found.
const PHRASES: &[(SmallTalk, &[&str])] = &[
    (
        SmallTalk::Greeting,
        &[
            "hi",
            "hello",
            "hey",
            "hiya",
            "hallo",
            "howdy",
            "yo",
            "greetings",
            "good morning",
            "good afternoon",
            "good evening",
            "good day",
            "how are you",
            "how are you doing",
            "how is it going",
            "hows it going",
            "whats up",
            "nice to meet you",
        ],
    ),
    (
        SmallTalk::Farewell,
        &[
            "bye",
            "bye bye",
            "goodbye",
            "good bye",
            "good night",
            "see you",
            "see ya",
            "cya",
            "have a nice day",
            "have a good day",
            "take care",
        ],
    ),
    (
        SmallTalk::Thanks,
        &[
            "thanks",
            "thank you",
            "thx",
            "ty",
            "cheers",
            "ta",
            "much appreciated",
            "ok",
            "okay",
            "great",
            "perfect",
            "awesome",
            "cool",
            "nice",
            "got it",
            "i see",
            "that helped",
            "that helps",
            "this helped",
            "you helped",
            "well done",
        ],
    ),
    (
        SmallTalk::Purpose,
        &[
            "help",
            "help me",
            "can you help me",
            "i need help",
            "what can you do",
            "what do you do",
            "what can i ask",
            "what can i ask you",
            "what can you help with",
            "what can you help me with",
            "how can you help",
            "how can you help me",
            "how do you work",
            "who are you",
            "what are you",
            "are you a robot",
            "are you a bot",
            "are you a human",
            "are you human",
            "are you real",
            "are you an ai",
            "am i talking to a robot",
            "am i talking to a human",
            "am i talking to a person",
        ],
    ),
];

/// Words that add nothing to a pleasantry.
const FILLERS: &[&str] = &[
    "there",
    "all",
    "everyone",
    "everybody",
    "team",
    "folks",
    "guys",
    "mate",
    "friend",
    "again",
    "very",
    "much",
    "so",
    "a",
    "lot",
    "for",
    "your",
    "the",
    "to",
    "and",
    "today",
    "later",
    "please",
    "now",
    "then",
    "lots",
    "really",
    "my",
    "me",
];

/// The longest phrase, in words.
const PHRASE_WORDS_MAX: usize = 6;

/// The kind of `text`, if it is nothing but pleasantries. A text without a letter or digit, such as a waving hand, greets.
pub(super) fn recognize(text: &str) -> Option<SmallTalk> {
    let words = words(text);
    if words.is_empty() {
        return Some(SmallTalk::Greeting);
    }
    let mut kind = None;
    let mut rest = &words[..];
    while !rest.is_empty() {
        let (taken, found) = next(rest)?;
        kind = kind.max(found);
        rest = &rest[taken..];
    }
    kind
}

/// `text` without the greeting that it begins with; the whole `text` if nothing else is in it.
pub(super) fn without_greeting(text: &str) -> &str {
    let words = words(text);
    let mut rest = &words[..];
    while let Some((taken, Some(SmallTalk::Greeting))) = next(rest) {
        rest = &rest[taken..];
    }
    match rest.first() {
        Some(word) => &text[word.start..],
        None => text,
    }
}

pub(super) struct Word {
    /// Its first byte in the text.
    start: usize,
    pub(super) lower: String,
}

/// The words of `text`, apostrophes left out.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut is_inside = false;
    for (start, character) in text.char_indices() {
        if character.is_alphanumeric() {
            if !is_inside {
                words.push(Word { start, lower: String::new() });
                is_inside = true;
            }
            let word = words.last_mut().expect("one was pushed before its first character");
            word.lower.extend(character.to_lowercase());
        } else if !matches!(character, '\'' | '’') {
            is_inside = false;
        }
    }
    words
}

/// How many words the phrase or filler at the front has, and its kind; a filler has none.
fn next(words: &[Word]) -> Option<(usize, Option<SmallTalk>)> {
    for length in (1..=PHRASE_WORDS_MAX.min(words.len())).rev() {
        let phrase: Vec<&str> = words[..length].iter().map(|word| word.lower.as_str()).collect();
        let phrase = phrase.join(" ");
        if let Some((kind, _)) = PHRASES.iter().find(|(_, phrases)| phrases.contains(&phrase.as_str())) {
            return Some((length, Some(*kind)));
        }
    }
    let first = words.first()?;
    FILLERS.contains(&first.lower.as_str()).then_some((1, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<SmallTalk>) {
        assert_eq!(recognize(text), expected, "{text:?}");
    }

    #[test]
    fn pleasantries_are_told_from_questions() {
        for text in ["hi", "Hello!", "hey there", "Good evening, how are you?", "👋", "What's up?"] {
            check(text, Some(SmallTalk::Greeting));
        }
        for text in ["thanks!", "Thank you very much, that helped", "cheers mate", "ok great", "hi and thanks"] {
            check(text, Some(SmallTalk::Thanks));
        }
        for text in ["bye", "See you, have a nice day", "good night"] {
            check(text, Some(SmallTalk::Farewell));
        }
        for text in ["what can you do?", "Hello, who are you?", "help", "are you a robot?"] {
            check(text, Some(SmallTalk::Purpose));
        }
        for text in ["hi, my phone was stolen", "thanks, and roaming?", "help me activate my SIM", "the", "what can you do about spam?"] {
            check(text, None);
        }
    }

    fn check_greeting(text: &str, expected: &str) {
        assert_eq!(without_greeting(text), expected);
    }

    #[test]
    fn a_greeting_before_a_question_is_left_out() {
        check_greeting("Hi, how do I pay?", "how do I pay?");
        check_greeting("Good morning! Hello… ¿roaming?", "roaming?");
        check_greeting("How do I pay? hi", "How do I pay? hi");
        check_greeting("hello", "hello");
    }
}
