//! `frontdesk keys … --aws`: the stack's API keys in API Gateway.

use comfy_table::Table;
use frontdesk_deploy::running::keys::{self, KeyWithValue};
use serde_json::json;

use super::AwsArguments;
use crate::settings::Settings;

/// What API Gateway can do with keys.
pub(in crate::commands) enum Wanted {
    Create { name: String, description: Option<String>, json: bool },
    List { json: bool },
    Show { key: String, value_only: bool, json: bool },
    Enable { key: String, enabled: bool },
    Delete { key: String },
}

/// Does it.
pub(in crate::commands) fn run(place: &AwsArguments, wanted: Wanted, settings: &Settings) -> anyhow::Result<()> {
    crate::commands::block_on(async {
        let (aws, _, stack) = place.stack(settings).await?;
        match wanted {
            Wanted::Create { name, description, json } => print(&keys::create(&aws, &stack, &name, description.as_deref()).await?, json),
            Wanted::List { json: true } => {
                let keys = keys::list(&aws, &stack).await?;
                let keys: Vec<_> = keys.iter().map(|key| json!({ "id": key.id, "name": key.name, "enabled": key.enabled })).collect();
                println!("{:#}", json!(keys));
            }
            Wanted::List { json: false } => {
                let mut table = Table::new();
                table.load_style(comfy_table::presets::NOTHING).set_header(["ID", "NAME", "ENABLED"]);
                for key in keys::list(&aws, &stack).await? {
                    table.add_row([key.id.as_str(), &key.name, if key.enabled { "yes" } else { "no" }]);
                }
                println!("{table}");
            }
            Wanted::Show { key, value_only, json } => {
                let found = keys::with_value(&aws, &keys::find(&aws, &stack, &key).await?.id).await?;
                if value_only {
                    println!("{}", found.value);
                } else {
                    print(&found, json);
                }
            }
            Wanted::Enable { key, enabled } => {
                let found = keys::find(&aws, &stack, &key).await?;
                keys::enable(&aws, &found.id, enabled).await?;
                println!(
                    "{} is {}; API Gateway takes some seconds to act on it.",
                    found.name,
                    if enabled { "enabled" } else { "disabled" }
                );
            }
            Wanted::Delete { key } => {
                let found = keys::find(&aws, &stack, &key).await?;
                if !found.is_beside {
                    anyhow::bail!("{} is part of the stack, and goes with it: `keys disable --aws` stops it", found.name);
                }
                keys::delete(&aws, &found.id).await?;
                println!("{} is deleted.", found.name);
            }
        }
        Ok(())
    })
}

fn print(key: &KeyWithValue, json: bool) {
    if json {
        println!("{:#}", json!({ "id": key.id, "name": key.name, "value": key.value }));
    } else {
        println!("{}  {}  {}", key.id, key.name, key.value);
    }
}
