//! Reading: the points of a metric by period, and queries of several.

use std::collections::BTreeMap;

use frontdesk_metrics::{Series, Sketch};
use frontdesk_store::{Asked, MetricPoint, MetricQuery, MetricStat, StoreError, Watched};

use super::MetricService;
use super::math::{Expression, Points, Value};
use super::statistic::Statistic;

/// Periods that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    /// The first one's beginning, in Unix seconds.
    pub(crate) from: i64,
    pub(crate) period_s: u32,
    pub(crate) count: i64,
}

/// The values of a period.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datum {
    /// The period's beginning, in Unix seconds.
    pub(crate) at: i64,
    pub(crate) unit: String,
    pub(crate) sketch: Sketch,
}

impl Interval {
    /// The periods from one moment until before another. As in CloudWatch they begin with the first moment, at a whole minute, or at a whole second for periods of
    /// less.
    pub(crate) fn between(from_ms: i64, until_ms: i64, period_s: u32) -> Interval {
        let grain = i64::from(period_s).min(60);
        let from = from_ms.div_euclid(1000);
        let from = from - from.rem_euclid(grain);
        // The last second counts as a whole.
        let seconds = (until_ms + 999).div_euclid(1000) - from;
        let period = i64::from(period_s);
        Interval { from, period_s, count: ((seconds + period - 1).div_euclid(period)).max(0) }
    }

    /// So many periods, of which the last ends at a moment.
    pub(crate) fn ending(until: i64, period_s: u32, count: u32) -> Interval {
        Interval { from: until - i64::from(period_s) * i64::from(count), period_s, count: count.into() }
    }

    pub(crate) fn until(&self) -> i64 {
        self.from + self.count * i64::from(self.period_s)
    }

    /// The beginnings of all periods.
    pub(crate) fn moments(&self) -> Vec<i64> {
        (0..self.count).map(|number| self.from + number * i64::from(self.period_s)).collect()
    }

    fn period_around(&self, at: i64) -> i64 {
        at - (at - self.from).rem_euclid(i64::from(self.period_s))
    }
}

/// The period of what an alarm looks at, or of what a query is made of.
pub(crate) fn period_of(watched: &Watched) -> u32 {
    match watched {
        Watched::Metric(stat) => stat.period_s,
        Watched::Queries(queries) => {
            let returned = queries.iter().find(|query| query.returns_data).or(queries.first());
            returned.map_or(super::SPAN_S, |query| period_of_query(query, queries))
        }
    }
}

/// A statistic's own; an expression's is that of the first metric that it names.
pub(crate) fn period_of_query(query: &MetricQuery, queries: &[MetricQuery]) -> u32 {
    match &query.asked {
        Asked::Stat(stat) => stat.period_s,
        Asked::Expression(_, Some(period_s)) => *period_s,
        Asked::Expression(text, None) => {
            let ids = Expression::parse(text).map(|expression| expression.ids().into_iter().map(str::to_owned).collect::<Vec<_>>());
            let named = ids.unwrap_or_default();
            let others: Vec<_> = queries.iter().filter(|other| other.id != query.id).cloned().collect();
            let first = others.iter().find(|other| named.contains(&other.id));
            first.map_or(super::SPAN_S, |first| period_of_query(first, &others))
        }
    }
}

/// Checks that queries can be computed: known statistics, and expressions that name others without going in a circle.
///
/// # Errors
/// What is wrong, in a sentence.
pub(crate) fn check(queries: &[MetricQuery]) -> Result<(), String> {
    in_order(queries).map(drop)
}

/// The queries, each after those that it names.
fn in_order(queries: &[MetricQuery]) -> Result<Vec<(&MetricQuery, Option<Expression>)>, String> {
    let mut waiting = Vec::new();
    for query in queries {
        let is_id = query.id.starts_with(|letter: char| letter.is_ascii_lowercase())
            && query.id.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !is_id {
            return Err(format!(
                "The value {} for parameter MetricDataQueries is invalid: an Id begins with a lowercase letter and holds letters, digits and underscores",
                query.id
            ));
        }
        if queries.iter().filter(|other| other.id == query.id).count() > 1 {
            return Err(format!("The Id {} is used more than once", query.id));
        }
        let expression = match &query.asked {
            Asked::Stat(stat) if Statistic::named(&stat.statistic).is_none() => {
                return Err(format!("The statistic {} of {} is not one that is computed here", stat.statistic, query.id));
            }
            Asked::Stat(_) => None,
            Asked::Expression(text, _) => {
                let expression = Expression::parse(text).map_err(|error| format!("Error in expression '{}': {error}", query.id))?;
                if let Some(unknown) = expression.ids().into_iter().find(|id| !queries.iter().any(|other| other.id == *id)) {
                    return Err(format!("Error in expression '{}': Undefined variable '{unknown}'", query.id));
                }
                Some(expression)
            }
        };
        waiting.push((query, expression));
    }
    let mut ordered: Vec<(&MetricQuery, Option<Expression>)> = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |(_, expression): &(&MetricQuery, Option<Expression>)| {
            let ids = expression.as_ref().map(Expression::ids).unwrap_or_default();
            ids.iter().all(|id| ordered.iter().any(|(done, _)| done.id == *id))
        };
        let Some(position) = waiting.iter().position(is_ready) else {
            return Err("The expressions name one another in a circle".to_owned());
        };
        ordered.push(waiting.remove(position));
    }
    Ok(ordered)
}

impl MetricService {
    /// The points of a metric that begin in a time, by unit. What waits to be written is not seen: see [`MetricService::commit`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn metric_points(&self, series: &Series, unit: Option<&str>, from: i64, until: i64) -> Result<PointsByUnit, StoreError> {
        #[cfg(test)]
        self.queries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.store.metric_points(series, unit, from, until)
    }

    /// The values of a metric by unit and period, oldest first. Periods without any are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn data(&self, series: &Series, unit: Option<&str>, interval: &Interval) -> Result<Vec<Datum>, StoreError> {
        let mut data = Vec::new();
        for (unit, points) in self.metric_points(series, unit, interval.from, interval.until())? {
            let merged = merged(&points, interval);
            data.extend(merged.into_iter().map(|(at, sketch)| Datum { at, unit: unit.clone(), sketch }));
        }
        Ok(data)
    }

    /// A metric's statistic by period. Values of several units count together.
    ///
    /// # Errors
    /// [`StoreError`].
    fn points(&self, stat: &MetricStat, interval: &Interval) -> Result<Points, StoreError> {
        let Some(statistic) = Statistic::named(&stat.statistic) else { return Ok(Points::new()) };
        let points = self.metric_points(&series_of(stat), stat.unit.as_deref(), interval.from, interval.until())?;
        Ok(by_period(&points, statistic, interval))
    }

    /// What queries give, by id, each by its own period: `interval` is asked for it. Those that cannot be computed give nothing: see [`check`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn compute(
        &self,
        queries: &[MetricQuery],
        interval: impl Fn(u32) -> Interval,
    ) -> Result<BTreeMap<String, Points>, StoreError> {
        let mut values: BTreeMap<String, Value> = BTreeMap::new();
        for (query, expression) in in_order(queries).unwrap_or_default() {
            let interval = interval(period_of_query(query, queries));
            let value = match (&query.asked, expression) {
                (Asked::Stat(stat), _) => Value::Points(self.points(stat, &interval)?),
                (Asked::Expression(..), Some(expression)) => expression.compute(&values, &interval.moments()),
                (Asked::Expression(..), None) => continue,
            };
            values.insert(query.id.clone(), value);
        }
        let points = |(id, value)| match value {
            Value::Points(points) => (id, points),
            // A constant has no moments of its own.
            Value::Number(_) => (id, Points::new()),
        };
        Ok(values.into_iter().map(points).collect())
    }

    /// What an alarm looks at, by period.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn watched(&self, watched: &Watched, interval: &Interval) -> Result<Points, StoreError> {
        match watched {
            Watched::Metric(stat) => self.points(stat, interval),
            Watched::Queries(queries) => {
                let returned = queries.iter().find(|query| query.returns_data);
                let mut computed = self.compute(queries, |_| *interval)?;
                Ok(returned.and_then(|returned| computed.remove(&returned.id)).unwrap_or_default())
            }
        }
    }
}

/// What was counted of a metric, by unit.
pub(super) type PointsByUnit = BTreeMap<String, Vec<MetricPoint>>;

/// A statistic of points by the periods of an interval, whatever their unit; those outside are left out.
pub(super) fn by_period(points: &PointsByUnit, statistic: Statistic, interval: &Interval) -> Points {
    let merged = merged(points.values().flatten(), interval);
    merged.into_iter().filter_map(|(at, sketch)| Some((at, statistic.of(&sketch)?))).collect()
}

fn merged<'p>(points: impl IntoIterator<Item = &'p MetricPoint>, interval: &Interval) -> BTreeMap<i64, Sketch> {
    let mut merged: BTreeMap<i64, Sketch> = BTreeMap::new();
    for point in points.into_iter().filter(|point| (interval.from..interval.until()).contains(&point.at)) {
        merged.entry(interval.period_around(point.at)).or_default().merge(&point.sketch);
    }
    merged
}

/// The metric that a statistic is of; its unit, which may be any, is left out.
pub(super) fn series_of(stat: &MetricStat) -> Series {
    Series { namespace: stat.namespace.clone(), name: stat.name.clone(), dimensions: stat.dimensions.clone(), unit: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_at_a_whole_minute() {
        let check = |from_ms: i64, until_ms: i64, period_s: u32, expected: &[i64]| {
            assert_eq!(Interval::between(from_ms, until_ms, period_s).moments(), expected);
        };
        check(61_500, 180_000, 60, &[60, 120]);
        check(61_500, 180_001, 60, &[60, 120, 180]);
        check(61_500, 75_000, 10, &[60, 70]);
        check(61_500, 7_000_000, 3600, &[60, 3660]);
        check(61_500, 61_500, 60, &[60]);
        check(120_000, 60_000, 60, &[]);
        assert_eq!(Interval::ending(600, 60, 3).moments(), [420, 480, 540]);
    }

    fn expression(id: &str, text: &str) -> MetricQuery {
        MetricQuery { id: id.to_owned(), asked: Asked::Expression(text.to_owned(), None), label: None, returns_data: true }
    }

    #[test]
    fn queries_that_cannot_be_computed_are_named() {
        let check_refused = |queries: &[MetricQuery], expected: &str| {
            let error = check(queries).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check_refused(&[expression("a", "b")], "Undefined variable 'b'");
        check_refused(&[expression("a", "b"), expression("b", "a")], "in a circle");
        check_refused(&[expression("a", "1"), expression("a", "2")], "more than once");
        check_refused(&[expression("A", "1")], "begins with a lowercase letter");
        check_refused(&[expression("a", "1 +")], "Error in expression 'a'");
        check(&[expression("a", "b * 2"), expression("b", "1")]).unwrap();
    }
}
