//! What puts an agent onto AWS.

pub mod stack;
