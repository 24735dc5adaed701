//! The FAQ agent: an assistant and its tools, taking turns until the assistant has an answer.

use std::sync::Arc;

use tokio::time::Instant;

use crate::graph::{DrawingError, END, Graph, GraphBuilder, RunError, START, State};
use crate::llm::{Model, ModelError, ModelRequest};
use crate::message::{AssistantMessage, Message};
use crate::retrieval::SearchError;
use crate::settings::AgentSettings;
use crate::tools::FaqTools;

/// What is said when the steps are used up.
const NO_RESULT: &str = "I searched the FAQ several times but could not settle on an answer. \
                         Please ask again in other words, or ask for one thing at a time.";

/// The state of the graph.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// What was said, oldest first.
    pub messages: Vec<Message>,
    /// When there must be an answer.
    pub deadline: Instant,
}

impl State for Conversation {
    type Update = Vec<Message>;

    fn apply(&mut self, update: Vec<Message>) {
        self.messages.extend(update);
    }
}

/// Why the agent has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The search failed.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The agent is built wrongly.
    #[error("the agent's graph went astray: {0}")]
    Graph(String),
}

/// The FAQ agent.
#[derive(Debug)]
pub struct FaqAgent {
    graph: Graph<Conversation, AgentError>,
    steps_max: usize,
}

impl FaqAgent {
    /// Draws the agent's graph: the assistant speaks first, and again after every tool.
    pub fn new(model: Model, tools: FaqTools, settings: &AgentSettings) -> Result<FaqAgent, DrawingError> {
        let assistant = Arc::new(Assistant { model, tools: tools.clone(), system_prompt: system_prompt(settings) });

        let mut builder = GraphBuilder::new();
        builder.add_node("assistant", move |state| assistant.clone().speak(state));
        builder.add_node("tools", move |state| call_tools(tools.clone(), state));
        builder.add_edge(START, "assistant");
        builder.add_conditional_edges("assistant", tools_condition, &["tools", END]);
        builder.add_edge("tools", "assistant");
        let graph = builder.compile()?;

        Ok(FaqAgent { graph, steps_max: settings.steps_max })
    }

    /// Answers one question. Each is a conversation of its own.
    pub async fn answer(&self, question: &str, deadline: Instant) -> Result<String, AgentError> {
        let conversation = Conversation { messages: vec![Message::Human(question.to_owned())], deadline };
        match self.graph.run(conversation, self.steps_max).await {
            Ok(conversation) => match conversation.messages.into_iter().next_back() {
                Some(Message::Assistant(AssistantMessage { text, .. })) => Ok(text),
                _ => Err(AgentError::Graph("the last word was not the assistant's".to_owned())),
            },
            Err(RunError::StepLimit { steps_max }) => {
                tracing::warn!(steps_max, "The model asked for tools until the steps were used up");
                Ok(NO_RESULT.to_owned())
            }
            Err(RunError::Node { source, .. }) => Err(source),
            Err(error @ RunError::UndeclaredTarget { .. }) => Err(AgentError::Graph(error.to_string())),
        }
    }
}

/// The node that asks the model.
#[derive(Debug)]
struct Assistant {
    model: Model,
    tools: FaqTools,
    system_prompt: String,
}

impl Assistant {
    async fn speak(self: Arc<Self>, state: Arc<Conversation>) -> Result<Vec<Message>, AgentError> {
        let request = ModelRequest {
            system_prompt: &self.system_prompt,
            messages: &state.messages,
            tools: self.tools.specifications(),
            deadline: state.deadline,
        };
        Ok(vec![Message::Assistant(self.model.invoke(request).await?)])
    }
}

/// The node that calls the tools that the model asked for.
async fn call_tools(tools: FaqTools, state: Arc<Conversation>) -> Result<Vec<Message>, AgentError> {
    let Some(Message::Assistant(assistant)) = state.messages.last() else {
        return Err(AgentError::Graph("tools were called without the assistant".to_owned()));
    };
    let answers = tools.call_all(&assistant.tool_calls).await?;
    Ok(answers.into_iter().map(Message::Tool).collect())
}

/// To the tools when the assistant asks for some, else to the end.
fn tools_condition(state: &Conversation) -> &'static str {
    match state.messages.last() {
        Some(Message::Assistant(assistant)) if !assistant.tool_calls.is_empty() => "tools",
        _ => END,
    }
}

/// The system prompt: as set, or the built-in one with the company's name.
fn system_prompt(settings: &AgentSettings) -> String {
    if let Some(prompt) = &settings.system_prompt {
        return prompt.clone();
    }
    let company = &settings.company;
    let name = settings.company_name();
    format!(
        "You are a friendly customer service agent for {company}.\n\
         You answer questions about {name}'s services from its FAQ knowledge base.\n\
         \n\
         Guidelines:\n\
         1. Search the FAQ before every answer\n\
         2. If the FAQ does not hold the information, say so politely\n\
         3. Keep answers short but complete\n\
         4. If the first search finds little, search again in another way\n\
         5. Format answers clearly, with bullet points where they help\n\
         \n\
         Remember: your tools are search_faq, search_detailed_faq and reformulate_query."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_prompt(settings: AgentSettings, expected: &[&str]) {
        let prompt = system_prompt(&settings);
        for part in expected {
            assert!(prompt.contains(part), "{part:?} is missing from:\n{prompt}");
        }
    }

    #[test]
    fn the_prompt_names_the_company_and_every_tool() {
        check_prompt(
            AgentSettings { company: "Acme, a bakery".to_owned(), ..AgentSettings::default() },
            &["for Acme, a bakery.", "Acme's services", "reformulate_query", "\n5. "],
        );
        let own = Some("Only say moo.".to_owned());
        check_prompt(AgentSettings { system_prompt: own, ..AgentSettings::default() }, &["Only say moo."]);
    }
}
