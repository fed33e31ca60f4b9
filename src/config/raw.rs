//! What is written in the sources, before anything is believed: every value optional, every
//! key known.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::{CentralFlags, NodeFlags};

/// A source's values, to be laid over those of a weaker source.
pub(super) trait Layer {
    /// These values, and `below` where there is none.
    fn over(self, below: Self) -> Self;
}

impl<T> Layer for Option<T> {
    fn over(self, below: Self) -> Self {
        self.or(below)
    }
}

// No `Debug` on any of these: secrets are among the values.
macro_rules! layer {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name { $(pub $field: $type,)* }

        impl Layer for $name {
            fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.over(below.$field),)* }
            }
        }
    };
}

layer! {
    /// A central's keys.
    RawCentral {
        listen: Option<String>,
        public_url: Option<String>,
        data: Option<PathBuf>,
        cluster: Table<RawCentralCluster>,
        geoip: Option<PathBuf>,
        geoip_private: Option<bool>,
        trusted_proxies: Option<Vec<String>>,
        client_address_headers: Option<Vec<String>>,
        place: RawPlace,
        access: Table<RawAccess>,
        tls: Table<RawTls>,
        stop: Table<RawStop>,
        node_out_after_seconds: Option<u64>,
        limits: Table<RawLimits>,
    }
}

layer! {
    /// `access.*` of a central.
    RawAccess {
        upload: Option<String>,
        list: Option<String>,
        read: Option<String>,
        explain: Option<String>,
    }
}

layer! {
    /// `stop.*` of either.
    RawStop {
        unready_seconds: Option<u64>,
        drain_seconds: Option<u64>,
    }
}

layer! {
    /// `tls.*` of either.
    RawTls {
        listen: Option<String>,
        certificate_file: Option<PathBuf>,
        key_file: Option<PathBuf>,
        redirect: Option<bool>,
        hsts_seconds: Option<u64>,
    }
}

layer! {
    /// `cluster.*` of a central.
    RawCentralCluster {
        join_secret: Option<String>,
        join_secret_file: Option<PathBuf>,
        signing_root: Option<String>,
        signing_root_file: Option<PathBuf>,
        networks: Option<Vec<String>>,
        ca_file: Option<PathBuf>,
    }
}

layer! {
    /// `limits.*` of a central.
    RawLimits {
        file_bytes: Option<u64>,
        uploads: Option<usize>,
        uploads_per_address: Option<usize>,
        stalled_bytes_per_second: Option<u64>,
        stalled_after_seconds: Option<u64>,
        node_stalled_after_seconds: Option<u64>,
        upload_life_seconds: Option<u64>,
        unfinished_uploads: Option<usize>,
        precheck_files: Option<usize>,
        upload_files: Option<usize>,
        list_files: Option<usize>,
        list_files_max: Option<usize>,
        link_life_seconds: Option<u64>,
        link_step_seconds: Option<u64>,
    }
}

layer! {
    /// A node's keys.
    RawNode {
        listen: Option<String>,
        public_url: Option<String>,
        data: Option<PathBuf>,
        central_url: Option<String>,
        cluster: Table<RawNodeCluster>,
        place: RawPlace,
        failure_domain: Option<String>,
        tls: Table<RawTls>,
        stop: Table<RawStop>,
        internal_address: Option<String>,
        reserve_bytes: Option<u64>,
        limits: Table<RawNodeLimits>,
    }
}

layer! {
    /// `cluster.*` of a node.
    RawNodeCluster {
        join_secret: Option<String>,
        join_secret_file: Option<PathBuf>,
        ca_file: Option<PathBuf>,
        tls: Option<bool>,
    }
}

layer! {
    /// `limits.*` of a node.
    RawNodeLimits {
        sessions: Option<usize>,
        downloads: Option<usize>,
        download_stalled_after_seconds: Option<u64>,
        ask_after_seconds: Option<u64>,
        decide_within_seconds: Option<u64>,
    }
}

/// Keys in a table of their own. What derives `Deserialize` would also read a list by the order
/// of its fields.
#[derive(Default)]
pub(super) struct Table<T>(pub T);

impl<T: Layer> Layer for Table<T> {
    fn over(self, below: Self) -> Self {
        Self(self.0.over(below.0))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Table)
            }
        }

        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

/// A place: a table, or the bare name of a city.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RawPlace {
    pub name: Option<String>,
    pub lat: Option<f64>,
    pub lon: Option<f64>,
    pub country: Option<String>,
    /// It was given as a bare name: what weaker sources say of coordinates is another place's.
    is_whole: bool,
}

impl RawPlace {
    /// A bare name.
    pub fn named(name: String) -> Self {
        Self { name: Some(name), is_whole: true, ..Self::default() }
    }
}

impl Layer for RawPlace {
    fn over(self, below: Self) -> Self {
        if self.is_whole {
            return self;
        }
        Self {
            name: self.name.or(below.name),
            lat: self.lat.or(below.lat),
            lon: self.lon.or(below.lon),
            country: self.country.or(below.country),
            is_whole: below.is_whole,
        }
    }
}

/// The table form.
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PlaceTable {
    name: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
    country: Option<String>,
}

impl<'de> Deserialize<'de> for RawPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlaceVisitor;

        impl<'de> Visitor<'de> for PlaceVisitor {
            type Value = RawPlace;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a city, or a table of name, lat, lon and country")
            }

            fn visit_str<E>(self, name: &str) -> Result<RawPlace, E> {
                Ok(RawPlace::named(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawPlace, A::Error> {
                let PlaceTable { name, lat, lon, country } =
                    PlaceTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawPlace { name, lat, lon, country, is_whole: false })
            }
        }

        deserializer.deserialize_any(PlaceVisitor)
    }
}

impl From<CentralFlags> for RawCentral {
    fn from(flags: CentralFlags) -> Self {
        Self {
            listen: flags.listen,
            public_url: flags.public_url,
            data: flags.data,
            cluster: Table(RawCentralCluster {
                join_secret_file: flags.join_secret_file,
                signing_root_file: flags.signing_root_file,
                ..RawCentralCluster::default()
            }),
            geoip: flags.geoip,
            trusted_proxies: Some(flags.trusted_proxies).filter(|proxies| !proxies.is_empty()),
            place: flags.place.map(RawPlace::named).unwrap_or_default(),
            ..Self::default()
        }
    }
}

impl From<NodeFlags> for RawNode {
    fn from(flags: NodeFlags) -> Self {
        Self {
            listen: flags.listen,
            public_url: flags.public_url,
            data: flags.data,
            central_url: flags.central_url,
            cluster: Table(RawNodeCluster {
                join_secret_file: flags.join_secret_file,
                ..RawNodeCluster::default()
            }),
            place: flags.place.map(RawPlace::named).unwrap_or_default(),
            failure_domain: flags.failure_domain,
            ..Self::default()
        }
    }
}
