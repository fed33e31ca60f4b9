//! Tokens.

use std::time::Duration;

use super::super::{NewToken, TokenRecord};
use super::Fixture;
use crate::domain::{Label, Sha256, Token, TokenId};

fn token(name: Option<&str>, scopes: &str) -> NewToken {
    NewToken {
        id: TokenId::random(),
        name: name.map(|name| Label::parse(name).unwrap()),
        scopes: scopes.parse().unwrap(),
        sha256: Token::random().digest(),
        expires_at: None,
    }
}

pub async fn a_token_is_found_by_its_digest_and_revoked_once(mut t: Fixture) {
    let made_at = t.time.now();
    let expires_at = made_at.saturating_add(Duration::from_secs(60));
    let new = NewToken { expires_at: Some(expires_at), ..token(Some("build server"), "upload,read") };
    assert_eq!(t.ledger.find_token(new.sha256).await.unwrap(), None);
    t.ledger.create_token(new.clone()).await.unwrap();
    let found = TokenRecord {
        id: new.id,
        name: new.name.clone(),
        scopes: new.scopes.clone(),
        created_at: made_at,
        expires_at: Some(expires_at),
        revoked_at: None,
    };
    assert_eq!(t.ledger.find_token(new.sha256).await.unwrap().as_ref(), Some(&found));
    assert_eq!(t.ledger.find_token(Sha256::new([0; 32])).await.unwrap(), None);
    assert!(found.is_good(t.time.now()) && !found.is_good(expires_at));

    t.time.advance(Duration::from_secs(5));
    t.ledger.create_token(new.clone()).await.unwrap();
    assert_eq!(
        t.ledger.list_tokens().await.unwrap(),
        std::slice::from_ref(&found),
        "repeating it changes nothing"
    );

    assert_eq!(t.ledger.revoke_token(TokenId::random()).await.unwrap(), None);
    let revoked = TokenRecord { revoked_at: Some(t.time.now()), ..found };
    assert_eq!(t.ledger.revoke_token(new.id).await.unwrap().as_ref(), Some(&revoked));
    assert!(!revoked.is_good(made_at));
    t.time.advance(Duration::from_secs(5));
    assert_eq!(t.ledger.revoke_token(new.id).await.unwrap().as_ref(), Some(&revoked), "the first time stays");
    t.reopen().await;
    assert_eq!(t.ledger.find_token(new.sha256).await.unwrap(), Some(revoked));
}

pub async fn tokens_are_listed_in_the_order_they_were_made_in(t: Fixture) {
    assert_eq!(t.ledger.list_tokens().await.unwrap(), []);
    let mut made = Vec::new();
    for (name, scopes) in [(Some("z"), "admin"), (None, "list"), (Some("a"), "upload,list,read,admin")] {
        let new = token(name, scopes);
        made.push((new.id, new.name.clone(), scopes.to_owned()));
        t.ledger.create_token(new).await.unwrap();
    }
    let listed = t.ledger.list_tokens().await.unwrap();
    let listed: Vec<_> =
        listed.into_iter().map(|token| (token.id, token.name, token.scopes.to_string())).collect();
    assert_eq!(listed, made);
}
