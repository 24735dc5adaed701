//! Cost Explorer (service `ce`, JSON 1.1): what this host's traffic would have cost on AWS (`cost.rs`)
//! (<https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_Operations_AWS_Cost_Explorer_Service.html>).

use std::collections::BTreeMap;
use std::sync::Arc;

use frontdesk_aws::ServiceError;
use frontdesk_aws::document::Document;
use http::StatusCode;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime};

use crate::cost::{self, Days, Usage};
use crate::identity::Principal;
use crate::members::Members;
use crate::metrics::MetricService;
use crate::operation::operations;
use crate::rpc::RpcService;

pub(crate) const RPC: RpcService = RpcService {
    signing_name: "ce",
    target: "AWSInsightsIndexService",
    json_type: "application/x-amz-json-1.1",
    query: None,
    query_codes: &[],
};

operations! {
    CostExplorer:
    GetCostAndUsage POST "/";
    GetDimensionValues POST "/";
}

/// Cost Explorer answers for fourteen months.
const DAYS_MAX: i64 = 14 * 31;
/// Kinds of cost. They differ by discounts and by how payments are spread, of which there are none here.
const COSTS: [&str; 5] = ["UnblendedCost", "BlendedCost", "AmortizedCost", "NetUnblendedCost", "NetAmortizedCost"];
const QUANTITY: &str = "UsageQuantity";

/// A call, verified.
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) request: Document,
    pub(crate) principal: Principal,
    pub(crate) now: OffsetDateTime,
}

/// Performs one operation. Both block on the database, so they run on a blocking thread.
///
/// # Errors
/// ValidationException, AccessDeniedException, UnknownOperationException.
pub(crate) async fn perform(call: Call, metrics: Arc<MetricService>) -> Result<Document, ServiceError> {
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == call.operation) else {
        let message = format!("Cost Explorer's operation {} is not served here", call.operation);
        return Err(ServiceError::new(StatusCode::BAD_REQUEST, "UnknownOperationException", message));
    };
    call.principal.authorize(&format!("ce:{}", operation.name), &["*"])?;
    let done = tokio::task::spawn_blocking(move || match operation.id {
        CostExplorer::GetCostAndUsage => cost_and_usage(&Members::of(&call.request), &metrics, call.now),
        CostExplorer::GetDimensionValues => dimension_values(&Members::of(&call.request), &metrics, call.now),
    });
    done.await.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::validation(message)
}

/// The first day, and the one after the last.
fn time_period(request: &Members<'_>) -> Result<(Date, Date), ServiceError> {
    let period = request.structure("TimePeriod").ok_or_else(|| invalid("TimePeriod is required"))?;
    let date = |name: &str| {
        let text = period.text(name)?.ok_or_else(|| invalid(format!("TimePeriod.{name} is required")))?;
        let parsed = Date::parse(text, format_description!("[year]-[month]-[day]"));
        parsed.map_err(|_| invalid(format!("{name} time {text} is invalid. Valid format is: yyyy-MM-dd")))
    };
    let (first, until) = (date("Start")?, date("End")?);
    if first >= until {
        return Err(invalid("Start date (and hour) should be before end date (and hour)"));
    }
    if (until - first).whole_days() > DAYS_MAX {
        return Err(invalid(format!("The time period is longer than {DAYS_MAX} days")));
    }
    Ok((first, until))
}

/// Whether a filter lets a service through: `Dimensions` of `SERVICE`, which is what there is.
fn service_filter(request: &Members<'_>) -> Result<Option<Vec<String>>, ServiceError> {
    let Some(filter) = request.structure("Filter") else { return Ok(None) };
    let unserved = || invalid("Filters are served by Dimensions of SERVICE only");
    if ["And", "Or", "Not", "Tags", "CostCategories"].iter().any(|name| filter.has(name)) {
        return Err(unserved());
    }
    let dimensions = filter.structure("Dimensions").ok_or_else(unserved)?;
    if dimensions.text("Key")? != Some("SERVICE") || dimensions.texts("MatchOptions")?.iter().any(|option| option != "EQUALS") {
        return Err(unserved());
    }
    Ok(Some(dimensions.texts("Values")?))
}

fn cost_and_usage(request: &Members<'_>, service: &MetricService, now: OffsetDateTime) -> Result<Document, ServiceError> {
    let (first, until) = time_period(request)?;
    let is_monthly = match request.text("Granularity")? {
        Some("DAILY") => false,
        Some("MONTHLY") => true,
        Some("HOURLY") => return Err(invalid("Hourly granularity is not served here: DAILY and MONTHLY are")),
        other => return Err(invalid(format!("Granularity {} is invalid: DAILY or MONTHLY", other.unwrap_or("null")))),
    };
    let wanted = request.texts("Metrics")?;
    if wanted.is_empty() {
        return Err(invalid("Metrics is required"));
    }
    if let Some(unknown) = wanted.iter().find(|name| !COSTS.contains(&name.as_str()) && *name != QUANTITY) {
        return Err(invalid(format!("Metrics {unknown} is invalid: {}, {QUANTITY}", COSTS.join(", "))));
    }
    let groups = request.list("GroupBy")?;
    let mut by = Vec::new();
    for group in &groups {
        match (group.text("Type")?.unwrap_or("DIMENSION"), group.text("Key")?) {
            ("DIMENSION", Some(key @ ("SERVICE" | "USAGE_TYPE"))) => by.push(key.to_owned()),
            // Kinder than AWS, which refuses this type: the FAQ guide's command has it, and leaves no doubt what is meant.
            ("SERVICE", None) => by.push("SERVICE".to_owned()),
            (kind, key) => {
                return Err(invalid(format!(
                    "GroupBy {kind} {} is not served here: DIMENSION by SERVICE or USAGE_TYPE",
                    key.unwrap_or("null")
                )));
            }
        }
    }
    let services = service_filter(request)?;
    let days = cost::used(service, first, until, now).map_err(of_store)?;
    let results: Vec<Document> = periods(first, until, is_monthly)
        .into_iter()
        .map(|(from, to)| result(&days, (from, to), &wanted, &by, services.as_deref(), now))
        .collect();
    let definitions = by.iter().map(|key| Document::members([("Type", "DIMENSION".into()), ("Key", key.into())])).collect::<Vec<_>>();
    let mut members =
        vec![("ResultsByTime".to_owned(), Document::List(results)), ("DimensionValueAttributes".to_owned(), Document::List(Vec::new()))];
    if !definitions.is_empty() {
        members.insert(0, ("GroupDefinitions".to_owned(), Document::List(definitions)));
    }
    Ok(Document::Members(members))
}

fn of_store(error: frontdesk_store::StoreError) -> ServiceError {
    tracing::error!(error = &error as &dyn std::error::Error, "Cost Explorer's API failed");
    ServiceError::internal_server(error.to_string())
}

/// Days, or months cut to the time that was asked for.
fn periods(first: Date, until: Date, is_monthly: bool) -> Vec<(Date, Date)> {
    let mut periods = Vec::new();
    let mut from = first;
    while from < until {
        let days_left = if is_monthly { from.month().length(from.year()) - from.day() + 1 } else { 1 };
        let to = from.checked_add(Duration::days(i64::from(days_left))).map_or(until, |next| next.min(until));
        periods.push((from, to));
        from = to;
    }
    periods
}

fn result(
    days: &Days,
    (from, to): (Date, Date),
    wanted: &[String],
    by: &[String],
    services: Option<&[String]>,
    now: OffsetDateTime,
) -> Document {
    let mut used: BTreeMap<Usage, f64> = BTreeMap::new();
    for (usage, amount) in days.range(from..to).flat_map(|(_, day)| day) {
        if services.is_none_or(|services| services.iter().any(|service| service == usage.service())) {
            *used.entry(*usage).or_default() += amount;
        }
    }
    let mut groups: BTreeMap<Vec<String>, Vec<(Usage, f64)>> = BTreeMap::new();
    for (usage, amount) in &used {
        let key = |by: &String| if by == "SERVICE" { usage.service() } else { usage.unit() }.to_owned();
        groups.entry(by.iter().map(key).collect()).or_default().push((*usage, *amount));
    }
    let total: Vec<_> = used.into_iter().collect();
    let (total, groups) = if by.is_empty() {
        (amounts(&total, wanted), Vec::new())
    } else {
        let group = |(keys, used): (Vec<String>, Vec<(Usage, f64)>)| {
            Document::members([("Keys", Document::list(keys)), ("Metrics", amounts(&used, wanted))])
        };
        (Document::Map(Vec::new()), groups.into_iter().map(group).collect())
    };
    Document::members([
        ("TimePeriod", Document::members([("Start", from.to_string().into()), ("End", to.to_string().into())])),
        ("Total", total),
        ("Groups", Document::List(groups)),
        // A day that is not over may still cost more.
        ("Estimated", (to > now.date()).into()),
    ])
}

fn amounts(used: &[(Usage, f64)], wanted: &[String]) -> Document {
    let amount = |name: &String| {
        let (amount, unit) = if name == QUANTITY {
            (used.iter().map(|(_, amount)| amount).sum::<f64>(), one_unit(used))
        } else {
            (used.iter().map(|(usage, amount)| amount * usage.price()).sum::<f64>(), "USD")
        };
        // Without the sign that a sum of nothing has.
        let amount = format!("{:.10}", amount + 0.0);
        let amount = amount.trim_end_matches('0').trim_end_matches('.').to_owned();
        (name.clone(), Document::members([("Amount", amount.into()), ("Unit", unit.into())]))
    };
    Document::Map(wanted.iter().map(amount).collect())
}

/// Cost Explorer sums different units too, and says that it does.
fn one_unit(used: &[(Usage, f64)]) -> &'static str {
    let mut units = used.iter().map(|(usage, _)| usage.unit());
    match units.next() {
        Some(unit) if units.all(|other| other == unit) => unit,
        _ => "N/A",
    }
}

fn dimension_values(request: &Members<'_>, service: &MetricService, now: OffsetDateTime) -> Result<Document, ServiceError> {
    let (first, until) = time_period(request)?;
    let name: fn(Usage) -> &'static str = match request.text("Dimension")? {
        Some("SERVICE") => Usage::service,
        Some("USAGE_TYPE") => Usage::unit,
        other => return Err(invalid(format!("Dimension {} is not served here: SERVICE or USAGE_TYPE", other.unwrap_or("null")))),
    };
    let search = request.text("SearchString")?.unwrap_or_default().to_lowercase();
    let days = cost::used(service, first, until, now).map_err(of_store)?;
    let found: std::collections::BTreeSet<&str> = days.values().flat_map(BTreeMap::keys).map(|usage| name(*usage)).collect();
    let found: Vec<_> = found.into_iter().filter(|value| value.to_lowercase().contains(&search)).collect();
    let size = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let value = |value: &str| Document::members([("Value", value.into()), ("Attributes", Document::Map(Vec::new()))]);
    let values = Document::list(found.iter().map(|found| value(found)));
    Ok(Document::members([("DimensionValues", values), ("ReturnSize", size.into()), ("TotalSize", size.into())]))
}

#[cfg(test)]
mod tests {
    use time::Month;

    use super::*;

    fn date(month: Month, day: u8) -> Date {
        Date::from_calendar_date(2026, month, day).unwrap()
    }

    #[test]
    fn months_are_cut_to_what_was_asked_for() {
        let (january, february) = (Month::January, Month::February);
        let check = |from, to, is_monthly, expected: &[(Date, Date)]| assert_eq!(periods(from, to, is_monthly), expected);
        check(
            date(january, 30),
            date(february, 3),
            true,
            &[(date(january, 30), date(february, 1)), (date(february, 1), date(february, 3))],
        );
        check(
            date(january, 30),
            date(february, 1),
            false,
            &[(date(january, 30), date(january, 31)), (date(january, 31), date(february, 1))],
        );
    }

    #[test]
    fn amounts_are_texts_with_their_unit() {
        let check = |used: &[(Usage, f64)], expected: &str| {
            let wanted = ["UnblendedCost".to_owned(), QUANTITY.to_owned()];
            assert_eq!(frontdesk_aws::document::to_json(&amounts(used, &wanted)).to_string(), expected);
        };
        check(
            &[(Usage::ApiRequests, 2_000_000.0)],
            r#"{"UnblendedCost":{"Amount":"7","Unit":"USD"},"UsageQuantity":{"Amount":"2000000","Unit":"Requests"}}"#,
        );
        check(&[], r#"{"UnblendedCost":{"Amount":"0","Unit":"USD"},"UsageQuantity":{"Amount":"0","Unit":"N/A"}}"#);
    }
}
