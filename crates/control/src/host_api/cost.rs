//! What a month's traffic would have cost on AWS, for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use frontdesk_aws::ServiceError;
use frontdesk_aws::prices::{PRICE_PAGES, PRICES_OF};
use serde::{Deserialize, Serialize};
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::cost::{self, Usage};
use crate::metrics::MetricService;

/// A month's traffic, priced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostDocument {
    /// The first day, UTC.
    pub from: String,
    /// The last day that is counted: the month's last, or today.
    pub to: String,
    /// Whether the month is not over.
    pub is_estimated: bool,
    /// What was used.
    pub lines: Vec<CostLine>,
    /// Dollars for all of it.
    pub dollars: f64,
    /// The day of the price table.
    pub prices_of: String,
    /// Where AWS publishes its prices.
    pub price_pages: Vec<String>,
}

/// Something that was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostLine {
    /// The service, as Cost Explorer names it.
    pub service: String,
    /// How much of it.
    pub quantity: f64,
    /// What that is counted in.
    pub unit: String,
    /// Dollars for one.
    pub price: f64,
    /// Dollars for all.
    pub dollars: f64,
}

/// The document of a month (`YYYY-MM`), by default this one.
///
/// # Errors
/// ValidationException for what is no month.
pub(super) async fn document(
    month: Option<&str>,
    metrics: Option<Arc<MetricService>>,
    now_unix: i64,
) -> Result<CostDocument, ServiceError> {
    let metrics = metrics.ok_or_else(|| ServiceError::internal_server("this host keeps no metrics"))?;
    let now = OffsetDateTime::from_unix_timestamp(now_unix).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let first = match month {
        None => now.date().replace_day(1),
        Some(month) => {
            let parsed = Date::parse(&format!("{month}-01"), format_description!("[year]-[month]-[day]"));
            Ok(parsed.map_err(|_| ServiceError::validation(format!("month is {month}: write it as 2026-01")))?)
        }
    };
    let first = first.unwrap_or_else(|_| now.date());
    let last = first.replace_day(first.month().length(first.year())).unwrap_or(first);
    let last_counted = last.min(now.date());
    if first > now.date() {
        return Err(ServiceError::validation(format!("{first} is still to come")));
    }
    let until = last_counted.next_day().unwrap_or(last_counted);
    let reading = tokio::task::spawn_blocking(move || cost::used(&metrics, first, until, now)).await;
    let days = reading.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?;
    let days = days.map_err(|error| ServiceError::internal_server(error.to_string()))?;
    let mut used: BTreeMap<Usage, f64> = Usage::ALL.into_iter().map(|usage| (usage, 0.0)).collect();
    for (usage, amount) in days.values().flatten() {
        *used.entry(*usage).or_default() += amount;
    }
    let line = |(usage, quantity): (Usage, f64)| CostLine {
        service: usage.service().to_owned(),
        quantity,
        unit: usage.unit().to_owned(),
        price: usage.price(),
        dollars: quantity * usage.price(),
    };
    let lines: Vec<_> = used.into_iter().map(line).collect();
    Ok(CostDocument {
        from: first.to_string(),
        to: last_counted.to_string(),
        is_estimated: last >= now.date(),
        dollars: lines.iter().map(|line| line.dollars).sum(),
        lines,
        prices_of: PRICES_OF.to_owned(),
        price_pages: PRICE_PAGES.iter().map(|page| (*page).to_owned()).collect(),
    })
}
