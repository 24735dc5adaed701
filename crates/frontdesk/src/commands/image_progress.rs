//! Bars for building and pushing an image: one a layer, one a blob.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use frontdesk_deploy::image::ImageEvent;
use frontdesk_deploy::registry::PushEvent;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Characters of a digest that tell one blob from another.
const DIGEST_CHARS: usize = 19;

/// The bars, by layer or digest. They are drawn on standard error, and only on a terminal.
pub(super) struct ImageProgress {
    drawn: MultiProgress,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl ImageProgress {
    pub(super) fn new(is_shown: bool) -> ImageProgress {
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        ImageProgress { drawn: MultiProgress::with_draw_target(target), bars: Mutex::new(HashMap::new()) }
    }

    /// Takes the bars away.
    pub(super) fn clear(&self) {
        // A terminal that cannot be written to shows no bars anyway.
        let _ = self.drawn.clear();
    }

    pub(super) fn built(&self, event: ImageEvent) {
        match event {
            ImageEvent::LayerBegun { name, bytes } => self.begin(name, name, bytes),
            ImageEvent::Compressed { name, bytes } => self.with(name, |bar| bar.inc(bytes)),
            ImageEvent::LayerDone { name, .. } => self.with(name, ProgressBar::finish),
        }
    }

    pub(super) fn pushed(&self, event: PushEvent) {
        match event {
            PushEvent::BlobExists { digest, bytes } => {
                self.begin(&digest, short(&digest), bytes);
                self.with(&digest, ProgressBar::finish);
            }
            PushEvent::BlobBegun { digest, bytes } => self.begin(&digest, short(&digest), bytes),
            PushEvent::Uploaded { digest, bytes } | PushEvent::Resumed { digest, at: bytes } => {
                self.with(&digest, |bar| bar.set_position(bytes));
            }
            PushEvent::BlobDone { digest } => self.with(&digest, ProgressBar::finish),
        }
    }

    fn begin(&self, key: &str, name: &str, bytes: u64) {
        let style = ProgressStyle::with_template("{msg:20} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        let style = style.expect("the template is well-formed");
        let bar = self.drawn.add(ProgressBar::new(bytes).with_style(style).with_message(name.to_owned()));
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), bar);
    }

    fn with(&self, key: &str, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            act(bar);
        }
    }
}

fn short(digest: &str) -> &str {
    digest.get(..DIGEST_CHARS).unwrap_or(digest)
}
