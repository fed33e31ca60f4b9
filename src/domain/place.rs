//! Where servers and people are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::Label;

/// A place that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlace {
    /// Outside ±90° or ±180°, or no number.
    #[error("latitude must lie in -90..90 and longitude in -180..180 degrees")]
    Coordinates,
    /// Not two letters.
    #[error("a country is two letters (ISO 3166-1 alpha-2)")]
    Country,
    /// No label.
    #[error(transparent)]
    Name(#[from] super::text::InvalidText),
}

/// A point on the earth, in degrees (WGS 84).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawCoordinates")]
pub struct Coordinates {
    lat: f64,
    lon: f64,
}

#[derive(Deserialize)]
struct RawCoordinates {
    lat: f64,
    lon: f64,
}

impl TryFrom<RawCoordinates> for Coordinates {
    type Error = InvalidPlace;

    fn try_from(raw: RawCoordinates) -> Result<Self, InvalidPlace> {
        Self::new(raw.lat, raw.lon)
    }
}

impl Coordinates {
    /// From latitude and longitude in degrees.
    ///
    /// # Errors
    /// When one is out of range or no number.
    pub fn new(lat: f64, lon: f64) -> Result<Self, InvalidPlace> {
        if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon) {
            Ok(Self { lat, lon })
        } else {
            Err(InvalidPlace::Coordinates)
        }
    }

    /// Degrees north of the equator.
    #[must_use]
    pub const fn lat(self) -> f64 {
        self.lat
    }

    /// Degrees east of Greenwich.
    #[must_use]
    pub const fn lon(self) -> f64 {
        self.lon
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2},{:.2}", self.lat, self.lon)
    }
}

/// A country: two letters (ISO 3166-1 alpha-2), upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CountryCode([u8; 2]);

impl CountryCode {
    /// Reads two letters in either case.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidPlace> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Ok(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => Err(InvalidPlace::Country),
        }
    }
}

impl TryFrom<String> for CountryCode {
    type Error = InvalidPlace;

    fn try_from(text: String) -> Result<Self, InvalidPlace> {
        Self::parse(&text)
    }
}

impl From<CountryCode> for String {
    fn from(code: CountryCode) -> Self {
        code.to_string()
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(self.0[0]), char::from(self.0[1]))
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountryCode({self})")
    }
}

/// Where a server stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// What people call it: a city.
    pub name: Label,
    /// The country it lies in, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<CountryCode>,
    /// Where it lies.
    #[serde(flatten)]
    pub coordinates: Coordinates,
}

/// The cities that are known by name: (name, country, latitude, longitude).
const CITIES: [(&str, &str, f64, f64); 5] = [
    ("New York", "US", 40.71, -74.01),
    ("Toronto", "CA", 43.65, -79.38),
    ("Amsterdam", "NL", 52.37, 4.90),
    ("Bangalore", "IN", 12.97, 77.59),
    ("Singapore", "SG", 1.35, 103.82),
];

impl Place {
    /// From its parts.
    ///
    /// # Errors
    /// When a part cannot be.
    pub fn new(name: &str, country: Option<&str>, lat: f64, lon: f64) -> Result<Self, InvalidPlace> {
        Ok(Self {
            name: Label::parse(name)?,
            country: country.map(CountryCode::parse).transpose()?,
            coordinates: Coordinates::new(lat, lon)?,
        })
    }

    /// One of the built-in cities, by its name or slug in any case.
    #[must_use]
    pub fn city(name: &str) -> Option<Self> {
        let wanted = Label::parse(name).ok()?.slug();
        CITIES
            .iter()
            .filter_map(|&(name, country, lat, lon)| Self::new(name, Some(country), lat, lon).ok())
            .find(|place| place.slug() == wanted)
    }

    /// The name as it stands in links and lists: `new-york`.
    #[must_use]
    pub fn slug(&self) -> String {
        self.name.slug()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn built_in_cities_are_found_by_name_and_slug() {
        for name in ["New York", "new-york", "TORONTO", "amsterdam", "bangalore", "Singapore"] {
            assert!(Place::city(name).is_some(), "{name}");
        }
        assert!(Place::city("Atlantis").is_none());
    }

    #[test]
    fn a_place_survives_json() {
        let place = Place::city("toronto").unwrap();
        let json = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<Place>(&json).unwrap(), place);
        assert!(serde_json::from_str::<Place>(r#"{"name":"x","lat":91,"lon":0}"#).is_err());
        assert!(serde_json::from_str::<Place>(r#"{"name":"<b>","lat":1,"lon":0}"#).is_err());
    }
}
