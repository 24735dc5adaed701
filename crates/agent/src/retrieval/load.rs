//! Reads an FAQ into entries and pages: from CSV, JSON Lines (`{"question", "answer", "id"?}`), Markdown (headings are
//! questions), or a folder of such files. A page is the text that retrieval works on, in the form that LangChain's `CSVLoader`
//! gives it: one line `column: value` for each column, in the header's order, both stripped. Every complaint names the file,
//! the line where there is one, and the remedy. Nothing here knows of splitting or search.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::markdown;
use super::split::strip;

/// Larger files are refused: an FAQ of this size would be 64 MiB of answers.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Larger cells are refused: such a cell is a mistake (most often a quote that never ends), and its chunks would drown
/// all others.
pub const CELL_BYTES_MAX: usize = 100_000;

/// One row of the FAQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaqEntry {
    /// The column `question`, stripped, never empty.
    pub question: String,
    /// The column `answer`, stripped; of another wording the answer of its id, and empty only where no entry of that id has one.
    pub answer: String,
    /// What JSON Lines name it by; entries that share an id are one answer in several wordings.
    pub id: Option<String>,
}

impl FaqEntry {
    /// What labelled questions call it: its id, else its question.
    pub fn label(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.question)
    }
}

/// The entries of an FAQ file, and the page of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faq {
    /// The rows in the order of the file, repeated questions included.
    pub entries: Vec<FaqEntry>,
    pages: Vec<String>,
}

/// Why an FAQ file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FaqError {
    /// The path leads nowhere.
    #[error("no FAQ file at {path}; give a CSV file with the columns `question` and `answer`, JSON Lines, Markdown, or a folder of them")]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("failed to read the FAQ file {path}: {source}")]
    Io {
        /// The path as given.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// See [`FILE_BYTES_MAX`].
    #[error("{path} has more than {FILE_BYTES_MAX} bytes, the limit for an FAQ file; split it or shorten its answers")]
    FileTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A byte that is not UTF-8.
    #[error("{path}, line {line}: byte {offset} of the file is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// The offset of the first bad byte from the start of the file, from 0.
        offset: usize,
    },
    /// The header lacks a column.
    #[error(
        "{path}, line 1: expected a header with the columns `question` and `answer`, found `{found}`; make `question,answer` the first line"
    )]
    WrongHeader {
        /// The file.
        path: PathBuf,
        /// The first line, shortened.
        found: String,
    },
    /// A line of JSON Lines that is no entry.
    #[error("{path}, line {line}: {reason}; each line is one object {{\"question\": \"…\", \"answer\": \"…\"}}")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or folder that holds no entry.
    #[error(
        "{path} holds no FAQ entries; in Markdown a heading is a question and the text below it the answer, in JSON Lines each line is \
         an entry, and a folder holds .csv, .jsonl and .md files"
    )]
    NoEntries {
        /// The path as given.
        path: PathBuf,
    },
    /// Nothing below the header.
    #[error("{path} has a header but no rows; add at least one line `question,answer` below it")]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// A row with more or fewer cells than the header.
    #[error("{path}, line {line}: {found} cells where the header has {expected}; put quotes around a cell that contains a comma")]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The line at which the row starts, from 1.
        line: u64,
        /// Cells in this row.
        found: usize,
        /// Cells in the header.
        expected: usize,
    },
    /// A quote that is opened and never closed.
    #[error("{path}, line {line}: a quoted cell of this row never ends; close it with a quote, and double the quotes inside it")]
    UnclosedQuote {
        /// The file.
        path: PathBuf,
        /// The line at which the row starts, from 1.
        line: u64,
    },
    /// See [`CELL_BYTES_MAX`].
    #[error(
        "{path}, line {line}: the cell in column `{column}` has {bytes} bytes, the limit is {CELL_BYTES_MAX}; shorten it, split it into rows, or close its quote"
    )]
    CellTooLarge {
        /// The file.
        path: PathBuf,
        /// The line at which the row starts, from 1.
        line: u64,
        /// The header's name for the column.
        column: String,
        /// The cell's size.
        bytes: usize,
    },
    /// A row that asks or answers nothing.
    #[error("{path}, line {line}: the column `{column}` is empty; fill it in or remove the row")]
    EmptyCell {
        /// The file.
        path: PathBuf,
        /// The line at which the row starts, from 1.
        line: u64,
        /// `question` or `answer`.
        column: &'static str,
    },
}

impl Faq {
    /// Reads the file at `path`, by its ending JSON Lines (`.jsonl`), Markdown (`.md`) or else CSV; or all such files of the folder at
    /// `path`, by name. All are UTF-8; a byte order mark is ignored. CSV has a header with at least `question` and `answer`, and RFC
    /// 4180 quoting.
    pub fn read(path: &Path) -> Result<Faq, FaqError> {
        let mut faq = Faq { entries: Vec::new(), pages: Vec::new() };
        for file in files(path)? {
            let Faq { entries, pages } = read_file(&file)?;
            faq.entries.extend(entries);
            faq.pages.extend(pages);
        }
        if faq.entries.is_empty() {
            return Err(FaqError::NoEntries { path: path.to_owned() });
        }
        Ok(faq.with_shared_answers())
    }

    /// An FAQ of these entries, as if they had been read from a file with just the two columns.
    pub fn from_entries(entries: Vec<FaqEntry>) -> Faq {
        let page = |entry: &FaqEntry| match strip(&entry.answer) {
            // A wording of an answer that stands elsewhere: a label without a text would only blur what it means.
            "" => format!("question: {}", strip(&entry.question)),
            answer => format!("question: {}\nanswer: {answer}", strip(&entry.question)),
        };
        let pages = entries.iter().map(page).collect();
        Faq { entries, pages }.with_shared_answers()
    }

    /// Gives an entry that is another wording the answer of its id. The page stays as it is: it is what is searched.
    fn with_shared_answers(mut self) -> Faq {
        let mut answers: HashMap<String, String> = HashMap::new();
        for FaqEntry { id, answer, .. } in self.entries.iter().filter(|entry| !entry.answer.is_empty()) {
            if let Some(id) = id {
                answers.entry(id.clone()).or_insert_with(|| answer.clone());
            }
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.answer.is_empty()) {
            if let Some(answer) = entry.id.as_ref().and_then(|id| answers.get(id)) {
                entry.answer.clone_from(answer);
            }
        }
        self
    }

    /// The page of each entry, in the same order.
    pub fn pages(&self) -> &[String] {
        &self.pages
    }
}

/// The files of the FAQ at `path`: itself, or those of the folder that are FAQ files by their ending, by name.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, FaqError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| FaqError::Io { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let is_faq = file.extension().is_some_and(|ending| ["csv", "jsonl", "md"].iter().any(|known| ending.eq_ignore_ascii_case(known)));
        if is_faq && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<Faq, FaqError> {
    let bytes = read_limited(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| FaqError::NotUtf8 {
        path: path.to_owned(),
        line: 1 + line_breaks(&bytes[..error.valid_up_to()]),
        offset: error.valid_up_to(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let has_ending = |name: &str| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(name));
    if has_ending("jsonl") {
        parse_lines(path, text)
    } else if has_ending("md") {
        parse_markdown(path, text)
    } else {
        parse_csv(path, text)
    }
}

/// One line of JSON Lines. What else stands in it is left alone.
#[derive(Deserialize)]
struct Line {
    question: String,
    answer: String,
    id: Option<serde_json::Value>,
}

fn parse_lines(path: &Path, text: &str) -> Result<Faq, FaqError> {
    let mut entries = Vec::new();
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        let parsed: Line =
            serde_json::from_str(content).map_err(|error| FaqError::BadLine { path: path.to_owned(), line, reason: error.to_string() })?;
        let id = parsed.id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        let entry = FaqEntry { question: strip(&parsed.question).to_owned(), answer: strip(&parsed.answer).to_owned(), id };
        check_entry(path, line, &entry)?;
        entries.push(entry);
    }
    Ok(Faq::from_entries(entries))
}

fn parse_markdown(path: &Path, text: &str) -> Result<Faq, FaqError> {
    let mut entries = Vec::new();
    for markdown::Section { line, question, answer } in markdown::sections(text) {
        let entry = FaqEntry { question, answer, id: None };
        check_entry(path, line, &entry)?;
        entries.push(entry);
    }
    Ok(Faq::from_entries(entries))
}

/// An entry asks something, and holds no more than a cell of CSV may. An entry with an id may leave its answer to another of that id.
fn check_entry(path: &Path, line: u64, entry: &FaqEntry) -> Result<(), FaqError> {
    for (column, text) in [("question", &entry.question), ("answer", &entry.answer)] {
        if text.is_empty() && (column == "question" || entry.id.is_none()) {
            return Err(FaqError::EmptyCell { path: path.to_owned(), line, column });
        }
        if text.len() > CELL_BYTES_MAX {
            return Err(FaqError::CellTooLarge { path: path.to_owned(), line, column: column.to_owned(), bytes: text.len() });
        }
    }
    Ok(())
}

fn read_limited(path: &Path) -> Result<Vec<u8>, FaqError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FaqError::NotFound { path: path.to_owned() },
        _ => FaqError::Io { path: path.to_owned(), source },
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file at the limit from one above it, even if it grows while it is read.
    File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FaqError::FileTooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn parse_csv(path: &Path, text: &str) -> Result<Faq, FaqError> {
    // Row lengths are compared below, where the message can say more.
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|name| strip(name).to_owned()).collect(),
        Err(error) => return Err(csv_failed(path, error)),
    };
    let column = |name: &str| header.iter().position(|column| column == name);
    let (Some(question), Some(answer)) = (column("question"), column("answer")) else {
        return Err(FaqError::WrongHeader { path: path.to_owned(), found: shortened(text.lines().next().unwrap_or_default()) });
    };

    let mut faq = Faq { entries: Vec::new(), pages: Vec::new() };
    let mut records = reader.records();
    while let Some(record) = records.next() {
        let record = record.map_err(|error| csv_failed(path, error))?;
        let (line, row_and_rest) = begin(text, &record);
        let cells: Vec<&str> = record.iter().map(strip).collect();
        check_row(path, line, &header, &record)?;
        let is_last = records.reader().position().byte() == text.len() as u64;
        if is_last && ends_in_a_quote(&record, row_and_rest) {
            return Err(FaqError::UnclosedQuote { path: path.to_owned(), line });
        }
        for (column, at) in [("question", question), ("answer", answer)] {
            if cells[at].is_empty() {
                return Err(FaqError::EmptyCell { path: path.to_owned(), line, column });
            }
        }
        let page: Vec<String> = header.iter().zip(&cells).map(|(column, cell)| format!("{column}: {cell}")).collect();
        faq.pages.push(page.join("\n"));
        faq.entries.push(FaqEntry { question: cells[question].to_owned(), answer: cells[answer].to_owned(), id: None });
    }

    if faq.entries.is_empty() {
        return Err(FaqError::NoRows { path: path.to_owned() });
    }
    Ok(faq)
}

/// The line at which a row begins, from 1, and the text from there on. The csv crate counts from the end of the row before, and skips empty
/// lines.
fn begin<'a>(text: &'a str, record: &csv::StringRecord) -> (u64, &'a str) {
    let (line, byte) = record.position().map_or((1, 0), |position| (position.line(), position.byte()));
    let rest = usize::try_from(byte).ok().and_then(|byte| text.get(byte..)).unwrap_or_default();
    let row = rest.trim_start_matches(['\r', '\n']);
    (line + line_breaks(&rest.as_bytes()[..rest.len() - row.len()]), row)
}

/// Whether the last row, which is `row`, opens a quote that it does not close: the csv crate takes the end of the file for it, so that one
/// more quote changes nothing.
fn ends_in_a_quote(record: &csv::StringRecord, row: &str) -> bool {
    let closed = format!("{row}\"");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(closed.as_bytes());
    let mut records = reader.records().map_while(Result::ok);
    records.next().is_some_and(|closed| closed == *record) && records.next().is_none()
}

fn check_row(path: &Path, line: u64, header: &[String], record: &csv::StringRecord) -> Result<(), FaqError> {
    // Size before number: a quote that never ends gives a row that is both too large and too short, and the size is
    // the better hint.
    if let Some((at, cell)) = record.iter().enumerate().find(|(_, cell)| cell.len() > CELL_BYTES_MAX) {
        let column = header.get(at).cloned().unwrap_or_else(|| (at + 1).to_string());
        return Err(FaqError::CellTooLarge { path: path.to_owned(), line, column, bytes: cell.len() });
    }
    if record.len() != header.len() {
        return Err(FaqError::Ragged { path: path.to_owned(), line, found: record.len(), expected: header.len() });
    }
    Ok(())
}

fn csv_failed(path: &Path, error: csv::Error) -> FaqError {
    // The text is in memory, valid UTF-8, and rows may differ in length: no kind of csv::Error is left but this.
    FaqError::Io { path: path.to_owned(), source: error.into() }
}

fn line_breaks(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn shortened(line: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut short: String = line.chars().take(CHARS_MAX).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Faq, FaqError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faq.csv");
        std::fs::write(&path, content).unwrap();
        Faq::read(&path)
    }

    #[track_caller]
    fn check(content: &str, pages: &[&str]) {
        assert_eq!(read(content.as_bytes()).unwrap().pages(), pages);
    }

    #[track_caller]
    fn check_error(content: &[u8], expected: &str) {
        let message = read(content).unwrap_err().to_string();
        let (_, message) = message.split_once("faq.csv").expect("the message names the file");
        assert_eq!(message, expected);
    }

    #[test]
    fn pages_are_as_langchains_loader_makes_them() {
        check("question,answer\nHow? ,\"A, b\nc\"\n", &["question: How?\nanswer: A, b\nc"]);
        check("\u{feff}answer, topic ,question\r\nYes,sim,\"Is \"\"it\"\"?\"\r\n", &["answer: Yes\ntopic: sim\nquestion: Is \"it\"?"]);
        check("question,answer\nq,5\" screen\n\nr,b\n", &["question: q\nanswer: 5\" screen", "question: r\nanswer: b"]);
        check("question,answer\nq,5\"", &["question: q\nanswer: 5\""]);
        check("question,answer\nq,\"5\"\"\"\n", &["question: q\nanswer: 5\""]);
        check("question,answer\nq,\"a\nb\"", &["question: q\nanswer: a\nb"]);
    }

    #[test]
    fn json_lines_and_markdown_are_read_by_their_ending() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
        let message = |name: &str| {
            let message = Faq::read(&folder.path().join(name)).unwrap_err().to_string();
            message.rsplit_once('/').expect("the message names the file").1.to_owned()
        };
        write(
            "a.jsonl",
            "{\"question\": \" A? \", \"answer\": \"b\", \"id\": 7, \"topic\": \"x\"}\n\n{\"question\":\"C?\",\"answer\":\"d\"}\n",
        );
        let faq = Faq::read(&folder.path().join("a.jsonl")).unwrap();
        assert_eq!(faq.pages(), ["question: A?\nanswer: b", "question: C?\nanswer: d"]);
        assert_eq!(faq.entries[0].id.as_deref(), Some("7"));
        write("b.md", "# Shop\n## E?\nf\n");
        write("c.csv", "question,answer\nG?,h\n");
        write("notes.txt", "not read");
        let questions: Vec<String> = Faq::read(folder.path()).unwrap().entries.into_iter().map(|entry| entry.question).collect();
        assert_eq!(questions, ["A?", "C?", "E?", "G?"]);
        write("cut.jsonl", "{\"question\":\"A?\",\"answer\":\"b\"}\n{\"question\":\"C");
        assert!(message("cut.jsonl").starts_with("cut.jsonl, line 2: EOF while parsing a string"), "{}", message("cut.jsonl"));
        write("empty.jsonl", "{\"question\":\"\",\"answer\":\"b\"}");
        assert_eq!(message("empty.jsonl"), "empty.jsonl, line 1: the column `question` is empty; fill it in or remove the row");
        write("plain.md", "no heading");
        assert!(message("plain.md").starts_with("plain.md holds no FAQ entries; in Markdown a heading is a question"));
    }

    #[test]
    fn repeated_questions_stay() {
        assert_eq!(read(b"question,answer\na,b\na,c\n").unwrap().entries.len(), 2);
    }

    #[test]
    fn entries_without_a_file_have_the_same_pages() {
        let entries = vec![FaqEntry { question: "a".into(), answer: "b".into(), id: None }];
        assert_eq!(Faq::from_entries(entries), read(b"question,answer\na,b\n").unwrap());
        let wording = FaqEntry { question: "a".into(), answer: String::new(), id: Some("1".into()) };
        let answered = FaqEntry { question: "b".into(), answer: "c".into(), ..wording.clone() };
        let faq = Faq::from_entries(vec![wording, answered]);
        assert_eq!(faq.pages(), ["question: a", "question: b\nanswer: c"]);
        assert_eq!(faq.entries[0].answer, "c", "another wording has the answer of its id");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Faq::read(Path::new("/nowhere/faq.csv")).unwrap_err();
        assert!(error.to_string().starts_with("no FAQ file at /nowhere/faq.csv; give a CSV"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        check_error(
            b"Frage,Antwort\na,b\n",
            ", line 1: expected a header with the columns `question` and `answer`, found `Frage,Antwort`; make `question,answer` the first line",
        );
        check_error(
            b"",
            ", line 1: expected a header with the columns `question` and `answer`, found ``; make `question,answer` the first line",
        );
        check_error(b"question,answer\n", " has a header but no rows; add at least one line `question,answer` below it");
        check_error(b"question,answer\na,b\nc,\xff\n", ", line 3: byte 22 of the file is not UTF-8; save the file as UTF-8");
        check_error(
            b"question,answer\na,b\nc,d,e\n",
            ", line 3: 3 cells where the header has 2; put quotes around a cell that contains a comma",
        );
        check_error(b"question,answer\na,b\n\" \",d\n", ", line 3: the column `question` is empty; fill it in or remove the row");
        check_error(b"question,answer\na,\n", ", line 2: the column `answer` is empty; fill it in or remove the row");
        check_error(
            b"question,answer\na,b\nc,\"d\ne,f\n",
            ", line 3: a quoted cell of this row never ends; close it with a quote, and double the quotes inside it",
        );
        check_error(
            b"question,answer\na,\"b",
            ", line 2: a quoted cell of this row never ends; close it with a quote, and double the quotes inside it",
        );
    }

    #[test]
    fn a_huge_cell_is_refused_with_its_line_and_column() {
        let content = format!("question,answer\na,b\nc,\"{}\"\n", "x".repeat(5_000_000));
        check_error(
            content.as_bytes(),
            ", line 3: the cell in column `answer` has 5000000 bytes, the limit is 100000; shorten it, split it into rows, or close its quote",
        );
    }

    #[test]
    fn a_file_over_the_limit_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faq.csv");
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(matches!(Faq::read(&path), Err(FaqError::FileTooLarge { .. })));
    }
}
