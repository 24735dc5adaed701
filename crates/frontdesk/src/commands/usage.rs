//! `frontdesk usage`: who used how much, and a quota extended.

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table};
use frontdesk_control::{ExtendQuotaRequest, UsageDocument};
use time::Date;

use super::moments;
use crate::control_client::ControlClient;
use crate::settings::Settings;

/// The flags of `usage`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct UsageArguments {
    #[cfg(feature = "deploy")]
    #[command(flatten)]
    on_aws: super::on_aws::OnAws,
    #[command(subcommand)]
    command: Option<UsageCommand>,
    /// The first day (2026-12-31, UTC) [default: today]
    #[arg(long, value_name = "DATE", value_parser = moments::date)]
    from: Option<Date>,
    /// The last day [default: today]
    #[arg(long, value_name = "DATE", value_parser = moments::date)]
    to: Option<Date>,
    /// One key, by id or name [default: all]
    #[arg(long)]
    key: Option<String>,
    /// By actor, the `actor_id` of the callers
    #[arg(long)]
    actors: bool,
    /// Print JSON, by key and by actor
    #[arg(long)]
    json: bool,
}

/// What can be done about usage.
#[derive(Debug, Subcommand)]
pub(crate) enum UsageCommand {
    /// Grant a key requests beyond its quota, until the quota's period ends
    Extend {
        /// The key's id or name
        key: String,
        /// How many requests
        #[arg(long, value_name = "REQUESTS")]
        by: u64,
        /// The usage plan, by id or name; needed only when several have a quota for the key
        #[arg(long)]
        plan: Option<String>,
    },
}

#[cfg(feature = "deploy")]
impl UsageArguments {
    /// What is wanted of the usage on AWS.
    fn on_aws_wanted(&self) -> anyhow::Result<super::on_aws::usage::Wanted> {
        if self.command.is_some() || self.actors {
            anyhow::bail!("API Gateway knows no actors, and extends quotas in its console only");
        }
        let today = moments::today();
        let (from, to) = (self.from.unwrap_or(today), self.to.unwrap_or(today));
        Ok(super::on_aws::usage::Wanted { from: from.to_string(), to: to.to_string(), key: self.key.clone(), json: self.json })
    }
}

/// Does it.
pub(crate) fn run(arguments: &UsageArguments, settings: &Settings) -> anyhow::Result<()> {
    #[cfg(feature = "deploy")]
    if let Some(place) = arguments.on_aws.place()? {
        return super::on_aws::usage::run(place, &arguments.on_aws_wanted()?, settings);
    }
    let client = ControlClient::new(settings)?;
    super::block_on(async {
        if let Some(UsageCommand::Extend { key, by, plan }) = &arguments.command {
            let wanted = ExtendQuotaRequest { key: key.clone(), extra: *by, usage_plan: plan.clone() };
            let extended = client.extend_quota(&wanted).await?;
            println!("{key} has {} requests left in {}.", extended.remaining, extended.usage_plan);
            return Ok(());
        }
        let today = moments::today();
        let (from, to) = (arguments.from.unwrap_or(today), arguments.to.unwrap_or(today));
        let usage = client.usage(&from.to_string(), &to.to_string(), arguments.key.as_deref()).await?;
        let is_empty = if arguments.actors { usage.actors.is_empty() } else { usage.keys.is_empty() };
        match is_empty {
            _ if arguments.json => println!("{}", serde_json::to_string_pretty(&usage)?),
            true => println!("Nothing was counted from {from} to {to} (UTC){}.", of_key(arguments.key.as_deref())),
            false => println!("{}", if arguments.actors { by_actor(&usage) } else { by_key(&usage) }),
        }
        Ok(())
    })
}

fn of_key(key: Option<&str>) -> String {
    key.map(|key| format!(" for a key with the id or name {key}; `frontdesk keys list` names them all")).unwrap_or_default()
}

fn by_key(usage: &UsageDocument) -> Table {
    let mut table = empty(&["DATE", "KEY", "NAME", "USAGE PLAN", "USED", "LEFT"], 4);
    for row in &usage.keys {
        let remaining = row.remaining.map_or_else(|| "unlimited".to_owned(), |remaining| remaining.to_string());
        table.add_row([&row.date, &row.key_id, &row.key_name, &row.usage_plan, &row.used.to_string(), &remaining]);
    }
    table
}

fn by_actor(usage: &UsageDocument) -> Table {
    let mut table = empty(&["DATE", "KEY", "NAME", "ACTOR", "ANSWERED"], 4);
    for row in &usage.actors {
        table.add_row([&row.date, &row.key_id, &row.key_name, &row.actor, &row.used.to_string()]);
    }
    table
}

/// A table whose columns from `numbers_from` on are numbers.
fn empty(header: &[&str], numbers_from: usize) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
