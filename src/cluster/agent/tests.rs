#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::cluster::http::http_client;
use crate::cluster::testing::{FakeCentral, join_secret};
use crate::domain::{KeyId, Timestamp};
use crate::tickets;

const ACTIVITY: Activity =
    Activity { receiving: 1, sending: 2, received_bytes_per_s: 3, sent_bytes_per_s: 4 };
const VITALS: Vitals = Vitals { total_bytes: 100, free_bytes: 50, sessions: 1, activity: ACTIVITY };

struct Test {
    central: FakeCentral,
    dir: TempDir,
    keys: SharedKeys,
    clock: LedgerClock,
}

impl Test {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { central: FakeCentral::start(), dir, keys: SharedKeys::new(), clock: LedgerClock::new() }
    }

    /// The agent of this folder, as after a restart.
    fn agent(&self) -> Agent {
        self.agent_with(join_secret())
    }

    fn agent_with(&self, join_secret: JoinSecret) -> Agent {
        self.agent_of(join_secret.into())
    }

    fn agent_of(&self, join_secret: tickets::Rotating<JoinSecret>) -> Agent {
        let options = AgentOptions {
            central_url: self.central.url.clone(),
            join_secret: SharedSecret::new(join_secret),
            place: Place::city("toronto").unwrap(),
            failure_domain: Label::parse("one").unwrap(),
            public_url: "http://node.example:81/".parse().unwrap(),
            internal_port: 81,
            internal_address: None,
            tls_port: Some(443),
            version: Label::parse("1.2.3").unwrap(),
        };
        let file = IdentityFile::new(self.dir.path());
        Agent::new(options, http_client().unwrap(), file, self.keys.clone(), self.clock.clone()).unwrap()
    }
}

#[tokio::test]
async fn a_node_joins_once_and_comes_back_as_itself() {
    let test = Test::new();
    let agent = test.agent();
    assert!(agent.identity().is_none());
    let identity = agent.join().await.unwrap();
    let key = test.central.root.node_key(identity.node, KeyId(1));
    assert_eq!(identity.newest_key(), Some(&key));
    assert_eq!(test.keys.get().newest(), Some(&key));
    assert!(!identity.has_store);
    agent.store_is_open().await.unwrap();
    let again = test.agent().identity().unwrap();
    assert_eq!((again.node, again.cluster, again.has_store), (identity.node, identity.cluster, true));
    // It proves its key when it joins again.
    assert_eq!(test.agent().join().await.unwrap().node, identity.node);
}

#[tokio::test]
async fn a_join_without_the_secret_gives_no_identity() {
    let test = Test::new();
    let agent = test.agent_with("another secret of 32 characters!".parse().unwrap());
    assert!(matches!(agent.join().await, Err(AgentError::Refused { status: 403, .. })));
    // A central without the secret cannot seal a key that opens.
    assert!(agent.identity().is_none() && test.keys.get().newest().is_none());
    assert!(!test.dir.path().join("identity.json").exists());
}

#[tokio::test]
async fn a_join_whose_answer_was_lost_is_repeated_as_another_node() {
    let test = Test::new();
    let agent = test.agent();
    test.central.script().loses_joins = true;
    assert!(agent.join().await.is_err());
    test.central.script().loses_joins = false;
    // The lost id is bound to a key that nobody has.
    let identity = agent.join().await.unwrap();
    assert_ne!(test.central.script().joins[0].node, identity.node);
}

#[tokio::test]
async fn a_beat_teaches_the_time_and_rises() {
    let test = Test::new();
    let agent = test.agent();
    // It joins by itself.
    let answer = agent.beat(VITALS).await.unwrap();
    assert_eq!(answer.epoch, 3);
    let now = test.clock.now().unwrap();
    assert!(now.since(answer.ledger_time).as_secs() < 60 && now >= answer.ledger_time);
    agent.beat(VITALS).await.unwrap();
    agent.goodbye(VITALS).await.unwrap();
    test.agent().beat(VITALS).await.unwrap();
    let script = test.central.script();
    let seen: Vec<_> =
        script.beats.iter().map(|beat| (beat.sequence, beat.goodbye, beat.highest_epoch)).collect();
    assert_eq!(seen, [(1, false, 0), (2, false, 3), (3, true, 3), (1, false, 3)]);
    let [first, .., last] = &script.beats[..] else { panic!() };
    assert_eq!(first.node, last.node);
    assert_ne!(first.boot, last.boot);
    assert_eq!(
        (&*first.public_url, first.free_bytes, first.internal_port),
        ("http://node.example:81", 50, 81)
    );
    assert_eq!(script.joins.len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_centrals_teaches_nothing() {
    let test = Test::new();
    let agent = test.agent();
    agent.join().await.unwrap();
    test.central.script().forges = true;
    assert!(matches!(agent.beat(VITALS).await, Err(AgentError::BadAnswer(_))));
    assert_eq!(test.clock.now(), None);
    assert_eq!(agent.identity().unwrap().highest_epoch, 0);
    test.central.script().forges = false;
    agent.beat(VITALS).await.unwrap();
    assert!(test.clock.now().is_some());
}

#[tokio::test]
async fn a_node_whose_key_is_no_longer_taken_joins_again_and_keeps_the_old_one() {
    let test = Test::new();
    let agent = test.agent();
    agent.beat(VITALS).await.unwrap();
    test.central.script().key_id = KeyId(2);
    agent.beat(VITALS).await.unwrap();
    let keys = test.keys.get();
    assert_eq!(keys.newest().unwrap().id(), KeyId(2));
    assert!(keys.get(KeyId(1)).is_some());
    let script = test.central.script();
    assert_eq!(script.joins.len(), 2);
    assert_eq!((script.joins[0].key_id, script.joins[1].key_id), (None, Some(KeyId(1))));
}

#[tokio::test]
async fn an_older_epoch_is_kept_going_with_and_the_highest_is_remembered() {
    let test = Test::new();
    let agent = test.agent();
    agent.beat(VITALS).await.unwrap();
    {
        let mut script = test.central.script();
        script.epoch = 2;
        script.ledger_time = Timestamp::from_millis(1_900_000_000_000);
    }
    assert_eq!(agent.beat(VITALS).await.unwrap().epoch, 2);
    assert!(test.clock.now().unwrap() >= Timestamp::from_millis(1_900_000_000_000));
    assert_eq!(test.agent().identity().unwrap().highest_epoch, 3);
}

#[tokio::test]
async fn another_cluster_is_refused_by_the_node() {
    let test = Test::new();
    test.agent().join().await.unwrap();
    test.central.script().cluster = crate::domain::ClusterId::random();
    let error = test.agent().join().await.unwrap_err();
    assert!(matches!(error, AgentError::ForeignCluster { .. }) && !error.can_pass());
}

#[tokio::test]
async fn a_central_that_is_gone_is_unreachable() {
    let test = Test::new();
    let agent = test.agent();
    agent.beat(VITALS).await.unwrap();
    test.central.stop().await;
    // A connection that it still has may be answered once more.
    let gone = async {
        loop {
            if let Err(error) = agent.beat(VITALS).await {
                break error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert!(matches!(error, AgentError::Unreachable(_)) && error.can_pass(), "{error}");
}

#[tokio::test]
async fn a_newer_key_is_fetched_beside_the_old_one_which_ends_with_what_it_signed() {
    let test = Test::new();
    let agent = test.agent();
    agent.beat(VITALS).await.unwrap();
    {
        let mut script = test.central.script();
        script.newer_key = Some(KeyId(7));
        script.loses_joins = true;
        script.former_key_lives_ms = Some(3_600_000);
    }
    // Without the newer key it goes on with the one it has.
    agent.beat(VITALS).await.unwrap();
    assert_eq!(test.keys.get().newest().unwrap().id(), KeyId(1));
    {
        let mut script = test.central.script();
        script.loses_joins = false;
        script.key_id = KeyId(7);
    }
    agent.beat(VITALS).await.unwrap();
    let keys = test.keys.get();
    assert_eq!(keys.newest().unwrap().id(), KeyId(7));
    assert!(keys.get(KeyId(1)).is_some(), "links under it are of use for an hour");
    let joins = test.central.script().joins.len();
    {
        let mut script = test.central.script();
        script.newer_key = None;
        script.former_key_lives_ms = None;
    }
    agent.beat(VITALS).await.unwrap();
    assert!(test.keys.get().get(KeyId(1)).is_some(), "a central of before does not say when they end");
    test.central.script().former_key_lives_ms = Some(0);
    agent.beat(VITALS).await.unwrap();
    assert!(test.keys.get().get(KeyId(1)).is_none());
    assert_eq!(agent.identity().unwrap().keys.len(), 1);
    assert_eq!(test.central.script().joins.len(), joins, "it joined once for it");
}

#[tokio::test]
async fn a_node_proves_the_former_join_secret_where_central_does_not_know_the_new_one_yet() {
    let test = Test::new();
    let both = format!("{}\nformer: {}", "n".repeat(32), "a secret of thirty-two characters");
    let agent = test.agent_of(both.parse().unwrap());
    agent.join().await.unwrap();
    assert_eq!(test.central.script().joins.len(), 2);
}

#[tokio::test]
async fn a_central_of_0_1_is_told_what_it_knows_and_a_later_one_where_tls_is() {
    let test = Test::new();
    let agent = test.agent();
    agent.beat(VITALS).await.unwrap();
    test.central.script().reads_more = true;
    // It is told at once, and calls no longer plainly.
    agent.beat(VITALS).await.unwrap();
    let said = |test: &Test| {
        let script = test.central.script();
        script.beats.iter().map(|beat| (beat.reads_more, beat.tls_port)).collect::<Vec<_>>()
    };
    assert_eq!(said(&test), [(false, None), (false, None), (true, Some(443))]);
    // Nobody on the way can make it leave out the port by a refusal.
    test.central.script().refuses_beats = true;
    assert!(matches!(agent.beat(VITALS).await, Err(AgentError::Refused { status: 400, .. })));
    test.central.script().refuses_beats = false;
    agent.beat(VITALS).await.unwrap();
    assert_eq!(said(&test).last(), Some(&(true, Some(443))));
}
