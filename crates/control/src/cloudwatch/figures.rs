//! Metrics: values sent, metrics listed, and their statistics.

use std::collections::BTreeSet;

use frontdesk_aws::ServiceError;
use frontdesk_aws::document::Document;
use frontdesk_metrics::{Series, Sketch, unit};

use super::documents;
use super::of_store;
use crate::members::{Members, invalid_combination, invalid_value, missing, page};
use crate::metrics::{Interval, MetricService, Statistic};

/// CloudWatch's bounds on a request (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>).
const DATA_MAX: usize = 1000;
const VALUES_MAX: usize = 150;
const DIMENSIONS_MAX: usize = 30;
const NAME_CHARS_MAX: usize = 255;
const DIMENSION_CHARS_MAX: usize = 1024;
const TWO_WEEKS_MS: i64 = 14 * 86_400_000;
const TWO_HOURS_MS: i64 = 2 * 3_600_000;
/// Datapoints that GetMetricStatistics gives at most.
const DATAPOINTS_MAX: i64 = 1440;
/// Metrics in a page of ListMetrics.
const METRICS_PAGE: usize = 500;
/// How long a metric without new points is listed.
const LISTED_MS: i64 = TWO_WEEKS_MS;
const RECENTLY_MS: i64 = 3 * 3_600_000;

pub(super) fn put(request: &Members<'_>, metrics: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    request.refuse(&["EntityMetricData"])?;
    let namespace = request.required("Namespace")?;
    check_length("Namespace", namespace, NAME_CHARS_MAX)?;
    // Frontdesk's own figures are what the costs are computed of.
    if ["AWS/", "Frontdesk/", ":"].iter().any(|own| namespace.starts_with(own)) {
        return Err(invalid_value(format!("The value {namespace} for parameter Namespace is invalid.")));
    }
    let data = request.list("MetricData")?;
    if data.is_empty() {
        return Err(missing("MetricData"));
    }
    if data.len() > DATA_MAX {
        return Err(invalid_value(format!("The parameter MetricData has {} members: the limit is {DATA_MAX}.", data.len())));
    }
    // All are read before the first counts: a request is taken whole, or not at all.
    let read: Vec<_> = data.iter().map(|datum| one(namespace, datum, now_ms)).collect::<Result<_, _>>()?;
    for (series, at_ms, span_s, sketch) in read {
        metrics.put_sketch(series, at_ms, span_s, sketch);
    }
    metrics.commit(now_ms / 1000).map_err(of_store)?;
    Ok(Document::Null)
}

fn check_length(name: &str, text: &str, chars_max: usize) -> Result<(), ServiceError> {
    if text.chars().count() > chars_max {
        return Err(invalid_value(format!("The value for parameter {name} is longer than {chars_max} characters.")));
    }
    Ok(())
}

fn one(namespace: &str, datum: &Members<'_>, now_ms: i64) -> Result<(Series, i64, u32, Sketch), ServiceError> {
    let name = datum.required("MetricName")?;
    check_length(&datum.place_of("MetricName"), name, NAME_CHARS_MAX)?;
    let dimensions = datum.pairs("Dimensions", "Name")?;
    if dimensions.len() > DIMENSIONS_MAX {
        return Err(invalid_value(format!("The parameter {} has more than {DIMENSIONS_MAX} members.", datum.place_of("Dimensions"))));
    }
    for (name, value) in &dimensions {
        check_length(&datum.place_of("Dimensions"), name, NAME_CHARS_MAX)?;
        check_length(&datum.place_of("Dimensions"), value, DIMENSION_CHARS_MAX)?;
        if value.is_empty() {
            return Err(missing(&format!("{}: the value of {name}", datum.place_of("Dimensions"))));
        }
    }
    let at_ms = datum.moment_ms("Timestamp")?.unwrap_or(now_ms);
    if !(now_ms - TWO_WEEKS_MS..=now_ms + TWO_HOURS_MS).contains(&at_ms) {
        let place = datum.place_of("Timestamp");
        return Err(invalid_value(format!("The parameter {place} must specify a time no more than two weeks ago, or two hours from now.")));
    }
    let unit = datum.text("Unit")?.unwrap_or(unit::NONE);
    if !documents::UNITS.contains(&unit) {
        return Err(invalid_value(format!("The value {unit} for parameter {} is invalid.", datum.place_of("Unit"))));
    }
    let span_s = match datum.integer("StorageResolution")? {
        None | Some(60) => crate::metrics::SPAN_S,
        Some(1) => 1,
        Some(other) => {
            return Err(invalid_value(format!(
                "The value {other} for parameter {} is invalid: 1 or 60.",
                datum.place_of("StorageResolution")
            )));
        }
    };
    let series = Series { namespace: namespace.to_owned(), name: name.to_owned(), dimensions, unit: unit.to_owned() };
    Ok((series, at_ms, span_s, values(datum)?))
}

/// A value, several of them with how often each came, or what is known of many.
fn values(datum: &Members<'_>) -> Result<Sketch, ServiceError> {
    let mut sketch = Sketch::default();
    let (value, set, values) = (datum.number("Value")?, datum.structure("StatisticValues"), datum.numbers("Values")?);
    match (value, set, values.is_empty()) {
        (Some(value), None, true) => {
            check_value(datum, "Value", value)?;
            sketch.add(value, 1.0);
        }
        (None, Some(set), true) => {
            let figure = |name: &str| set.number(name)?.ok_or_else(|| missing(&set.place_of(name)));
            let (count, sum, min, max) = (figure("SampleCount")?, figure("Sum")?, figure("Minimum")?, figure("Maximum")?);
            if count <= 0.0 || min > max {
                return Err(invalid_value(format!("The parameter {} is no set of statistics.", datum.place_of("StatisticValues"))));
            }
            for (name, value) in [("StatisticValues.Sum", sum), ("StatisticValues.Minimum", min), ("StatisticValues.Maximum", max)] {
                check_value(datum, name, value)?;
            }
            sketch.add_summary(count, sum, min, max);
        }
        (None, None, false) => {
            let counts = datum.numbers("Counts")?;
            if values.len() > VALUES_MAX {
                return Err(invalid_value(format!("The parameter {} has more than {VALUES_MAX} members.", datum.place_of("Values"))));
            }
            if !counts.is_empty() && counts.len() != values.len() {
                let (values, counts) = (datum.place_of("Values"), datum.place_of("Counts"));
                return Err(invalid_value(format!("The parameters {values} and {counts} must have as many members.")));
            }
            for (number, value) in values.into_iter().enumerate() {
                check_value(datum, "Values", value)?;
                let count = counts.get(number).copied().unwrap_or(1.0);
                if !count.is_finite() || count < 0.0 {
                    return Err(invalid_value(format!("The parameter {} must hold numbers of 0 and more.", datum.place_of("Counts"))));
                }
                sketch.add(value, count);
            }
        }
        (None, None, true) => return Err(missing(&datum.place_of("Value"))),
        _ => {
            let (value, set) = (datum.place_of("Value"), datum.place_of("StatisticValues"));
            return Err(invalid_combination(format!(
                "The parameters {value} and {set} are mutually exclusive and you have specified both."
            )));
        }
    }
    Ok(sketch)
}

/// CloudWatch's bounds: from 2^-360 to 2^360, and zero.
fn check_value(datum: &Members<'_>, name: &str, value: f64) -> Result<(), ServiceError> {
    let is_fit = value == 0.0 || (2.0_f64.powi(-360)..=2.0_f64.powi(360)).contains(&value.abs());
    if is_fit { Ok(()) } else { Err(invalid_value(format!("The value {value} for parameter {} is invalid.", datum.place_of(name)))) }
}

pub(super) fn list(request: &Members<'_>, metrics: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    let name = request.text("MetricName")?;
    let wanted: Vec<_> = request
        .list("Dimensions")?
        .iter()
        .map(|filter| Ok((filter.required("Name")?, filter.text("Value")?)))
        .collect::<Result<_, ServiceError>>()?;
    let since_ms = match request.text("RecentlyActive")? {
        None => now_ms - LISTED_MS,
        Some("PT3H") => now_ms - RECENTLY_MS,
        Some(other) => return Err(invalid_value(format!("The value {other} for parameter RecentlyActive is invalid."))),
    };
    let known = metrics.known(request.text("Namespace")?, now_ms / 1000).map_err(of_store)?;
    let is_wanted = |series: &Series| {
        name.is_none_or(|name| series.name == name)
            && wanted.iter().all(|(name, value)| series.dimensions.get(*name).is_some_and(|of| value.is_none_or(|value| of == value)))
    };
    let found = known.into_iter().filter(|known| known.last_at * 1000 >= since_ms && is_wanted(&known.series));
    // Of several units it is one metric.
    let found: BTreeSet<_> = found.map(|known| (known.series.namespace, known.series.name, known.series.dimensions)).collect();
    let token = request.text("NextToken")?;
    let (found, next) = page(found.into_iter().collect(), token, METRICS_PAGE)
        .map_err(|error| if error.code == "InvalidNextToken" { invalid_value("Invalid value for parameter NextToken") } else { error })?;
    let found = found.iter().map(|(namespace, name, dimensions)| documents::metric(namespace, name, dimensions));
    Ok(Document::members([("Metrics", Document::list(found)), ("NextToken", next.into())]))
}

pub(super) fn statistics(request: &Members<'_>, metrics: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    let (namespace, name) = (request.required("Namespace")?, request.required("MetricName")?);
    let moment = |name: &str| request.moment_ms(name)?.ok_or_else(|| missing(name));
    let (from_ms, until_ms) = (moment("StartTime")?, moment("EndTime")?);
    if from_ms >= until_ms {
        return Err(invalid_value("The parameter StartTime must be less than the parameter EndTime."));
    }
    let period_s = request.integer("Period")?.ok_or_else(|| missing("Period"))?;
    let period_s = documents::period(period_s).ok_or_else(|| invalid_value(documents::PERIOD_RULE))?;
    let (simple, extended) = (request.texts("Statistics")?, request.texts("ExtendedStatistics")?);
    if simple.is_empty() && extended.is_empty() {
        return Err(invalid_combination("Must specify either Statistics or ExtendedStatistics."));
    }
    let simple: Vec<_> = simple.iter().map(|name| named(name, "Statistics")).collect::<Result<_, _>>()?;
    let extended: Vec<_> = extended.iter().map(|name| named(name, "ExtendedStatistics")).collect::<Result<_, _>>()?;
    let interval = Interval::between(from_ms, until_ms, period_s);
    let asked = interval.count;
    if asked > DATAPOINTS_MAX {
        return Err(invalid_combination(format!(
            "You have requested up to {}, which exceeds the limit of 1,440. You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
            thousands(asked)
        )));
    }
    let unit = request.text("Unit")?;
    let series = Series {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions: request.pairs("Dimensions", "Name")?,
        unit: String::new(),
    };
    metrics.commit(now_ms / 1000).map_err(of_store)?;
    let data = metrics.data(&series, unit, &interval).map_err(of_store)?;
    let datapoint = |datum: &crate::metrics::Datum| {
        let mut members = vec![("Timestamp".to_owned(), Document::Moment(datum.at * 1000))];
        members.extend(simple.iter().map(|(name, statistic)| (name.clone(), statistic.of(&datum.sketch).into())));
        let percentiles = extended.iter().filter_map(|(name, statistic)| Some((name.clone(), statistic.of(&datum.sketch)?.into())));
        let percentiles: Vec<_> = percentiles.collect();
        if !percentiles.is_empty() {
            members.push(("ExtendedStatistics".to_owned(), Document::Map(percentiles)));
        }
        members.push(("Unit".to_owned(), datum.unit.as_str().into()));
        Document::Members(members)
    };
    Ok(Document::members([("Label", name.into()), ("Datapoints", Document::list(data.iter().map(datapoint)))]))
}

fn named(name: &str, of: &str) -> Result<(String, Statistic), ServiceError> {
    let is_percentile = |statistic: &Statistic| matches!(statistic, Statistic::Percentile(_));
    let known = Statistic::named(name).filter(|statistic| is_percentile(statistic) == (of == "ExtendedStatistics"));
    let rule = if of == "Statistics" { "SampleCount, Average, Sum, Minimum and Maximum are" } else { "percentiles such as p99.9 are" };
    known
        .map(|statistic| (name.to_owned(), statistic))
        .ok_or_else(|| invalid_value(format!("The value {name} for parameter {of} is invalid: {rule} computed here")))
}

/// `1,440 datapoints`.
fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} datapoints")
}
