#![allow(clippy::unwrap_used)]

use super::*;
use crate::domain::TokenId;
use crate::ledger::{NewToken, SqliteLedger};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn record(scopes: &str) -> TokenRecord {
    TokenRecord {
        id: TokenId::random(),
        name: None,
        scopes: scopes.parse().unwrap(),
        created_at: Timestamp::from_millis(0),
        expires_at: None,
        revoked_at: None,
    }
}

/// What became of it, in a word.
fn word(verdict: &Result<(), Denied>) -> &'static str {
    match verdict {
        Ok(()) => "in",
        Err(Denied::Missing) => "missing",
        Err(Denied::Invalid) => "invalid",
        Err(Denied::Lacking(_)) => "lacking",
        Err(Denied::Ledger(_)) => "failed",
    }
}

#[test]
fn a_token_counts_for_its_scopes_until_its_end() {
    let ended = |at: i64| Some(Timestamp::from_millis(at));
    for (needed, token, verdict) in [
        (&[Scope::Upload][..], None, "invalid"),
        (&[Scope::Upload], Some(record("upload")), "in"),
        (&[Scope::Upload], Some(record("list,read")), "lacking"),
        (&[Scope::List], Some(record("upload,list")), "in"),
        (&[Scope::Upload, Scope::Read], Some(record("read")), "in"),
        (&[Scope::Upload, Scope::Read], Some(record("list")), "lacking"),
        (&[Scope::Admin], Some(record("upload,list,read")), "lacking"),
        (&[Scope::Admin], Some(record("admin")), "in"),
        (&[Scope::Read], Some(record("admin")), "in"),
        (&[Scope::Read], Some(TokenRecord { expires_at: ended(1_000_001), ..record("read") }), "in"),
        (&[Scope::Read], Some(TokenRecord { expires_at: ended(1_000_000), ..record("read") }), "invalid"),
        (&[Scope::Read], Some(TokenRecord { revoked_at: ended(0), ..record("admin") }), "invalid"),
    ] {
        assert_eq!(word(&decide(needed, token.as_ref(), NOW)), verdict, "{needed:?} {token:?}");
    }
}

#[test]
fn what_is_shown_is_nothing_a_token_or_unreadable() {
    let token = Token::random();
    assert_eq!(Shown::read(token.reveal()), Shown::Token(token));
    assert_eq!(Shown::read(" \n"), Shown::Nothing);
    assert_eq!(Shown::read("hunter2"), Shown::Unreadable);
}

#[tokio::test]
async fn the_rules_say_where_a_token_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(&folder.path().join("ledger")).unwrap());
    let token = Token::random();
    let new = NewToken {
        id: TokenId::random(),
        name: None,
        scopes: Scope::List.into(),
        sha256: token.digest(),
        expires_at: None,
    };
    let service = AccessService::new(Arc::clone(&ledger), Access::default(), Vec::new());
    let shown = Shown::Token(token);
    let verdict = |scope, shown| {
        let service = service.clone();
        async move { word(&service.admit(&[scope], &shown).await) }
    };
    assert_eq!(verdict(Scope::List, shown.clone()).await, "invalid");
    ledger.create_token(new.clone()).await.unwrap();
    assert_eq!(verdict(Scope::List, shown.clone()).await, "in", "a new token counts at once");
    assert_eq!(verdict(Scope::Upload, shown.clone()).await, "lacking");
    for (scope, expected) in
        [(Scope::Upload, "missing"), (Scope::List, "missing"), (Scope::Read, "in"), (Scope::Admin, "missing")]
    {
        assert_eq!(verdict(scope, Shown::Nothing).await, expected, "{scope}");
    }
    assert_eq!(verdict(Scope::Upload, Shown::Unreadable).await, "invalid");
    assert_eq!(verdict(Scope::Read, Shown::Unreadable).await, "in", "nobody is asked there");
    assert!(service.is_open(&[Scope::Upload, Scope::Read]) && !service.is_open(&[Scope::Upload]));

    let open = AccessService::new(Arc::clone(&ledger), Access::OPEN, Vec::new());
    assert_eq!(word(&open.admit(&[Scope::Upload], &Shown::Nothing).await), "in");
    assert_eq!(word(&open.admit(&[Scope::Admin], &Shown::Nothing).await), "missing");
    ledger.revoke_token(new.id).await.unwrap();
    let elsewhere = AccessService::new(Arc::clone(&ledger), Access::default(), Vec::new());
    assert_eq!(word(&elsewhere.admit(&[Scope::List], &shown).await), "invalid");
    ledger.close().await;
    assert_eq!(word(&elsewhere.admit(&[Scope::List], &shown).await), "failed");
}

#[test]
fn inside_is_this_machine_and_the_clusters_networks_for_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(SqliteLedger::open(&folder.path().join("ledger")).unwrap());
    let service = AccessService::new(ledger, Access::default(), vec!["10.0.0.0/8".parse().unwrap()]);
    let known = |address: &str| Some(ClientAddress::Known(address.parse().unwrap()));
    for (peer, spoken_for, is_inside) in [
        ("127.0.0.1", None, true),
        ("::1", None, true),
        ("10.1.2.3", None, true),
        ("::ffff:10.1.2.3", None, true),
        ("192.168.0.1", None, false),
        ("203.5.76.1", None, false),
        ("10.1.2.3", known("203.5.76.1"), false),
        ("10.1.2.3", Some(ClientAddress::Unknown), false),
        ("127.0.0.1", known("10.0.0.9"), true),
        ("203.5.76.1", known("10.0.0.9"), false),
    ] {
        assert_eq!(
            service.is_inside(peer.parse().unwrap(), spoken_for),
            is_inside,
            "{peer} for {spoken_for:?}"
        );
    }
}
