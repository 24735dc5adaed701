//! Tells when the files of an FAQ have changed and are at rest, by looking at their names, sizes and times: that works on every file
//! system, and through an editor's way of writing a new file and renaming it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::load::files;

/// What is compared of each file.
type Sight = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// A look at the files, compared with the one before.
#[derive(Debug)]
pub struct FaqWatch {
    path: PathBuf,
    /// As it was when it was last said to have changed.
    known: Sight,
    /// As it was at the last look.
    latest: Sight,
}

impl FaqWatch {
    /// Looks at the file or folder at `path` for the first time.
    pub fn of(path: &Path) -> FaqWatch {
        let sight = sight(path);
        FaqWatch { path: path.to_owned(), known: sight.clone(), latest: sight }
    }

    /// Whether the files differ from what was known, and did not change since the last look: who is still writing is given time.
    pub fn has_changed(&mut self) -> bool {
        let now = sight(&self.path);
        let is_at_rest = now == self.latest;
        self.latest = now;
        if !is_at_rest || self.latest == self.known {
            return false;
        }
        self.known = self.latest.clone();
        true
    }
}

/// A path that leads nowhere has no files: that is a change too.
fn sight(path: &Path) -> Sight {
    let files = files(path).unwrap_or_default();
    let look = |file: PathBuf| {
        let metadata = std::fs::metadata(&file).ok()?;
        Some((file, metadata.len(), metadata.modified().ok()))
    };
    files.into_iter().filter_map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("a.csv", "question,answer\n");
        let mut watch = FaqWatch::of(folder.path());
        let mut check = |expected: bool, moment: &str| assert_eq!(watch.has_changed(), expected, "{moment}");
        check(false, "nothing happened");
        write("a.csv", "question,answer\na,b\n");
        check(false, "it has just changed");
        write("b.md", "# A?\nB\n");
        check(false, "it is still changing");
        check(true, "it is at rest");
        check(false, "that was told");
        write("notes.txt", "nothing of ours");
        check(false, "another file");
        std::fs::remove_file(folder.path().join("b.md")).unwrap();
        check(false, "it has just changed");
        check(true, "a file is gone");
    }
}
