//! What can be set about the agent. Every default is what the FAQ agent needs on one machine.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::retrieval::{SearchKind, model};

/// The model that is chosen when a Groq key is there and nothing else was asked for.
const GROQ_DEFAULT: &str = "openai/gpt-oss-20b";
/// The variable that holds a Groq key.
const GROQ_API_KEY: &str = "GROQ_API_KEY";

/// The agent's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// The FAQ: CSV with the header `question,answer`, JSON Lines, Markdown, or a folder of them.
    pub faq: PathBuf,
    /// Whom the agent speaks for: a name, and after a comma what it is.
    pub company: String,
    /// A system prompt in place of the built-in one.
    pub system_prompt: Option<String>,
    /// Which model answers.
    pub model: ModelChoice,
    /// The base URL of an OpenAI-compatible endpoint, up to and with `/v1`, in place of the
    /// provider's own.
    pub base_url: Option<String>,
    /// The environment variable that holds the provider's key, in place of the provider's usual one.
    pub api_key_variable: Option<String>,
    /// The provider's key itself, where the program has fetched it; goes before any variable.
    #[serde(skip)]
    pub api_key: Option<ApiKey>,
    /// How the FAQ is searched, where the embedding model is present.
    pub search: SearchKind,
    /// Where the embedding model's files are.
    pub model_dir: PathBuf,
    /// Where embeddings are kept between starts. `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Threads that embed questions.
    pub embedding_threads: usize,
    /// How long a start waits for vectors that must be made, in milliseconds. Then the agent answers, by keywords until they are there.
    pub embedding_wait_ms: u64,
    /// How many nodes of the graph one call may run. LangGraph's default.
    pub steps_max: usize,
    /// How long one call may take, in milliseconds. Two seconds less than API Gateway's 29.
    pub deadline_ms: u64,
    /// How long one answer of the language model may take, in milliseconds.
    pub model_timeout_ms: u64,
    /// The longest question, in characters (Unicode code points).
    pub prompt_chars_max: usize,
}

impl Default for AgentSettings {
    fn default() -> AgentSettings {
        AgentSettings {
            faq: PathBuf::from("lauki_qna.csv"),
            company: "Lauki, a telecommunications company".to_owned(),
            system_prompt: None,
            model: ModelChoice::Auto,
            base_url: None,
            api_key_variable: None,
            api_key: None,
            search: SearchKind::default(),
            model_dir: model::default_dir(),
            cache_dir: None,
            embedding_threads: 1,
            embedding_wait_ms: 600,
            steps_max: 25,
            deadline_ms: 27_000,
            model_timeout_ms: 20_000,
            prompt_chars_max: 32_000,
        }
    }
}

/// A provider's key. `Debug` prints no part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Keeps `key`, without the white space around it.
    pub fn new(key: &str) -> ApiKey {
        ApiKey(key.trim().to_owned())
    }

    /// The key itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(..)")
    }
}

impl AgentSettings {
    /// The company's name alone: `company` up to its first comma.
    pub fn company_name(&self) -> &str {
        self.company.split(',').next().unwrap_or_default().trim()
    }
}

/// Which model answers. In settings a string: `auto`, `extractive` or `PROVIDER:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ModelChoice {
    /// Groq's `openai/gpt-oss-20b` when `GROQ_API_KEY` is set, else the extractive model.
    Auto,
    /// The built-in model that answers in the FAQ's own words.
    Extractive,
    /// A language model of a provider.
    Provider {
        /// The provider, such as `groq` or `openai`.
        provider: String,
        /// The provider's name of the model.
        name: String,
    },
}

/// A model setting that is none of the known forms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model `{0}` is neither `auto`, `extractive` nor `PROVIDER:NAME` like `groq:openai/gpt-oss-20b`")]
pub struct UnknownModelChoice(String);

impl ModelChoice {
    /// Decides what `Auto` means; `variable` looks up an environment variable.
    #[must_use]
    pub fn resolve(self, variable: impl Fn(&str) -> Option<String>) -> ModelChoice {
        let is_set = |name| variable(name).is_some_and(|value| !value.trim().is_empty());
        match self {
            ModelChoice::Auto if is_set(GROQ_API_KEY) => {
                ModelChoice::Provider { provider: "groq".to_owned(), name: GROQ_DEFAULT.to_owned() }
            }
            ModelChoice::Auto => ModelChoice::Extractive,
            chosen => chosen,
        }
    }
}

impl FromStr for ModelChoice {
    type Err = UnknownModelChoice;

    fn from_str(text: &str) -> Result<ModelChoice, UnknownModelChoice> {
        match text.trim() {
            "auto" => Ok(ModelChoice::Auto),
            "extractive" => Ok(ModelChoice::Extractive),
            text => match text.split_once(':') {
                Some((provider, name)) if !provider.is_empty() && !name.is_empty() => {
                    Ok(ModelChoice::Provider { provider: provider.to_owned(), name: name.to_owned() })
                }
                _ => Err(UnknownModelChoice(text.to_owned())),
            },
        }
    }
}

impl TryFrom<String> for ModelChoice {
    type Error = UnknownModelChoice;

    fn try_from(text: String) -> Result<ModelChoice, UnknownModelChoice> {
        text.parse()
    }
}

impl From<ModelChoice> for String {
    fn from(choice: ModelChoice) -> String {
        choice.to_string()
    }
}

impl fmt::Display for ModelChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelChoice::Auto => formatter.write_str("auto"),
            ModelChoice::Extractive => formatter.write_str("extractive"),
            ModelChoice::Provider { provider, name } => write!(formatter, "{provider}:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `text`, resolves it with the environment `GROQ_API_KEY=key`, and prints it.
    fn check_model(text: &str, key: Option<&str>, expected: Result<&str, &str>) {
        let resolved = text
            .parse::<ModelChoice>()
            .map(|choice| choice.resolve(|_| key.map(str::to_owned)).to_string())
            .map_err(|error| error.to_string());
        assert_eq!(resolved, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn the_model_is_chosen_by_name_or_by_key() {
        check_model("auto", None, Ok("extractive"));
        check_model("auto", Some(" "), Ok("extractive"));
        check_model("auto", Some("gsk_1"), Ok("groq:openai/gpt-oss-20b"));
        check_model("extractive", Some("gsk_1"), Ok("extractive"));
        check_model("openai:llama3:8b", None, Ok("openai:llama3:8b"));
        for wrong in ["", "gpt-4", ":gpt-4", "openai:"] {
            let message = format!(
                "model `{wrong}` is neither `auto`, `extractive` nor `PROVIDER:NAME` like \
                 `groq:openai/gpt-oss-20b`"
            );
            check_model(wrong, None, Err(&message));
        }
    }

    #[test]
    fn an_unknown_setting_is_refused_by_name() {
        let error = serde_json::from_str::<AgentSettings>(r#"{"deadline": 3}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `deadline`"), "{error}");
        let settings: AgentSettings = serde_json::from_str(r#"{"deadline_ms": 3}"#).unwrap();
        assert_eq!(settings, AgentSettings { deadline_ms: 3, ..AgentSettings::default() });
    }

    #[test]
    fn the_company_has_a_name() {
        assert_eq!(AgentSettings::default().company_name(), "Lauki");
    }
}
