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
    page.push_str(TIMEOUTS);
    page
}

/// Why the timeouts are as they are.
const TIMEOUTS: &str = "
## How the timeouts fit together

Each hop answers before the one in front of it gives up, so that a caller is told what happened and not only that time ran out. On one machine: 29 s at the
gateway (`gateway.integration_timeout_ms`), 28 s in the proxy, 27 s in the agent. On AWS a cold start is added, which API Gateway counts and Lambda's timeout
does not; it gets a second of its own:

| hop | waits | from |
|---|---|---|
| API Gateway, `/invoke` | 29 s | `gateway.integration_timeout_ms`; more than 29000 only after AWS has raised the account's quota |
| Lambda function | 28 s | `deploy.function_timeout_s`, at least a second less |
| proxy in it | 27 s | a second before Lambda would end it |
| agent | 26 s | told by the proxy with each call |

`frontdesk deploy` refuses a `deploy.function_timeout_s` that is longer: a function of 60 s behind a gateway of 29 s works, and is paid for, after its caller has
been sent away with 504. `/stream` has a function of its own, with `deploy.stream_timeout_s` (at most 900) for the whole stream.
";
