//! Live Tail's sessions: whoever is looking on gets the events that are written from then on, as far as they can be kept for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use frontdesk_store::{EVENT_OVERHEAD_BYTES, NewEvent};

use super::pattern::Pattern;

/// CloudWatch Logs' bound on sessions at once.
const SESSIONS_MAX: usize = 15;
/// Its bound on the events of an update; of more a sample is sent.
pub(super) const UPDATE_EVENTS_MAX: usize = 500;
/// Its bound on events that wait for a slow reader; of later ones only their existence is known.
const WAITING_EVENTS_MAX: usize = 5000;
/// What they may weigh, in bytes: in JSON it may become six times as much, and a message of an event stream is bounded by 16 MB.
const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Which events a session is for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Names of groups, and how the caller named them.
    pub(super) groups: Vec<(String, String)>,
    pub(super) streams: Streams,
    pub(super) pattern: Pattern,
}

/// Which streams.
#[derive(Debug)]
pub(super) enum Streams {
    All,
    Named(Vec<String>),
    Beginning(Vec<String>),
}

/// An event that waits for a session's reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TailedEvent {
    /// The group, as the caller named it.
    pub(super) group: String,
    pub(super) stream: String,
    pub(super) message: String,
    /// Unix milliseconds, as both.
    pub(super) timestamp_ms: i64,
    pub(super) ingested_at_ms: i64,
}

/// A session; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Session {
    wanted: Wanted,
    waiting: Mutex<Waiting>,
    has_ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    events: Vec<TailedEvent>,
    bytes: usize,
    /// Whether events came that were not kept.
    has_more: bool,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Tails {
    sessions: Mutex<Vec<Weak<Session>>>,
}

impl Tails {
    /// Begins a session; `None` where there are as many as there may be.
    pub(super) fn begin(&self, wanted: Wanted) -> Option<Arc<Session>> {
        let mut sessions = lock(&self.sessions);
        sessions.retain(|session| session.strong_count() > 0);
        if sessions.len() >= SESSIONS_MAX {
            return None;
        }
        let session = Arc::new(Session { wanted, waiting: Mutex::default(), has_ended: AtomicBool::new(false) });
        sessions.push(Arc::downgrade(&session));
        Some(session)
    }

    /// Tells of events that were written.
    pub(super) fn tell(&self, events: &[NewEvent], now_ms: i64) {
        // Not held while patterns are matched.
        let sessions: Vec<_> = lock(&self.sessions).iter().filter_map(Weak::upgrade).collect();
        for session in sessions {
            session.tell(events, now_ms);
        }
    }

    /// Ends all sessions: the host does.
    pub(super) fn end(&self) {
        for session in lock(&self.sessions).drain(..).filter_map(|session| session.upgrade()) {
            session.has_ended.store(true, Ordering::Release);
        }
    }
}

impl Session {
    fn tell(&self, events: &[NewEvent], now_ms: i64) {
        let chosen = events.iter().filter_map(|event| Some((event, self.wanted.group_of(event)?)));
        for (event, group) in chosen.filter(|(event, _)| self.wanted.pattern.matches(&event.message)) {
            let mut waiting = lock(&self.waiting);
            let bytes = waiting.bytes + event.message.len() + event.stream.len() + EVENT_OVERHEAD_BYTES;
            if waiting.events.len() >= WAITING_EVENTS_MAX || (bytes > WAITING_BYTES_MAX && !waiting.events.is_empty()) {
                waiting.has_more = true;
                return;
            }
            waiting.bytes = bytes;
            waiting.events.push(TailedEvent {
                group: group.to_owned(),
                stream: event.stream.clone(),
                message: event.message.clone(),
                timestamp_ms: event.timestamp_ms,
                ingested_at_ms: now_ms,
            });
        }
    }

    /// The events since the last time, and whether they are a sample of more.
    pub(super) fn take(&self) -> (Vec<TailedEvent>, bool) {
        let Waiting { events, has_more, .. } = std::mem::take(&mut *lock(&self.waiting));
        let count = events.len();
        if count <= UPDATE_EVENTS_MAX {
            return (events, has_more);
        }
        // Evenly over the time that they came in.
        let mut events: Vec<_> = events.into_iter().map(Some).collect();
        let sample = (0..UPDATE_EVENTS_MAX).filter_map(|number| events[number * count / UPDATE_EVENTS_MAX].take());
        (sample.collect(), true)
    }

    /// Whether the host ends.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }
}

impl Wanted {
    /// The caller's name of an event's group, if the event is one of those that are wanted.
    fn group_of(&self, event: &NewEvent) -> Option<&str> {
        let (_, identifier) = self.groups.iter().find(|(name, _)| *name == event.group)?;
        let is_wanted = match &self.streams {
            Streams::All => true,
            Streams::Named(names) => names.contains(&event.stream),
            Streams::Beginning(prefixes) => prefixes.iter().any(|prefix| event.stream.starts_with(prefix)),
        };
        is_wanted.then_some(identifier)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(streams: Streams, pattern: &str) -> Wanted {
        Wanted { groups: vec![("g".to_owned(), "arn-of-g".to_owned())], streams, pattern: Pattern::parse(pattern).unwrap() }
    }

    fn event(group: &str, stream: &str, message: &str) -> NewEvent {
        NewEvent { group: group.to_owned(), stream: stream.to_owned(), timestamp_ms: 1, message: message.to_owned() }
    }

    #[test]
    fn a_session_gets_what_it_wants_from_its_beginning_on() {
        let check = |streams: Streams, pattern: &str, expected: &[&str]| {
            let tails = Tails::default();
            tails.tell(&[event("g", "a", "before")], 2);
            let session = tails.begin(wanted(streams, pattern)).unwrap();
            tails.tell(&[event("g", "a", "ERROR one"), event("g", "b", "fine"), event("other", "a", "ERROR two")], 2);
            let (events, is_sample) = session.take();
            let messages: Vec<_> = events.iter().map(|event| event.message.as_str()).collect();
            assert_eq!((messages.as_slice(), is_sample), (expected, false), "{pattern}");
            assert!(events.iter().all(|event| event.group == "arn-of-g" && event.ingested_at_ms == 2));
            assert_eq!(session.take(), (Vec::new(), false));
        };
        check(Streams::All, "", &["ERROR one", "fine"]);
        check(Streams::All, "ERROR", &["ERROR one"]);
        check(Streams::Named(vec!["b".to_owned()]), "", &["fine"]);
        check(Streams::Beginning(vec!["a".to_owned(), "x".to_owned()]), "", &["ERROR one"]);
    }

    #[test]
    fn of_many_events_a_sample_is_taken_and_of_too_many_the_first_are_kept() {
        let tails = Tails::default();
        let session = tails.begin(wanted(Streams::All, "")).unwrap();
        let events: Vec<_> = (0..1000).map(|number| event("g", "a", &number.to_string())).collect();
        tails.tell(&events, 0);
        let (sample, is_sample) = session.take();
        let numbers: Vec<usize> = sample.iter().map(|event| event.message.parse().unwrap()).collect();
        assert_eq!((numbers, is_sample), ((0..500).map(|number| number * 2).collect(), true));
        for _ in 0..10 {
            tails.tell(&events, 0);
        }
        assert_eq!(lock(&session.waiting).events.len(), WAITING_EVENTS_MAX);
        assert_eq!((session.take().0.len(), session.take().0.len()), (UPDATE_EVENTS_MAX, 0));
        let heavy = event("g", "a", &"x".repeat(WAITING_BYTES_MAX / 2 + 1));
        tails.tell(&[heavy.clone(), heavy], 0);
        let (kept, is_sample) = session.take();
        assert_eq!((kept.len(), is_sample), (1, true));
    }

    #[test]
    fn sessions_are_counted_while_they_are_held() {
        let tails = Tails::default();
        let held: Vec<_> = (0..SESSIONS_MAX).map(|_| tails.begin(wanted(Streams::All, "")).unwrap()).collect();
        assert!(tails.begin(wanted(Streams::All, "")).is_none());
        drop(held);
        let session = tails.begin(wanted(Streams::All, "")).unwrap();
        tails.end();
        assert!(session.has_ended());
    }
}
