//! What the one binary can be: each role is bound, run and shut down here, and everything
//! it is made of is built here.

pub mod central;
pub mod client;
pub mod demo;
pub mod node;
mod secrets;
mod tls;
pub mod tokens;
pub mod upkeep;

use std::time::Duration;

/// How long a server keeps an idle connection: longer than the cluster's own clients (20 s) and common
/// proxies (60 s) do, so that it is never closed just when a request comes over it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A request's head has so long to come.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// An early answer to a slow sender is lost to a reset when this is short.
const LINGER: Duration = Duration::from_secs(10);
