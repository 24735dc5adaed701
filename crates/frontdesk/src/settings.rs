//! Settings: `frontdesk.toml`, overridden by `FRONTDESK_*` variables, overridden by flags. Every default is the FAQ guide's or API Gateway's own value.
//!
//! [`SETTINGS`] is the one list: the variables, the documentation page and the completeness test come from it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use frontdesk_agent::ModelChoice;
use frontdesk_agent::retrieval::SearchKind;
#[cfg(feature = "host")]
use frontdesk_gateway::access_log::LogFormat;
#[cfg(feature = "host")]
use frontdesk_gateway::apis::edit;
#[cfg(feature = "host")]
use frontdesk_runtime::EgressRules;
#[cfg(feature = "host")]
use frontdesk_store::{FleetAddress, QuotaPeriod, SecretText};
#[cfg(feature = "host")]
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The file that is read from the working folder when no other is named.
pub(crate) const FILE_NAME: &str = "frontdesk.toml";

/// One setting: its place in the file, and what it is for. Its variable is `FRONTDESK_` and the place in capitals, dots as underscores.
pub(crate) struct Setting {
    pub(crate) path: &'static str,
    #[cfg_attr(not(feature = "host"), expect(dead_code, reason = "only a host prints the settings' page"))]
    pub(crate) help: &'static str,
}

/// All settings.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting { path: "data_dir", help: "Folder of the database, the keys and the logs." },
    Setting { path: "region", help: "The AWS region that the host plays." },
    Setting { path: "account_id", help: "The AWS account that the host plays: twelve digits." },
    Setting {
        path: "programs_dir",
        help: "Folder of what `launch` makes: copies of agents' files, their environments. By default `frontdesk` in the user's data folder (`~/.local/share`), \
               for root `/var/lib/frontdesk`.",
    },
    Setting { path: "seal_key_file", help: "File with the key that seals secrets; by default `seal-key` in the data folder." },
    Setting { path: "gateway.listen", help: "Address of the public gateway." },
    Setting { path: "gateway.stage", help: "Name of the stage: the first part of the endpoint's path." },
    Setting {
        path: "gateway.agent",
        help: "Name of the agent that answers at the endpoint, one that `frontdesk launch` brought to this host; by default the built-in FAQ agent.",
    },
    Setting { path: "gateway.body_bytes_max", help: "A longer request body is refused with 413." },
    Setting { path: "gateway.integration_timeout_ms", help: "An answer must come within this time, else 504; at most 29000, as on AWS." },
    Setting {
        path: "gateway.stream_timeout_ms",
        help: "An answer of `/stream` must begin within this time, else 504; at most 900000. In all it may take 15 minutes, with 5 between two pieces.",
    },
    Setting { path: "gateway.in_flight_max", help: "Requests worked on at once; one more is turned away with 503." },
    Setting { path: "gateway.connections_max", help: "Connections at once; more wait to be accepted." },
    Setting { path: "gateway.prompt_chars_max", help: "A longer prompt is refused with 400, in characters." },
    Setting {
        path: "gateway.connections_per_address_max",
        help: "Connections at once from one address (IPv6: one /64 network); one more is closed.",
    },
    Setting { path: "gateway.tls_certificate", help: "PEM file of the certificate chain; with it and the key the gateway speaks TLS." },
    Setting { path: "gateway.tls_key", help: "PEM file of the certificate's private key." },
    Setting { path: "gateway.rate_limit", help: "Requests a second of all keys together, as an AWS account has it." },
    Setting { path: "gateway.burst_limit", help: "Requests that all keys together may send at once." },
    Setting {
        path: "gateway.trusted_proxies",
        help: "Networks (CIDR, separated by commas) of proxies whose `X-Forwarded-For` is believed.",
    },
    Setting {
        path: "gateway.cache_ttl_s",
        help: "How long an answer of `/invoke` is given again for the same body, at most 3600; 0 caches nothing.",
    },
    Setting { path: "gateway.cache_scope", help: "Who shares a cached answer: `key` (calls with the same key) or `shared`." },
    Setting { path: "gateway.cache_bytes_max", help: "Memory for cached answers." },
    Setting {
        path: "access_log.path",
        help: "File of the access log; `-` is standard output, `off` none. By default `logs/access.log` in the data folder.",
    },
    Setting { path: "access_log.format", help: "`json`, `clf`, or a text with `$context` variables." },
    Setting { path: "logs.bytes_max", help: "What all log groups together may hold, in bytes; the oldest events go first." },
    Setting {
        path: "alarms.webhook",
        help: "URL that is told of alarms that change state: POST with the JSON that CloudWatch sends to SNS topics.",
    },
    Setting {
        path: "alarms.command",
        help: "Program that is told of them: a path, run without a shell, the JSON on its standard input, `ALARM_NAME`, `NEW_STATE` and `OLD_STATE` in its environment.",
    },
    Setting { path: "alarms.timeout_ms", help: "How long webhook and command may take each time; after a failure it is tried twice more." },
    Setting { path: "keys.keep_values", help: "Whether a key's value is kept, encrypted, so that it can be shown again." },
    Setting { path: "control.metrics", help: "Whether `/metrics` answers at the control face, without a signature." },
    Setting {
        path: "control.foreign_hosts",
        help: "What the intercepting proxy does with hosts that are not of `amazonaws.com`: `tunnel` carries their bytes unread, `refuse` lets nothing out.",
    },
    Setting { path: "control.listen", help: "Address of the control face (AWS APIs and the command line)." },
    Setting { path: "runtime.sessions_max", help: "Sessions with a process of their own at once, over all agents; more wait for a place." },
    Setting { path: "runtime.queue_max", help: "Calls that may wait for a session's place; one more is turned away with 429." },
    Setting { path: "runtime.queue_wait_ms", help: "How long such a call waits before it is turned away with 429." },
    Setting {
        path: "runtime.warm_processes",
        help: "Processes of an agent that are kept, between calls that name no session, for the next such call.",
    },
    Setting {
        path: "runtime.egress_allow",
        help: "Hosts that sessions with a network of their own may reach through the host's relay, separated by commas: `api.example.com`, `*.example.com`, `*`; \
               with `:PORT` for another than 443 and 80. Never this machine.",
    },
    Setting {
        path: "runtime.session_users_from",
        help: "Where the host is root, the first of 65536 user ids that sessions have for themselves; 0 means that they run as root without its capabilities.",
    },
    Setting { path: "usage_plan.rate_limit", help: "Requests a second for each key in the long run; 0 means unlimited." },
    Setting { path: "usage_plan.burst_limit", help: "Requests that one key may send at once." },
    Setting { path: "usage_plan.quota_limit", help: "Requests in a period for each key; 0 means unlimited." },
    Setting { path: "usage_plan.quota_period", help: "The period: `DAY`, `WEEK` (from Sunday) or `MONTH`; UTC." },
    Setting { path: "fleet.url", help: "`postgres://` URL of the database that the hosts of a fleet share; without it the host is alone." },
    Setting {
        path: "fleet.on_outage",
        help: "While that database is away: `open` counts on against the whole quota, `closed` uses up what was leased and then answers 503.",
    },
    Setting { path: "agent.faq", help: "The FAQ: CSV with the header `question,answer`, JSON Lines, Markdown, or a folder of them." },
    Setting { path: "agent.company", help: "Whom the agent speaks for: a name, and after a comma what it is." },
    Setting { path: "agent.system_prompt", help: "The whole system prompt, instead of the built-in one." },
    Setting { path: "agent.model", help: "`auto`, `extractive`, or `PROVIDER:NAME` such as `groq:openai/gpt-oss-20b`." },
    Setting { path: "agent.base_url", help: "Base URL of an OpenAI-compatible endpoint, up to and with `/v1`." },
    Setting { path: "agent.api_key_variable", help: "Name of the environment variable that holds the provider's key." },
    Setting {
        path: "agent.api_key_secret",
        help: "ARN of a secret in AWS Secrets Manager that holds the provider's key, fetched at the start; in builds with the Cargo feature `aws`.",
    },
    Setting { path: "agent.search", help: "`vector`, `keyword`, or `hybrid`; `keyword` where the embedding model is missing." },
    Setting { path: "agent.model_dir", help: "Folder of the embedding model's files." },
    Setting { path: "agent.cache_dir", help: "Folder of cached embeddings; by default `cache` in the data folder." },
    Setting { path: "agent.embedding_threads", help: "Threads that embed questions." },
    Setting {
        path: "agent.embedding_wait_ms",
        help: "How long a start waits for an FAQ to be embedded; then it is searched by keywords until that is done.",
    },
    Setting { path: "agent.steps_max", help: "Steps that one call's graph may take." },
    Setting { path: "deploy.stack_name", help: "Name of the stack on AWS; whatever is in it is named after it." },
    Setting { path: "deploy.region", help: "The region to deploy to; by default the one that AWS's own tools would take." },
    Setting {
        path: "deploy.model",
        help: "The agent's model on AWS, such as `bedrock:ID`, called by the agent's role; by default `agent.model`.",
    },
    Setting {
        path: "deploy.model_key_secret_arn",
        help: "A secret of yours that holds the provider's key; by default `deploy` makes one from the environment's.",
    },
    Setting { path: "deploy.function_memory_mb", help: "Memory of the Lambda functions; their share of a processor follows from it." },
    Setting {
        path: "deploy.function_timeout_s",
        help: "Timeout of the function behind `/invoke`; by default a second less than `gateway.integration_timeout_ms`, and never more.",
    },
    Setting { path: "deploy.stream_timeout_s", help: "Timeout of the function behind `/stream`, at most 900." },
    Setting { path: "deploy.idle_session_s", help: "How long a session of the agent stays without a call, from 60." },
    Setting { path: "deploy.session_s_max", help: "How long a session of the agent stays at most." },
    Setting { path: "deploy.log_retention_days", help: "How long CloudWatch keeps logs; one of the times it knows, such as 30 or 365." },
    Setting { path: "deploy.error_percent_max", help: "Alarm when more than this share of answers are server errors, for ten minutes." },
    Setting { path: "deploy.throttled_per_minute_max", help: "Alarm when more requests than this are answered with 429 in a minute." },
    Setting { path: "deploy.alarm_address", help: "E-mail address that alarms are sent to; without one they only show in the console." },
];

/// Variables with the prefix that are no settings.
const OTHER_VARIABLES: [&str; 7] = [
    "FRONTDESK_API_KEY",
    "FRONTDESK_EVAL_DATA",
    "FRONTDESK_GUIDE",
    "FRONTDESK_LOG",
    "FRONTDESK_MODEL_DIR",
    "FRONTDESK_SEAL_KEY",
    "FRONTDESK_TEST_UPDATE",
];

/// The settings as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) programs_dir: Option<PathBuf>,
    pub(crate) seal_key_file: Option<PathBuf>,
    pub(crate) gateway: GatewaySettings,
    pub(crate) access_log: AccessLogSettings,
    pub(crate) logs: LogSettings,
    pub(crate) alarms: AlarmSettings,
    pub(crate) keys: KeySettings,
    pub(crate) control: ControlSettings,
    pub(crate) runtime: RuntimeHostSettings,
    pub(crate) usage_plan: UsagePlanSettings,
    pub(crate) fleet: FleetSettings,
    pub(crate) agent: HostedAgentSettings,
    pub(crate) deploy: DeploySettings,
}

/// The public face. (A build without a host reads its settings, so that one file serves both, and uses none.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "host"), derive(Default))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GatewaySettings {
    pub(crate) listen: String,
    pub(crate) stage: String,
    pub(crate) body_bytes_max: u64,
    pub(crate) agent: Option<String>,
    pub(crate) integration_timeout_ms: u64,
    pub(crate) stream_timeout_ms: u64,
    pub(crate) in_flight_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_address_max: usize,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) prompt_chars_max: usize,
    pub(crate) rate_limit: f64,
    pub(crate) burst_limit: u32,
    pub(crate) trusted_proxies: String,
    pub(crate) cache_ttl_s: u64,
    pub(crate) cache_scope: CacheScopeSetting,
    pub(crate) cache_bytes_max: u64,
}

/// Who shares a cached answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheScopeSetting {
    #[default]
    Key,
    Shared,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccessLogSettings {
    pub(crate) path: Option<PathBuf>,
    pub(crate) format: String,
}

/// The log groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSettings {
    pub(crate) bytes_max: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { bytes_max: 2 * 1024 * 1024 * 1024 }
    }
}

/// Who is told of alarms that change state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AlarmSettings {
    pub(crate) webhook: Option<String>,
    pub(crate) command: Option<PathBuf>,
    pub(crate) timeout_ms: u64,
}

impl Default for AlarmSettings {
    fn default() -> Self {
        AlarmSettings { webhook: None, command: None, timeout_ms: 5000 }
    }
}

/// The API keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeySettings {
    pub(crate) keep_values: bool,
}

/// The control face.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ControlSettings {
    pub(crate) listen: String,
    pub(crate) foreign_hosts: ForeignHostsSetting,
    pub(crate) metrics: bool,
}

/// What becomes of tunnels to hosts that are not AWS's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ForeignHostsSetting {
    #[default]
    Tunnel,
    Refuse,
}

/// The fleet that the host is one of.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FleetSettings {
    /// Holds a password.
    pub(crate) url: Option<String>,
    pub(crate) on_outage: OnOutageSetting,
}

impl std::fmt::Debug for FleetSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.as_ref().map(|_| "…");
        formatter.debug_struct("FleetSettings").field("url", &url).field("on_outage", &self.on_outage).finish()
    }
}

/// What becomes of quotas while the fleet's database is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnOutageSetting {
    Open,
    Closed,
}

/// The agents' host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "host"), derive(Default))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RuntimeHostSettings {
    pub(crate) sessions_max: usize,
    pub(crate) queue_max: usize,
    pub(crate) queue_wait_ms: u64,
    pub(crate) warm_processes: usize,
    pub(crate) egress_allow: String,
    pub(crate) session_users_from: u32,
}

/// A quota's period, by API Gateway's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum QuotaPeriodSetting {
    Day,
    Week,
    Month,
}

#[cfg(feature = "host")]
impl From<QuotaPeriodSetting> for QuotaPeriod {
    fn from(setting: QuotaPeriodSetting) -> Self {
        match setting {
            QuotaPeriodSetting::Day => QuotaPeriod::Day,
            QuotaPeriodSetting::Week => QuotaPeriod::Week,
            QuotaPeriodSetting::Month => QuotaPeriod::Month,
        }
    }
}

/// The plan that every key made here belongs to, unless another is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UsagePlanSettings {
    pub(crate) rate_limit: f64,
    pub(crate) burst_limit: u32,
    pub(crate) quota_limit: u64,
    pub(crate) quota_period: QuotaPeriodSetting,
}

/// The built-in FAQ agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HostedAgentSettings {
    pub(crate) faq: PathBuf,
    pub(crate) company: String,
    pub(crate) system_prompt: Option<String>,
    pub(crate) model: ModelChoice,
    pub(crate) base_url: Option<String>,
    pub(crate) api_key_variable: Option<String>,
    pub(crate) api_key_secret: Option<String>,
    pub(crate) search: SearchKind,
    pub(crate) model_dir: PathBuf,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) embedding_threads: usize,
    pub(crate) embedding_wait_ms: u64,
    pub(crate) steps_max: usize,
}

/// The same agent on AWS. What is not here is taken from the other sections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeploySettings {
    pub(crate) stack_name: String,
    pub(crate) region: Option<String>,
    pub(crate) model: Option<ModelChoice>,
    pub(crate) model_key_secret_arn: Option<String>,
    pub(crate) function_memory_mb: u32,
    pub(crate) function_timeout_s: Option<u64>,
    pub(crate) stream_timeout_s: u64,
    pub(crate) idle_session_s: u64,
    pub(crate) session_s_max: u64,
    pub(crate) log_retention_days: u32,
    pub(crate) error_percent_max: f64,
    pub(crate) throttled_per_minute_max: u32,
    pub(crate) alarm_address: Option<String>,
}

impl Default for DeploySettings {
    fn default() -> Self {
        DeploySettings {
            stack_name: "frontdesk".to_owned(),
            region: None,
            model: None,
            model_key_secret_arn: None,
            function_memory_mb: 256,
            function_timeout_s: None,
            stream_timeout_s: 120,
            // AgentCore's own defaults.
            idle_session_s: 900,
            session_s_max: 28_800,
            log_retention_days: 30,
            error_percent_max: 5.0,
            throttled_per_minute_max: 100,
            alarm_address: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            data_dir: PathBuf::from(".frontdesk"),
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            programs_dir: None,
            seal_key_file: None,
            gateway: GatewaySettings::default(),
            access_log: AccessLogSettings::default(),
            logs: LogSettings::default(),
            alarms: AlarmSettings::default(),
            keys: KeySettings::default(),
            control: ControlSettings::default(),
            runtime: RuntimeHostSettings::default(),
            usage_plan: UsagePlanSettings::default(),
            fleet: FleetSettings::default(),
            agent: HostedAgentSettings::default(),
            deploy: DeploySettings::default(),
        }
    }
}

#[cfg(feature = "host")]
impl Default for GatewaySettings {
    fn default() -> Self {
        let limits = frontdesk_gateway::GatewayLimits::default();
        let listener = frontdesk_gateway::ListenerLimits::default();
        GatewaySettings {
            listen: "127.0.0.1:8000".to_owned(),
            stage: "prod".to_owned(),
            body_bytes_max: limits.body_bytes_max,
            agent: None,
            integration_timeout_ms: u64::try_from(limits.integration_timeout.as_millis()).unwrap_or(u64::MAX),
            stream_timeout_ms: *edit::TIMEOUT_MS.end(),
            in_flight_max: limits.in_flight_max,
            connections_max: listener.connections_max,
            connections_per_address_max: listener.connections_per_address_max,
            tls_certificate: None,
            tls_key: None,
            prompt_chars_max: frontdesk_proxy::PROMPT_CHARS_MAX,
            rate_limit: limits.throttle.rate_limit,
            burst_limit: limits.throttle.burst_limit,
            trusted_proxies: String::new(),
            cache_ttl_s: 0,
            cache_scope: CacheScopeSetting::default(),
            cache_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        AccessLogSettings { path: None, format: "json".to_owned() }
    }
}

impl Default for KeySettings {
    fn default() -> Self {
        KeySettings { keep_values: true }
    }
}

impl Default for ControlSettings {
    fn default() -> Self {
        ControlSettings { listen: "127.0.0.1:4566".to_owned(), foreign_hosts: ForeignHostsSetting::default(), metrics: true }
    }
}

#[cfg(feature = "host")]
impl Default for RuntimeHostSettings {
    fn default() -> Self {
        let limits = frontdesk_runtime::SessionLimits::default();
        RuntimeHostSettings {
            sessions_max: limits.sessions_max,
            queue_max: limits.queue_max,
            queue_wait_ms: u64::try_from(limits.queue_wait.as_millis()).unwrap_or(u64::MAX),
            warm_processes: limits.warm_processes,
            egress_allow: String::new(),
            // Beyond what systemd gives to containers, and below what a signed number cannot hold
            // (https://systemd.io/UIDS-GIDS/).
            session_users_from: 1_900_000_000,
        }
    }
}

impl Default for UsagePlanSettings {
    fn default() -> Self {
        UsagePlanSettings { rate_limit: 50.0, burst_limit: 100, quota_limit: 10_000, quota_period: QuotaPeriodSetting::Day }
    }
}

impl Default for FleetSettings {
    fn default() -> Self {
        // A quota protects a bill, an outage of the door costs the business: as API Gateway, the door stays open when its counters fail.
        FleetSettings { url: None, on_outage: OnOutageSetting::Open }
    }
}

impl Default for HostedAgentSettings {
    fn default() -> Self {
        let agent = frontdesk_agent::AgentSettings::default();
        HostedAgentSettings {
            faq: agent.faq,
            company: agent.company,
            system_prompt: agent.system_prompt,
            model: agent.model,
            base_url: agent.base_url,
            api_key_variable: agent.api_key_variable,
            api_key_secret: None,
            search: agent.search,
            model_dir: agent.model_dir,
            cache_dir: agent.cache_dir,
            embedding_threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)),
            embedding_wait_ms: agent.embedding_wait_ms,
            steps_max: agent.steps_max,
        }
    }
}

/// An override from a flag: a setting's path and its value, as the file would have it.
pub(crate) type Override = (&'static str, toml::Value);

/// Reads the settings: the file (`file`, or `frontdesk.toml` if there is one), then the variables, then the flags.
///
/// # Errors
/// Names the file, the variable or the flag, and what is wrong with it.
pub(crate) fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
    flags: Vec<Override>,
) -> anyhow::Result<Settings> {
    let mut table = read_file(file)?;
    for (name, value) in variables.into_iter().filter(|(name, _)| name.starts_with("FRONTDESK_")) {
        if OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|setting| variable_of(setting.path) == name) else {
            bail!("the variable {name} names no setting (docs/settings.md lists them)");
        };
        put_text(&mut table, setting.path, &value).with_context(|| format!("the variable {name} has a value that does not fit"))?;
    }
    for (path, value) in flags {
        put(&mut table, path, value);
    }
    let settings = settings_of(table)?;
    check_agent(&settings.agent)?;
    #[cfg(feature = "host")]
    check(&settings)?;
    Ok(settings)
}

fn read_file(file: Option<&Path>) -> anyhow::Result<toml::Table> {
    let path = file.unwrap_or(Path::new(FILE_NAME));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => return Ok(toml::Table::new()),
        Err(error) => return Err(error).with_context(|| format!("failed to read the settings file {}", path.display())),
    };
    // Read as settings first: only the text knows the line of a mistake.
    toml::from_str::<Settings>(&text).with_context(|| format!("the settings file {} has a mistake", path.display()))?;
    toml::from_str(&text).with_context(|| format!("the settings file {} has a mistake", path.display()))
}

fn settings_of(table: toml::Table) -> anyhow::Result<Settings> {
    Ok(toml::Value::Table(table).try_into()?)
}

#[cfg(feature = "host")]
fn check(settings: &Settings) -> anyhow::Result<()> {
    let Settings { account_id, gateway, access_log, runtime, usage_plan, .. } = settings;
    if account_id.len() != 12 || !account_id.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!("account_id is {account_id:?}; it must be twelve digits");
    }
    if !matches!(runtime.session_users_from, 0 | 1000..=SESSION_USERS_FROM_MAX) {
        bail!("runtime.session_users_from is {}; it must be 0 or between 1000 and {SESSION_USERS_FROM_MAX}", runtime.session_users_from);
    }
    EgressRules::parse(&runtime.egress_allow).context("runtime.egress_allow")?;
    let stage_is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if gateway.stage.is_empty() || !gateway.stage.bytes().all(stage_is_fit) {
        bail!("gateway.stage is {:?}; it may hold letters, digits, _ and - only", gateway.stage);
    }
    if let Some(agent) = &gateway.agent {
        crate::project::name::check(agent).context("gateway.agent")?;
    }
    if !(50..=29_000).contains(&gateway.integration_timeout_ms) {
        bail!("gateway.integration_timeout_ms is {}; it must be between 50 and 29000", gateway.integration_timeout_ms);
    }
    if !edit::STREAM_TIMEOUT_MS.contains(&gateway.stream_timeout_ms) {
        bail!(
            "gateway.stream_timeout_ms is {}; it must be between {} and {}",
            gateway.stream_timeout_ms,
            edit::STREAM_TIMEOUT_MS.start(),
            edit::STREAM_TIMEOUT_MS.end()
        );
    }
    if !usage_plan.rate_limit.is_finite() || usage_plan.rate_limit < 0.0 {
        bail!("usage_plan.rate_limit is {}; it must be 0 (unlimited) or more", usage_plan.rate_limit);
    }
    if !gateway.rate_limit.is_finite() || gateway.rate_limit <= 0.0 {
        bail!("gateway.rate_limit is {}; it must be more than 0", gateway.rate_limit);
    }
    if gateway.cache_ttl_s > CACHE_TTL_S_MAX {
        bail!("gateway.cache_ttl_s is {}; it must be at most {CACHE_TTL_S_MAX}", gateway.cache_ttl_s);
    }
    gateway.trusted_networks()?;
    if let Some(url) = &settings.fleet.url {
        FleetAddress::parse(&SecretText::new(url.clone()))?;
    }
    if gateway.tls_certificate.is_some() != gateway.tls_key.is_some() {
        bail!("gateway.tls_certificate and gateway.tls_key belong together: set both, or neither");
    }
    LogFormat::parse(&access_log.format).context("access_log.format")?;
    if let Some(webhook) = &settings.alarms.webhook {
        crate::alarm_teller::webhook_of(webhook)?;
    }
    if settings.alarms.timeout_ms == 0 {
        bail!("alarms.timeout_ms is 0; it must be at least 1");
    }
    check_at_least_one(&[
        ("gateway.in_flight_max", gateway.in_flight_max),
        ("runtime.sessions_max", runtime.sessions_max),
        ("gateway.connections_max", gateway.connections_max),
        ("gateway.connections_per_address_max", gateway.connections_per_address_max),
    ])
}

fn check_agent(agent: &HostedAgentSettings) -> anyhow::Result<()> {
    if agent.embedding_wait_ms > EMBEDDING_WAIT_MS_MAX {
        bail!("agent.embedding_wait_ms is {}; it must be at most {EMBEDDING_WAIT_MS_MAX}", agent.embedding_wait_ms);
    }
    check_at_least_one(&[("agent.embedding_threads", agent.embedding_threads), ("agent.steps_max", agent.steps_max)])
}

fn check_at_least_one(values: &[(&str, usize)]) -> anyhow::Result<()> {
    match values.iter().find(|(_, value)| *value == 0) {
        Some((name, _)) => bail!("{name} is 0; it must be at least 1"),
        None => Ok(()),
    }
}

/// The last user id is "nobody known", and some programs read user ids as signed numbers.
#[cfg(feature = "host")]
const SESSION_USERS_FROM_MAX: u32 = i32::MAX.cast_unsigned() - frontdesk_runtime::SESSION_USERS;

/// A host gives an agent two minutes to start, of which some are for reading the FAQ.
const EMBEDDING_WAIT_MS_MAX: u64 = 100_000;

/// API Gateway's bound on how long an answer is cached.
#[cfg(feature = "host")]
const CACHE_TTL_S_MAX: u64 = 3600;

#[cfg(feature = "host")]
impl Settings {
    /// Where [`Settings::programs_dir`] is. It lies outside the data folder, which no agent may see, and for root outside its home, which no other user may enter.
    ///
    /// # Errors
    /// Where there is no home and nothing is set.
    pub(crate) fn programs_folder(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.programs_dir {
            return Ok(folder.clone());
        }
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(data_home) = variable("XDG_DATA_HOME") {
            return Ok(data_home.join("frontdesk"));
        }
        if nix::unistd::Uid::effective().is_root() {
            return Ok(PathBuf::from("/var/lib/frontdesk"));
        }
        let home = variable("HOME").context("HOME is not set: name a folder for agents' programs with the setting programs_dir")?;
        Ok(home.join(".local/share/frontdesk"))
    }
}

#[cfg(feature = "host")]
impl GatewaySettings {
    /// The networks of [`GatewaySettings::trusted_proxies`].
    ///
    /// # Errors
    /// Names what is no network.
    pub(crate) fn trusted_networks(&self) -> anyhow::Result<Vec<IpNet>> {
        let networks = self.trusted_proxies.split(',').map(str::trim).filter(|network| !network.is_empty());
        let parse = |network: &str| {
            network
                .parse()
                .with_context(|| format!("gateway.trusted_proxies: `{network}` is no network in CIDR notation, such as 10.0.0.0/8"))
        };
        networks.map(parse).collect()
    }
}

/// The agent's settings as variables: what a child process needs to be the same agent.
#[cfg(feature = "host")]
pub(crate) fn agent_variables(agent: &HostedAgentSettings) -> anyhow::Result<Vec<(String, String)>> {
    let table = toml::Table::try_from(agent)?;
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => text,
        number => number.to_string(),
    };
    Ok(table.into_iter().map(|(name, value)| (variable_of(&format!("agent.{name}")), text(value))).collect())
}

/// The variable of a setting: `gateway.listen` is `FRONTDESK_GATEWAY_LISTEN`.
pub(crate) fn variable_of(path: &str) -> String {
    format!("FRONTDESK_{}", path.replace('.', "_").to_uppercase())
}

/// Puts a variable's text where the file would have a text, a number or a truth, whichever the setting takes.
fn put_text(table: &mut toml::Table, path: &str, text: &str) -> anyhow::Result<()> {
    let integer = text.parse().map(toml::Value::Integer).ok();
    let float = text.parse().map(toml::Value::Float).ok();
    let boolean = text.parse().map(toml::Value::Boolean).ok();
    for value in [integer, float, boolean].into_iter().flatten() {
        put(table, path, value);
        if settings_of(table.clone()).is_ok() {
            return Ok(());
        }
    }
    put(table, path, toml::Value::from(text));
    settings_of(table.clone()).map(drop)
}

fn put(table: &mut toml::Table, path: &str, value: toml::Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table.entry(head).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_variables(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(None, owned, Vec::new())
    }

    fn check_refused(variables: &[(&str, &str)], expected: &str) {
        let error = format!("{:#}", from_variables(variables).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_variable_overrides_and_a_flag_overrides_that() {
        let variables = [
            ("FRONTDESK_GATEWAY_LISTEN", "127.0.0.1:1"),
            ("FRONTDESK_USAGE_PLAN_RATE_LIMIT", "7.5"),
            ("FRONTDESK_USAGE_PLAN_BURST_LIMIT", "7"),
            ("FRONTDESK_ACCOUNT_ID", "012345678901"),
        ];
        let settings = from_variables(&variables).unwrap();
        assert_eq!((settings.gateway.listen.as_str(), settings.account_id.as_str()), ("127.0.0.1:1", "012345678901"));
        assert_eq!((settings.usage_plan.rate_limit, settings.usage_plan.burst_limit), (7.5, 7));
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let flag = ("gateway.listen", toml::Value::from("127.0.0.1:2"));
        assert_eq!(load(None, owned, vec![flag]).unwrap().gateway.listen, "127.0.0.1:2");
    }

    #[test]
    fn a_mistake_is_named() {
        check_refused(&[("FRONTDESK_GATEWAY_LISTN", "x")], "FRONTDESK_GATEWAY_LISTN names no setting");
        check_refused(&[("FRONTDESK_USAGE_PLAN_BURST_LIMIT", "many")], "FRONTDESK_USAGE_PLAN_BURST_LIMIT");
        check_refused(&[("FRONTDESK_ACCOUNT_ID", "12")], "account_id");
        check_refused(&[("FRONTDESK_GATEWAY_STAGE", "a/b")], "gateway.stage");
        check_refused(&[("FRONTDESK_GATEWAY_AGENT", "my-agent")], "gateway.agent");
        check_refused(&[("FRONTDESK_GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8, here")], "`here` is no network");
        check_refused(&[("FRONTDESK_GATEWAY_CACHE_TTL_S", "3601")], "at most 3600");
        check_refused(&[("FRONTDESK_ACCESS_LOG_FORMAT", "$context.password")], "$context.password");
        check_refused(&[("FRONTDESK_RUNTIME_EGRESS_ALLOW", "api.example.com, https://x")], "`https://x` names no host");
        check_refused(&[("FRONTDESK_KEYS_KEEP_VALUES", "perhaps")], "FRONTDESK_KEYS_KEEP_VALUES");
        check_refused(&[("FRONTDESK_FLEET_URL", "mysql://db.example")], "it is no postgres:// URL");
        check_refused(&[("FRONTDESK_ALARMS_WEBHOOK", "ftp://example.com")], "alarms.webhook is no http");
        check_refused(&[("FRONTDESK_ALARMS_TIMEOUT_MS", "0")], "alarms.timeout_ms is 0");
        check_refused(&[("FRONTDESK_FLEET_ON_OUTAGE", "ajar")], "FRONTDESK_FLEET_ON_OUTAGE");
        check_refused(&[("FRONTDESK_USAGE_PLAN_QUOTA_PERIOD", "YEAR")], "FRONTDESK_USAGE_PLAN_QUOTA_PERIOD");
        check_refused(&[("FRONTDESK_GATEWAY_INTEGRATION_TIMEOUT_MS", "30000")], "between 50 and 29000");
        check_refused(&[("FRONTDESK_GATEWAY_STREAM_TIMEOUT_MS", "900001")], "between 50 and 900000");
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.toml");
        std::fs::write(&file, "region = \"eu-west-1\"\n[gateway]\nlisten_on = \"x\"\n").unwrap();
        let error = format!("{:#}", load(Some(&file), [], Vec::new()).unwrap_err());
        assert!(error.contains("listen_on") && error.contains("line 3"), "{error}");
        let error = format!("{:#}", load(Some(Path::new("/nowhere/f.toml")), [], Vec::new()).unwrap_err());
        assert!(error.contains("/nowhere/f.toml"), "{error}");
    }

    /// The list of settings and the settings themselves name the same things.
    #[test]
    fn the_list_is_complete() {
        fn leaves(table: &toml::Table, prefix: &str, found: &mut Vec<String>) {
            for (name, value) in table {
                match value {
                    toml::Value::Table(inner) => leaves(inner, &format!("{prefix}{name}."), found),
                    _ => found.push(format!("{prefix}{name}")),
                }
            }
        }
        let mut settings = Settings::default();
        let path = Some(PathBuf::from("x"));
        (settings.gateway.tls_certificate, settings.gateway.tls_key) = (path.clone(), path.clone());
        (settings.seal_key_file, settings.programs_dir, settings.alarms.command) = (path.clone(), path.clone(), path.clone());
        (settings.agent.cache_dir, settings.access_log.path) = (path.clone(), path);
        let some = Some("x".to_owned());
        (settings.agent.system_prompt, settings.agent.base_url, settings.agent.api_key_variable) =
            (some.clone(), some.clone(), some.clone());
        (settings.fleet.url, settings.gateway.agent, settings.agent.api_key_secret) = (some.clone(), some.clone(), some.clone());
        (settings.alarms.webhook, settings.deploy.model) = (some.clone(), Some(ModelChoice::Extractive));
        settings.deploy.function_timeout_s = Some(1);
        (settings.deploy.region, settings.deploy.model_key_secret_arn, settings.deploy.alarm_address) = (some.clone(), some.clone(), some);
        let mut found = Vec::new();
        leaves(&toml::Table::try_from(settings).unwrap(), "", &mut found);
        let mut listed: Vec<_> = SETTINGS.iter().map(|setting| setting.path.to_owned()).collect();
        found.sort();
        listed.sort();
        assert_eq!(found, listed);
    }
}
