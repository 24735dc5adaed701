//! Metrics at rest: points of ever longer spans, until they are deleted.

use std::collections::BTreeMap;

use frontdesk_metrics::{Series, Sketch};
use rusqlite::{Connection, OptionalExtension as _};

use crate::database::{Store, StoreError};

/// Metrics at once, besides the host's own: each new value of a dimension makes one, and a careless caller may send any number of values.
const SERIES_MAX: i64 = 20_000;
/// CloudWatch's spans and how long they last, in seconds: high-resolution points three hours, minutes 15 days, five minutes 63 days, hours 455 days
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html>).
const AGES: [(u32, i64); 4] = [(1, 3 * 3600), (60, 15 * DAY_S), (300, 63 * DAY_S), (3600, 455 * DAY_S)];
const DAY_S: i64 = 86_400;
/// Points that one step of ageing takes: the connection is everybody's.
const AGED_AT_ONCE: u32 = 2000;

/// Something counted in a span of time.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricPoint {
    /// The span's beginning, in Unix seconds.
    pub at: i64,
    /// Its length, in seconds.
    pub span_s: u32,
    /// What was counted.
    pub sketch: Sketch,
}

/// A metric that there are points of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSeries {
    /// What it is.
    pub series: Series,
    /// Unix seconds of its newest point.
    pub last_at: i64,
}

impl Store {
    /// Adds points, each to what there is of its metric and span. Returns how many were of new metrics for which there was no room.
    ///
    /// # Errors
    /// [`StoreError::Sql`]; then none was added.
    pub fn add_metric_points(&self, points: &[(Series, MetricPoint)]) -> Result<usize, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let mut refused = 0;
        for (series, point) in points {
            match series_id(&transaction, series, point.at)? {
                Some(id) => add_point(&transaction, id, point)?,
                None => refused += 1,
            }
        }
        transaction.commit()?;
        Ok(refused)
    }

    /// The points of a metric whose spans begin in a time, oldest first, by unit. Without a unit those of any.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`].
    pub fn metric_points(
        &self,
        series: &Series,
        unit: Option<&str>,
        from: i64,
        until: i64,
    ) -> Result<BTreeMap<String, Vec<MetricPoint>>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT unit, at, span_s, sketch FROM metric_series JOIN metric_point ON series_id = id
                   WHERE namespace = ?1 AND name = ?2 AND dimensions = ?3 AND (?4 IS NULL OR unit = ?4) AND at >= ?5 AND at < ?6 ORDER BY at";
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query((&series.namespace, &series.name, dimensions(series), unit, from, until))?;
        let mut points: BTreeMap<String, Vec<MetricPoint>> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let sketch = sketch(&row.get::<_, Vec<u8>>(3)?)?;
            points.entry(row.get(0)?).or_default().push(MetricPoint { at: row.get(1)?, span_s: row.get(2)?, sketch });
        }
        Ok(points)
    }

    /// All metrics, in the order of their names; or those of a namespace.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`].
    pub fn metric_series(&self, namespace: Option<&str>) -> Result<Vec<KnownSeries>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT namespace, name, dimensions, unit, last_at FROM metric_series WHERE ?1 IS NULL OR namespace = ?1
                   ORDER BY namespace, name, dimensions, unit";
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query([namespace])?;
        let mut known = Vec::new();
        while let Some(row) = rows.next()? {
            let dimensions = serde_json::from_str(&row.get::<_, String>(2)?).map_err(StoreError::Document)?;
            let series = Series { namespace: row.get(0)?, name: row.get(1)?, dimensions, unit: row.get(3)? };
            known.push(KnownSeries { series, last_at: row.get(4)? });
        }
        Ok(known)
    }

    /// Makes points that have come of age into longer ones, some at a time, and deletes the oldest, with metrics that have none left. Returns whether there is more
    /// to do.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`].
    pub fn age_metrics(&self, now_s: i64) -> Result<bool, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let mut has_more = false;
        for (position, (span_s, lasts_s)) in AGES.into_iter().enumerate() {
            let aged = aged_points(&transaction, span_s, now_s - lasts_s)?;
            has_more |= aged.len() == AGED_AT_ONCE as usize;
            for (id, point) in aged {
                if let Some((longer_s, _)) = AGES.get(position + 1) {
                    let at = point.at - point.at.rem_euclid(i64::from(*longer_s));
                    add_point(&transaction, id, &MetricPoint { at, span_s: *longer_s, sketch: point.sketch })?;
                }
                let mut delete = transaction.prepare_cached("DELETE FROM metric_point WHERE series_id = ?1 AND at = ?2 AND span_s = ?3")?;
                delete.execute((id, point.at, point.span_s))?;
            }
        }
        let sql = "DELETE FROM metric_series WHERE last_at < ?1 AND NOT EXISTS (SELECT 1 FROM metric_point WHERE series_id = id)";
        transaction.execute(sql, [now_s - AGES[0].1])?;
        transaction.commit()?;
        Ok(has_more)
    }
}

fn dimensions(series: &Series) -> String {
    serde_json::to_string(&series.dimensions).expect("names and values are texts")
}

fn sketch(bytes: &[u8]) -> Result<Sketch, StoreError> {
    let unreadable = || StoreError::Document(serde::de::Error::custom("a metric's point is no sketch"));
    Sketch::from_bytes(bytes).ok_or_else(unreadable)
}

/// The metric's number, given to it now if it is new and there is room.
fn series_id(connection: &Connection, series: &Series, at: i64) -> Result<Option<i64>, StoreError> {
    let key = (&series.namespace, &series.name, dimensions(series), &series.unit, at);
    let sql = "UPDATE metric_series SET last_at = max(last_at, ?5)
               WHERE namespace = ?1 AND name = ?2 AND dimensions = ?3 AND unit = ?4 RETURNING id";
    let known = connection.prepare_cached(sql)?.query_row(key.clone(), |row| row.get(0)).optional()?;
    if known.is_some() {
        return Ok(known);
    }
    let sql = "INSERT INTO metric_series (namespace, name, dimensions, unit, last_at) SELECT ?1, ?2, ?3, ?4, ?5
               WHERE ?1 GLOB 'AWS/*' OR ?1 GLOB 'Frontdesk/*'
                   OR (SELECT count(*) FROM metric_series WHERE NOT (namespace GLOB 'AWS/*' OR namespace GLOB 'Frontdesk/*')) < ?6
               RETURNING id";
    let (namespace, name, dimensions, unit, at) = key;
    let made = connection.prepare_cached(sql)?.query_row((namespace, name, dimensions, unit, at, SERIES_MAX), |row| row.get(0));
    Ok(made.optional()?)
}

fn add_point(connection: &Connection, series_id: i64, point: &MetricPoint) -> Result<(), StoreError> {
    let key = (series_id, point.at, point.span_s);
    let sql = "SELECT sketch FROM metric_point WHERE series_id = ?1 AND at = ?2 AND span_s = ?3";
    let there = connection.prepare_cached(sql)?.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional()?;
    let merged = match there {
        None => point.sketch.to_bytes(),
        Some(bytes) => {
            let mut merged = sketch(&bytes)?;
            merged.merge(&point.sketch);
            merged.to_bytes()
        }
    };
    let sql = "INSERT INTO metric_point (series_id, at, span_s, sketch) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (series_id, at, span_s) DO UPDATE SET sketch = excluded.sketch";
    let (series_id, at, span_s) = key;
    connection.prepare_cached(sql)?.execute((series_id, at, span_s, merged))?;
    Ok(())
}

fn aged_points(connection: &Connection, span_s: u32, before: i64) -> Result<Vec<(i64, MetricPoint)>, StoreError> {
    let sql = "SELECT series_id, at, span_s, sketch FROM metric_point WHERE span_s = ?1 AND at < ?2 ORDER BY at LIMIT ?3";
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query((span_s, before, AGED_AT_ONCE))?;
    let mut aged = Vec::new();
    while let Some(row) = rows.next()? {
        let sketch = sketch(&row.get::<_, Vec<u8>>(3)?)?;
        aged.push((row.get(0)?, MetricPoint { at: row.get(1)?, span_s: row.get(2)?, sketch }));
    }
    Ok(aged)
}
