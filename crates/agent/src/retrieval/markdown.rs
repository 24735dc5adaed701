//! Reads FAQ entries from Markdown: a heading is the question, what stands below it up to the next heading is the answer. A heading
//! with nothing below it is a chapter's title and no entry. Headings inside fenced code are code.

/// An entry as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The line of the heading, from 1.
    pub(super) line: u64,
    /// The heading without its marks.
    pub(super) question: String,
    /// The text below it, stripped.
    pub(super) answer: String,
}

/// The entries of `text`. What stands before the first heading belongs to none.
///
/// Headings are those of CommonMark with number signs (<https://spec.commonmark.org/0.31.2/#atx-headings>), not the underlined ones.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut fence: Option<&str> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let marks = ["```", "~~~"].into_iter().find(|marks| line.trim_start().starts_with(marks));
        let question = if fence.is_none() { heading(line) } else { None };
        match (fence, marks) {
            (None, Some(marks)) => fence = Some(marks),
            (Some(open), Some(marks)) if open == marks => fence = None,
            _ => {}
        }
        match (question, sections.last_mut()) {
            (Some(question), _) => sections.push(Section { line: number, question: question.to_owned(), answer: String::new() }),
            (None, Some(section)) => {
                section.answer.push_str(line);
                section.answer.push('\n');
            }
            (None, None) => {}
        }
    }
    for section in &mut sections {
        section.answer = section.answer.trim().to_owned();
    }
    sections.retain(|section| !section.answer.is_empty());
    sections
}

/// The text of a heading line: one to six number signs and a space before it, perhaps some signs after it.
fn heading(line: &str) -> Option<&str> {
    let line = line.trim();
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    if !(1..=6).contains(&level) || !text.starts_with([' ', '\t']) {
        return None;
    }
    let text = text.trim();
    let without_closing = text.trim_end_matches('#');
    let text = if without_closing.ends_with([' ', '\t']) { without_closing.trim_end() } else { text };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(u64, &str, &str)]) {
        let found = sections(text);
        let found: Vec<_> = found.iter().map(|section| (section.line, section.question.as_str(), section.answer.as_str())).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn headings_are_questions_and_their_text_is_the_answer() {
        check("# FAQ\n\n## A?\n\nb\n\nc\n## D? ##\ne", &[(3, "A?", "b\n\nc"), (8, "D?", "e")]);
        check("before\n# C#\nsharp\n#no heading\n", &[(2, "C#", "sharp\n#no heading")]);
        check("# A?\n```sh\n# a comment\n```\nb", &[(1, "A?", "```sh\n# a comment\n```\nb")]);
        check("no heading at all", &[]);
        check("", &[]);
    }
}
