//! `frontdesk usage --aws`: who used how much, as API Gateway counts it.

use comfy_table::{CellAlignment, Table};
use frontdesk_deploy::running::{keys, usage};
use serde_json::json;

use super::AwsArguments;
use crate::settings::Settings;

/// Of which days and of whom.
pub(in crate::commands) struct Wanted {
    pub(in crate::commands) from: String,
    pub(in crate::commands) to: String,
    pub(in crate::commands) key: Option<String>,
    pub(in crate::commands) json: bool,
}

/// Asks and prints.
pub(in crate::commands) fn run(place: &AwsArguments, wanted: &Wanted, settings: &Settings) -> anyhow::Result<()> {
    crate::commands::block_on(async {
        let (aws, _, stack) = place.stack(settings).await?;
        let known = keys::list(&aws, &stack).await?;
        let only = match &wanted.key {
            Some(key) => Some(keys::find(&aws, &stack, key).await?.id),
            None => None,
        };
        let mut found = usage::of(&aws, &stack, &wanted.from, &wanted.to).await?;
        found.retain(|usage| only.as_ref().is_none_or(|id| *id == usage.key_id));
        let name = |id: &str| known.iter().find(|key| key.id == id).map_or_else(|| id.to_owned(), |key| key.name.clone());
        if wanted.json {
            let keys: Vec<_> =
                found.iter().map(|usage| json!({ "id": usage.key_id, "name": name(&usage.key_id), "days": usage.days })).collect();
            println!("{:#}", json!({ "from": wanted.from, "to": wanted.to, "keys": keys }));
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(["KEY", "USED", "LEFT"]);
        for usage in &found {
            let used: u64 = usage.days.iter().map(|(used, _)| used).sum();
            let left = usage.days.last().map_or(0, |(_, left)| *left);
            table.add_row([name(&usage.key_id), used.to_string(), left.to_string()]);
        }
        for column in 1..=2 {
            table.column_mut(column).expect("there are three columns").set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
        Ok(())
    })
}
