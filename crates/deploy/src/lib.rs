//! What puts an agent onto AWS, from a laptop or from CI: signed calls of its services, images without Docker, pushes to a registry, packages of Python agents, the stack.
//!
//! It knows the AWS dialect and nothing of the host: neither the gateway, nor the store, nor what the image's program does. Progress is told as events; who draws
//! them is not known here.

pub mod call;
pub mod costs;
pub mod deployer;
mod http_client;
pub mod image;
pub mod policy;
pub mod python_package;
pub mod registry;
pub mod running;
pub mod stack;
