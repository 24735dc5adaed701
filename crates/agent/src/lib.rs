//! The FAQ agent: graph, tools, models, retrieval.
//!
//! It answers questions from a FAQ file and meets its host over HTTP only, so it knows nothing of
//! keys, gateways or sessions. In reading order: [`serve`] is the way in, `loading` brings the FAQ into service, [`faq`] is the agent itself,
//! written with [`graph`], [`tools`] and [`llm`]; [`threads`] is what it remembers; [`retrieval`] is what
//! the tools search, and [`evaluation`] measures how well.

pub mod evaluation;
pub mod faq;
pub mod graph;
pub mod llm;
mod loading;
pub mod message;
pub mod retrieval;
pub mod serve;
pub mod settings;
pub mod threads;
mod tls;
pub mod tools;

pub use serve::run;
pub use settings::{AgentSettings, ApiKey, ModelChoice};
pub use tls::choose_crypto_provider;
