//! A page as blocks: written once, and read as Markdown and as HTML. In texts `` `…` `` is code and nothing else is markup.

use std::fmt::Write as _;

/// A page.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

/// A part of a page.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Heading(&'static str),
    Text(String),
    /// A language, and what is written in it.
    Code(&'static str, String),
    List(Vec<String>),
    /// The head and the rows.
    Table(Vec<&'static str>, Vec<Vec<String>>),
}

impl Document {
    /// The page as Markdown.
    pub(super) fn to_markdown(&self) -> String {
        let mut page = format!("# {}\n", self.title);
        for block in &self.blocks {
            page.push('\n');
            match block {
                Block::Heading(text) => page.push_str(&format!("## {text}\n")),
                Block::Text(text) => page.push_str(&format!("{text}\n")),
                Block::Code(language, text) => page.push_str(&format!("```{language}\n{}\n```\n", text.trim_end())),
                Block::List(items) => items.iter().for_each(|item| page.push_str(&format!("- {item}\n"))),
                Block::Table(head, rows) => {
                    let _ = writeln!(page, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
                    rows.iter().for_each(|row| page.push_str(&format!("| {} |\n", row.join(" | "))));
                }
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_markdown() {
        let row = vec!["`a`".to_owned(), "b".to_owned()];
        let blocks = vec![
            Block::Heading("Limits"),
            Block::Text("None.".to_owned()),
            Block::Code("sh", "curl\n".to_owned()),
            Block::List(vec!["one".to_owned()]),
            Block::Table(vec!["x", "y"], vec![row]),
        ];
        let page = Document { title: "T".to_owned(), blocks }.to_markdown();
        assert_eq!(page, "# T\n\n## Limits\n\nNone.\n\n```sh\ncurl\n```\n\n- one\n\n| x | y |\n|---|---|\n| `a` | b |\n");
    }
}
