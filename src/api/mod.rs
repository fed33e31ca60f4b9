//! The protocols, one folder each; adapters never import each other. What they share is
//! in [`common`].

pub mod cluster;
pub mod common;
pub mod node;
pub mod rest;
pub mod tus;
