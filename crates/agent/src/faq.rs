//! The FAQ agent: an assistant and its tools, taking turns until the assistant has an answer.

use std::sync::Arc;

use agentcore::trace::SpanParent;
use tokio::time::Instant;

use crate::graph::{DrawingError, END, Events, Graph, GraphBuilder, RunError, START, State};
use crate::llm::{Model, ModelError, ModelRequest};
use crate::message::{AssistantMessage, Message, Progress};
use crate::settings::AgentSettings;
use crate::threads::{self, ThreadKey, Threads};
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
    /// The span that the turns belong to.
    pub span: SpanParent,
}

impl State for Conversation {
    type Update = Vec<Message>;
    type Progress = Progress;

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
    /// Questions of the same thread are still being answered.
    #[error("the questions before this one in its thread were not answered in time")]
    ThreadBusy,
    /// The agent is built wrongly.
    #[error("the agent's graph went astray: {0}")]
    Graph(String),
}

/// The FAQ agent.
#[derive(Debug)]
pub struct FaqAgent {
    graph: Graph<Conversation, AgentError>,
    steps_max: usize,
    threads: Arc<Threads>,
}

/// A question to the agent.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// The conversation that it belongs to. A question of none remembers nothing and is not remembered.
    pub thread: Option<ThreadKey>,
    /// When there must be an answer.
    pub deadline: Instant,
    /// The span that the answering belongs to.
    pub span: SpanParent,
}

impl FaqAgent {
    /// Draws the agent's graph: the assistant speaks first, and again after every tool.
    pub fn new(model: Model, tools: FaqTools, threads: Arc<Threads>, settings: &AgentSettings) -> Result<FaqAgent, DrawingError> {
        let assistant = Arc::new(Assistant { model, tools: tools.clone(), system_prompt: system_prompt(settings) });

        let mut builder = GraphBuilder::new();
        builder.add_node("assistant", move |state, events| assistant.clone().speak(state, events));
        builder.add_node("tools", move |state, events| call_tools(tools.clone(), state, events));
        builder.add_edge(START, "assistant");
        builder.add_conditional_edges("assistant", tools_condition, &["tools", END]);
        builder.add_edge("tools", "assistant");
        let graph = builder.compile()?;

        Ok(FaqAgent { graph, steps_max: settings.steps_max, threads })
    }

    /// The agent's graph as a Mermaid flowchart.
    pub fn to_mermaid(&self) -> String {
        self.graph.to_mermaid()
    }

    /// Answers one question, and tells `events` how. Questions of one thread are answered one after the other, each knowing those before.
    pub async fn answer(&self, question: &Question, events: &Events<Progress>) -> Result<String, AgentError> {
        let Some(thread) = &question.thread else {
            return Ok(self.run(Vec::new(), question, events).await?.text);
        };
        let history = self.threads.history(thread);
        let mut history = tokio::time::timeout_at(question.deadline, history.lock()).await.map_err(|_| AgentError::ThreadBusy)?;
        let answer = self.run(history.iter().cloned().collect(), question, events).await?;
        let text = answer.text.clone();
        threads::remember(&mut history, Message::Human(question.text.clone()), Message::Assistant(answer));
        Ok(text)
    }

    async fn run(
        &self,
        mut messages: Vec<Message>,
        question: &Question,
        events: &Events<Progress>,
    ) -> Result<AssistantMessage, AgentError> {
        messages.push(Message::Human(question.text.clone()));
        let conversation = Conversation { messages, deadline: question.deadline, span: question.span.clone() };
        let beginning = self.graph.begin(conversation).map_err(failed)?;
        match self.graph.resume(beginning, self.steps_max, events, |_| ()).await {
            Ok(conversation) => match conversation.messages.into_iter().next_back() {
                Some(Message::Assistant(answer)) => Ok(answer),
                _ => Err(AgentError::Graph("the last word was not the assistant's".to_owned())),
            },
            Err(RunError::StepLimit { steps_max }) => {
                tracing::warn!(steps_max, "The model asked for tools until the steps were used up");
                events.progress(Progress::Token(NO_RESULT.to_owned())).await;
                Ok(AssistantMessage { text: NO_RESULT.to_owned(), ..AssistantMessage::default() })
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// A node's own error is told as it is; any other is a mistake of this module's.
fn failed(error: RunError<AgentError>) -> AgentError {
    match error {
        RunError::Node { source, .. } => source,
        error => AgentError::Graph(error.to_string()),
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
    async fn speak(self: Arc<Self>, state: Arc<Conversation>, events: Events<Progress>) -> Result<Vec<Message>, AgentError> {
        let request = ModelRequest {
            system_prompt: &self.system_prompt,
            messages: &state.messages,
            tools: self.tools.specifications(),
            deadline: state.deadline,
            span: &state.span,
        };
        Ok(vec![Message::Assistant(self.model.invoke(request, &events).await?)])
    }
}

/// The node that calls the tools that the model asked for.
async fn call_tools(tools: FaqTools, state: Arc<Conversation>, events: Events<Progress>) -> Result<Vec<Message>, AgentError> {
    let Some(Message::Assistant(assistant)) = state.messages.last() else {
        return Err(AgentError::Graph("tools were called without the assistant".to_owned()));
    };
    for call in &assistant.tool_calls {
        events.progress(Progress::ToolCalled(call.clone())).await;
    }
    let answers = tools.call_all(&assistant.tool_calls, &state.span).await;
    for answer in &answers {
        events.progress(Progress::ToolAnswered { call_id: answer.call_id.clone(), is_ok: answer.artifact.is_some() }).await;
    }
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
