//! From what is written to values that cannot be wrong. Each error names its key and what to
//! do.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::raw::{RawAccess, RawCentral, RawLimits, RawNode, RawNodeLimits, RawPlace, RawStop, RawTls};
use super::secret::{self, JOIN_SECRET, Missing, SIGNING_ROOT};
use super::{CentralConfig, ConfigError, Limits, NodeConfig, NodeLimits, Stop, Tls};
use crate::domain::{Access, Entry, Label, Place};
use crate::geo::HeaderKind;

/// Where a central listens when nothing is said.
const CENTRAL_LISTEN: &str = "127.0.0.1:8080";

/// Where a node listens when nothing is said.
const NODE_LISTEN: &str = "127.0.0.1:8081";

/// Loopback and the private ranges (RFC 1918, RFC 4193).
const PRIVATE_NETWORKS: [&str; 6] =
    ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Where clouds keep what no node's address may reach (RFC 3927, RFC 4291 §2.5.6).
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

/// What uploads leave free of a node's disk: 256 MiB.
const RESERVE_BYTES: u64 = 256 << 20;

/// How long a node is absent before it is out: 10 minutes.
pub const DEFAULT_NODE_OUT_AFTER: Duration = Duration::from_mins(10);

/// For how long a server that stops still takes requests when nothing is said.
const UNREADY_SECONDS: u64 = 1;

/// How long it then waits for what goes on.
const DRAIN_SECONDS: u64 = 30;

/// The longest time that can be set, in seconds: 10 years.
const MAX_SECONDS: u64 = 10 * 366 * 24 * 3600;

/// A central's configuration. Secrets that are not given are made, so this comes to nothing
/// before everything else is known to be right.
pub(super) fn central(raw: RawCentral, missing: Missing) -> Result<CentralConfig, ConfigError> {
    let data = data(raw.data)?;
    let listen = listen("listen", raw.listen.as_deref().unwrap_or(CENTRAL_LISTEN))?;
    let public_url = required_url("public_url", raw.public_url, "what links begin with")?;
    let networks = match &raw.cluster.0.networks {
        Some(given) => networks("cluster.networks", given)?,
        None => private_networks(),
    };
    if let Some(network) = networks.iter().find(|network| is_link_local(network)) {
        return Err(ConfigError::key(
            "cluster.networks",
            format!("holds the link-local network {network}, where no node may be: take it away"),
        ));
    }
    let trusted_proxies = networks_or_none("trusted_proxies", raw.trusted_proxies)?;
    let client_address_headers = match raw.client_address_headers {
        Some(given) => given.iter().map(|name| address_header(name)).collect::<Result<_, _>>()?,
        None => vec![HeaderKind::XForwardedFor],
    };
    let geoip = raw.geoip.map(|path| path_of("geoip", path)).transpose()?;
    let geoip_private = raw.geoip_private.unwrap_or(false);
    if geoip_private && geoip.is_none() {
        return Err(ConfigError::key(
            "geoip_private",
            "is set, but no `geoip`: the database inside knows no private addresses",
        ));
    }
    let place = place(raw.place)?;
    let access = access(&raw.access.0)?;
    let tls = tls(raw.tls.0, &public_url)?;
    let stop = stop(&raw.stop.0)?;
    let node_out_after =
        seconds("node_out_after_seconds", raw.node_out_after_seconds, DEFAULT_NODE_OUT_AFTER)?;
    let limits = limits(&raw.limits.0)?;

    let cluster = raw.cluster.0;
    let ca_file = cluster.ca_file.map(|path| path_of("cluster.ca_file", path)).transpose()?;
    let signing_root = match secret::given(&SIGNING_ROOT, cluster.signing_root, cluster.signing_root_file)? {
        Some(given) => given,
        None if missing == Missing::IsMade => secret::kept_signing_root(&data)?,
        None => {
            secret::is_no_loss(&data)?;
            secret::kept(&data, &SIGNING_ROOT)?.map_or_else(|| secret::stand_in(&SIGNING_ROOT), Ok)?
        }
    };
    let join_secret = match secret::given(&JOIN_SECRET, cluster.join_secret, cluster.join_secret_file)? {
        Some(given) => given,
        None if missing == Missing::IsMade => secret::kept_join_secret(&data)?,
        None => secret::kept(&data, &JOIN_SECRET)?.map_or_else(|| secret::stand_in(&JOIN_SECRET), Ok)?,
    };
    Ok(CentralConfig {
        listen,
        public_url,
        data,
        join_secret,
        signing_root,
        networks,
        ca_file,
        geoip,
        geoip_private,
        trusted_proxies,
        client_address_headers,
        place,
        access,
        tls,
        stop,
        node_out_after,
        limits,
    })
}

/// A node's configuration.
pub(super) fn node(raw: RawNode) -> Result<NodeConfig, ConfigError> {
    let data = data(raw.data)?;
    let listen = listen("listen", raw.listen.as_deref().unwrap_or(NODE_LISTEN))?;
    let public_url = required_url("public_url", raw.public_url, "where people download from this node")?;
    let central_url = required_url("central_url", raw.central_url, "where this node reaches central")?;
    let place = place(raw.place)?;
    let failure_domain = match raw.failure_domain {
        Some(text) => Label::parse(&text)
            .map_err(|error| ConfigError::key("failure_domain", format!("cannot be used: {error}")))?,
        None => place.name.clone(),
    };
    let tls = tls(raw.tls.0, &public_url)?;
    let stop = stop(&raw.stop.0)?;
    let internal_address = raw.internal_address.as_deref().map(internal_address).transpose()?;
    let cluster = raw.cluster.0;
    let ca_file = cluster.ca_file.map(|path| path_of("cluster.ca_file", path)).transpose()?;
    let cluster_tls = cluster.tls.unwrap_or(true);
    let limits = node_limits(&raw.limits.0)?;
    let join_secret = match secret::given(&JOIN_SECRET, cluster.join_secret, cluster.join_secret_file)? {
        Some(given) => given,
        None => secret::kept(&data, &JOIN_SECRET)?.ok_or_else(|| {
            ConfigError::key(
                "cluster.join_secret",
                format!(
                    "is missing: it is central's, in the file `join-secret` of its data folder. Copy \
                         that file to {}, or name it as `cluster.join_secret_file`",
                    data.join(JOIN_SECRET.kept).display()
                ),
            )
        })?,
    };
    Ok(NodeConfig {
        listen,
        public_url,
        data,
        central_url,
        ca_file,
        cluster_tls,
        join_secret,
        place,
        failure_domain,
        tls,
        stop,
        internal_address,
        reserve_bytes: raw.reserve_bytes.unwrap_or(RESERVE_BYTES),
        limits,
    })
}

/// Loopback and the private ranges: where a node's internal address lies when nothing is said.
#[must_use]
pub fn private_networks() -> Vec<IpNet> {
    PRIVATE_NETWORKS.iter().filter_map(|network| network.parse().ok()).collect()
}

fn data(given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    let Some(path) = given else {
        return Err(ConfigError::key(
            "data",
            "is missing: name the folder to keep everything in, with --data, CLOSEBY_DATA or in the file",
        ));
    };
    path_of("data", path)
}

fn path_of(key: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.as_os_str().is_empty() {
        return Err(ConfigError::key(key, "is empty: give a path, or leave it out"));
    }
    Ok(path)
}

/// Who may do what.
fn access(raw: &RawAccess) -> Result<Access, ConfigError> {
    let read = |key, given: &Option<String>, default: Entry| match given {
        None => Ok(default),
        Some(text) => {
            text.parse().map_err(|error| ConfigError::key(key, format!("cannot be what is given: {error}")))
        }
    };
    let default = Access::default();
    Ok(Access {
        upload: read("access.upload", &raw.upload, default.upload)?,
        list: read("access.list", &raw.list, default.list)?,
        read: read("access.read", &raw.read, default.read)?,
        explain: read("access.explain", &raw.explain, default.explain)?,
    })
}

fn stop(raw: &RawStop) -> Result<Stop, ConfigError> {
    // 0 is a choice here.
    let read = |key, given: Option<u64>, default| match given.unwrap_or(default) {
        0 => Ok(Duration::ZERO),
        given => seconds(key, Some(given), Duration::ZERO),
    };
    Ok(Stop {
        unready: read("stop.unready_seconds", raw.unready_seconds, UNREADY_SECONDS)?,
        drain: read("stop.drain_seconds", raw.drain_seconds, DRAIN_SECONDS)?,
    })
}

/// TLS where a certificate is named; the keys belong together.
fn tls(raw: RawTls, public_url: &Url) -> Result<Option<Tls>, ConfigError> {
    const TOGETHER: &str = "is missing: `tls.listen`, `tls.certificate_file` and `tls.key_file` go together";
    if raw.listen.is_none() && raw.certificate_file.is_none() && raw.key_file.is_none() {
        return match (raw.redirect, raw.hsts_seconds) {
            (None, None) => Ok(None),
            _ => Err(ConfigError::key("tls.certificate_file", TOGETHER)),
        };
    }
    let given =
        |key, path: Option<PathBuf>| path_of(key, path.ok_or_else(|| ConfigError::key(key, TOGETHER))?);
    let certificate_file = given("tls.certificate_file", raw.certificate_file)?;
    let key_file = given("tls.key_file", raw.key_file)?;
    let text = raw.listen.ok_or_else(|| ConfigError::key("tls.listen", TOGETHER))?;
    if public_url.scheme() != "https" {
        return Err(ConfigError::key(
            "public_url",
            "begins with http, though TLS is set up: links would lead past it. Write https",
        ));
    }
    let hsts = match raw.hsts_seconds {
        None | Some(0) => None,
        given => Some(seconds("tls.hsts_seconds", given, Duration::ZERO)?),
    };
    Ok(Some(Tls {
        listen: listen("tls.listen", &text)?,
        certificate_file,
        key_file,
        redirect: raw.redirect.unwrap_or(true),
        hsts,
    }))
}

fn listen(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        ConfigError::key(key, "is no address and port: write 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080")
    })
}

fn required_url(key: &'static str, given: Option<String>, what: &str) -> Result<Url, ConfigError> {
    let Some(text) = given else {
        let flag = key.replace('_', "-");
        let variable = key.to_uppercase();
        return Err(ConfigError::key(
            key,
            format!(
                "is missing: say {what}, such as https://files.example, with --{flag}, CLOSEBY_{variable} \
                 or in the file"
            ),
        ));
    };
    base_url(&text).map_err(|why| ConfigError::key(key, why))
}

/// Reads a URL of http or https, a host and at most a port.
///
/// # Errors
/// When it is another; the text says what is wrong with it, without a subject.
pub fn base_url(text: &str) -> Result<Url, &'static str> {
    const SHAPE: &str = "is no such URL: write http:// or https://, a host and at most a port";
    let url: Url = text.parse().map_err(|_| SHAPE)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(SHAPE);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password: leave them out");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("holds more than a host and a port: leave the rest out");
    }
    let is_nowhere = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_unspecified(),
        Some(url::Host::Ipv6(address)) => address.is_unspecified(),
        _ => false,
    };
    if is_nowhere || url.port() == Some(0) {
        return Err("cannot be reached: give the address that others use");
    }
    Ok(url)
}

fn networks(key: &'static str, given: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let parse = |text: &String| {
        let network = text.parse::<IpNet>().ok();
        network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).ok_or_else(|| {
            ConfigError::key(key, format!("holds {text:?}, which is no network: write one as 10.0.0.0/8"))
        })
    };
    given.iter().map(parse).collect()
}

fn networks_or_none(key: &'static str, given: Option<Vec<String>>) -> Result<Vec<IpNet>, ConfigError> {
    given.map_or(Ok(Vec::new()), |given| networks(key, &given))
}

fn is_link_local(network: &IpNet) -> bool {
    LINK_LOCAL.iter().filter_map(|known| known.parse::<IpNet>().ok()).any(|known| known.contains(network))
}

fn internal_address(text: &str) -> Result<IpAddr, ConfigError> {
    const KEY: &str = "internal_address";
    let address: IpAddr = text
        .parse()
        .map_err(|_| ConfigError::key(KEY, "is no address: write one as 10.0.0.5, without a port"))?;
    if address.is_unspecified() || address.is_multicast() || is_link_local(&address.into()) {
        return Err(ConfigError::key(KEY, "cannot be reached by central: give this machine's own address"));
    }
    Ok(address)
}

fn address_header(name: &str) -> Result<HeaderKind, ConfigError> {
    HeaderKind::parse(name).map_err(|_| {
        ConfigError::key(
            "client_address_headers",
            format!("holds {name:?}: it can hold \"x-forwarded-for\" and \"forwarded\""),
        )
    })
}

fn place(raw: RawPlace) -> Result<Place, ConfigError> {
    const HOW: &str = "write place = \"amsterdam\" (or toronto, bangalore, singapore, new-york), or \
                       place = { name = \"Lima\", lat = -12.05, lon = -77.04, country = \"PE\" }";
    let Some(name) = raw.name else {
        return Err(ConfigError::key("place", format!("has no name: {HOW}")));
    };
    match (raw.lat, raw.lon) {
        (Some(lat), Some(lon)) => Place::new(&name, raw.country.as_deref(), lat, lon)
            .map_err(|error| ConfigError::key("place", format!("cannot be: {error}"))),
        (None, None) if raw.country.is_none() => Place::city(&name).ok_or_else(|| {
            ConfigError::key("place", format!("{name:?} is not known by its name alone: {HOW}"))
        }),
        _ => Err(ConfigError::key("place", format!("needs both lat and lon: {HOW}"))),
    }
}

fn limits(raw: &RawLimits) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let limits = Limits {
        file_bytes: at_least_one("limits.file_bytes", raw.file_bytes, default.file_bytes)?,
        uploads: at_least_one("limits.uploads", raw.uploads, default.uploads)?,
        uploads_per_address: at_least_one(
            "limits.uploads_per_address",
            raw.uploads_per_address,
            default.uploads_per_address,
        )?,
        // 0 is a choice here: nobody is cut for being slow.
        stalled_bytes_per_second: raw.stalled_bytes_per_second.unwrap_or(default.stalled_bytes_per_second),
        stalled_after: seconds(
            "limits.stalled_after_seconds",
            raw.stalled_after_seconds,
            default.stalled_after,
        )?,
        node_stalled_after: seconds(
            "limits.node_stalled_after_seconds",
            raw.node_stalled_after_seconds,
            default.node_stalled_after,
        )?,
        upload_life: seconds("limits.upload_life_seconds", raw.upload_life_seconds, default.upload_life)?,
        unfinished_uploads: at_least_one(
            "limits.unfinished_uploads",
            raw.unfinished_uploads,
            default.unfinished_uploads,
        )?,
        precheck_files: at_least_one("limits.precheck_files", raw.precheck_files, default.precheck_files)?,
        upload_files: at_least_one("limits.upload_files", raw.upload_files, default.upload_files)?,
        list_files: at_least_one("limits.list_files", raw.list_files, default.list_files)?,
        list_files_max: at_least_one("limits.list_files_max", raw.list_files_max, default.list_files_max)?,
        link_life: seconds("limits.link_life_seconds", raw.link_life_seconds, default.link_life)?,
        link_step: seconds("limits.link_step_seconds", raw.link_step_seconds, default.link_step)?,
    };
    if limits.list_files > limits.list_files_max {
        return Err(ConfigError::key(
            "limits.list_files",
            format!("is more than `limits.list_files_max`, {}", limits.list_files_max),
        ));
    }
    Ok(limits)
}

fn node_limits(raw: &RawNodeLimits) -> Result<NodeLimits, ConfigError> {
    let default = NodeLimits::default();
    Ok(NodeLimits {
        sessions: at_least_one("limits.sessions", raw.sessions, default.sessions)?,
        downloads: at_least_one("limits.downloads", raw.downloads, default.downloads)?,
        download_stalled_after: seconds(
            "limits.download_stalled_after_seconds",
            raw.download_stalled_after_seconds,
            default.download_stalled_after,
        )?,
        ask_after: seconds("limits.ask_after_seconds", raw.ask_after_seconds, default.ask_after)?,
        decide_within: seconds(
            "limits.decide_within_seconds",
            raw.decide_within_seconds,
            default.decide_within,
        )?,
    })
}

fn at_least_one<N: PartialEq + Default>(
    key: &'static str,
    given: Option<N>,
    default: N,
) -> Result<N, ConfigError> {
    match given {
        Some(number) if number == N::default() => {
            Err(ConfigError::key(key, "is 0, with which nothing would go: give 1 or more"))
        }
        Some(number) => Ok(number),
        None => Ok(default),
    }
}

fn seconds(key: &'static str, given: Option<u64>, default: Duration) -> Result<Duration, ConfigError> {
    match given {
        None => Ok(default),
        Some(seconds @ 1..=MAX_SECONDS) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(ConfigError::key(key, format!("must lie in 1..={MAX_SECONDS} seconds"))),
    }
}
