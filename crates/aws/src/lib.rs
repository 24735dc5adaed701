//! The AWS dialect: ARNs, credentials, Signature Version 4, IAM policies, service errors, what passes between API Gateway and a function, and the forms in
//! which documents cross the wire.
//!
//! Pure: no I/O, no async, no clock. Whatever depends on the time of day takes `now` as an argument, and whatever needs a secret is handed a
//! lookup. What the documents of single AWS operations look like is not known here.

pub mod arn;
pub mod credentials;
pub mod document;
pub mod error;
pub mod event_stream;
pub mod gateway_event;
pub mod policy;
pub mod prices;
pub mod proxy_event;
pub mod sigv4;

pub use arn::{AgentRuntimeArn, Arn};
pub use credentials::{AccessKeyId, Credentials, SecretKey};
pub use error::ServiceError;
