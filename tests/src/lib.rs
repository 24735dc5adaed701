//! End-to-end tests and the doubles of the network that they run against.

pub mod llm_double;
