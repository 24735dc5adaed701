//! GetMetricData, and the queries that it shares with alarms.

use frontdesk_aws::ServiceError;
use frontdesk_aws::document::Document;
use frontdesk_store::{Asked, MetricQuery, MetricStat};

use super::{documents, of_store};
use crate::members::{Members, invalid_value, missing, page};
use crate::metrics::{self, Interval, MetricService, Statistic};

/// CloudWatch's bounds (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>).
const QUERIES_MAX: usize = 500;
const DATAPOINTS_MAX: i64 = 100_800;

/// Reads a list of queries.
///
/// # Errors
/// ValidationError, naming the query and what is wrong with it.
pub(super) fn read(request: &Members<'_>, name: &str) -> Result<Vec<MetricQuery>, ServiceError> {
    let queries: Vec<_> = request.list(name)?.iter().map(query).collect::<Result<_, _>>()?;
    if queries.len() > QUERIES_MAX {
        return Err(ServiceError::validation(format!("{name} has more than {QUERIES_MAX} members")));
    }
    metrics::check(&queries).map_err(ServiceError::validation)?;
    Ok(queries)
}

fn query(query: &Members<'_>) -> Result<MetricQuery, ServiceError> {
    query.refuse(&["AccountId"])?;
    let id = query.required("Id")?.to_owned();
    let asked = match (query.structure("MetricStat"), query.text("Expression")?) {
        (Some(asked), None) => Asked::Stat(stat(&asked)?),
        (None, Some(expression)) => {
            let period_s = query.integer("Period")?.map(|period_s| period(period_s, &query.place_of("Period"))).transpose()?;
            Asked::Expression(expression.to_owned(), period_s)
        }
        _ => return Err(ServiceError::validation(format!("Either MetricStat or Expression must be given for {id}, and not both"))),
    };
    let label = query.text("Label")?.map(str::to_owned);
    Ok(MetricQuery { id, asked, label, returns_data: query.truth("ReturnData")?.unwrap_or(true) })
}

fn period(period_s: i64, place: &str) -> Result<u32, ServiceError> {
    documents::period(period_s)
        .ok_or_else(|| ServiceError::validation(format!("The parameter {place} is {period_s}. {}", documents::PERIOD_RULE)))
}

fn stat(asked: &Members<'_>) -> Result<MetricStat, ServiceError> {
    let metric = asked.structure("Metric").ok_or_else(|| missing(&asked.place_of("Metric")))?;
    let statistic = asked.required("Stat")?;
    if Statistic::named(statistic).is_none() {
        let message = format!("The value {statistic} for parameter {} is invalid: it is not computed here", asked.place_of("Stat"));
        return Err(ServiceError::validation(message));
    }
    Ok(MetricStat {
        namespace: metric.required("Namespace")?.to_owned(),
        name: metric.required("MetricName")?.to_owned(),
        dimensions: metric.pairs("Dimensions", "Name")?,
        statistic: statistic.to_owned(),
        period_s: period(asked.integer("Period")?.ok_or_else(|| missing(&asked.place_of("Period")))?, &asked.place_of("Period"))?,
        unit: asked.text("Unit")?.map(str::to_owned),
    })
}

pub(super) fn data(request: &Members<'_>, service: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    let queries = read(request, "MetricDataQueries")?;
    if queries.is_empty() {
        return Err(missing("MetricDataQueries"));
    }
    let moment = |name: &str| request.moment_ms(name)?.ok_or_else(|| missing(name));
    let (from_ms, until_ms) = (moment("StartTime")?, moment("EndTime")?);
    if from_ms >= until_ms {
        return Err(ServiceError::validation("The parameter StartTime must be less than the parameter EndTime."));
    }
    let is_ascending = match request.text("ScanBy")? {
        None | Some("TimestampDescending") => false,
        Some("TimestampAscending") => true,
        Some(other) => return Err(invalid_value(format!("The value {other} for parameter ScanBy is invalid."))),
    };
    let datapoints_max = request.integer("MaxDatapoints")?.unwrap_or(DATAPOINTS_MAX);
    let datapoints_max = usize::try_from(datapoints_max).unwrap_or(0).clamp(1, 100_800);
    let interval = |period_s: u32| Interval::between(from_ms, until_ms, period_s);
    let asked: i64 = queries.iter().map(|query| interval(metrics::period_of_query(query, &queries)).count).sum();
    // Gaps are filled period by period, however far apart the two moments are.
    if asked > DATAPOINTS_MAX * 10 {
        return Err(ServiceError::validation(format!("The queries ask for {asked} datapoints: take a longer Period or a shorter time")));
    }
    service.commit(now_ms / 1000).map_err(of_store)?;
    let mut computed = service.compute(&queries, interval).map_err(of_store)?;
    let mut points = Vec::new();
    let returned: Vec<_> = queries.iter().filter(|query| query.returns_data).collect();
    for (number, query) in returned.iter().enumerate() {
        let of_query = computed.remove(&query.id).unwrap_or_default().into_iter().map(|(at, value)| (number, at, value));
        if is_ascending { points.extend(of_query) } else { points.extend(of_query.rev()) }
    }
    let (points, next) = page(points, request.text("NextToken")?, datapoints_max)?;
    let last = points.last().map(|(number, ..)| *number);
    let result = |(number, query): (usize, &&MetricQuery)| {
        let own = || points.iter().filter(move |(of, ..)| *of == number);
        // What is on a later page is not complete on this one.
        let is_partial = next.is_some() && last.is_none_or(|last| number >= last);
        let label = query.label.clone().unwrap_or_else(|| match &query.asked {
            Asked::Stat(stat) => stat.name.clone(),
            Asked::Expression(..) => query.id.clone(),
        });
        Document::members([
            ("Id", query.id.as_str().into()),
            ("Label", label.into()),
            ("Timestamps", Document::list(own().map(|(_, at, _)| Document::Moment(at * 1000)))),
            ("Values", Document::list(own().map(|(_, _, value)| *value))),
            ("StatusCode", if is_partial { "PartialData" } else { "Complete" }.into()),
        ])
    };
    let results = Document::list(returned.iter().enumerate().map(result));
    Ok(Document::members([("MetricDataResults", results), ("NextToken", next.into()), ("Messages", Document::List(Vec::new()))]))
}
