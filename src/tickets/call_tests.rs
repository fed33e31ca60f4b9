#![allow(clippy::unwrap_used)]
use super::*;
use crate::tickets::SigningRoot;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn node() -> NodeId {
    NodeId::from_bytes([0xab; 16])
}

fn key(id: u32) -> NodeKey {
    "0123456789abcdef0123456789abcdef".parse::<SigningRoot>().unwrap().node_key(node(), KeyId(id))
}

fn keys() -> NodeKeys {
    NodeKeys::new(vec![key(1)])
}

fn ticket() -> CallTicket {
    CallTicket {
        limit_bytes: 1 << 40,
        declared_bytes: Some(5),
        idle: Duration::from_secs(30),
        ..CallTicket::new(Operation::Write, node(), Some(UploadId::from_bytes([0xcd; 16])), NOW)
    }
}

fn check(header: &str) -> Result<CallTicket, TicketError> {
    CallTicket::verify(header, &keys(), node(), Operation::Write, NOW)
}

const FORBIDDEN: Result<CallTicket, TicketError> = Err(TicketError::Forbidden);

#[test]
fn a_ticket_says_what_was_signed() {
    let header = ticket().sign(&key(1));
    assert!(header.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(check(&header), Ok(ticket()));
    let bare = CallTicket::new(Operation::Write, node(), None, NOW);
    assert_eq!(check(&bare.sign(&key(1))), Ok(bare));
}

#[test]
fn a_changed_byte_anywhere_is_forbidden() {
    let header = ticket().sign(&key(1));
    let late = NOW.saturating_add(Duration::from_millis(1));
    for at in 0..header.len() {
        let (before, after) = (&header[..at], &header[at + 1..]);
        for other in "01aAzZ-_.+/= ".chars().filter(|other| !header[at..].starts_with(*other)) {
            for changed in [format!("{before}{other}{after}"), format!("{before}{other}{}", &header[at..])] {
                assert_eq!(check(&changed), FORBIDDEN, "{changed}");
                let answer = CallTicket::verify(&changed, &keys(), node(), Operation::Write, late);
                assert_eq!(answer, FORBIDDEN, "{changed}");
            }
        }
        assert_eq!(check(&format!("{before}{after}")), FORBIDDEN);
        assert_eq!(check(before), FORBIDDEN);
    }
    for other in [
        format!("{header}."),
        format!("{header}.1"),
        format!("{header}="),
        format!("{header} "),
        header.to_uppercase(),
    ] {
        assert_eq!(check(&other), FORBIDDEN, "{other}");
    }
}

#[test]
fn every_field_is_signed() {
    let changes: [fn(&mut CallTicket); 11] = [
        |ticket| ticket.operation = Operation::Finish,
        |ticket| ticket.node = NodeId::from_bytes([0xac; 16]),
        |ticket| ticket.upload = None,
        |ticket| ticket.upload = Some(UploadId::from_bytes([0xce; 16])),
        |ticket| ticket.limit_bytes += 1,
        |ticket| ticket.declared_bytes = None,
        |ticket| ticket.declared_bytes = Some(6),
        |ticket| ticket.idle += Duration::from_millis(1),
        |ticket| ticket.body_sha256 = Some([0; 32]),
        |ticket| *ticket = ticket.clone().with_body(b""),
        |ticket| ticket.expires = ticket.expires.saturating_add(Duration::from_millis(1)),
    ];
    let header = ticket().sign(&key(1));
    let mac = header.rsplit_once('.').unwrap().1;
    for (at, change) in changes.iter().enumerate() {
        let mut changed = ticket();
        change(&mut changed);
        let signed = changed.sign(&key(1));
        let (fields, own) = signed.rsplit_once('.').unwrap();
        assert_ne!(own, mac, "{at}");
        let forged = format!("{fields}.{mac}");
        let answer = CallTicket::verify(&forged, &keys(), changed.node, changed.operation, NOW);
        assert_eq!(answer, FORBIDDEN, "{at}");
        // With its own signature it says what it says.
        let answer = CallTicket::verify(&signed, &keys(), changed.node, changed.operation, NOW);
        assert_eq!(answer, Ok(changed), "{at}");
    }
}

#[test]
fn it_is_for_one_operation_on_one_node() {
    let operations = Operation::ALL.map(|(operation, _)| operation);
    for signed in operations {
        let header = CallTicket { operation: signed, ..ticket() }.sign(&key(1));
        for asked in operations {
            let answer = CallTicket::verify(&header, &keys(), node(), asked, NOW);
            assert_eq!(answer.is_ok(), asked == signed, "{signed:?} {asked:?}");
        }
    }
    let header = ticket().sign(&key(1));
    let other = NodeId::from_bytes([1; 16]);
    assert_eq!(CallTicket::verify(&header, &keys(), other, Operation::Write, NOW), FORBIDDEN);
    let foreign = "fedcba9876543210fedcba9876543210".parse::<SigningRoot>().unwrap();
    for key in [foreign.node_key(node(), KeyId(1)), key(2)] {
        assert_eq!(check(&ticket().sign(&key)), FORBIDDEN);
    }
}

#[test]
fn it_expires_after_its_last_millisecond_and_only_a_right_one_says_so() {
    let header = ticket().sign(&key(1));
    let late = NOW.saturating_add(Duration::from_millis(1));
    let at = |header: &str, operation, now| CallTicket::verify(header, &keys(), node(), operation, now);
    assert!(at(&header, Operation::Write, NOW).is_ok());
    assert_eq!(at(&header, Operation::Write, late), Err(TicketError::Expired));
    assert_eq!(at(&header, Operation::Abort, late), FORBIDDEN);
    assert_eq!(at(&ticket().sign(&key(2)), Operation::Write, late), FORBIDDEN);
}

#[test]
fn two_keys_can_live_at_once() {
    let both = NodeKeys::new(vec![key(1), key(2)]);
    for id in [1, 2] {
        let header = ticket().sign(&key(id));
        assert_eq!(CallTicket::verify(&header, &both, node(), Operation::Write, NOW), Ok(ticket()));
        let swapped = header.replacen(&format!("1.{id}."), &format!("1.{}.", 3 - id), 1);
        assert_eq!(CallTicket::verify(&swapped, &both, node(), Operation::Write, NOW), FORBIDDEN);
        for spelling in ["+1", "01", "1 "] {
            let other = header.replacen(&format!("1.{id}."), &format!("1.{spelling}."), 1);
            assert_eq!(CallTicket::verify(&other, &both, node(), Operation::Write, NOW), FORBIDDEN);
        }
    }
}

#[test]
fn a_body_is_the_one_that_was_signed() {
    let with = ticket().with_body(b"{}");
    assert!(with.permits_body(b"{}"));
    assert!(!with.permits_body(b"") && !with.permits_body(b"{} "));
    assert!(!ticket().permits_body(b""), "a ticket without a body permits none");
}

proptest! {
    #[test]
    fn any_ticket_comes_back(limit: u64, declared: Option<u64>, idle_ms: u64, expires: i64, upload: Option<[u8; 16]>, body: Option<[u8; 32]>) {
        let given = CallTicket {
            limit_bytes: limit,
            declared_bytes: declared,
            idle: Duration::from_millis(idle_ms),
            expires: Timestamp::from_millis(expires),
            upload: upload.map(UploadId::from_bytes),
            body_sha256: body,
            ..ticket()
        };
        let now = Timestamp::from_millis(i64::MIN);
        let answer = CallTicket::verify(&given.sign(&key(1)), &keys(), node(), Operation::Write, now);
        prop_assert_eq!(answer, Ok(given));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text: String, fields in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert_eq!(check(&text), FORBIDDEN);
        // Rubbish under a right signature, as of a later version.
        let mac = URL_SAFE_NO_PAD.encode(key(1).mac(&fields));
        prop_assert_eq!(check(&format!("1.1.{}.{mac}", URL_SAFE_NO_PAD.encode(&fields))), FORBIDDEN);
    }
}
