//! `frontdesk cost`: what a month's traffic here would have cost on AWS.

use clap::Args;
use comfy_table::{CellAlignment, Table};
use frontdesk_control::CostDocument;

use crate::control_client::ControlClient;
use crate::settings::Settings;

/// The flags of `cost`.
#[derive(Debug, Args)]
pub(crate) struct CostArguments {
    /// The month (2026-12, UTC) [default: this one]
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &CostArguments, settings: &Settings) -> anyhow::Result<()> {
    let client = ControlClient::new(settings)?;
    super::block_on(async {
        let cost = client.cost(arguments.month.as_deref()).await?;
        if arguments.json {
            println!("{}", serde_json::to_string_pretty(&cost)?);
        } else {
            println!("{}", text(&cost));
        }
        Ok(())
    })
}

fn text(cost: &CostDocument) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["SERVICE", "USED", "OF", "PRICE OF ONE", "DOLLARS"]);
    for (number, column) in table.column_iter_mut().enumerate() {
        if [1, 3, 4].contains(&number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in &cost.lines {
        // Requests are whole; what is measured is not.
        let used = format!("{:.3}", line.quantity);
        let used = used.trim_end_matches('0').trim_end_matches('.').to_owned();
        table.add_row([&line.service, &used, &line.unit, &shortest(line.price), &format!("{:.4}", line.dollars)]);
    }
    table.add_row(["together", "", "", "", &format!("{:.4}", cost.dollars)]);
    let so_far = if cost.is_estimated { ", so far" } else { "" };
    format!(
        "What the traffic from {} to {} (UTC{so_far}) would have cost on AWS:\n\n{table}\n\n\
         List prices of us-east-1 as of {}, unverified, without free tiers, discounts, taxes, logs, images, data sent out\n\
         and the model provider's bill. AWS publishes its prices at {}.",
        cost.from,
        cost.to,
        cost.prices_of,
        cost.price_pages.first().map_or("https://aws.amazon.com/pricing/", String::as_str),
    )
}

/// A price without zeros at its end.
fn shortest(price: f64) -> String {
    let text = format!("{price:.10}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use frontdesk_control::CostLine;

    use super::*;

    #[test]
    fn prices_and_sums_are_shown() {
        let line = CostLine {
            service: "Amazon API Gateway".to_owned(),
            quantity: 2_000_000.0,
            unit: "Requests".to_owned(),
            price: 0.000_003_5,
            dollars: 7.0,
        };
        let cost = CostDocument {
            from: "2026-01-01".to_owned(),
            to: "2026-01-31".to_owned(),
            is_estimated: false,
            lines: vec![line],
            dollars: 7.0,
            prices_of: "2026-11-23".to_owned(),
            price_pages: Vec::new(),
        };
        let text = text(&cost);
        for words in ["2000000", "0.0000035", "7.0000", "as of 2026-11-23", "from 2026-01-01 to 2026-01-31 (UTC)"] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
}
