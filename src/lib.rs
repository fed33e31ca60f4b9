//! closeby keeps each distinct content once, on two storage servers, and serves it from the
//! nearest. `ARCHITECTURE.md` says where things are and why.
//!
//! `main → role → {web, api} → service → {ledger, blobs, cluster, placement, geo,
//! tickets} → domain → hash`; a test checks these arrows.

pub mod api;
pub mod blobs;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod domain;
pub mod geo;
pub mod ledger;
pub mod metrics;
pub mod placement;
pub mod role;
pub mod service;
pub mod tasks;
pub mod telemetry;
pub mod tickets;
pub mod trace;
pub mod web;
pub mod wire;
