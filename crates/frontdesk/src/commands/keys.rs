//! `frontdesk keys`: the API keys of the running host. A change counts from the next request on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use comfy_table::Table;
use frontdesk_control::{CreateKeyRequest, ImportKeysRequest, KeyDocument, KeyWithValue, RotateKeyRequest, UpdateKeyRequest};

use super::moments;
use crate::control_client::ControlClient;
use crate::seed::{FIRST_KEY_NAME, PLAN_NAME};
use crate::settings::Settings;

/// The key that `ask` and `keys show` mean when none is named.
pub(crate) const FIRST_KEY: &str = FIRST_KEY_NAME;

/// The flags of `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArguments {
    #[cfg(feature = "deploy")]
    #[command(flatten)]
    on_aws: super::on_aws::OnAws,
    #[command(subcommand)]
    command: KeysCommand,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print its value
    Create(CreateArguments),
    /// Make or change the keys of a CSV file in API Gateway's form: all of them or none
    Import(ImportArguments),
    /// List all keys, newest first
    List(ListArguments),
    /// Print a key's value
    Show(ShowArguments),
    /// Change what is known of a key, when it expires or where it may be used from
    Update(UpdateArguments),
    /// Let a key open doors again
    Enable(NameArguments),
    /// Stop a key from opening anything, from the next request on
    Disable(NameArguments),
    /// Give a key a second value; the first goes on working for a while and then retires by itself
    Rotate(RotateArguments),
    /// Delete a key; its usage stays on the record
    Delete(NameArguments),
}

/// What may be said of a key.
#[derive(Debug, Args)]
pub(crate) struct AboutArguments {
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// From when on it opens nothing: a date (2026-12-31, UTC), or a length of time from now (30d)
    #[arg(long, value_name = "WHEN", value_parser = moments::moment)]
    expires: Option<i64>,
    /// A network it may be used from, in CIDR notation; may be repeated [default: anywhere]
    #[arg(long = "from", value_name = "CIDR")]
    source_ranges: Vec<String>,
    /// A tag; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
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
    #[command(flatten)]
    about: AboutArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The flags of `keys import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The file: CSV with the columns Name and Key, and if wanted Description, Enabled, UsagePlanIds
    file: PathBuf,
    /// The usage plan of keys that name none, by name or id
    #[arg(long, value_name = "PLAN")]
    usage_plan: Option<String>,
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
    #[arg(long, conflicts_with = "json")]
    value_only: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The flags of `keys update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArguments {
    /// Its id or name
    key: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    about: AboutArguments,
    /// It never expires
    #[arg(long, conflicts_with = "expires")]
    never_expires: bool,
    /// It may be used from anywhere
    #[arg(long, conflicts_with = "source_ranges")]
    from_anywhere: bool,
}

/// The flags of `keys rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// Its id or name
    key: String,
    /// How long both values work (90s, 15m, 24h, 30d); 0 ends all former values at once
    #[arg(long, value_name = "LENGTH", default_value = "24h", value_parser = moments::length_s)]
    overlap: u32,
    /// The new value, 20 to 128 characters [default: generated]
    #[arg(long)]
    value: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A key's name or id.
#[derive(Debug, Args)]
pub(crate) struct NameArguments {
    /// Its id or name
    key: String,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write a tag as NAME=VALUE; an empty VALUE takes it away")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What API Gateway can do of a command.
#[cfg(feature = "deploy")]
fn on_aws_wanted(command: KeysCommand) -> anyhow::Result<super::on_aws::keys::Wanted> {
    use super::on_aws::keys::Wanted;
    Ok(match command {
        KeysCommand::Create(CreateArguments { name, value, no_usage_plan, about, json, .. }) => {
            let is_plain = about.expires.is_none() && about.source_ranges.is_empty() && about.tags.is_empty();
            if value.is_some() || no_usage_plan || !is_plain {
                anyhow::bail!(
                    "on AWS a key has a name and a --description only: its value is generated, it does not expire and counts from everywhere"
                );
            }
            Wanted::Create { name, description: about.description, json }
        }
        KeysCommand::List(ListArguments { json }) => Wanted::List { json },
        KeysCommand::Show(ShowArguments { key, value_only, json }) => Wanted::Show { key, value_only, json },
        KeysCommand::Enable(NameArguments { key }) => Wanted::Enable { key, enabled: true },
        KeysCommand::Disable(NameArguments { key }) => Wanted::Enable { key, enabled: false },
        KeysCommand::Delete(NameArguments { key }) => Wanted::Delete { key },
        KeysCommand::Rotate(_) => anyhow::bail!(
            "API Gateway's keys have one value: `keys create --aws` makes another, and when its holder has it, `keys disable --aws` ends the old"
        ),
        KeysCommand::Import(_) | KeysCommand::Update(_) => {
            anyhow::bail!("this is for the keys of a host; on AWS keys are made, listed, shown, enabled, disabled and deleted")
        }
    })
}

/// Does it.
pub(crate) fn run(arguments: KeysArguments, settings: &Settings) -> anyhow::Result<()> {
    #[cfg(feature = "deploy")]
    if let Some(place) = arguments.on_aws.place()? {
        return super::on_aws::keys::run(place, on_aws_wanted(arguments.command)?, settings);
    }
    let command = arguments.command;
    let client = ControlClient::new(settings)?;
    super::block_on(perform(command, client))
}

async fn perform(command: KeysCommand, client: ControlClient) -> anyhow::Result<()> {
    match command {
        KeysCommand::Create(arguments) => {
            let CreateArguments { name, value, usage_plan, no_usage_plan, about, json } = arguments;
            let AboutArguments { description, expires, source_ranges, tags } = about;
            let usage_plan = (!no_usage_plan).then_some(usage_plan);
            let tags = BTreeMap::from_iter(tags);
            let wanted = CreateKeyRequest { name, value, usage_plan, description, expires_at: expires, source_ranges, tags };
            print_value(&client.create_key(&wanted).await?, json)
        }
        KeysCommand::Import(ImportArguments { file, usage_plan, json }) => {
            let csv = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
            let imported = client.import_keys(&ImportKeysRequest { csv, usage_plan }).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&imported)?);
            } else {
                println!("{} keys imported from {}", imported.ids.len(), file.display());
            }
            Ok(())
        }
        KeysCommand::List(arguments) => {
            let list = client.list_keys().await?;
            match list.keys.is_empty() {
                _ if arguments.json => println!("{}", serde_json::to_string_pretty(&list)?),
                true => println!("There are no API keys; `frontdesk keys create NAME` makes one."),
                false => println!("{}", table(&list.keys)),
            }
            Ok(())
        }
        KeysCommand::Show(arguments) => {
            let shown = client.key_value(&arguments.key).await?;
            if arguments.value_only {
                println!("{}", shown.value);
                return Ok(());
            }
            print_value(&shown, arguments.json)
        }
        KeysCommand::Update(arguments) => {
            let UpdateArguments { key, name, about, never_expires, from_anywhere } = arguments;
            let AboutArguments { description, expires, source_ranges, tags } = about;
            let expires_at = if never_expires { Some(None) } else { expires.map(Some) };
            let source_ranges = (from_anywhere || !source_ranges.is_empty()).then_some(source_ranges);
            let tags = BTreeMap::from_iter(tags);
            let wanted = UpdateKeyRequest { name, description, enabled: None, expires_at, source_ranges, tags };
            if wanted == UpdateKeyRequest::default() {
                bail!("nothing to change: `frontdesk keys update --help` says what can be");
            }
            println!("{}", table(&[client.update_key(&key, &wanted).await?]));
            Ok(())
        }
        KeysCommand::Enable(NameArguments { key }) => set_enabled(&client, &key, true).await,
        KeysCommand::Disable(NameArguments { key }) => set_enabled(&client, &key, false).await,
        KeysCommand::Rotate(RotateArguments { key, overlap, value, json }) => {
            print_value(&client.rotate_key(&key, &RotateKeyRequest { overlap_s: overlap, value }).await?, json)
        }
        KeysCommand::Delete(NameArguments { key }) => {
            client.delete_key(&key).await?;
            println!("{key} is deleted.");
            Ok(())
        }
    }
}

async fn set_enabled(client: &ControlClient, key: &str, enabled: bool) -> anyhow::Result<()> {
    let wanted = UpdateKeyRequest { enabled: Some(enabled), ..UpdateKeyRequest::default() };
    println!("{}", table(&[client.update_key(key, &wanted).await?]));
    Ok(())
}

fn print_value(key: &KeyWithValue, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(key)?);
        return Ok(());
    }
    println!("API key  {}\nName     {}\nId       {}", key.value, key.name, key.id);
    match key.former_value_retires_at {
        Some(retires_at) if moments::has_passed(retires_at) => println!("No value before it works any more."),
        Some(retires_at) => println!("The value before it works until {}.", moments::shown(retires_at)),
        None => {}
    }
    Ok(())
}

/// Whether a key opens anything, and if not, why.
fn what_opens(key: &KeyDocument) -> &'static str {
    match key {
        key if !key.enabled => "no: disabled",
        key if key.expires_at.is_some_and(moments::has_passed) => "no: expired",
        key if key.usage_plans.is_empty() => "no: in no plan",
        _ => "yes",
    }
}

/// Keys as a table; a column that says nothing of any key is left out.
fn table(keys: &[KeyDocument]) -> Table {
    type Cell = fn(&KeyDocument) -> String;
    let columns: [(&str, Cell); 9] = [
        ("ID", |key| key.id.clone()),
        ("NAME", |key| key.name.clone()),
        ("VALUE", |key| format!("…{}", key.hint)),
        ("OPENS", |key| what_opens(key).to_owned()),
        ("USAGE PLAN", |key| if key.usage_plans.is_empty() { "none".to_owned() } else { key.usage_plans.join(", ") }),
        ("TODAY", |key| key.used_today.to_string()),
        ("EXPIRES", |key| key.expires_at.map(moments::shown).unwrap_or_default()),
        ("FROM", |key| key.source_ranges.join(", ")),
        ("FORMER VALUE UNTIL", |key| key.former_value_retires_at.map(moments::shown).unwrap_or_default()),
    ];
    let used = columns.iter().filter(|(name, cell)| *name == "NAME" || keys.is_empty() || keys.iter().any(|key| !cell(key).is_empty()));
    let columns: Vec<_> = used.collect();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(columns.iter().map(|(name, _)| *name));
    for key in keys {
        table.add_row(columns.iter().map(|(_, cell)| cell(key)));
    }
    table
}
