//! `frontdesk keys`: the API keys of the running host. A change counts from the next request on.

use clap::{Args, Subcommand};
use comfy_table::Table;
use frontdesk_control::{CreateKeyRequest, KeyDocument};

use crate::control_client::ControlClient;
use crate::seed::{FIRST_KEY_NAME, PLAN_NAME};
use crate::settings::Settings;

/// The key that `ask` and `keys show` mean when none is named.
pub(crate) const FIRST_KEY: &str = FIRST_KEY_NAME;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print its value
    Create(CreateArguments),
    /// List all keys, newest first
    List(ListArguments),
    /// Print a key's value
    Show(ShowArguments),
    /// Let a key open doors again
    Enable(NameArguments),
    /// Stop a key from opening anything, from the next request on
    Disable(NameArguments),
}

/// The flags of `keys create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Its name
    name: String,
    /// Its value, 20 to 128 characters [default: generated]
    #[arg(long)]
    value: Option<String>,
    /// The usage plan to put it in, by name or id
    #[arg(long, default_value = PLAN_NAME)]
    usage_plan: String,
    /// Put it in no usage plan: it opens nothing until it is in one
    #[arg(long, conflicts_with = "usage_plan")]
    no_usage_plan: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The flags of `keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The flags of `keys show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Its id or name
    #[arg(default_value = FIRST_KEY)]
    key: String,
    /// Print the value and nothing else
    #[arg(long)]
    value_only: bool,
}

/// A key's name or id.
#[derive(Debug, Args)]
pub(crate) struct NameArguments {
    /// Its id or name
    key: String,
}

/// Does it.
pub(crate) fn run(command: &KeysCommand, settings: &Settings) -> anyhow::Result<()> {
    let client = ControlClient::new(settings)?;
    super::block_on(async {
        match command {
            KeysCommand::Create(arguments) => {
                let usage_plan = (!arguments.no_usage_plan).then(|| arguments.usage_plan.clone());
                let wanted = CreateKeyRequest { name: arguments.name.clone(), value: arguments.value.clone(), usage_plan };
                let created = client.create_key(&wanted).await?;
                if arguments.json {
                    println!("{}", serde_json::to_string_pretty(&created)?);
                } else {
                    println!("{}  {}  {}", created.id, created.name, created.value);
                }
            }
            KeysCommand::List(arguments) => {
                let list = client.list_keys().await?;
                if arguments.json {
                    println!("{}", serde_json::to_string_pretty(&list)?);
                } else {
                    println!("{}", table(&list.keys));
                }
            }
            KeysCommand::Show(arguments) => {
                let shown = client.key_value(&arguments.key).await?;
                if arguments.value_only {
                    println!("{}", shown.value);
                } else {
                    println!("{}  {}  {}", shown.id, shown.name, shown.value);
                }
            }
            KeysCommand::Enable(NameArguments { key }) => println!("{}", table(&[client.set_key_enabled(key, true).await?])),
            KeysCommand::Disable(NameArguments { key }) => println!("{}", table(&[client.set_key_enabled(key, false).await?])),
        }
        Ok(())
    })
}

fn table(keys: &[KeyDocument]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["ID", "NAME", "VALUE", "ENABLED", "USAGE PLAN", "TODAY"]);
    for key in keys {
        let enabled = if key.enabled { "yes" } else { "no" };
        let plans = if key.usage_plans.is_empty() { "none".to_owned() } else { key.usage_plans.join(", ") };
        table.add_row([&key.id, &key.name, &format!("…{}", key.hint), enabled, &plans, &key.used_today.to_string()]);
    }
    table
}
