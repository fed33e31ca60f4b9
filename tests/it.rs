//! Whole-system tests: a central and nodes, real HTTP, each on port 0 in a folder of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

#[path = "system/access.rs"]
mod access;
#[path = "system/alerts.rs"]
mod alerts;
#[path = "system/arrows.rs"]
mod arrows;
#[path = "system/backup.rs"]
mod backup;
#[path = "system/binary.rs"]
mod binary;
#[path = "system/browser/mod.rs"]
mod browser;
#[path = "system/deploy.rs"]
mod deploy;
#[path = "system/download.rs"]
mod download;
#[path = "system/edges.rs"]
mod edges;
#[path = "system/faults.rs"]
mod faults;
#[path = "system/join.rs"]
mod join;
#[path = "system/links.rs"]
mod links;
#[path = "system/list.rs"]
mod list;
#[path = "system/logs.rs"]
mod logs;
#[path = "system/metrics.rs"]
mod metrics;
#[path = "system/pages.rs"]
mod pages;
#[path = "system/proxy.rs"]
mod proxy;
#[path = "system/put.rs"]
mod put;
#[path = "system/rotate.rs"]
mod rotate;
#[path = "system/stop.rs"]
mod stop;
#[path = "system/tls.rs"]
mod tls;
#[path = "system/traces.rs"]
mod traces;
#[path = "system/tus/mod.rs"]
mod tus;
#[path = "system/upload.rs"]
mod upload;
#[path = "system/wasm.rs"]
mod wasm;
#[path = "system/ways.rs"]
mod ways;
#[path = "system/wire.rs"]
mod wire;
