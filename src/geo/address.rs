//! Which addresses stand for a place, and which cannot be a person's on the internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv4 address in an IPv4-mapped IPv6 one (RFC 4291 §2.5.5.2), else the same address.
#[must_use]
pub const fn normalise(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Whether nobody on the internet can have this address: private, loopback, link-local,
/// shared by a carrier, multicast, reserved (RFC 6890 and its registries). Addresses for
/// documentation are not among them: they could be routed, only nobody does.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match normalise(address) {
        IpAddr::V4(address) => is_private_v4(address),
        // 2000::/3 is all that is global unicast today (RFC 4291 §2.4).
        IpAddr::V6(address) => !is_within(address, 0x2000, 0, 3),
    }
}

/// Whether an address has no place whatever a database says: a private one, or one for
/// documentation, benchmarks, tunnels or other special purposes (RFC 6890 and its registries).
#[must_use]
pub fn has_no_place(address: IpAddr) -> bool {
    is_private(address)
        || match normalise(address) {
            IpAddr::V4(address) => matches!(
                address.octets(),
                [192, 0, 0 | 2, _]
                    | [192, 88, 99, _]
                    | [198, 18 | 19, _, _]
                    | [198, 51, 100, _]
                    | [203, 0, 113, _]
            ),
            IpAddr::V6(address) => {
                // Protocol assignments, Teredo and benchmarks among them; documentation twice;
                // 6to4, whose inner address may be anybody's.
                is_within(address, 0x2001, 0, 23)
                    || is_within(address, 0x2001, 0xdb8, 32)
                    || is_within(address, 0x3fff, 0, 20)
                    || is_within(address, 0x2002, 0, 16)
            }
        }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let shared = matches!(address.octets(), [100, 64..=127, _, _]);
    let this_network = address.octets()[0] == 0;
    let multicast_or_reserved = address.octets()[0] >= 224;
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || shared
        || this_network
        || multicast_or_reserved
}

/// Whether the first `bits` (at most 32) are those of a prefix.
fn is_within(address: Ipv6Addr, first: u16, second: u16, bits: u32) -> bool {
    let [a, b, ..] = address.segments();
    let head = |a: u16, b: u16| (u32::from(a) << 16 | u32::from(b)) >> (32 - bits);
    head(a, b) == head(first, second)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn private_addresses_are_private_and_have_no_place() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::10.0.0.1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "5f00::1",
        ] {
            let address = text.parse().unwrap();
            assert!(is_private(address), "{text}");
            assert!(has_no_place(address), "{text}");
        }
    }

    #[test]
    fn special_addresses_have_no_place() {
        for text in [
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.255",
            "::ffff:203.0.113.1",
            "2001::1",
            "2001:1ff:ffff::",
            "2001:db8::1",
            "2001:db8:ffff::1",
            "2002:a00:1::",
            "3fff::1",
            "3fff:fff:ffff::",
        ] {
            let address = text.parse().unwrap();
            assert!(!is_private(address), "{text}");
            assert!(has_no_place(address), "{text}");
        }
    }

    #[test]
    fn the_addresses_just_beside_have_one() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2000::1",
            "2001:200::1",
            "2001:db7:ffff::1",
            "2001:db9::1",
            "2003::1",
            "2a02::1",
            "3ffe:ffff::1",
            "3fff:1000::1",
        ] {
            let address = text.parse().unwrap();
            assert!(!is_private(address) && !has_no_place(address), "{text}");
        }
    }
}
