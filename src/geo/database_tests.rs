#![allow(clippy::unwrap_used)]
use super::super::testing::{Value, database, flat, nested};
use super::*;
use proptest::prelude::*;

fn find(bytes: Vec<u8>, address: &str) -> Option<GeoPlace> {
    GeoDatabase::from_bytes(bytes).unwrap().lookup(address.parse().unwrap())
}

fn at(place: &GeoPlace) -> (f64, f64) {
    (place.coordinates.lat(), place.coordinates.lon())
}

#[test]
fn the_nested_layout_is_read() {
    let bytes = database(
        "GeoLite2-City",
        &[
            ("8.8.8.0/24", nested("us", Some("St. John's"), -1.5, 2.25)),
            ("2a02::/16", nested("DE", None, 3.0, 4.0)),
        ],
    );
    let place = find(bytes.clone(), "8.8.8.8").unwrap();
    assert_eq!(at(&place), (-1.5, 2.25));
    assert_eq!(place.country.unwrap().to_string(), "US");
    assert_eq!(place.city.unwrap().as_str(), "St. John's");
    assert_eq!(find(bytes.clone(), "::ffff:8.8.8.8").unwrap().coordinates, place.coordinates);
    let place = find(bytes.clone(), "2a02:8109::1").unwrap();
    assert_eq!((at(&place), place.city), ((3.0, 4.0), None));
    assert!(find(bytes.clone(), "9.9.9.9").is_none());
    assert!(find(bytes, "2a03::1").is_none());
}

#[test]
fn the_flat_layout_is_read_with_any_kind_of_number() {
    use Value::{Double, Float, I32, Text, U16};
    for (lat, lon, expected) in [
        (Double(-33.87), Double(151.21), (-33.87, 151.21)),
        (Float(-33.5), Float(151.25), (-33.5, 151.25)),
        (Text("-33.87"), Text(" 151.21"), (-33.87, 151.21)),
        (I32(-33), U16(151), (-33.0, 151.0)),
    ] {
        let bytes = database("flat", &[("8.0.0.0/8", flat("AU", "Sydney", lat, lon))]);
        let place = find(bytes, "8.8.8.8").unwrap();
        assert_eq!(at(&place), expected);
        assert_eq!(place.country.unwrap().to_string(), "AU");
        assert_eq!(place.city.unwrap().as_str(), "Sydney");
    }
}

#[test]
fn a_record_that_says_no_place_has_none() {
    let good = ("9.0.0.0/8", nested("US", None, 1.0, 1.0));
    for record in [
        Value::Map(vec![]),
        Value::Text("somewhere"),
        Value::Array(vec![]),
        flat("AU", "Sydney", Value::Text("north"), Value::Text("1")),
        flat("AU", "Sydney", Value::Text("NaN"), Value::Text("1")),
        flat("AU", "Sydney", Value::Double(f64::INFINITY), Value::Double(1.0)),
        flat("AU", "Sydney", Value::Double(91.0), Value::Double(1.0)),
        flat("AU", "Sydney", Value::Map(vec![]), Value::Double(1.0)),
        nested("", None, 0.0, 0.0),
    ] {
        assert!(find(database("x", &[("8.0.0.0/8", record), good.clone()]), "8.8.8.8").is_none());
    }
    // A bad country or city does not spoil the place.
    let record = flat("Australia", "", Value::Double(1.0), Value::Double(2.0));
    let place = find(database("x", &[("8.0.0.0/8", record)]), "8.8.8.8").unwrap();
    assert_eq!((at(&place), place.country, place.city), ((1.0, 2.0), None, None));
}

#[test]
fn private_and_special_addresses_have_no_place_whatever_the_file_says() {
    let everywhere = nested("US", Some("Trap"), 1.0, 1.0);
    let halves = ["::/1", "8000::/1"].map(|half| (half, everywhere.clone()));
    let all = GeoDatabase::from_bytes(database("x", &halves)).unwrap();
    for address in [
        "10.1.2.3",
        "127.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.2.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "2001:db8::1",
    ] {
        assert!(all.lookup(address.parse().unwrap()).is_none(), "{address}");
    }
    assert!(all.lookup("8.8.8.8".parse().unwrap()).is_some());
    assert!(all.lookup("2a02::1".parse().unwrap()).is_some());
}

#[test]
fn a_database_of_ones_own_network_knows_private_addresses() {
    let office = [("10.7.0.0/16", nested("NL", Some("Office"), 52.0, 5.0))];
    let own = GeoDatabase::from_bytes(database("x", &office)).unwrap().with_private(true);
    assert_eq!(at(&own.lookup("10.7.1.1".parse().unwrap()).unwrap()), (52.0, 5.0));
    assert!(own.lookup("10.8.1.1".parse().unwrap()).is_none());
    let believed_less = own.with_private(false);
    assert!(believed_less.lookup("10.7.1.1".parse().unwrap()).is_none());
}

#[test]
fn a_city_is_reduced_to_a_label() {
    for (name, expected) in [
        ("São Paulo", Some("São Paulo")),
        ("Xi\u{2019}an", Some("Xi'an")),
        ("  Kirkland/Redmond ", Some("Kirkland Redmond")),
        ("<b>Evil</b>\r\nX: 1", Some("b Evil b X 1")),
        ("Zu\u{308}rich \u{202e}gpj", Some("Zurich gpj")),
        ("", None),
        (" / ", None),
    ] {
        assert_eq!(label(name).as_ref().map(Label::as_str), expected, "{name:?}");
    }
    assert_eq!(label(&"é".repeat(99)).unwrap().as_str(), "é".repeat(64));
    assert_eq!(label(&format!("{} {}", "e".repeat(63), "é".repeat(9))).unwrap().as_str(), "e".repeat(63));
}

#[test]
fn files_that_are_no_city_database_are_refused_clearly() {
    let asn = Value::Map(vec![("autonomous_system_number", Value::U32(1))]);
    let error = GeoDatabase::from_bytes(database("GeoLite2-ASN", &[("8.0.0.0/8", asn)])).unwrap_err();
    assert!(error.to_string().contains("GeoLite2-ASN"), "{error}");
    let empty = database("x", &[]);
    assert!(matches!(GeoDatabase::from_bytes(empty), Err(GeoError::NoPlaces { .. })));
    for bytes in [&b""[..], b"\xab\xcd\xefMaxMind.com", b"PK\x03\x04", &[0; 4096]] {
        assert!(matches!(GeoDatabase::from_bytes(bytes), Err(GeoError::Format(_))), "{bytes:?}");
    }
}

/// Opens it if it can be opened and asks it about many addresses.
fn exercise(bytes: Vec<u8>) {
    let Ok(database) = GeoDatabase::from_bytes(bytes) else { return };
    for octet in 0..=255 {
        let _ = database.lookup(IpAddr::from([octet, 8, 8, 8]));
        let _ = database.lookup(IpAddr::from([0x2000 + u16::from(octet) * 16, 0x8109, 0, 0, 0, 0, 0, 1]));
    }
    let _ = (database.kind().len(), format!("{database:?}"));
}

fn sound() -> Vec<u8> {
    database(
        "Test-City",
        &[
            ("8.0.0.0/8", nested("US", Some("One"), 1.0, 2.0)),
            ("9.0.0.0/8", flat("AU", "Two", Value::Text("3"), Value::Float(4.0))),
            ("2a02::/16", nested("DE", None, 5.0, 6.0)),
        ],
    )
}

#[test]
fn a_file_cut_anywhere_or_with_any_bit_flipped_does_no_harm() {
    let sound = sound();
    for length in 0..sound.len() {
        exercise(sound[..length].to_vec());
    }
    for at in 0..sound.len() {
        for bit in [0x01, 0x08, 0x20, 0x80, 0xff] {
            let mut bytes = sound.clone();
            bytes[at] ^= bit;
            exercise(bytes);
        }
    }
}

#[test]
fn a_tree_that_never_ends_is_given_up() {
    // Every node leads twice to the next, the last to nothing: 2^120 ways.
    let sound = sound();
    let nodes = 120_u32;
    let mut bytes: Vec<u8> =
        (1..=nodes).flat_map(|next| [next, next]).flat_map(|next| next.to_be_bytes()[1..].to_vec()).collect();
    let marker = sound.windows(14).rposition(|window| window == b"\xab\xcd\xefMaxMind.com").unwrap();
    bytes.extend_from_slice(&[0; 64]);
    let mut metadata = sound[marker..].to_vec();
    let count = metadata.windows(10).position(|window| window == b"node_count").unwrap() + 11;
    metadata[count..count + 4].copy_from_slice(&nodes.to_be_bytes());
    bytes.extend_from_slice(&metadata);
    assert!(matches!(GeoDatabase::from_bytes(bytes), Err(GeoError::NoPlaces { .. })));
}

proptest! {
    #[test]
    fn any_changes_to_a_file_do_no_harm(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let mut bytes = sound();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        exercise(bytes);
    }
}
