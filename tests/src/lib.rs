//! End-to-end tests and the doubles of the network that they run against.

pub mod host;
pub mod llm_double;
