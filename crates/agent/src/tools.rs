//! The three tools over the FAQ that a model may call, and the calling of them.
//!
//! A mistake of the model's (an unknown tool, arguments that do not fit) and a search that fails are
//! answered to the model as text, so that it can try again or say so. The tools can only search: they
//! read nothing else, write nothing and reach no network, whatever a question or an entry asks for.

use std::sync::Arc;

use agentcore::trace::{SpanKind, SpanParent};
use futures_util::future::join_all;
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::message::{EntryMatch, SearchArtifact, ToolCall, ToolMessage};
use crate::retrieval::{Hit, Knowledge};

/// How many tool calls of one turn are served; the rest are refused, with a message to the model.
const CALLS_PER_TURN_MAX: usize = 8;

/// What a model that made a mistake is asked to do.
const TRY_AGAIN: &str = "Please correct the call and try again.";

/// How many chunks the plain search and the reformulated one look at.
pub(crate) const RESULTS: usize = 3;

/// What a model is told about a tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolSpecification {
    /// The name by which it is called.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// The JSON Schema of its arguments.
    pub parameters: Value,
}

/// The FAQ tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaqTool {
    Search,
    SearchDetailed,
    Reformulate,
}

/// The plain search's name: the extractive model calls it too.
pub const SEARCH_FAQ: &str = "search_faq";
/// The name of the search with a focus: the extractive model follows up with it.
pub const REFORMULATE_QUERY: &str = "reformulate_query";

/// Every tool, in the order in which a model is told of them.
const TOOLS: [FaqTool; 3] = [FaqTool::Search, FaqTool::SearchDetailed, FaqTool::Reformulate];

#[derive(Deserialize)]
struct SearchArguments {
    query: String,
}

#[derive(Deserialize)]
struct SearchDetailedArguments {
    query: String,
    #[serde(default = "SearchDetailedArguments::num_results", deserialize_with = "whole_number")]
    num_results: usize,
}

impl SearchDetailedArguments {
    fn num_results() -> usize {
        5
    }
}

#[derive(Deserialize)]
struct ReformulateArguments {
    original_query: String,
    focus_aspect: String,
}

impl FaqTool {
    fn name(self) -> &'static str {
        match self {
            FaqTool::Search => SEARCH_FAQ,
            FaqTool::SearchDetailed => "search_detailed_faq",
            FaqTool::Reformulate => REFORMULATE_QUERY,
        }
    }

    fn specification(self) -> ToolSpecification {
        let text = |description: &str| json!({ "type": "string", "description": description });
        let (description, properties, required) = match self {
            FaqTool::Search => (
                "Search the FAQ knowledge base for relevant information.",
                json!({ "query": text("The search query to find relevant FAQs") }),
                json!(["query"]),
            ),
            FaqTool::SearchDetailed => (
                "Search the FAQ knowledge base with more comprehensive results.",
                json!({
                    "query": text("The search query"),
                    "num_results": {
                        "type": "integer",
                        "description": "Number of results to return",
                        "default": SearchDetailedArguments::num_results(),
                    },
                }),
                json!(["query"]),
            ),
            FaqTool::Reformulate => (
                "Reformulate the query with a specific focus and search the FAQ.",
                json!({
                    "original_query": text("The original user query"),
                    "focus_aspect": text("The specific aspect to focus on"),
                }),
                json!(["original_query", "focus_aspect"]),
            ),
        };
        let parameters = json!({ "type": "object", "properties": properties, "required": required });
        ToolSpecification { name: self.name(), description, parameters }
    }

    /// The search that a call stands for: the query and how many chunks to find.
    fn search(self, arguments: &Value) -> Result<(String, usize), String> {
        Ok(match self {
            FaqTool::Search => {
                let SearchArguments { query } = parse(arguments)?;
                (query, RESULTS)
            }
            FaqTool::SearchDetailed => {
                let SearchDetailedArguments { query, num_results } = parse(arguments)?;
                (query, num_results)
            }
            FaqTool::Reformulate => {
                let ReformulateArguments { original_query, focus_aspect } = parse(arguments)?;
                (format!("{original_query} {focus_aspect}"), RESULTS)
            }
        })
    }
}

fn parse<T: DeserializeOwned>(arguments: &Value) -> Result<T, String> {
    if let Value::String(text) = arguments {
        return Err(format!("the arguments are not a JSON object: {text}"));
    }
    T::deserialize(arguments).map_err(|error| error.to_string())
}

/// A number of results; models also write `"5"` and `5.0`.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    match number {
        // The cast is exact: knowledge clamps far below.
        Some(number) if number.fract() == 0.0 && (1.0..=1e6).contains(&number) => Ok(number as usize),
        _ => Err(serde::de::Error::custom(format!("num_results must be a whole number from 1 on, not {value}"))),
    }
}

/// The tools over one body of knowledge.
#[derive(Clone)]
pub struct FaqTools {
    knowledge: Arc<Knowledge>,
    specifications: Arc<[ToolSpecification]>,
}

impl FaqTools {
    /// The tools over `knowledge`.
    pub fn new(knowledge: Arc<Knowledge>) -> FaqTools {
        let specifications = TOOLS.into_iter().map(FaqTool::specification).collect();
        FaqTools { knowledge, specifications }
    }

    /// What a model is told about them.
    pub fn specifications(&self) -> &[ToolSpecification] {
        &self.specifications
    }

    /// Answers every call, side by side; the answers come in the order of the calls.
    ///
    /// Each call is told below `span`.
    pub async fn call_all(&self, calls: &[ToolCall], span: &SpanParent) -> Vec<ToolMessage> {
        join_all(calls.iter().enumerate().map(|(index, call)| async move {
            if index < CALLS_PER_TURN_MAX {
                self.traced_call(call, span).await
            } else {
                refusal(call, &format!("at most {CALLS_PER_TURN_MAX} tool calls at a time. {TRY_AGAIN}"))
            }
        }))
        .await
    }

    /// A call with its span, by OpenTelemetry's conventions for tools of generative models
    /// (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>). What a model wrote for a tool's name may be anything, so it is told only if there is
    /// such a tool.
    async fn traced_call(&self, call: &ToolCall, span: &SpanParent) -> ToolMessage {
        let known = TOOLS.into_iter().map(FaqTool::name).find(|name| *name == call.name);
        let name = known.unwrap_or("unknown");
        let mut span = span.child(|| format!("execute_tool {name}"), SpanKind::Internal);
        span.set("gen_ai.operation.name", || "execute_tool");
        span.set("gen_ai.tool.name", || name);
        span.set("gen_ai.tool.type", || "datastore");
        let message = self.call(call).await;
        match &message.artifact {
            Some(found) => span.set("frontdesk.search.entries", || i64::try_from(found.matches.len()).unwrap_or(i64::MAX)),
            None => span.fail(|| "refused"),
        }
        message
    }

    async fn call(&self, call: &ToolCall) -> ToolMessage {
        let Some(tool) = TOOLS.into_iter().find(|tool| tool.name() == call.name) else {
            let names: Vec<_> = self.specifications.iter().map(|tool| tool.name).collect();
            let names = names.join(", ");
            return refusal(call, &format!("{} is not a valid tool, try one of {names}. {TRY_AGAIN}", call.name));
        };
        let (query, num_results) = match tool.search(&call.arguments) {
            Ok(search) => search,
            Err(reason) => return refusal(call, &format!("{reason}. {TRY_AGAIN}")),
        };
        let hits = match self.knowledge.search(&query, num_results).await {
            Ok(hits) => hits,
            Err(error) => {
                tracing::error!(errorMessage = %error, "Search failed");
                return refusal(call, &format!("{error}. The FAQ cannot be searched right now."));
            }
        };
        let texts: Vec<&str> = hits.iter().map(|hit| &*hit.text).collect();
        ToolMessage {
            call_id: call.id.clone(),
            name: call.name.clone(),
            content: texts.join("\n\n"),
            artifact: Some(self.findings(query, &hits)),
        }
    }

    /// What `hits` of a search for `query` mean: their entries, each once.
    pub(crate) fn findings(&self, query: String, hits: &[Hit]) -> SearchArtifact {
        let mut matches: Vec<EntryMatch> = Vec::new();
        let mut seen = Vec::new();
        for hit in hits.iter().filter(|hit| {
            let is_new = !seen.contains(&hit.entry);
            seen.push(hit.entry);
            is_new
        }) {
            let entry = self.knowledge.entry(hit.entry);
            matches.push(EntryMatch { question: entry.question.clone(), answer: entry.answer.clone(), score: hit.score });
        }
        SearchArtifact { query, kind: self.knowledge.kind(), matches }
    }
}

impl std::fmt::Debug for FaqTools {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FaqTools").finish_non_exhaustive()
    }
}

/// A message that tells the model what went wrong.
fn refusal(call: &ToolCall, reason: &str) -> ToolMessage {
    ToolMessage { call_id: call.id.clone(), name: call.name.clone(), content: format!("Error: {reason}"), artifact: None }
}
