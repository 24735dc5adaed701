//! Connections to HTTP/1.1 servers that are kept between calls: what the gateway has to its backends, and the runtime to its agents.
//!
//! A connection has no task of its own. Whoever waits for an answer drives the connection that brings it, so that a call wakes no other task on its way; between calls
//! nobody drives it, and a sweep ends those that have waited long enough. A connection is used again only on the runtime that it was opened on: the gateway has
//! a runtime for each of its threads, and a call on another thread's connection would wake that thread for the request and be woken by it for the answer.

mod connection;
mod idle;
mod joined;

pub use connection::{Answer, Connection};
pub use idle::{Idle, IdleLimits, SendError};
pub use joined::{JOINED_BYTES_MAX, joined};
