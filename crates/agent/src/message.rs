//! The conversation: what the human, the model and the tools say to one another.

use serde_json::Value;

use crate::retrieval::SearchKind;

/// One turn of the conversation. The system prompt is not part of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The question.
    Human(String),
    /// What the model said, or which tools it wants called.
    Assistant(AssistantMessage),
    /// What a tool answered.
    Tool(ToolMessage),
}

/// What is told of a turn while it is made.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// A piece of the model's text.
    Token(String),
    /// A tool is about to be called.
    ToolCalled(ToolCall),
    /// A tool has answered.
    ToolAnswered {
        /// The id of the call.
        call_id: String,
        /// Whether it found what it was called for, or failed.
        is_ok: bool,
    },
}

/// What a model answers: text, tool calls, or both. Without tool calls the text is the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AssistantMessage {
    /// The text, empty when there is none.
    pub text: String,
    /// The tools to call before the model is asked again.
    pub tool_calls: Vec<ToolCall>,
    /// The questions of the FAQ entries that the text was taken from, where the model knows them.
    pub sources: Vec<String>,
}

/// A model's wish to call a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The model's id of this call; the tool's message carries it back.
    pub id: String,
    /// The tool's name, as the model wrote it. There may be no such tool.
    pub name: String,
    /// The arguments: an object, or a string with the model's text when that text is not JSON.
    pub arguments: Value,
}

/// A tool's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolMessage {
    /// The id of the call that it answers.
    pub call_id: String,
    /// The name of the tool.
    pub name: String,
    /// What a language model reads.
    pub content: String,
    /// What the search found, for readers that want more than text. `None` when the call failed.
    pub artifact: Option<SearchArtifact>,
}

/// The findings behind a tool's text.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchArtifact {
    /// What was searched for.
    pub query: String,
    /// How the search was made. It says what a score means.
    pub kind: SearchKind,
    /// The FAQ entries found, best first, each once.
    pub matches: Vec<EntryMatch>,
}

/// One FAQ entry that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryMatch {
    /// The entry's question.
    pub question: String,
    /// The entry's whole answer, also where only a part of it matched.
    pub answer: String,
    /// The score of the entry's best chunk, in the unit of [`SearchArtifact::kind`].
    pub score: f32,
}
