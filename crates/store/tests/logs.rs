//! Logs at rest: what is written is found again by time, also by whoever opens the database next, and goes when it is too old or too much.

use frontdesk_store::{EventRange, LogGroup, LogStore, MetricFilter, MetricTransformation, NewEvent, StoreError, StoredEvent};

fn event(group: &str, stream: &str, timestamp_ms: i64, message: &str) -> NewEvent {
    NewEvent { group: group.to_owned(), stream: stream.to_owned(), timestamp_ms, message: message.to_owned() }
}

fn all_of(group: &str) -> EventRange {
    EventRange {
        group: group.to_owned(),
        streams: None,
        from_ms: 0,
        until_ms: i64::MAX,
        is_backward: false,
        beyond: None,
        limit: 100,
        bytes_max: usize::MAX,
    }
}

fn check(store: &LogStore, range: &EventRange, expected: &[&str]) {
    let found: Vec<_> = store.log_events(range).unwrap().events.into_iter().map(|event| event.message).collect();
    assert_eq!(found, expected, "{range:?}");
}

#[test]
fn events_are_found_by_stream_time_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.db");
    let store = LogStore::open(&path).unwrap();
    let events = [event("g", "a", 30, "three"), event("g", "b", 10, "one"), event("g", "a", 20, "two"), event("other", "a", 15, "else")];
    store.append_log_events(&events, 100).unwrap();
    store.append_log_events(&[event("g", "b", 20, "two more")], 200).unwrap();
    drop(store);

    let store = LogStore::open(&path).unwrap();
    check(&store, &all_of("g"), &["one", "two", "two more", "three"]);
    check(&store, &EventRange { is_backward: true, limit: 2, ..all_of("g") }, &["three", "two more"]);
    check(&store, &EventRange { from_ms: 20, until_ms: 30, ..all_of("g") }, &["two", "two more"]);
    check(&store, &EventRange { streams: Some(vec!["a".to_owned()]), ..all_of("g") }, &["two", "three"]);
    check(&store, &EventRange { streams: Some(vec!["a".to_owned(), "b".to_owned()]), limit: 1, ..all_of("g") }, &["one"]);
    check(&store, &EventRange { streams: Some(vec!["nobody".to_owned()]), ..all_of("g") }, &[]);
    check(&store, &all_of("nobody"), &[]);
    let second = store.log_events(&all_of("g")).unwrap().events[1].position();
    check(&store, &EventRange { beyond: Some(second), ..all_of("g") }, &["two more", "three"]);
    check(&store, &EventRange { beyond: Some(second), is_backward: true, ..all_of("g") }, &["one"]);

    let streams = store.log_streams("g").unwrap();
    let told: Vec<_> =
        streams.iter().map(|stream| (stream.name.as_str(), stream.first_event_ms, stream.last_event_ms, stream.last_ingested_ms)).collect();
    assert_eq!(told, [("a", Some(20), Some(30), Some(100)), ("b", Some(10), Some(20), Some(200))]);
    assert_eq!(store.log_group("g").unwrap().unwrap().stored_bytes, 4 * 26 + "three one two two more".len() as u64 - 3);
}

#[test]
fn a_page_ends_at_its_limits_and_says_whether_there_is_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::open(&folder.path().join("logs.db")).unwrap();
    let events: Vec<_> = (0..10).map(|number| event("g", "a", number / 4, &format!("event {number}"))).collect();
    store.append_log_events(&events, 0).unwrap();
    // Each weighs 33 bytes.
    let check = |range: EventRange, expected: (usize, bool)| {
        let page = store.log_events(&range).unwrap();
        assert_eq!((page.events.len(), page.has_more), expected, "{range:?}");
    };
    check(all_of("g"), (10, false));
    check(EventRange { limit: 10, ..all_of("g") }, (10, false));
    check(EventRange { limit: 9, ..all_of("g") }, (9, true));
    check(EventRange { bytes_max: 330, ..all_of("g") }, (10, false));
    check(EventRange { bytes_max: 329, ..all_of("g") }, (9, true));
    check(EventRange { bytes_max: 1, ..all_of("g") }, (1, true));
    check(EventRange { streams: Some(vec!["a".to_owned()]), bytes_max: 99, is_backward: true, ..all_of("g") }, (3, true));
    // Page by page backward, although several events share a moment.
    let (mut beyond, mut seen) = (None, Vec::new());
    loop {
        let page = store.log_events(&EventRange { beyond, limit: 3, is_backward: true, ..all_of("g") }).unwrap();
        seen.extend(page.events.iter().map(|event| event.message.clone()));
        beyond = page.events.last().map(StoredEvent::position);
        if !page.has_more {
            break;
        }
    }
    let place = store.log_events(&EventRange { limit: 6, ..all_of("g") }).unwrap().events[5].position();
    check(EventRange { beyond: Some(place), ..all_of("g") }, (4, false));
    check(EventRange { beyond: Some(place), until_ms: 1, ..all_of("g") }, (0, false));
    check(EventRange { beyond: Some(place), from_ms: 1, is_backward: true, ..all_of("g") }, (1, false));
    check(EventRange { beyond: Some(place), limit: 2, ..all_of("g") }, (2, true));
    let expected: Vec<_> = events.into_iter().rev().map(|event| event.message).collect();
    assert_eq!(seen, expected);
}

#[test]
fn what_is_too_old_or_too_much_goes() {
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::open(&folder.path().join("logs.db")).unwrap();
    let day_ms = 86_400_000;
    store.append_log_events(&[event("g", "a", 0, "old"), event("g", "a", 2 * day_ms, "new"), event("kept", "a", 0, "old")], 0).unwrap();
    let group = store.log_group("g").unwrap().unwrap();
    assert!(store.update_log_group(&LogGroup { retention_days: Some(1), ..group.clone() }).unwrap());
    assert_eq!(store.delete_expired_log_events(2 * day_ms).unwrap(), 1);
    assert_eq!(store.delete_expired_log_events(2 * day_ms).unwrap(), 0);
    check(&store, &all_of("g"), &["new"]);
    check(&store, &all_of("kept"), &["old"]);
    assert_eq!(store.log_group("g").unwrap().unwrap().stored_bytes, 29);

    assert_eq!(store.delete_oldest_log_events(58).unwrap(), 0);
    // As many as weigh what is too much, and no more.
    assert_eq!(store.delete_oldest_log_events(57).unwrap(), 1);
    check(&store, &all_of("g"), &[]);
    check(&store, &all_of("kept"), &["old"]);
    assert_eq!(store.log_group("g").unwrap().unwrap().stored_bytes, 0);
}

#[test]
fn groups_streams_and_filters_are_made_once_and_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::open(&folder.path().join("logs.db")).unwrap();
    let tags = [("team".to_owned(), "red".to_owned())].into();
    let group =
        LogGroup { name: "g".to_owned(), created_at_ms: 1, retention_days: None, class: "STANDARD".to_owned(), tags, stored_bytes: 0 };
    store.create_log_group(&group).unwrap();
    assert_eq!(store.log_groups().unwrap(), std::slice::from_ref(&group));
    assert!(matches!(store.create_log_group(&group), Err(StoreError::Exists { .. })));
    assert!(store.create_log_stream("g", "s", 2).unwrap() && !store.create_log_stream("nobody", "s", 2).unwrap());
    assert!(matches!(store.create_log_stream("g", "s", 2), Err(StoreError::Exists { .. })));
    assert!(store.has_log_stream("g", "s").unwrap() && !store.has_log_stream("g", "t").unwrap());

    let transformation = MetricTransformation {
        metric_name: "Errors".to_owned(),
        metric_namespace: "Desk".to_owned(),
        metric_value: "1".to_owned(),
        default_value: Some(0.0),
        dimensions: [].into(),
        unit: None,
    };
    let filter =
        MetricFilter { name: "f".to_owned(), pattern: "ERROR".to_owned(), transformations: vec![transformation], created_at_ms: 3 };
    assert!(store.put_metric_filter("g", &filter).unwrap() && !store.put_metric_filter("nobody", &filter).unwrap());
    let changed = MetricFilter { pattern: "WARN".to_owned(), ..filter };
    assert!(store.put_metric_filter("g", &changed).unwrap());
    assert_eq!(store.metric_filters().unwrap(), [("g".to_owned(), changed)]);
    assert!(store.delete_metric_filter("g", "f").unwrap() && !store.delete_metric_filter("g", "f").unwrap());

    store.append_log_events(&[event("g", "s", 5, "hi"), event("g", "t", 6, "ho")], 6).unwrap();
    assert!(store.delete_log_stream("g", "s").unwrap() && !store.delete_log_stream("g", "s").unwrap());
    check(&store, &all_of("g"), &["ho"]);
    assert_eq!(store.log_group("g").unwrap().unwrap().stored_bytes, 28);
    assert!(store.delete_log_group("g").unwrap() && !store.delete_log_group("g").unwrap());
    assert_eq!((store.log_streams("g").unwrap(), store.log_groups().unwrap()), (vec![], vec![]));
}
