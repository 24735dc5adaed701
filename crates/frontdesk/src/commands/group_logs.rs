//! `frontdesk logs --group`: the events of a log group, from the logs' database. No host need run; beside a running one it is read as well.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use frontdesk_aws::document::iso_8601;
use frontdesk_store::{EventRange, LogStore, StoredEvent};
use serde_json::json;
use time::OffsetDateTime;

/// How often a followed group is looked at.
const FOLLOW_POLL: Duration = Duration::from_millis(250);
/// Events that are read at once.
const PAGE: usize = 1000;
/// What a page may weigh, in bytes: a line may be a megabyte.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events of several streams are not written in the order of their moments: so far back a new one may lie.
const DISORDER_MS: i64 = 10_000;

/// Which events are wanted, and how they are shown.
pub(super) struct Wanted {
    pub(super) group: String,
    pub(super) follows: bool,
    pub(super) since: Option<OffsetDateTime>,
    /// Texts that stand in the event or in its stream's name.
    pub(super) containing: Vec<String>,
    pub(super) json: bool,
}

/// Prints.
pub(super) fn run(wanted: &Wanted, data_dir: &Path) -> anyhow::Result<()> {
    let path = data_dir.join("logs.db");
    if !path.exists() {
        bail!("nothing has been logged here: {} is not there (--data-dir names another folder)", path.display());
    }
    let store = LogStore::open(&path)?;
    if store.log_group(&wanted.group)?.is_none() && !wanted.follows {
        let groups = store.log_groups()?;
        let names: Vec<_> = groups.iter().map(|group| format!("\n  {}", group.name)).collect();
        bail!("there is no log group {}; there are:{}", wanted.group, names.concat());
    }
    let mut reading = Reading::default();
    let since_ms = wanted.since.map_or(0, |since| since.unix_timestamp() * 1000);
    reading.read(&store, wanted, since_ms)?;
    if !wanted.follows {
        return Ok(());
    }
    super::block_on(async {
        loop {
            tokio::time::sleep(FOLLOW_POLL).await;
            let from_ms = reading.last_ms.saturating_sub(DISORDER_MS).max(since_ms);
            reading.read(&store, wanted, from_ms)?;
        }
    })
}

/// How far the group has been read.
#[derive(Default)]
struct Reading {
    last_ms: i64,
    /// Ids grow in the order of writing: what is greater has not been shown.
    last_id: i64,
}

impl Reading {
    fn read(&mut self, store: &LogStore, wanted: &Wanted, from_ms: i64) -> anyhow::Result<()> {
        let mut range = EventRange {
            group: wanted.group.clone(),
            streams: None,
            from_ms,
            until_ms: i64::MAX,
            is_backward: false,
            beyond: None,
            limit: PAGE,
            bytes_max: PAGE_BYTES_MAX,
        };
        let shown_before = self.last_id;
        loop {
            let page = store.log_events(&range).with_context(|| format!("failed to read {}", wanted.group))?;
            for event in page.events.iter().filter(|event| event.id > shown_before) {
                (self.last_ms, self.last_id) = (self.last_ms.max(event.timestamp_ms), self.last_id.max(event.id));
                show(event, wanted)?;
            }
            if !page.has_more {
                return Ok(());
            }
            range.beyond = page.events.last().map(StoredEvent::position);
        }
    }
}

fn show(event: &StoredEvent, wanted: &Wanted) -> anyhow::Result<()> {
    if !wanted.containing.iter().all(|text| event.message.contains(text) || event.stream.contains(text)) {
        return Ok(());
    }
    let timestamp = iso_8601(event.timestamp_ms);
    let line = match wanted.json {
        true => json!({ "timestamp": timestamp, "stream": event.stream, "message": event.message }).to_string(),
        false => format!("{timestamp} {} {}", event.stream, event.message),
    };
    match writeln!(std::io::stdout(), "{line}") {
        // Who reads no further (`| head`) has what was wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}
