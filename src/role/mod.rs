//! What the one binary can be: each role is bound, run and shut down here, and everything
//! it is made of is built here.

pub mod central;
pub mod client;
mod connections;
pub mod demo;
pub mod node;
mod secrets;
mod tls;
pub mod tokens;
pub mod upkeep;
