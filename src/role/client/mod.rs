//! The command-line client: it speaks the public API, keeps nothing but which uploads are not
//! finished, and holds no more of a file in memory than a few pieces.

mod console;
mod error;
#[cfg(test)]
mod fake;
mod get;
mod http;
mod look;
mod put;
mod target;

pub use console::Console;
pub use error::ClientError;
pub use get::get;
pub use http::Server;
pub use look::{Question, health, info, ls};
pub use put::{PutOptions, put};
pub use target::{InvalidTarget, Target};
