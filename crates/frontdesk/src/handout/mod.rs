//! What a third party is handed: how to call the endpoint, in words, as an OpenAPI description and as programs that run.
//!
//! Everything is made from one [`Offer`], so that the texts, the description and the programs agree. Nothing here knows a host or a cloud.

pub(crate) mod clean_up;
mod document;
mod examples;
mod guide;
mod html;
mod openapi;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// What stands where the key's value is not told.
const PLACEHOLDER: &str = "YOUR_API_KEY";

/// What is offered to whoever holds a key.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// What it is called: the key's name.
    pub(crate) name: String,
    /// Where questions are posted.
    pub(crate) endpoint: String,
    /// Where questions are posted whose answers are read while they are written; `None` where the API has no such method.
    pub(crate) stream: Option<String>,
    /// Requests a second, and at once.
    pub(crate) throttle: Option<(f64, u64)>,
    /// Requests in a period: `DAY`, `WEEK` or `MONTH`.
    pub(crate) quota: Option<(u64, String)>,
    /// How long an answer may take, in milliseconds.
    pub(crate) timeout_ms: u64,
    /// The key's value, where it is told.
    pub(crate) key: Option<ApiKeyText>,
}

/// A key's value. `Debug` prints nothing of it.
#[derive(Clone)]
pub(crate) struct ApiKeyText(pub(crate) String);

impl std::fmt::Debug for ApiKeyText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(an API key)")
    }
}

impl Offer {
    /// The key as the examples have it.
    fn key(&self) -> &str {
        self.key.as_ref().map_or(PLACEHOLDER, |key| key.0.as_str())
    }

    /// The address without the last part of its path, and that part: `http://127.0.0.1:8000/prod`, `/invoke`.
    fn parts(&self) -> (&str, &str) {
        let cut = self.endpoint.rfind('/').unwrap_or(self.endpoint.len());
        self.endpoint.split_at(cut)
    }

    /// The limits in words, a line each.
    fn limits(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some((rate, burst)) = self.throttle {
            lines.push(format!("{rate} requests a second in the long run"));
            lines.push(format!("{burst} requests at once"));
        }
        if let Some((limit, period)) = &self.quota {
            lines.push(format!("{limit} requests a {}, counted anew at midnight UTC", period.to_lowercase()));
        }
        if lines.is_empty() {
            lines.push("None by the plan".to_owned());
        }
        lines
    }
}

/// Writes the hand-out into a folder, which is made where it is missing. Returns the files.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(offer: &Offer, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let page = guide::page(offer);
    let mut files = vec![
        ("README.md".to_owned(), page.to_markdown()),
        ("index.html".to_owned(), html::page(&page)),
        ("openapi.json".to_owned(), format!("{:#}\n", openapi::description(offer))),
    ];
    files.extend(examples::all(offer).into_iter().map(|example| (example.file.to_owned(), example.text)));
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(&name);
        write_file(&path, &text, offer.key.is_some())?;
        written.push(path);
    }
    Ok(written)
}

/// A file that holds a key is its owner's alone.
pub(crate) fn write_file(path: &Path, text: &str, is_secret: bool) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

    let failed = || format!("failed to write {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    let mode = if is_secret { 0o600 } else { 0o644 };
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).with_context(failed)?;
    // A file that was there keeps the mode it had.
    file.set_permissions(std::fs::Permissions::from_mode(mode)).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)
}

#[cfg(test)]
pub(super) fn an_offer() -> Offer {
    Offer {
        name: "partner-a".to_owned(),
        endpoint: "https://faq.example.com/prod/invoke".to_owned(),
        stream: Some("https://faq.example.com/prod/stream".to_owned()),
        throttle: Some((2.5, 7)),
        quota: Some((1234, "WEEK".to_owned())),
        timeout_ms: 29_000,
        key: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_told_only_when_it_is_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let secret = "A1b2C3d4E5f6G7h8I9j0";
        let read = |files: &[PathBuf]| files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<String>();
        let silent = read(&write(&an_offer(), folder.path()).unwrap());
        assert!(!silent.contains(secret) && silent.contains(PLACEHOLDER));
        let told = Offer { key: Some(ApiKeyText(secret.to_owned())), ..an_offer() };
        let files = write(&told, folder.path()).unwrap();
        assert!(read(&files).contains(secret) && !read(&files).contains(PLACEHOLDER));
        assert!(!format!("{told:?}").contains(secret));
        for file in files {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
    }

    #[test]
    fn limits_are_the_plan_s() {
        assert_eq!(
            an_offer().limits(),
            ["2.5 requests a second in the long run", "7 requests at once", "1234 requests a week, counted anew at midnight UTC"]
        );
        assert_eq!(Offer { throttle: None, quota: None, ..an_offer() }.limits(), ["None by the plan"]);
        assert_eq!(an_offer().parts(), ("https://faq.example.com/prod", "/invoke"));
    }
}
