//! `frontdesk plans`: the usage plans of the running host. A change counts from the next request on.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use frontdesk_control::{PlanDocument, PutPlanRequest, QuotaDocument, ThrottleDocument};

use crate::control_client::ControlClient;
use crate::settings::Settings;

/// What can be done with usage plans.
#[derive(Debug, Subcommand)]
pub(crate) enum PlansCommand {
    /// List all plans
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a plan
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        about: PlanArguments,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a plan
    Update {
        /// Its id or name
        plan: String,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        about: PlanArguments,
    },
    /// Delete a plan; its keys stay and open nothing by it any more
    Delete {
        /// Its id or name
        plan: String,
    },
    /// Put a key into a plan
    Add {
        /// The plan's id or name
        plan: String,
        /// The key's id or name
        key: String,
    },
    /// Take a key out of a plan
    Remove {
        /// The plan's id or name
        plan: String,
        /// The key's id or name
        key: String,
    },
}

/// A plan's limits and stages.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// Requests a second for each key in the long run; may be a fraction
    #[arg(long, value_name = "PER_SECOND", requires = "burst")]
    rate: Option<f64>,
    /// Requests that one key may send at once
    #[arg(long, value_name = "REQUESTS", requires = "rate")]
    burst: Option<u32>,
    /// No limit on speed
    #[arg(long, conflicts_with = "rate")]
    no_throttle: bool,
    /// Requests in a period for each key
    #[arg(long, value_name = "REQUESTS")]
    quota: Option<u64>,
    /// The quota's period (UTC; a week begins on Sunday)
    #[arg(long, value_enum, default_value_t = Period::Day, requires = "quota")]
    period: Period,
    /// Days by which the quota's periods begin later: 1 for weeks from Monday, 14 for months from the 15th
    #[arg(long, value_name = "DAYS", default_value_t = 0, requires = "quota")]
    offset: u8,
    /// No quota
    #[arg(long, conflicts_with = "quota")]
    no_quota: bool,
    /// A stage of the host's API that it opens; may be repeated [default for a new plan: the host's stage]
    #[arg(long = "stage", value_name = "STAGE")]
    stages: Vec<String>,
    /// A slower method for each key, such as `/invoke/POST=5:10` (requests a second : burst); may be repeated
    #[arg(long = "method-throttle", value_name = "METHOD=RATE:BURST", value_parser = method_throttle)]
    method_throttles: Vec<(String, ThrottleDocument)>,
    /// Take a method's throttle away; may be repeated
    #[arg(long = "no-method-throttle", value_name = "METHOD")]
    no_method_throttles: Vec<String>,
}

/// A quota's period.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Period {
    Day,
    Week,
    Month,
}

fn method_throttle(text: &str) -> Result<(String, ThrottleDocument), String> {
    let parse = || {
        let (method, limits) = text.split_once('=')?;
        let (rate, burst) = limits.split_once(':')?;
        Some((method.to_owned(), ThrottleDocument { rate_limit: rate.parse().ok()?, burst_limit: burst.parse().ok()? }))
    };
    parse().ok_or_else(|| "write it as /invoke/POST=5:10, requests a second and burst".to_owned())
}

impl PlanArguments {
    fn request(self, name: Option<String>) -> PutPlanRequest {
        let throttle = self.rate.zip(self.burst).map(|(rate_limit, burst_limit)| ThrottleDocument { rate_limit, burst_limit });
        let period = match self.period {
            Period::Day => "DAY",
            Period::Week => "WEEK",
            Period::Month => "MONTH",
        };
        let quota = self.quota.map(|limit| QuotaDocument { limit, period: period.to_owned(), offset: self.offset });
        let mut method_throttles: BTreeMap<_, _> =
            self.method_throttles.into_iter().map(|(method, throttle)| (method, Some(throttle))).collect();
        method_throttles.extend(self.no_method_throttles.into_iter().map(|method| (method, None)));
        PutPlanRequest {
            name,
            description: self.description,
            throttle: if self.no_throttle { Some(None) } else { throttle.map(Some) },
            quota: if self.no_quota { Some(None) } else { quota.map(Some) },
            stages: (!self.stages.is_empty()).then_some(self.stages),
            method_throttles,
        }
    }
}

/// Does it.
pub(crate) fn run(command: PlansCommand, settings: &Settings) -> anyhow::Result<()> {
    let client = ControlClient::new(settings)?;
    let host_stage = settings.gateway.stage.clone();
    super::block_on(async {
        match command {
            PlansCommand::List { json } => {
                let list = client.list_plans().await?;
                if json {
                    println!("{}", serde_json::to_string_pretty(&list)?);
                } else {
                    println!("{}", table(&list.usage_plans));
                }
            }
            PlansCommand::Create { name, mut about, json } => {
                if about.stages.is_empty() {
                    about.stages.push(host_stage);
                }
                let plan = client.create_plan(&about.request(Some(name))).await?;
                if json {
                    println!("{}", serde_json::to_string_pretty(&plan)?);
                } else {
                    println!("{}", table(&[plan]));
                }
            }
            PlansCommand::Update { plan, name, about } => {
                let wanted = about.request(name);
                if wanted == PutPlanRequest::default() {
                    bail!("nothing to change: `frontdesk plans update --help` says what can be");
                }
                println!("{}", table(&[client.update_plan(&plan, &wanted).await?]));
            }
            PlansCommand::Delete { plan } => {
                client.delete_plan(&plan).await?;
                println!("{plan} is deleted.");
            }
            PlansCommand::Add { plan, key } => {
                let key = client.join_plan(&plan, &key).await?;
                println!("{} is in {}.", key.name, key.usage_plans.join(", "));
            }
            PlansCommand::Remove { plan, key } => {
                let key = client.leave_plan(&plan, &key).await?;
                let left = if key.usage_plans.is_empty() { "no usage plan".to_owned() } else { key.usage_plans.join(", ") };
                println!("{} is in {left}.", key.name);
            }
        }
        Ok(())
    })
}

fn quota_in_words(quota: &QuotaDocument) -> String {
    let words = format!("{} a {}", quota.limit, quota.period.to_lowercase());
    match (quota.period.as_str(), usize::from(quota.offset)) {
        (_, 0) => words,
        ("WEEK", offset) => {
            let days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
            format!("{words} from {}", days[offset % 7])
        }
        (_, offset) => format!("{words} from day {}", offset + 1),
    }
}

fn table(plans: &[PlanDocument]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["ID", "NAME", "SPEED", "QUOTA", "STAGES", "KEYS"]);
    for plan in plans {
        let speed = |throttle: &ThrottleDocument| format!("{}/s, burst {}", throttle.rate_limit, throttle.burst_limit);
        let mut speeds = vec![plan.throttle.as_ref().map_or_else(|| "unlimited".to_owned(), speed)];
        let methods = plan.stages.iter().flat_map(|stage| &stage.throttle);
        speeds.extend(methods.map(|(method, throttle)| format!("{method} {}", speed(throttle))));
        let quota = plan.quota.as_ref().map_or_else(|| "none".to_owned(), quota_in_words);
        let stages: Vec<_> = plan.stages.iter().map(|stage| stage.stage.as_str()).collect();
        table.add_row([&plan.id, &plan.name, &speeds.join("\n"), &quota, &stages.join(", "), &plan.keys.to_string()]);
    }
    table
}
