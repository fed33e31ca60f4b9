//! A configuration as a file that would say all of it, without its secrets.

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};

use super::{CentralConfig, NodeConfig, Stop, Tls};
use crate::domain::{Access, Place};

/// What stands for a secret.
const HIDDEN: &str = "(hidden)";

impl CentralConfig {
    /// Every key with the value that counts, as TOML; secrets are hidden.
    #[must_use]
    pub fn shown(&self) -> String {
        let limits = &self.limits;
        let mut keys = vec![
            ("listen", text(self.listen)),
            ("public_url", text(&self.public_url)),
            ("data", text(self.data.display())),
            ("place", Value::Table(place(&self.place))),
        ];
        keys.extend(self.tls.as_ref().map(|given| ("tls", Value::Table(tls(given)))));
        keys.extend(self.geoip.as_ref().map(|path| ("geoip", text(path.display()))));
        keys.extend([
            ("geoip_private", Value::Boolean(self.geoip_private)),
            ("trusted_proxies", networks(&self.trusted_proxies)),
            ("client_address_headers", Value::Array(self.client_address_headers.iter().map(text).collect())),
            ("node_out_after_seconds", seconds(self.node_out_after)),
            ("access", Value::Table(access(&self.access))),
            ("stop", Value::Table(stop(self.stop))),
            (
                "cluster",
                Value::Table(table(
                    [
                        ("join_secret", text(HIDDEN)),
                        ("signing_root", text(HIDDEN)),
                        ("networks", networks(&self.networks)),
                    ]
                    .into_iter()
                    .chain(ca_file(self.ca_file.as_deref())),
                )),
            ),
            (
                "limits",
                Value::Table(table([
                    ("file_bytes", number(limits.file_bytes)),
                    ("uploads", number(limits.uploads as u64)),
                    ("uploads_per_address", number(limits.uploads_per_address as u64)),
                    ("stalled_bytes_per_second", number(limits.stalled_bytes_per_second)),
                    ("stalled_after_seconds", seconds(limits.stalled_after)),
                    ("node_stalled_after_seconds", seconds(limits.node_stalled_after)),
                    ("upload_life_seconds", seconds(limits.upload_life)),
                    ("unfinished_uploads", number(limits.unfinished_uploads as u64)),
                    ("upload_files", number(limits.upload_files as u64)),
                    ("precheck_files", number(limits.precheck_files as u64)),
                    ("list_files", number(limits.list_files as u64)),
                    ("list_files_max", number(limits.list_files_max as u64)),
                    ("link_life_seconds", seconds(limits.link_life)),
                    ("link_step_seconds", seconds(limits.link_step)),
                ])),
            ),
        ]);
        table(keys).to_string()
    }
}

impl NodeConfig {
    /// Every key with the value that counts, as TOML; secrets are hidden.
    #[must_use]
    pub fn shown(&self) -> String {
        let limits = &self.limits;
        let mut keys = vec![
            ("listen", text(self.listen)),
            ("public_url", text(&self.public_url)),
            ("data", text(self.data.display())),
            ("central_url", text(&self.central_url)),
            ("place", Value::Table(place(&self.place))),
            ("failure_domain", text(&self.failure_domain)),
        ];
        keys.extend(self.tls.as_ref().map(|given| ("tls", Value::Table(tls(given)))));
        keys.extend(self.internal_address.map(|address| ("internal_address", text(address))));
        keys.extend([
            ("reserve_bytes", number(self.reserve_bytes)),
            ("stop", Value::Table(stop(self.stop))),
            (
                "cluster",
                Value::Table(table(
                    [("join_secret", text(HIDDEN)), ("tls", Value::Boolean(self.cluster_tls))]
                        .into_iter()
                        .chain(ca_file(self.ca_file.as_deref())),
                )),
            ),
            (
                "limits",
                Value::Table(table([
                    ("sessions", number(limits.sessions as u64)),
                    ("downloads", number(limits.downloads as u64)),
                    ("download_stalled_after_seconds", seconds(limits.download_stalled_after)),
                    ("ask_after_seconds", seconds(limits.ask_after)),
                    ("decide_within_seconds", seconds(limits.decide_within)),
                ])),
            ),
        ]);
        table(keys).to_string()
    }
}

fn table(keys: impl IntoIterator<Item = (&'static str, Value)>) -> Table {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn text(value: impl std::fmt::Display) -> Value {
    Value::String(value.to_string())
}

/// TOML's numbers end at 2^63; what is larger means the same.
fn number(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn seconds(value: Duration) -> Value {
    number(value.as_secs())
}

fn networks(values: &[IpNet]) -> Value {
    Value::Array(values.iter().map(text).collect())
}

fn tls(given: &Tls) -> Table {
    table([
        ("listen", text(given.listen)),
        ("certificate_file", text(given.certificate_file.display())),
        ("key_file", text(given.key_file.display())),
        ("redirect", Value::Boolean(given.redirect)),
        ("hsts_seconds", seconds(given.hsts.unwrap_or_default())),
    ])
}

fn access(given: &Access) -> Table {
    table([
        ("upload", text(given.upload)),
        ("list", text(given.list)),
        ("read", text(given.read)),
        ("explain", text(given.explain)),
    ])
}

fn ca_file(given: Option<&Path>) -> Option<(&'static str, Value)> {
    given.map(|path| ("ca_file", text(path.display())))
}

fn stop(given: Stop) -> Table {
    table([("unready_seconds", seconds(given.unready)), ("drain_seconds", seconds(given.drain))])
}

fn place(value: &Place) -> Table {
    let mut keys = vec![
        ("name", text(&value.name)),
        ("lat", Value::Float(value.coordinates.lat())),
        ("lon", Value::Float(value.coordinates.lon())),
    ];
    keys.extend(value.country.map(|country| ("country", text(country))));
    table(keys)
}
