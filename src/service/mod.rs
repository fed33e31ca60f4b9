//! The use cases. They know nothing of HTTP and hold the policy; adapters translate.

pub mod central;
pub mod node;
mod turns;
