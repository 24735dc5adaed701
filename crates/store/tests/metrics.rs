//! Metrics at rest: what is added is merged, read by time, aged into longer spans, and in the end deleted.

use frontdesk_metrics::{Series, Sketch};
use frontdesk_store::{MetricPoint, SealKey, Store};

const DAY_S: i64 = 86_400;

fn open(folder: &std::path::Path) -> Store {
    Store::open(&folder.join("test.db"), SealKey::from_file(&folder.join("seal-key")).unwrap()).unwrap()
}

fn series(name: &str) -> Series {
    Series::new("Test", name, &[("B", "2"), ("A", "1")], "Count")
}

/// The beginnings, spans and sums of all points.
fn points(store: &Store, name: &str) -> Vec<(i64, u32, f64)> {
    let by_unit = store.metric_points(&series(name), None, 0, i64::MAX).unwrap();
    by_unit.into_values().flatten().map(|point| (point.at, point.span_s, point.sketch.sum())).collect()
}

fn add(store: &Store, name: &str, at: i64, span_s: u32, value: f64) {
    let refused = store.add_metric_points(&[(series(name), MetricPoint { at, span_s, sketch: Sketch::of(value) })]).unwrap();
    assert_eq!(refused, 0);
}

#[test]
fn points_of_one_time_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (at, value) in [(60, 1.0), (60, 2.0), (120, 4.0)] {
        add(&store, "A", at, 60, value);
    }
    add(&store, "B", 60, 60, 9.0);
    assert_eq!(points(&store, "A"), [(60, 60, 3.0), (120, 60, 4.0)]);
    assert!(store.metric_points(&series("A"), Some("Seconds"), 0, i64::MAX).unwrap().is_empty());
    assert_eq!(store.metric_points(&series("A"), Some("Count"), 61, 121).unwrap()["Count"].len(), 1);
    let known = store.metric_series(Some("Test")).unwrap();
    assert_eq!(known.iter().map(|known| (&*known.series.name, known.last_at)).collect::<Vec<_>>(), [("A", 120), ("B", 60)]);
    assert_eq!(known[0].series, series("A"));
}

#[test]
fn points_grow_longer_with_age_and_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (at, span_s) in [(1000, 1), (1001, 1), (3600, 60), (3660, 60), (7200, 60)] {
        add(&store, "A", at, span_s, 1.0);
    }
    let aged = |now_s: i64| {
        while store.age_metrics(now_s).unwrap() {}
        points(&store, "A")
    };
    assert_eq!(aged(7300), [(1000, 1, 1.0), (1001, 1, 1.0), (3600, 60, 1.0), (3660, 60, 1.0), (7200, 60, 1.0)]);
    assert_eq!(aged(DAY_S), [(960, 60, 2.0), (3600, 60, 1.0), (3660, 60, 1.0), (7200, 60, 1.0)]);
    assert_eq!(aged(16 * DAY_S), [(900, 300, 2.0), (3600, 300, 2.0), (7200, 300, 1.0)]);
    assert_eq!(aged(64 * DAY_S), [(0, 3600, 2.0), (3600, 3600, 2.0), (7200, 3600, 1.0)]);
    assert_eq!(aged(456 * DAY_S), []);
    assert!(store.metric_series(None).unwrap().is_empty());
}

#[test]
fn more_than_one_step_is_aged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let many: Vec<_> = (0..2500).map(|second| (series("A"), MetricPoint { at: second, span_s: 1, sketch: Sketch::of(1.0) })).collect();
    store.add_metric_points(&many).unwrap();
    assert!(store.age_metrics(DAY_S).unwrap());
    assert!(!store.age_metrics(DAY_S).unwrap());
    let points = points(&store, "A");
    assert_eq!((points.len(), points.iter().map(|(_, _, sum)| sum).sum::<f64>()), (42, 2500.0));
}
