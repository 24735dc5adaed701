//! What a stack is made from. The executable fills it from `frontdesk.toml`; nothing here reads a file or the environment.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::Timeouts;

/// How long CloudWatch may keep logs, in days. Source: `RetentionInDays` of `AWS::Logs::LogGroup`.
const RETENTION_DAYS: [u32; 23] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653, 4000];
/// CloudFormation allows 128; an agent runtime's name, which is made from the stack's, 48, and its roles' names take some of 64.
const STACK_NAME_CHARACTERS_MAX: usize = 40;
/// AgentCore's bound on the list of headers that are handed on.
const HEADERS_MAX: usize = 20;
/// AgentCore's bound on a variable's value.
const VARIABLE_CHARACTERS_MAX: usize = 2048;
/// Lambda's bounds on a function's memory, in MB.
const MEMORY_MB: std::ops::RangeInclusive<u32> = 128..=10_240;

/// A stack's name: lower-case letters, digits and single hyphens, beginning with a letter. Everything in the stack is named after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackName(String);

impl StackName {
    /// A name.
    ///
    /// # Errors
    /// [`SettingsError::StackName`].
    pub fn new(name: &str) -> Result<StackName, SettingsError> {
        let is_letter = |byte: u8| byte.is_ascii_lowercase();
        let is_fit = name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'-')
            && name.bytes().next().is_some_and(is_letter)
            && !name.contains("--")
            && !name.ends_with('-')
            && name.len() <= STACK_NAME_CHARACTERS_MAX;
        if is_fit { Ok(StackName(name.to_owned())) } else { Err(SettingsError::StackName(name.to_owned())) }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made from it, such as `frontdesk-proxy`.
    #[must_use]
    pub fn with(&self, part: &str) -> String {
        format!("{}-{part}", self.0)
    }

    /// The agent runtime's name, which takes no hyphens.
    #[must_use]
    pub fn agent_name(&self) -> String {
        self.0.replace('-', "_")
    }

    /// The image repository of a part.
    #[must_use]
    pub fn repository(&self, part: &str) -> String {
        format!("{}/{part}", self.0)
    }

    /// The bucket of the agent's code. Buckets' names are the world's, and have at most 63 characters: what would tell account and region is a digest of both.
    #[must_use]
    pub fn code_bucket(&self, account_id: &str, region: &str) -> String {
        let digest = hex::encode(Sha256::digest(format!("{account_id}/{region}")));
        format!("{}-code-{}", self.0, &digest[..16])
    }

    /// The secret with the model provider's key.
    #[must_use]
    pub fn secret(&self) -> String {
        format!("{}/model-key", self.0)
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What AgentCore runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Artifact {
    /// A container image.
    Image {
        /// Its repository in the account's ECR, for which the agent's role gets permission.
        repository: String,
    },
    /// Code in S3, for a runtime of AgentCore's own. AgentCore fetches it with the rights of whoever deploys, so the agent's role gets none for it.
    Code {
        /// Such as `PYTHON_3_13`.
        runtime: String,
        /// The file that is run, with a program that runs it before it where there is one.
        entry_point: Vec<String>,
    },
}

/// The model that answers, as far as the stack must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// The built-in one, or one that asks for no key.
    Keyless,
    /// A model of Amazon Bedrock's, called with the agent's role.
    Bedrock {
        /// Bedrock's id of the model or of an inference profile.
        id: String,
    },
    /// A provider's model that needs a key from Secrets Manager.
    WithKey {
        /// The variable in which the agent looks for the key.
        key_variable: String,
    },
}

impl Model {
    /// Whether there is a secret.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        matches!(self, Model::WithKey { .. })
    }
}

/// What a caller may send in a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Requests a second in the long run; 0 for no limit.
    pub rate_limit: f64,
    /// Requests at once.
    pub burst_limit: u32,
}

/// What a key may send in a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaLimit {
    /// Requests.
    pub limit: u64,
    /// `DAY`, `WEEK` or `MONTH`.
    pub period: String,
}

/// When somebody is told.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmSettings {
    /// Answers with an error of ours among all, in percent, over five minutes, twice in a row.
    pub error_percent_max: f64,
    /// Throttled requests in a minute.
    pub throttled_per_minute_max: u32,
    /// An e-mail address; without one, alarms only show in the console.
    pub address: Option<String>,
}

/// Everything that shapes the stack.
#[derive(Debug, Clone, PartialEq)]
pub struct StackSettings {
    /// Its name.
    pub name: StackName,
    /// The stage: the first part of the endpoint's path.
    pub stage: String,
    /// What the agent is.
    pub artifact: Artifact,
    /// Headers of a call that reach the agent, beside the deadline's.
    pub request_headers: Vec<String>,
    /// The agent's variables. Nothing secret: they are shown by whoever may get the runtime.
    pub agent_variables: BTreeMap<String, String>,
    /// The model.
    pub model: Model,
    /// How long a session of the agent stays without a call, in seconds.
    pub idle_session_s: u64,
    /// How long a session stays at most, in seconds.
    pub session_s_max: u64,
    /// The functions' memory, in MB; their share of a processor follows from it.
    pub function_memory_mb: u32,
    /// A longer prompt is refused by the proxy, in characters.
    pub prompt_chars_max: usize,
    /// How long each hop may take.
    pub timeouts: Timeouts,
    /// All keys together.
    pub all_keys: Limits,
    /// Each key.
    pub each_key: Limits,
    /// Each key in a period; none for no quota.
    pub quota: Option<QuotaLimit>,
    /// The access log's format, with `$context` variables.
    pub access_log_format: String,
    /// How long logs are kept, in days.
    pub log_retention_days: u32,
    /// When somebody is told.
    pub alarms: AlarmSettings,
}

/// Why settings make no stack.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// Not a name that serves for everything in the stack.
    #[error(
        "deploy.stack_name is {0:?}; it may hold lower-case letters, digits and single hyphens, begins with a letter, and has at most \
         {STACK_NAME_CHARACTERS_MAX} characters"
    )]
    StackName(String),
    /// CloudWatch keeps logs for certain times only.
    #[error("deploy.log_retention_days is {0}; CloudWatch knows {RETENTION_DAYS:?}")]
    Retention(u32),
    /// Outside of what Lambda has.
    #[error("deploy.function_memory_mb is {0}; Lambda takes {min} to {max}", min = MEMORY_MB.start(), max = MEMORY_MB.end())]
    Memory(u32),
    /// A share of a whole.
    #[error("deploy.error_percent_max is {0}; it must be more than 0 and less than 100")]
    ErrorPercent(f64),
    /// Not an address.
    #[error("deploy.alarm_address is {0:?}, which is no e-mail address")]
    Address(String),
    /// AgentCore's bounds.
    #[error("deploy.{setting} is {value}; AgentCore takes 60 to 1209600 seconds, and a session's idle time is at most its whole")]
    Session {
        /// The setting.
        setting: &'static str,
        /// As set, in seconds.
        value: u64,
    },
    /// AgentCore's bound on a variable.
    #[error("{name} has {characters} characters; AgentCore takes {VARIABLE_CHARACTERS_MAX} in a variable, so say it in fewer words")]
    Variable {
        /// The variable.
        name: String,
        /// What it has.
        characters: usize,
    },
    /// AgentCore's bound on headers.
    #[error("the agent is to be handed {0} headers; AgentCore hands on {HEADERS_MAX}, of which one tells the deadline")]
    Headers(usize),
    /// API Gateway's stages have no hyphens, unlike a host's.
    #[error("gateway.stage is {0:?}; on AWS it may hold letters, digits and underscores only, 128 at most")]
    Stage(String),
}

impl StackSettings {
    /// Checks what is bounded on AWS.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting and what would do.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !RETENTION_DAYS.contains(&self.log_retention_days) {
            return Err(SettingsError::Retention(self.log_retention_days));
        }
        if !MEMORY_MB.contains(&self.function_memory_mb) {
            return Err(SettingsError::Memory(self.function_memory_mb));
        }
        let percent = self.alarms.error_percent_max;
        if !(percent > 0.0 && percent < 100.0) {
            return Err(SettingsError::ErrorPercent(percent));
        }
        if let Some(address) = &self.alarms.address
            && !address.split_once('@').is_some_and(|(who, host)| !who.is_empty() && host.contains('.') && !address.contains(' '))
        {
            return Err(SettingsError::Address(address.clone()));
        }
        for (setting, value) in [("idle_session_s", self.idle_session_s), ("session_s_max", self.session_s_max)] {
            if !(60..=1_209_600).contains(&value) || value > self.session_s_max {
                return Err(SettingsError::Session { setting, value });
            }
        }
        for (name, value) in &self.agent_variables {
            let characters = value.chars().count();
            if characters > VARIABLE_CHARACTERS_MAX {
                return Err(SettingsError::Variable { name: name.clone(), characters });
            }
        }
        if self.request_headers.len() >= HEADERS_MAX {
            return Err(SettingsError::Headers(self.request_headers.len()));
        }
        let stage_is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if self.stage.is_empty() || self.stage.len() > 128 || !self.stage.bytes().all(stage_is_fit) {
            return Err(SettingsError::Stage(self.stage.clone()));
        }
        Ok(())
    }
}
