//! The reference page of all settings, made from their one list.

use crate::settings::{SETTINGS, Settings, variable_of};

/// The page, as Markdown.
pub(crate) fn page() -> String {
    let defaults = toml::Value::try_from(Settings::default()).expect("the default settings can be written as TOML");
    let mut page = String::from(
        "# Settings\n\n\
         A setting comes from `frontdesk.toml` (or the file named by `--config`), is overridden by its variable, and that by its flag.\n\
         This page is printed by `frontdesk settings-reference`.\n\n\
         | setting | variable | default | what it is |\n|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let default = match setting.path {
            // These depend on the machine.
            "agent.model_dir" => "`~/.cache/frontdesk/models/all-MiniLM-L6-v2`".to_owned(),
            "agent.embedding_threads" => "the machine's cores, at most 4".to_owned(),
            path => {
                let found = path.split('.').try_fold(&defaults, |value, name| value.get(name));
                found.map(|value| format!("`{value}`")).unwrap_or_default()
            }
        };
        page.push_str(&format!("| `{}` | `{}` | {default} | {} |\n", setting.path, variable_of(setting.path), setting.help));
    }
    page
}
