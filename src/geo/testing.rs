//! Small MaxMind databases, for tests: a writer of the format's version 2.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use ipnet::IpNet;

/// A value of a record.
#[derive(Clone)]
pub(crate) enum Value {
    Map(Vec<(&'static str, Value)>),
    Text(&'static str),
    Double(f64),
    Float(f32),
    U16(u16),
    I32(i32),
    U32(u32),
    U64(u64),
    Array(Vec<Value>),
}

/// A record in GeoIP2's layout.
pub(crate) fn nested(country: &'static str, city: Option<&'static str>, lat: f64, lon: f64) -> Value {
    let mut fields = vec![
        ("country", Value::Map(vec![("iso_code", Value::Text(country))])),
        ("location", Value::Map(vec![("latitude", Value::Double(lat)), ("longitude", Value::Double(lon))])),
    ];
    if let Some(city) = city {
        fields.push(("city", Value::Map(vec![("names", Value::Map(vec![("en", Value::Text(city))]))])));
    }
    Value::Map(fields)
}

/// A record in the flat layout.
pub(crate) fn flat(country: &'static str, city: &'static str, lat: Value, lon: Value) -> Value {
    Value::Map(vec![
        ("city", Value::Text(city)),
        ("country_code", Value::Text(country)),
        ("latitude", lat),
        ("longitude", lon),
    ])
}

/// A database of these networks, which must not overlap.
pub(crate) fn database(kind: &'static str, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut tree = Tree(vec![[Slot::Empty; 2]]);
    for (network, value) in networks {
        tree.insert(network.parse().unwrap(), data.len());
        encode(value, &mut data);
    }
    let nodes = u32::try_from(tree.0.len()).unwrap();
    let mut file = Vec::new();
    for slot in tree.0.iter().flatten() {
        let record = match *slot {
            Slot::Empty => nodes,
            Slot::Node(at) => u32::try_from(at).unwrap(),
            Slot::Data(at) => nodes + 16 + u32::try_from(at).unwrap(),
        };
        file.extend_from_slice(&record.to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = Value::Map(vec![
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1)),
        ("database_type", Value::Text(kind)),
        ("description", Value::Map(vec![("en", Value::Text("a test"))])),
        ("ip_version", Value::U16(6)),
        ("languages", Value::Array(vec![Value::Text("en")])),
        ("node_count", Value::U32(nodes)),
        ("record_size", Value::U16(24)),
    ]);
    encode(&metadata, &mut file);
    file
}

#[derive(Clone, Copy)]
enum Slot {
    Empty,
    Node(usize),
    Data(usize),
}

struct Tree(Vec<[Slot; 2]>);

impl Tree {
    fn insert(&mut self, network: IpNet, data: usize) {
        let (bits, length) = match network.network() {
            IpAddr::V4(address) => (u128::from(u32::from(address)), usize::from(network.prefix_len()) + 96),
            IpAddr::V6(address) => (u128::from(address), usize::from(network.prefix_len())),
        };
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                self.0[node][side] = Slot::Data(data);
                return;
            }
            node = match self.0[node][side] {
                Slot::Node(next) => next,
                _ => {
                    self.0.push([Slot::Empty; 2]);
                    let next = self.0.len() - 1;
                    self.0[node][side] = Slot::Node(next);
                    next
                }
            };
        }
    }
}

fn encode(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Map(fields) => {
            head(7, fields.len(), to);
            for (name, field) in fields {
                encode(&Value::Text(name), to);
                encode(field, to);
            }
        }
        Value::Text(text) => {
            head(2, text.len(), to);
            to.extend_from_slice(text.as_bytes());
        }
        Value::Double(number) => {
            head(3, 8, to);
            to.extend_from_slice(&number.to_be_bytes());
        }
        Value::U16(number) => {
            head(5, 2, to);
            to.extend_from_slice(&number.to_be_bytes());
        }
        Value::U32(number) => {
            head(6, 4, to);
            to.extend_from_slice(&number.to_be_bytes());
        }
        Value::I32(number) => {
            head(8, 4, to);
            to.extend_from_slice(&number.to_be_bytes());
        }
        Value::U64(number) => {
            head(9, 8, to);
            to.extend_from_slice(&number.to_be_bytes());
        }
        Value::Array(values) => {
            head(11, values.len(), to);
            values.iter().for_each(|value| encode(value, to));
        }
        Value::Float(number) => {
            head(15, 4, to);
            to.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// A value's control bytes.
fn head(kind: u8, size: usize, to: &mut Vec<u8>) {
    let (size, more) = if size < 29 { (size, None) } else { (29, Some(size - 29)) };
    let size = u8::try_from(size).unwrap();
    if kind < 8 {
        to.push(kind << 5 | size);
    } else {
        to.extend_from_slice(&[size, kind - 7]);
    }
    to.extend(more.map(|more| u8::try_from(more).unwrap()));
}
