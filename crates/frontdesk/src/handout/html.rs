//! A page as one HTML file, which needs nothing but itself: no script, no font, no image from anywhere.

use std::fmt::Write as _;

use super::document::{Block, Document};

/// Wide things scroll by themselves, so that the page never does sideways; light or dark as the reader has it.
const STYLE: &str = "
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --back: #fff; --panel: #f5f7f9; --line: #d5dae0; --accent: #0a5cad; }
@media (prefers-color-scheme: dark) { :root { --text: #e8ebef; --soft: #a0a9b4; --back: #14171b; --panel: #1d2228; --line: #363d46; --accent: #7db8f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 52rem; padding: 1.5rem 1rem 4rem; color: var(--text); background: var(--back);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { margin-top: 2.2rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); font-size: 1.25rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0; list-style: none; }
a { color: var(--accent); }
code { padding: .1em .3em; border-radius: .25rem; background: var(--panel); font: .9em ui-monospace, monospace; }
pre { overflow-x: auto; padding: .8rem 1rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--panel); overflow-wrap: normal; }
pre code { padding: 0; background: none; }
figure { margin: 1rem 0; }
figcaption { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
td:first-child { overflow-wrap: normal; }
@media (min-width: 40rem) { td code { white-space: nowrap; } }
";

/// The page.
pub(super) fn page(document: &Document) -> String {
    let mut body = String::new();
    let _ = write!(body, "<header>\n<h1>{}</h1>\n<nav aria-label=\"Contents\"><ul>", inline(&document.title));
    for block in &document.blocks {
        if let Block::Heading(text) = block {
            let _ = write!(body, "<li><a href=\"#{}\">{}</a></li>", anchor(text), inline(text));
        }
    }
    body.push_str("</ul></nav>\n</header>\n<main>\n");
    document.blocks.iter().for_each(|block| put(&mut body, block));
    body.push_str("</main>\n");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(&document.title)
    )
}

fn put(body: &mut String, block: &Block) {
    let _ = match block {
        Block::Heading(text) => writeln!(body, "<h2 id=\"{}\">{}</h2>", anchor(text), inline(text)),
        Block::Text(text) => writeln!(body, "<p>{}</p>", inline(text)),
        // What scrolls can be reached with the keyboard.
        Block::Code(language, text) => {
            writeln!(body, "<pre tabindex=\"0\" data-language=\"{language}\"><code>{}</code></pre>", escaped(text.trim_end()))
        }
        Block::List(items) => {
            body.push_str("<ul>\n");
            items.iter().for_each(|item| body.push_str(&format!("<li>{}</li>\n", inline(item))));
            writeln!(body, "</ul>")
        }
        Block::Table(head, rows) => {
            let head: String = head.iter().map(|cell| format!("<th scope=\"col\">{}</th>", inline(cell))).collect();
            let _ = writeln!(body, "<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>");
            for row in rows {
                let cells: String = row.iter().map(|cell| format!("<td>{}</td>", inline(cell))).collect();
                let _ = writeln!(body, "<tr>{cells}</tr>");
            }
            writeln!(body, "</tbody></table></div>")
        }
    };
}

fn anchor(text: &str) -> String {
    text.to_lowercase().split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// A text with its code marked.
fn inline(text: &str) -> String {
    let mut marked = String::new();
    for (number, part) in text.split('`').enumerate() {
        let part = escaped(part);
        if number % 2 == 1 {
            let _ = write!(marked, "<code>{part}</code>");
        } else {
            marked.push_str(&part);
        }
    }
    marked
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_code_is_marked() {
        assert_eq!(inline("`<a>` & b"), "<code>&lt;a&gt;</code> &amp; b");
        assert_eq!(anchor("C#, and more"), "c-and-more");
        let document = Document { title: "<T>".to_owned(), blocks: vec![Block::Code("sh", "a < b\n".to_owned())] };
        let page = page(&document);
        assert!(page.contains("<title>&lt;T&gt;</title>") && page.contains("<code>a &lt; b</code>"), "{page}");
        assert!(!page.contains("<script") && !page.contains("http"), "the page fetches something");
    }
}
