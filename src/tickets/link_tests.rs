#![allow(clippy::unwrap_used)]
use super::*;
use crate::tickets::SigningRoot;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const HOUR_MS: i64 = 3_600_000;

fn expiry(now: Timestamp) -> Timestamp {
    link_expiry(now, Duration::from_hours(12), Duration::from_hours(6))
}

fn root() -> SigningRoot {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

fn node() -> NodeId {
    NodeId::from_bytes([0xab; 16])
}

fn key(id: u32) -> NodeKey {
    root().node_key(node(), KeyId(id))
}

fn keys() -> NodeKeys {
    NodeKeys::new(vec![key(1)])
}

fn attachment(media_type: &str) -> Disposition {
    Disposition::Attachment(MediaType::parse(media_type))
}

fn inline(media_type: &str) -> Disposition {
    Disposition::Inline(InlineType::parse(media_type).unwrap())
}

fn ticket() -> LinkTicket {
    LinkTicket {
        node: node(),
        sha1: Sha1::new([0xcd; 20]),
        name: FileName::parse("häuser & co/mp 1.txt").unwrap(),
        disposition: attachment("text/plain; charset=utf-8"),
        generation: Generation { epoch: 1, number: 7 },
        expires: expiry(NOW),
    }
}

/// A link taken apart as a node's server takes it apart: digest, name, query.
fn parts(link: &str) -> (String, String, String) {
    let (path, query) = link.split_once('?').unwrap();
    let (sha1, name) = path.strip_prefix("/b/").unwrap().split_once('/').unwrap();
    (sha1.to_owned(), name.to_owned(), query.to_owned())
}

fn check(link: &str, now: Timestamp) -> Result<LinkTicket, TicketError> {
    let (sha1, name, query) = parts(link);
    LinkTicket::verify(&sha1, &name, &query, &keys(), node(), now)
}

#[test]
fn a_link_says_what_was_signed() {
    let link = ticket().sign(&key(1));
    assert_eq!(check(&link, NOW), Ok(ticket()));
    assert!(link.is_ascii() && !link.contains([' ', '"', '<', '\\']), "{link}");
    assert_eq!(link, ticket().sign(&key(1)), "the same link repeats");
}

#[test]
fn each_parameter_counts() {
    let link = ticket().sign(&key(1));
    let (sha1, name, query) = parts(&link);
    let forbidden = |query: &str| {
        for now in [NOW, ticket().expires.saturating_add(Duration::from_millis(1))] {
            let answer = LinkTicket::verify(&sha1, &name, query, &keys(), node(), now);
            assert_eq!(answer, Err(TicketError::Forbidden), "{query}");
        }
    };
    let pairs: Vec<(&str, &str)> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    assert_eq!(pairs.len(), 8);
    let joined = |pairs: &[String]| pairs.join("&");
    let plain: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for (at, (name, value)) in pairs.iter().enumerate() {
        let with = |new: String| {
            let mut changed = plain.clone();
            changed[at] = new;
            joined(&changed)
        };
        // Every character of the value replaced, in other ways that look alike, or taken out.
        for (from, c) in value.char_indices() {
            let (before, after) = (&value[..from], &value[from + 1..]);
            for other in ['0', '1', 'a', 'A', '_', '%', '+'] {
                if other != c {
                    forbidden(&with(format!("{name}={before}{other}{after}")));
                }
            }
            forbidden(&with(format!("{name}={before}{after}")));
            forbidden(&with(format!("{name}={before}%{:02X}{after}", u32::from(c))));
            forbidden(&with(format!("{name}={before}%{:02x}{after}", u32::from(c))));
        }
        for other in [
            String::new(),
            (*name).to_owned(),
            format!("{name}="),
            format!("{}={value}", name.to_uppercase()),
            format!("%{:02x}={value}", name.as_bytes()[0]),
            format!("{name}={value}="),
            format!("{name}={value}%00"),
            format!("{name}={value}%20"),
            format!("{name}=%20{value}"),
            format!("{name}=+{value}"),
            format!("{name}=0{value}"),
            format!("{name}={}", value.to_uppercase() + "x"),
            format!("{name}={value}&{name}={value}"),
            format!("{name}={value};{name}={value}"),
        ] {
            forbidden(&with(other));
        }
        let upper = value.to_uppercase();
        if upper != *value {
            forbidden(&with(format!("{name}={upper}")));
        }
        let mut without = plain.clone();
        without.remove(at);
        forbidden(&joined(&without));
        forbidden(&format!("{query}&{name}={value}"));
        forbidden(&format!("{name}={value}&{query}"));
    }
    for other in [
        String::new(),
        "&".to_owned(),
        format!("{query}&"),
        format!("&{query}"),
        format!("{query}&x=1"),
        format!("{query}&download"),
        format!("{query}#"),
        format!("?{query}"),
        query.replace('&', "&&"),
        query.replace("%2F", "/"),
        query.replace("%2F", "%2f"),
        query.replace("%20", "+"),
        query.replace("%3B%20", "%3B"),
        joined(&plain.iter().rev().cloned().collect::<Vec<_>>()),
    ] {
        forbidden(&other);
    }
}

#[test]
fn the_path_counts() {
    let (sha1, name, query) = parts(&ticket().sign(&key(1)));
    let check = |sha1: &str, name: &str| LinkTicket::verify(sha1, name, &query, &keys(), node(), NOW);
    for at in 0..sha1.len() {
        let mut changed = sha1.clone();
        changed.replace_range(at..=at, "0");
        assert_eq!(check(&changed, &name), Err(TicketError::Forbidden));
    }
    for other in
        [sha1.to_uppercase(), sha1[..39].to_owned(), format!("{sha1}0"), format!("%63{}", &sha1[1..])]
    {
        assert_eq!(check(&other, &name), Err(TicketError::Forbidden), "{other}");
    }
    for other in [
        "",
        "other.txt",
        &name.to_uppercase(),
        &name[1..],
        &format!("{name}x"),
        &format!("{name}%00"),
        &format!("{name}/"),
        &format!("folder/{name}"),
        &format!("folder%2F{name}"),
        &format!("folder%5C{name}"),
        &format!("%2e%2e%2F{name}"),
        &name.replace('%', "%25"),
        "%ff",
    ] {
        assert_eq!(check(&sha1, other), Err(TicketError::Forbidden), "{other}");
    }
    // The same name escaped in another manner is the same name.
    assert_eq!(check(&sha1, &name.replace("%20", " ")), Ok(ticket()));
    assert_eq!(check(&sha1, &name.replace('m', "%6d")), Ok(ticket()));
}

#[test]
fn what_is_signed_holds_every_field() {
    let changes: [fn(&mut LinkTicket); 9] = [
        |ticket| ticket.node = NodeId::from_bytes([0xac; 16]),
        |ticket| ticket.sha1 = Sha1::new([0xce; 20]),
        |ticket| ticket.name = FileName::parse("other").unwrap(),
        |ticket| ticket.disposition = attachment("text/html"),
        |ticket| ticket.disposition = inline("text/plain; charset=utf-8"),
        |ticket| ticket.disposition = inline("image/png"),
        |ticket| ticket.generation.epoch += 1,
        |ticket| ticket.generation.number += 1,
        |ticket| ticket.expires = ticket.expires.saturating_add(Duration::from_millis(1)),
    ];
    let mac = |link: &str| link.rsplit_once("&s=").unwrap().1.to_owned();
    let right = mac(&ticket().sign(&key(1)));
    for (at, change) in changes.iter().enumerate() {
        let mut changed = ticket();
        change(&mut changed);
        let link = changed.sign(&key(1));
        assert_ne!(mac(&link), right, "{at}");
        // Its own link under the first one's signature.
        let forged = link.replace(&mac(&link), &right);
        let (sha1, name, query) = parts(&forged);
        let answer = LinkTicket::verify(&sha1, &name, &query, &keys(), changed.node, NOW);
        assert_eq!(answer, Err(TicketError::Forbidden), "{at}");
    }
}

#[test]
fn it_has_expired_from_the_next_millisecond_on() {
    let link = ticket().sign(&key(1));
    let expires = ticket().expires;
    let one = Duration::from_millis(1);
    assert!(check(&link, expires).is_ok());
    assert_eq!(check(&link, expires.saturating_add(one)), Err(TicketError::Expired));
    assert!(check(&link, Timestamp::from_millis(0)).is_ok());
    // A wrong one does not tell that it has expired, also at another node or of another key.
    let late = expires.saturating_add(one);
    assert_eq!(check(&ticket().sign(&key(2)), late), Err(TicketError::Forbidden));
    let (sha1, name, query) = parts(&link);
    let elsewhere = NodeId::from_bytes([1; 16]);
    let answer = LinkTicket::verify(&sha1, &name, &query, &keys(), elsewhere, late);
    assert_eq!(answer, Err(TicketError::Forbidden));
}

#[test]
fn another_node_does_not_take_it() {
    let (sha1, name, query) = parts(&ticket().sign(&key(1)));
    let other = NodeId::from_bytes([1; 16]);
    let other_keys = NodeKeys::new(vec![root().node_key(other, KeyId(1))]);
    for (keys, node) in [(&other_keys, other), (&other_keys, node()), (&keys(), other)] {
        let answer = LinkTicket::verify(&sha1, &name, &query, keys, node, NOW);
        assert_eq!(answer, Err(TicketError::Forbidden));
    }
    // Nor can that node make one for this one, nor one with another root.
    for key in [
        root().node_key(other, KeyId(1)),
        "another root, as long as 32 bytes".parse::<SigningRoot>().unwrap().node_key(node(), KeyId(1)),
    ] {
        assert_eq!(check(&ticket().sign(&key), NOW), Err(TicketError::Forbidden));
    }
}

#[test]
fn two_keys_can_live_at_once() {
    let (old, new) = (ticket().sign(&key(1)), ticket().sign(&key(2)));
    let check = |link: &str, keys: &NodeKeys| {
        let (sha1, name, query) = parts(link);
        LinkTicket::verify(&sha1, &name, &query, keys, node(), NOW)
    };
    let both = NodeKeys::new(vec![key(1), key(2)]);
    let only_new = NodeKeys::new(vec![key(2)]);
    assert_eq!((check(&old, &both), check(&new, &both)), (Ok(ticket()), Ok(ticket())));
    assert_eq!(check(&old, &only_new), Err(TicketError::Forbidden));
    assert_eq!(check(&new, &only_new), Ok(ticket()));
    // The key id in a link chooses the key: the other's does not fit.
    assert_eq!(check(&old.replace("&k=1&", "&k=2&"), &both), Err(TicketError::Forbidden));
    assert_eq!(check(&old, &NodeKeys::default()), Err(TicketError::Forbidden));
    assert_eq!(both.newest().unwrap().id(), KeyId(2));
}

#[test]
fn a_link_for_showing_holds_its_type() {
    let types = ["image/png", "video/mp4", "text/plain; charset=utf-8", "application/pdf"];
    for media_type in types {
        let given = LinkTicket { disposition: inline(media_type), ..ticket() };
        let link = given.sign(&key(1));
        assert_eq!(check(&link, NOW), Ok(given));
        // Neither into another type nor into the other disposition, in either direction.
        let shown = format!("&d=inline&m={}&", utf8_percent_encode(media_type, ESCAPED));
        assert!(link.contains(&shown), "{link}");
        for other in
            types.into_iter().filter(|other| *other != media_type).chain(["text/html", "image/svg+xml"])
        {
            let other =
                link.replace(&shown, &format!("&d=inline&m={}&", utf8_percent_encode(other, ESCAPED)));
            assert_ne!(other, link);
            assert_eq!(check(&other, NOW), Err(TicketError::Forbidden), "{other}");
        }
        assert_eq!(check(&link.replace("&d=inline&", "&d=attachment&"), NOW), Err(TicketError::Forbidden));
        let saved = LinkTicket { disposition: attachment(media_type), ..ticket() }.sign(&key(1));
        assert!(check(&saved, NOW).is_ok());
        assert_eq!(check(&saved.replace("&d=attachment&", "&d=inline&"), NOW), Err(TicketError::Forbidden));
    }
}

#[test]
fn a_right_signature_does_not_show_what_must_not_be_shown() {
    // As a central would sign it that knows another list: the node refuses by its own.
    let signed = |disposition: &str, media_type: &str| {
        let mac = URL_SAFE_NO_PAD.encode(key(1).mac(&ticket().message_as(disposition, media_type)));
        let link = ticket().sign(&key(1));
        let (before, _) = link.split_once("&d=").unwrap();
        check(
            &format!("{before}&d={disposition}&m={}&s={mac}", utf8_percent_encode(media_type, ESCAPED)),
            NOW,
        )
    };
    assert_eq!(signed("inline", "image/png").map(|ticket| ticket.disposition), Ok(inline("image/png")));
    assert!(signed("attachment", "text/html").is_ok());
    for media_type in [
        "text/html",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "application/xhtml+xml",
        "application/octet-stream",
        "text/plain",
        "text/plain; charset=utf-7",
        "IMAGE/PNG",
        "",
    ] {
        assert_eq!(signed("inline", media_type), Err(TicketError::Forbidden), "{media_type}");
    }
    assert_eq!(signed("Inline", "image/png"), Err(TicketError::Forbidden));
}

proptest! {
    #[test]
    fn any_name_and_type_come_back(name in any::<String>(), media in any::<String>(), expires in any::<i64>(), epoch: u64, number: u64) {
        let Ok(name) = FileName::parse(&name) else { return Ok(()) };
        let expires = Timestamp::from_millis(expires);
        let given = LinkTicket { name, disposition: attachment(&media), expires, generation: Generation { epoch, number }, ..ticket() };
        let link = given.sign(&key(1));
        prop_assert!(link.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert_eq!(check(&link, Timestamp::from_millis(i64::MIN)), Ok(given));
    }

    #[test]
    fn any_media_type_that_can_be_comes_back(essence in "[a-z!#$&^_.+-]{1,20}/[A-Za-z0-9.+-]{1,20}", parameters in "(; ?[ -~]{0,40}){0,2}") {
        let given = LinkTicket { disposition: attachment(&(essence + &parameters)), ..ticket() };
        prop_assert_eq!(check(&given.sign(&key(1)), NOW), Ok(given));
    }

    #[test]
    fn any_text_is_read_without_a_panic(sha1: String, name: String, query in "([vkngedmsx]=[ -~]{0,9}&?){0,9}") {
        let answer = LinkTicket::verify(&sha1, &name, &query, &keys(), node(), NOW);
        prop_assert_eq!(answer, Err(TicketError::Forbidden));
    }

    #[test]
    fn a_link_lives_12_to_18_hours_in_steps_of_6(now in 0..4_000_000_000_000_i64) {
        let expiry = self::expiry(Timestamp::from_millis(now)).as_millis();
        prop_assert_eq!(expiry % (6 * HOUR_MS), 0);
        prop_assert!((12 * HOUR_MS..18 * HOUR_MS).contains(&(expiry - now)));
    }
}

#[test]
fn a_link_repeats_until_its_step_is_over() {
    let at = |ms: i64| expiry(Timestamp::from_millis(ms)).as_millis();
    let step = 6 * HOUR_MS;
    assert_eq!(at(0), 2 * step);
    assert_eq!(at(1), 3 * step);
    assert_eq!(at(step), 3 * step);
    assert_eq!(at(step + 1), 4 * step);
    assert_eq!(at(-1), 2 * step);
    // No clock makes it wrap.
    assert!(at(i64::MAX) > 0 && at(i64::MIN) < 0);
}
