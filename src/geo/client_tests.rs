#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

use ClientAddress::{Known, Unknown};
use HeaderKind::{Forwarded, XForwardedFor};

/// A cluster behind a load balancer in 10/8, a CDN in 198.41.128/17, and IPv6 of both.
fn behind_proxies(kinds: &[HeaderKind]) -> ClientAddresses {
    let trusted = ["10.0.0.0/8", "198.41.128.0/17", "fd00::/8", "2606:4700::/32"];
    ClientAddresses::new(trusted.map(|network| network.parse().unwrap()).to_vec(), kinds.to_vec())
}

fn ask(clients: &ClientAddresses, peer: &str, kind: HeaderKind, lines: &[&str]) -> ClientAddress {
    clients.resolve(peer.parse().unwrap(), |asked| {
        if asked == kind { lines.iter().map(|line| line.as_bytes()).collect() } else { Vec::new() }
    })
}

fn known(address: &str) -> ClientAddress {
    Known(address.parse().unwrap())
}

#[test]
fn the_header_counts_only_from_a_trusted_peer() {
    let clients = behind_proxies(&[XForwardedFor]);
    let lines = ["203.5.76.1"];
    for (peer, expected) in [
        ("10.1.1.1", "203.5.76.1"),
        ("::ffff:10.1.1.1", "203.5.76.1"),
        ("fd00::1", "203.5.76.1"),
        ("8.8.8.8", "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.168.1.7", "192.168.1.7"),
        ("2a02::1", "2a02::1"),
    ] {
        assert_eq!(ask(&clients, peer, XForwardedFor, &lines), known(expected), "{peer}");
        // Without the header the peer speaks for itself.
        let peer_itself = Known(normalise(peer.parse().unwrap()));
        assert_eq!(ask(&clients, peer, XForwardedFor, &[]), peer_itself, "{peer}");
    }
    assert_eq!(ask(&ClientAddresses::default(), "10.1.1.1", XForwardedFor, &lines), known("10.1.1.1"));
}

#[test]
fn x_forwarded_for_is_read_from_the_right_past_trusted_addresses() {
    let clients = behind_proxies(&[XForwardedFor]);
    for (lines, expected) in [
        (&["203.5.76.1"][..], known("203.5.76.1")),
        (&[" \t203.5.76.1 "], known("203.5.76.1")),
        (&["203.5.76.1:4711"], known("203.5.76.1")),
        (&["2a02:8109::1"], known("2a02:8109::1")),
        (&["[2a02:8109::1]"], known("2a02:8109::1")),
        (&["[2a02:8109::1]:443"], known("2a02:8109::1")),
        (&["::ffff:203.5.76.1"], known("203.5.76.1")),
        (&["[::ffff:203.5.76.1]:80"], known("203.5.76.1")),
        // Forged on the left, true on the right.
        (&["8.8.8.8, 203.5.76.1"], known("203.5.76.1")),
        (&["8.8.8.8", "203.5.76.1"], known("203.5.76.1")),
        (&["rubbish, 203.5.76.1"], known("203.5.76.1")),
        (&[", ,,203.5.76.1"], known("203.5.76.1")),
        (&["", "203.5.76.1"], known("203.5.76.1")),
        // Past our own proxies, in every notation, over all lines.
        (&["203.5.76.1, 10.0.0.1"], known("203.5.76.1")),
        (&["8.8.8.8, 203.5.76.1, 198.41.129.9, 10.0.0.1:80"], known("203.5.76.1")),
        (&["8.8.8.8", "203.5.76.1, ::ffff:198.41.129.9", "[fd00::2]:80,10.0.0.1"], known("203.5.76.1")),
        (&["203.5.76.1, 2606:4700::7"], known("203.5.76.1")),
        // Unreadable, hidden, private: unknown, whatever stands left of it.
        (&["203.5.76.1, unknown"], Unknown),
        (&["203.5.76.1, _hidden, 10.0.0.1"], Unknown),
        (&["203.5.76.1, 192.168.0.9"], Unknown),
        (&["203.5.76.1, 127.0.0.1, 10.0.0.1"], Unknown),
        (&["203.5.76.1, 100.64.0.1"], Unknown),
        (&["203.5.76.1, fe80::1"], Unknown),
        (&["203.5.76.1, ::ffff:192.168.0.9"], Unknown),
        (&["203.5.76.1, "], Unknown),
        (&["203.5.76.1", ""], Unknown),
        (&["203.5.76.1, 10.0.0"], Unknown),
        (&["203.5.76.1, 010.0.0.1"], Unknown),
        (&["203.5.76.1, 8.8.8.8:"], Unknown),
        (&["203.5.76.1, 8.8.8.8:+80"], Unknown),
        (&["203.5.76.1, 8.8.8.8:65536"], Unknown),
        (&["203.5.76.1:65535, 10.0.0.1:0"], known("203.5.76.1")),
        (&["203.5.76.1, [2a02::1"], Unknown),
        (&["203.5.76.1, 2a02::1]"], Unknown),
        (&["203.5.76.1, [8.8.8.8]"], Unknown),
        (&["203.5.76.1, [2a02::1]80"], Unknown),
        (&["203.5.76.1, fe80::1%eth0"], Unknown),
        (&["203.5.76.1, 8.8.8.8 9.9.9.9"], Unknown),
        (&["203.5.76.1; 8.8.8.8"], Unknown),
        (&["for=203.5.76.1"], Unknown),
        (&[""], Unknown),
        (&["", ""], Unknown),
        // Our own proxies alone: the leftmost asked, unless nobody knows who that is.
        (&["198.41.129.9, 10.0.0.1"], known("198.41.129.9")),
        (&["10.0.0.1, 198.41.129.9"], Unknown),
        (&["10.0.0.1"], Unknown),
    ] {
        assert_eq!(ask(&clients, "10.9.9.9", XForwardedFor, lines), expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    let clients = behind_proxies(&[Forwarded]);
    for (lines, expected) in [
        (&["for=203.5.76.1"][..], known("203.5.76.1")),
        (&["For=203.5.76.1"], known("203.5.76.1")),
        (&["FOR=\"203.5.76.1\""], known("203.5.76.1")),
        (&["for=\"203.5.76.1:4711\""], known("203.5.76.1")),
        (&["for=\"203.5.76.1:_port\""], known("203.5.76.1")),
        (&["for=\"[2a02:8109::1]\""], known("2a02:8109::1")),
        (&["For=\"[2a02:8109:cafe::17]:4711\""], known("2a02:8109:cafe::17")),
        (&["for=\"[::ffff:203.5.76.1]\""], known("203.5.76.1")),
        (&["for=\"\\203.5.76.\\1\""], known("203.5.76.1")),
        (&["for=203.5.76.1;proto=http;by=203.0.113.43"], known("203.5.76.1")),
        (&["proto=http; by=\"[fd00::1]\" ;for=203.5.76.1;host=\"a,b;c\\\"d\""], known("203.5.76.1")),
        (&["for=203.5.76.1;"], known("203.5.76.1")),
        (&["for=8.8.8.8, for=203.5.76.1"], known("203.5.76.1")),
        (&["for=8.8.8.8", "for=203.5.76.1,for=10.0.0.1"], known("203.5.76.1")),
        (&["for=203.5.76.1;host=\",for=8.8.8.8\", for=\"[fd00::1]\";proto=https"], known("203.5.76.1")),
        (&["for=203.5.76.1, , "], known("203.5.76.1")),
        (&["for=203.5.76.1", ""], known("203.5.76.1")),
        // What a client put on the left does not change how the right is read.
        (&["for=8.8.8.8;x=\", for=203.5.76.1"], known("203.5.76.1")),
        (&["for=8.8.8.8;x=\", for=\"203.5.76.1\""], known("203.5.76.1")),
        (&["for=8.8.8.8;x=\"\\, for=\"203.5.76.1\""], known("203.5.76.1")),
        (&["\"\"\"\\\", for=203.5.76.1"], known("203.5.76.1")),
        // Hidden, private, unreadable.
        (&["for=8.8.8.8, for=unknown"], Unknown),
        (&["for=8.8.8.8, for=\"_gazonk\""], Unknown),
        (&["for=8.8.8.8, for=_SEVKISEK;proto=http, for=10.0.0.1"], Unknown),
        (&["for=8.8.8.8, for=\"unknown:80\""], Unknown),
        (&["for=8.8.8.8, for=192.168.0.9"], Unknown),
        (&["for=8.8.8.8, by=10.0.0.1;proto=http"], Unknown),
        (&["for=8.8.8.8, for=9.9.9.9;for=9.9.9.9"], Unknown),
        (&["for=8.8.8.8, for=\"9.9.9.9"], Unknown),
        (&["for=8.8.8.8, for=9.9.9.9\""], Unknown),
        (&["for=8.8.8.8, for=\"9.9.9.9\\\""], Unknown),
        (&["for=8.8.8.8, for=\"9.9.9.9\"x"], Unknown),
        (&["for=8.8.8.8, for=[2a02::1]"], Unknown),
        (&["for=8.8.8.8, for=9.9.9.9:80"], Unknown),
        (&["for=8.8.8.8, for=\"2a02::1\""], Unknown),
        (&["for=8.8.8.8, for= 9.9.9.9"], Unknown),
        (&["for=8.8.8.8, for =9.9.9.9"], Unknown),
        (&["for=8.8.8.8, for="], Unknown),
        (&["for=8.8.8.8, for"], Unknown),
        (&["for=8.8.8.8, 9.9.9.9"], Unknown),
        (&["for=8.8.8.8, for=9.9.9.9;;x=y"], Unknown),
        (&["for=8.8.8.8, xfor=9.9.9.9"], Unknown),
        (&[""], Unknown),
        (&["for=10.0.0.1"], Unknown),
        (&["for=198.41.129.9, for=10.0.0.1"], known("198.41.129.9")),
    ] {
        assert_eq!(ask(&clients, "10.9.9.9", Forwarded, lines), expected, "{lines:?}");
    }
}

#[test]
fn the_first_kind_in_the_list_that_is_present_counts() {
    let both = |kind| match kind {
        XForwardedFor => vec![&b"203.5.76.1"[..]],
        Forwarded => vec![&b"for=202.166.0.1"[..]],
    };
    let peer = "10.0.0.1".parse().unwrap();
    for (kinds, expected) in [
        (&[XForwardedFor, Forwarded][..], "203.5.76.1"),
        (&[Forwarded, XForwardedFor], "202.166.0.1"),
        (&[Forwarded], "202.166.0.1"),
        (&[], "10.0.0.1"),
    ] {
        assert_eq!(behind_proxies(kinds).resolve(peer, both), known(expected));
    }
    // The second does not stand in for a first one that says nothing.
    let hidden = |kind| match kind {
        XForwardedFor => vec![&b"unknown"[..]],
        Forwarded => vec![&b"for=202.166.0.1"[..]],
    };
    assert_eq!(behind_proxies(&[XForwardedFor, Forwarded]).resolve(peer, hidden), Unknown);
    let only_second = |kind| if kind == Forwarded { vec![&b"for=202.166.0.1"[..]] } else { vec![] };
    assert_eq!(behind_proxies(&[XForwardedFor, Forwarded]).resolve(peer, only_second), known("202.166.0.1"));
}

#[test]
fn the_demo_shows_what_sydney_would_get() {
    let loopback = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap()).to_vec();
    let demo = ClientAddresses::new(loopback, vec![XForwardedFor, Forwarded]);
    for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(ask(&demo, peer, XForwardedFor, &["203.5.76.1"]), known("203.5.76.1"));
        assert_eq!(ask(&demo, peer, Forwarded, &["for=203.5.76.1"]), known("203.5.76.1"));
        assert_eq!(ask(&demo, peer, XForwardedFor, &[]), Known(normalise(peer.parse().unwrap())));
    }
    assert_eq!(ask(&demo, "192.168.1.9", XForwardedFor, &["203.5.76.1"]), known("192.168.1.9"));
}

#[test]
fn people_can_have_private_addresses_where_that_is_said() {
    let clients = behind_proxies(&[XForwardedFor]).with_private_clients(true);
    for (lines, expected) in [
        (&["203.5.76.1, 192.168.0.9"][..], known("192.168.0.9")),
        (&["203.5.76.1, 192.168.0.9, 10.0.0.1"], known("192.168.0.9")),
        (&["10.0.0.1"], known("10.0.0.1")),
        (&["203.5.76.1, unknown"], Unknown),
    ] {
        assert_eq!(ask(&clients, "10.9.9.9", XForwardedFor, lines), expected, "{lines:?}");
    }
}

#[test]
fn a_long_chain_is_no_chain() {
    for (kind, hop) in [(XForwardedFor, "10.0.0.1"), (Forwarded, "for=10.0.0.1")] {
        let clients = behind_proxies(&[kind]);
        let first = if kind == Forwarded { "for=203.5.76.1" } else { "203.5.76.1" };
        let chain = |trusted: usize| format!("{first}{}", format!(", {hop}").repeat(trusted));
        assert_eq!(ask(&clients, "10.9.9.9", kind, &[&chain(63)]), known("203.5.76.1"));
        assert_eq!(ask(&clients, "10.9.9.9", kind, &[&chain(64)]), Unknown);
        assert_eq!(ask(&clients, "10.9.9.9", kind, &[&chain(100_000)]), Unknown);
    }
    let clients = behind_proxies(&[Forwarded]);
    let long = format!("for=203.5.76.1;host=\"{}\"", "x".repeat(2000));
    assert_eq!(ask(&clients, "10.9.9.9", Forwarded, &[&long]), Unknown);
    assert_eq!(ask(&clients, "10.9.9.9", Forwarded, &[&",".repeat(100_000)]), Unknown);
}

#[test]
fn header_kinds_are_known_by_name() {
    for kind in [XForwardedFor, Forwarded] {
        assert_eq!(HeaderKind::parse(kind.name()), Ok(kind));
        assert_eq!(kind.name().to_ascii_uppercase().parse(), Ok(kind));
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(serde_json::from_str::<HeaderKind>(&json).unwrap(), kind);
    }
    for text in ["", "x-real-ip", " forwarded", "xforwardedfor"] {
        assert_eq!(HeaderKind::parse(text), Err(UnknownHeaderKind));
    }
}

proptest! {
    #[test]
    fn any_header_is_read_without_a_panic(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4),
        peer in any::<[u8; 4]>(),
    ) {
        for kind in [XForwardedFor, Forwarded] {
            let everybody = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
            let clients = ClientAddresses::new(everybody, vec![kind]);
            clients.resolve(IpAddr::from(peer), |_| lines.iter().map(Vec::as_slice).collect());
        }
    }

    #[test]
    fn nothing_that_a_client_sends_hides_what_the_proxy_adds(
        sent in "[\"\\\\,;= a-z0-9.:\\[\\]\u{e9}]{0,60}",
        apart in any::<bool>(),
        form in 0..4_usize,
    ) {
        let added = ["for=203.5.76.1", "for=\"203.5.76.1:80\"", "by=\"[fd00::1]\";for=203.5.76.1", "for=203.5.76.1;host=\"a, \\\"b\""][form];
        let joined = format!("{sent}, {added}");
        let lines: Vec<&str> = if apart { vec![&sent, added] } else { vec![&joined] };
        prop_assert_eq!(ask(&behind_proxies(&[Forwarded]), "10.9.9.9", Forwarded, &lines), known("203.5.76.1"));
        let joined = format!("{sent}, 203.5.76.1");
        let lines: Vec<&str> = if apart { vec![&sent, "203.5.76.1"] } else { vec![&joined] };
        prop_assert_eq!(ask(&behind_proxies(&[XForwardedFor]), "10.9.9.9", XForwardedFor, &lines), known("203.5.76.1"));
    }
}
