//! A GeoIP database: which address is where.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{LookupResult, PathElement, Reader, WithinOptions};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use super::address::{has_no_place, normalise};
use crate::domain::{Coordinates, CountryCode, Label};

/// The database that is part of the program: places to 0.5°, without city names.
static EMBEDDED: &[u8] = include_bytes!("../../geodata/places.mmdb");

/// The largest file that is read, in bytes; full city databases have a tenth of it.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// A file that cannot serve as a database.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It cannot be read.
    #[error("the GeoIP database cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// Another kind of file, or a broken one.
    #[error("the GeoIP database is no MaxMind DB, or a broken one: {0}")]
    Format(#[from] maxminddb::MaxMindDbError),
    /// A MaxMind DB of something else, such as of countries or networks alone.
    #[error(
        "the GeoIP database holds no places ({kind}): a city database in GeoIP2's or DB-IP's layout is expected"
    )]
    NoPlaces {
        /// What the file says it is.
        kind: String,
    },
    /// More than any such database has.
    #[error("the GeoIP database has {0} bytes, which is more than any city database")]
    TooLarge(u64),
}

/// Where an address is.
#[derive(Debug, Clone, PartialEq)]
pub struct GeoPlace {
    /// About there.
    pub coordinates: Coordinates,
    /// The country, where the database has it.
    pub country: Option<CountryCode>,
    /// The city, where the database has it, reduced to what a label may hold.
    pub city: Option<Label>,
}

/// A database in memory. It is read, not mapped: a file that is cut while it is mapped
/// kills the process.
pub struct GeoDatabase {
    reader: Reader<Cow<'static, [u8]>>,
    knows_private: bool,
}

impl std::fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GeoDatabase({})", self.kind())
    }
}

impl GeoDatabase {
    /// The database that is part of the program.
    ///
    /// # Panics
    /// When the program was built with a broken one, which a test excludes.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn embedded() -> Self {
        let reader = Reader::from_source(Cow::Borrowed(EMBEDDED));
        Self { reader: reader.expect("the embedded database is a MaxMind DB"), knows_private: false }
    }

    /// Reads a file into memory: GeoIP2's or DB-IP's city layout, or a flat one.
    ///
    /// # Errors
    /// When it cannot be read, is no MaxMind DB or holds no places.
    pub fn open(path: &Path) -> Result<Self, GeoError> {
        Self::read(File::open(path)?)
    }

    /// Reads an open file.
    pub(super) fn read(file: File) -> Result<Self, GeoError> {
        let mut bytes = Vec::new();
        let said = file.metadata()?.len();
        if said <= MAX_FILE_BYTES {
            bytes.reserve_exact(usize::try_from(said).unwrap_or(0));
        }
        // A device or a pipe has no length and perhaps no end.
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        let length = bytes.len() as u64;
        if length > MAX_FILE_BYTES { Err(GeoError::TooLarge(length)) } else { Self::from_bytes(bytes) }
    }

    /// Takes a database that is in memory already.
    ///
    /// # Errors
    /// When it is no MaxMind DB or holds no places.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, GeoError> {
        let database = Self { reader: Reader::from_source(bytes.into())?, knows_private: false };
        if database.holds_places()? {
            Ok(database)
        } else {
            Err(GeoError::NoPlaces { kind: database.kind().to_owned() })
        }
    }

    /// What the file says it is, such as `GeoLite2-City`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// The same, whose word about private and special addresses counts, too, or not: that of a
    /// database somebody made of a network of their own.
    #[must_use]
    pub fn with_private(self, knows_private: bool) -> Self {
        Self { knows_private, ..self }
    }

    /// Where an address is; none for one that the database does not know, and for private
    /// and special ones whatever it says, unless its word about them counts.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<GeoPlace> {
        let address = normalise(address);
        if has_no_place(address) && !self.knows_private {
            return None;
        }
        // A broken record, or an IPv6 address in a database of IPv4, is an unknown place.
        place(&self.reader.lookup(address).ok()?)
    }

    /// Looks for one place, in a tree that may be of any shape.
    fn holds_places(&self) -> Result<bool, GeoError> {
        // Networks without data are counted too: without them a hostile tree has no end.
        let all = WithinOptions::default().include_networks_without_data();
        let most = (self.reader.metadata().node_count as usize).saturating_mul(3);
        for network in self.reader.networks(all)?.take(most) {
            if place(&network?).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

type Found<'a> = LookupResult<'a, Cow<'static, [u8]>>;

fn place(found: &Found<'_>) -> Option<GeoPlace> {
    if !found.has_data() {
        return None;
    }
    let number = |nested: &[&str], flat: &str| {
        let number = get::<Number>(found, nested).or_else(|| get(found, &[flat]));
        number.map(|number| number.0)
    };
    let lat = number(&["location", "latitude"], "latitude")?;
    let lon = number(&["location", "longitude"], "longitude")?;
    // Nobody lives at 0,0; databases that have nothing to say write it.
    if lat == 0.0 && lon == 0.0 {
        return None;
    }
    let country = get::<&str>(found, &["country", "iso_code"]).or_else(|| get(found, &["country_code"]));
    let city = get::<&str>(found, &["city", "names", "en"]).or_else(|| get(found, &["city"]));
    Some(GeoPlace {
        coordinates: Coordinates::new(lat, lon).ok()?,
        country: country.and_then(|code| CountryCode::parse(code).ok()),
        city: city.and_then(label),
    })
}

/// A value of a record; none when it is missing or of another type.
fn get<'a, T: Deserialize<'a>>(found: &Found<'a>, path: &[&str]) -> Option<T> {
    match path {
        [key] => found.decode_path(&[PathElement::Key(key)]),
        [outer, key] => found.decode_path(&[PathElement::Key(outer), PathElement::Key(key)]),
        [outer, inner, key] => {
            found.decode_path(&[PathElement::Key(outer), PathElement::Key(inner), PathElement::Key(key)])
        }
        _ => return None,
    }
    .ok()
    .flatten()
}

/// A name reduced to a label: other ASCII characters become spaces, other marks are left
/// out, and what is too long is cut.
fn label(name: &str) -> Option<Label> {
    let plain: String = name
        .chars()
        .filter_map(|c| match c {
            '\u{2018}' | '\u{2019}' | '\u{2bb}' | '\u{2bc}' | '`' => Some('\''),
            '\u{2010}'..='\u{2015}' => Some('-'),
            c if c.is_alphanumeric() || ".,'()_+-".contains(c) => Some(c),
            c if c.is_ascii() || c.is_whitespace() => Some(' '),
            _ => None,
        })
        .collect();
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = words.chars().take(64).collect();
    Label::parse(cut.trim()).ok()
}

/// A number, in whatever form a database has it.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct AnyNumber;

        impl Visitor<'_> for AnyNumber {
            type Value = Number;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, or a text that is one")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
                text.trim().parse().map(Number).map_err(E::custom)
            }
        }

        d.deserialize_any(AnyNumber)
    }
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
