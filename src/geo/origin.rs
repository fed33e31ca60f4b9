//! The place that somebody asks from.

use std::net::IpAddr;

use super::address::normalise;
use super::client::ClientAddress;
use super::database::{GeoDatabase, GeoPlace};
use crate::domain::{Coordinates, CountryCode, Label, Place};

/// How a place is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// By the address, from the GeoIP database.
    GeoIp,
    /// It was given as coordinates.
    Given,
    /// It is not known: central's own place stands for it.
    Central,
}

impl KnownBy {
    /// As it stands in answers: `geoip`, `given` or `central`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GeoIp => "geoip",
            Self::Given => "given",
            Self::Central => "central",
        }
    }
}

/// The place that somebody asks from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The address that asks or that was asked about.
    pub address: Option<IpAddr>,
    /// The point from which distances count.
    pub coordinates: Coordinates,
    /// The city, where known.
    pub city: Option<Label>,
    /// The country, where known.
    pub country: Option<CountryCode>,
    /// How the place is known.
    pub known_by: KnownBy,
}

impl Origin {
    fn new(address: Option<IpAddr>, place: Option<GeoPlace>, central: &Place) -> Self {
        let Some(place) = place else {
            return Self {
                address,
                coordinates: central.coordinates,
                city: Some(central.name.clone()),
                country: central.country,
                known_by: KnownBy::Central,
            };
        };
        Self {
            address,
            coordinates: place.coordinates,
            city: place.city,
            country: place.country,
            known_by: KnownBy::GeoIp,
        }
    }

    /// What people call it: a city where known, else country and coordinates.
    ///
    /// Written only when it is shown: a link needs the coordinates alone.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.city, self.country) {
            (Some(city), _) => city.to_string(),
            (None, Some(country)) => format!("{country}, {}", degrees(self.coordinates)),
            (None, None) => degrees(self.coordinates),
        }
    }
}

/// Where the client is; central's own place where that is unknown.
#[must_use]
pub fn locate(client: ClientAddress, database: &GeoDatabase, central: &Place) -> Origin {
    let address = client.address().map(normalise);
    Origin::new(address, address.and_then(|address| database.lookup(address)), central)
}

/// A text that says no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`from` is an IP address such as 203.5.76.1, or latitude,longitude in degrees such as -33.87,151.21")]
pub struct InvalidFrom;

/// Reads a place that somebody gave as an IP address or as `lat,lon` in degrees. An address
/// whose place is unknown is answered with central's own.
///
/// # Errors
/// When the text is neither.
pub fn parse_from(text: &str, database: &GeoDatabase, central: &Place) -> Result<Origin, InvalidFrom> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(locate(ClientAddress::Known(address), database, central));
    }
    let (lat, lon) = text.split_once(',').ok_or(InvalidFrom)?;
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| InvalidFrom);
    let coordinates = Coordinates::new(number(lat)?, number(lon)?).map_err(|_| InvalidFrom)?;
    Ok(Origin { address: None, coordinates, city: None, country: None, known_by: KnownBy::Given })
}

/// Coordinates as people write them: `33.87° S, 151.21° E`.
fn degrees(place: Coordinates) -> String {
    let (lat, lon) = (place.lat(), place.lon());
    let north = if lat < 0.0 { 'S' } else { 'N' };
    let east = if lon < 0.0 { 'W' } else { 'E' };
    format!("{:.2}° {north}, {:.2}° {east}", lat.abs(), lon.abs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{Value, database, flat, nested};
    use super::super::{Candidate, distance_km, rank};
    use super::*;
    use crate::domain::NodeId;

    fn new_york() -> Place {
        Place::city("new-york").unwrap()
    }

    /// The addresses whose place two databases agree on: (address, where it is, the nearest
    /// of the demo's cities).
    const PLACES: [(&str, f64, f64, &str); 12] = [
        ("99.240.1.1", 43.65, -79.38, "toronto"),
        ("128.101.101.101", 44.98, -93.27, "toronto"),
        ("81.2.69.142", 51.51, -0.13, "amsterdam"),
        ("194.109.6.66", 52.37, 4.9, "amsterdam"),
        ("2a02:8109::1", 52.52, 13.4, "amsterdam"),
        ("122.160.0.1", 28.61, 77.21, "bangalore"),
        ("202.166.0.1", 1.35, 103.82, "singapore"),
        ("200.144.248.41", -23.55, -46.63, "toronto"),
        ("41.203.18.1", -33.92, 18.42, "bangalore"),
        ("203.5.76.1", -33.87, 151.21, "singapore"),
        ("133.11.0.1", 35.68, 139.69, "singapore"),
        ("49.203.64.1", 12.97, 77.59, "bangalore"),
    ];

    #[test]
    fn known_addresses_are_where_they_are_and_get_the_nearest_city() {
        let geo = GeoDatabase::embedded();
        let cities = ["toronto", "amsterdam", "bangalore", "singapore"];
        let candidates = [0, 1, 2, 3].map(|at| Candidate {
            node: NodeId::from_bytes([at; 16]),
            coordinates: Place::city(cities[usize::from(at)]).unwrap().coordinates,
            healthy: true,
        });
        for (address, lat, lon, nearest) in PLACES {
            let address: IpAddr = address.parse().unwrap();
            let origin = locate(ClientAddress::Known(address), &geo, &new_york());
            let off_km = distance_km(origin.coordinates, Coordinates::new(lat, lon).unwrap());
            assert!(off_km < 150.0, "{address} is {off_km} km off");
            assert_eq!(origin.known_by, KnownBy::GeoIp);
            assert_eq!(origin.address, Some(address));
            for draw in 0..8 {
                let chosen = rank(origin.coordinates, &candidates, draw)[0].node;
                assert_eq!(cities[usize::from(chosen.as_bytes()[0])], nearest, "{address}");
            }
        }
    }

    #[test]
    fn a_place_is_named_by_city_else_country_and_coordinates() {
        let bytes = database(
            "x",
            &[
                ("8.0.0.0/8", nested("US", Some("Springfield"), 1.0, 2.0)),
                ("9.0.0.0/8", nested("AU", None, -33.87, 151.21)),
                ("11.0.0.0/8", flat("", "", Value::Double(12.5), Value::Double(-70.0))),
            ],
        );
        let geo = GeoDatabase::from_bytes(bytes).unwrap();
        for (address, name) in [
            ("8.8.8.8", "Springfield"),
            ("::ffff:8.8.8.8", "Springfield"),
            ("9.9.9.9", "AU, 33.87° S, 151.21° E"),
            ("11.1.1.1", "12.50° N, 70.00° W"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(locate(ClientAddress::Known(address), &geo, &new_york()).name(), name);
        }
    }

    #[test]
    fn an_unknown_place_is_centrals_own_and_says_so() {
        let geo = GeoDatabase::embedded();
        let private: IpAddr = "192.168.1.20".parse().unwrap();
        for (client, address) in
            [(ClientAddress::Unknown, None), (ClientAddress::Known(private), Some(private))]
        {
            let origin = locate(client, &geo, &new_york());
            assert_eq!(origin.known_by, KnownBy::Central);
            assert_eq!(origin.coordinates, new_york().coordinates);
            assert_eq!((origin.name().as_str(), origin.address), ("New York", address));
        }
    }

    #[test]
    fn a_given_place_is_an_address_or_coordinates() {
        let geo = GeoDatabase::embedded();
        let read = |text: &str| parse_from(text, &geo, &new_york());
        let sydney = read("203.5.76.1").unwrap();
        assert_eq!((sydney.known_by, sydney.country.unwrap().to_string().as_str()), (KnownBy::GeoIp, "AU"));
        assert_eq!(read("2a02:8109::1").unwrap().known_by, KnownBy::GeoIp);
        assert_eq!(read("::ffff:203.5.76.1").unwrap(), sydney);
        for text in ["-33.87,151.21", " -33.87 , +151.21 ", "-33.870,1.5121e2"] {
            let origin = read(text).unwrap();
            assert_eq!((origin.known_by, origin.address), (KnownBy::Given, None));
            assert_eq!(origin.name(), "33.87° S, 151.21° E");
        }
        assert_eq!(read("10.0.0.1").unwrap().known_by, KnownBy::Central);
        for text in [
            "",
            ",",
            "1",
            "1,",
            ",1",
            "1,2,3",
            "91,0",
            "0,181",
            "nan,0",
            "inf,0",
            "north,east",
            "1.2.3",
            "203.5.76.1:80",
            "1;2",
            "203.5.76.1,203.5.76.2",
        ] {
            assert_eq!(read(text), Err(InvalidFrom), "{text:?}");
        }
        assert!(InvalidFrom.to_string().contains("latitude,longitude"));
    }
}
