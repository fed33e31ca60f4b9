//! What every engine must do: each case gets a fresh, empty ledger whose clock it holds.
//!
//! An engine runs all of it with `contract::suite!(new)`, where `new` is a function that
//! gives a [`Fixture`].

#![allow(clippy::unwrap_used, clippy::expect_used)]

pub(super) mod counters;
pub(super) mod decide;
pub(super) mod heal;
pub(super) mod list;
pub(super) mod look_up;
pub(super) mod nodes;
pub(super) mod orders;
pub(super) mod replicas;
pub(super) mod resumable;
pub(super) mod tokens;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::{
    DecideUpload, Decided, Decision, Ledger, NodeRecord, Receipt, RefusedReceipts, ReplicaState, VisibleBlob,
};
use crate::domain::{
    BlobDigests, FileName, KeyId, Label, MediaType, NodeId, Place, Sha1, Sha256, Timestamp, UploadId, Viewer,
};

/// Runs every case as a test of its own.
macro_rules! suite {
    ($new:path) => {
        $crate::ledger::contract::suite!($new =>
            decide::new_content_is_stored_on_the_first_two_nodes,
            decide::a_repeated_upload_gets_the_same_answer_and_draws_nothing,
            decide::a_late_decision_is_refused_unless_it_was_taken_before,
            decide::receipts_that_do_not_fit_are_refused,
            decide::known_content_is_a_duplicate_under_any_name,
            decide::another_content_of_the_same_sha1_is_a_conflict,
            decide::one_of_many_uploads_of_one_content_is_stored,
            decide::many_decisions_at_once_are_all_kept,
            decide::a_receipt_of_an_unknown_node_records_nothing,
            decide::everything_is_there_after_a_restart,
            heal::a_whole_blob_takes_nothing,
            heal::a_blob_that_no_answering_node_has_is_filled_by_the_upload,
            heal::a_bad_replica_is_filled_for_pairs_that_share_two_one_and_no_nodes,
            heal::two_bad_replicas_are_filled_for_pairs_that_share_two_one_and_no_nodes,
            heal::a_replica_on_a_node_that_is_out_is_replaced_and_stays_known,
            heal::a_node_that_is_out_and_sends_again_is_filled,
            heal::healing_repeats_its_answer,
            replicas::a_confirmation_makes_a_replica_stored_and_nothing_undoes_it,
            replicas::what_is_said_of_an_older_decision_changes_nothing,
            replicas::a_bad_replica_can_be_confirmed_again,
            replicas::a_session_is_finished_kept_or_aborted,
            replicas::sessions_of_losers_are_aborted_at_once,
            replicas::a_nodes_pending_replicas_come_oldest_first_once_they_are_old,
            replicas::outcomes_are_forgotten_when_they_are_old,
            resumable::a_resumable_upload_is_found_changed_and_decided,
            resumable::an_upload_that_ended_is_never_decided,
            resumable::uploads_expire_oldest_first,
            resumable::a_sender_has_so_many_unfinished_uploads_at_most,
            look_up::files_are_found_by_blob_name_and_id,
            look_up::sizes_are_seen_once_a_file_has_them,
            look_up::pieces_come_back_in_order,
            look_up::what_is_unknown_is_none,
            look_up::a_closed_ledger_fails,
            nodes::nodes_are_recorded_changed_and_listed_by_id,
            tokens::a_token_is_found_by_its_digest_and_revoked_once,
            tokens::tokens_are_listed_in_the_order_they_were_made_in,
            counters::the_counters_are_what_is_there_after_anything,
            list::files_come_newest_first_in_pages,
            list::pages_stay_stable_while_files_arrive,
            list::a_search_finds_any_part_of_any_length,
            list::a_search_takes_every_character_plainly,
            list::a_search_ignores_case_beyond_ascii,
            list::a_search_agrees_with_reading_every_name,
            orders::every_order_goes_on_from_page_to_page_through_equals,
            orders::a_search_keeps_every_order,
            orders::pages_of_every_order_stay_while_files_arrive,
            orders::a_place_in_another_order_is_refused,
        );
    };
    ($new:path => $($group:ident :: $case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::ledger::contract::$group::$case($new()).await;
            }
        )+
    };
}
pub(super) use suite;

/// A clock that stands until it is moved.
#[derive(Clone)]
pub(super) struct Time(Arc<AtomicI64>);

impl Time {
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_750_000_000_000)))
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// A ledger to be tested.
pub(super) struct Fixture {
    pub ledger: Arc<dyn Ledger>,
    pub time: Time,
    /// Opens the same database again.
    pub open: Box<dyn Fn() -> Arc<dyn Ledger> + Send + Sync>,
    /// What must live as long as the database, such as its folder.
    pub keep: Box<dyn Any + Send + Sync>,
}

pub(super) const DEADLINE: Duration = Duration::from_secs(60);

impl Fixture {
    /// Closes the ledger and opens it again.
    pub async fn reopen(&mut self) {
        self.ledger.close().await;
        self.ledger = (self.open)();
    }

    /// Records this many nodes.
    pub async fn nodes(&self, count: u8) -> Vec<NodeId> {
        let mut ids = Vec::new();
        for i in 1..=count {
            let record = self.node(NodeId::from_bytes([i; 16]));
            ids.push(record.id);
            self.ledger.record_node(record).await.unwrap();
        }
        ids
    }

    pub fn node(&self, id: NodeId) -> NodeRecord {
        NodeRecord { seen_at: self.time.now(), ..node(id) }
    }

    /// A new upload of this content, prepared on these nodes.
    pub fn upload(&self, name: &str, digests: BlobDigests, nodes: &[NodeId]) -> DecideUpload {
        let now = self.time.now();
        let receipt =
            |&node| Receipt { node, digests, verified_at: now, decide_before: now.saturating_add(DEADLINE) };
        DecideUpload {
            upload: UploadId::random(),
            viewer: Viewer::Public,
            name: FileName::parse(name).unwrap(),
            media_type: MediaType::parse("text/plain"),
            receipts: nodes.iter().map(receipt).collect(),
            pieces: vec![digests.sha256],
            answering: (1..=5).map(|i| NodeId::from_bytes([i; 16])).collect(),
        }
    }

    pub async fn decide(&self, upload: &DecideUpload) -> Decision {
        self.ledger.decide_upload(upload.clone()).await.unwrap()
    }

    /// Decides a new upload that must be stored.
    pub async fn store(&self, name: &str, digests: BlobDigests, nodes: &[NodeId]) -> Decided {
        self.decide(&self.upload(name, digests, nodes)).await.stored()
    }

    /// Stores and confirms.
    pub async fn store_whole(&self, name: &str, digests: BlobDigests, nodes: &[NodeId]) -> Decided {
        let decided = self.store(name, digests, nodes).await;
        for &node in &decided.keep {
            self.ledger.confirm_replica(digests.sha1, node, decided.generation).await.unwrap();
        }
        decided
    }

    pub async fn blob(&self, digests: BlobDigests) -> VisibleBlob {
        self.ledger.find_visible(Viewer::Public, digests.sha1).await.unwrap().expect("the blob is known")
    }

    /// The state of each replica, in order of node.
    pub async fn states(&self, digests: BlobDigests) -> Vec<(NodeId, ReplicaState)> {
        self.blob(digests).await.replicas.iter().map(|replica| (replica.node, replica.state)).collect()
    }

    /// Marks the node's replica bad, whatever its generation.
    pub async fn spoil(&self, digests: BlobDigests, node: NodeId) {
        let generation = self.blob(digests).await.generation;
        self.ledger.mark_replica_bad(digests.sha1, node, generation).await.unwrap();
    }
}

/// A node as it may say of itself.
pub(super) fn node(id: NodeId) -> NodeRecord {
    NodeRecord {
        id,
        key_id: KeyId(1),
        place: Place::city("Toronto").unwrap(),
        failure_domain: Label::parse("Toronto").unwrap(),
        public_url: "http://127.0.0.1:8081".to_owned(),
        version: Label::parse("0.1.0").unwrap(),
        seen_at: Timestamp::from_millis(0),
        out: false,
    }
}

/// The content of this number; its size is the number.
pub(super) fn content(number: u64) -> BlobDigests {
    let mut sha1 = [0; 20];
    let mut sha256 = [0; 32];
    // Spread like digests are.
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    sha1[..8].copy_from_slice(&spread);
    sha1[12..].copy_from_slice(&number.to_be_bytes());
    sha256[..8].copy_from_slice(&spread);
    sha256[24..].copy_from_slice(&number.to_be_bytes());
    BlobDigests { sha1: Sha1::new(sha1), sha256: Sha256::new(sha256), size: number }
}

impl Decision {
    #[track_caller]
    pub(super) fn stored(self) -> Decided {
        match self {
            Self::Stored(decided) => decided,
            other => panic!("not stored: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn duplicate(self) -> Decided {
        match self {
            Self::Duplicate(decided) => decided,
            other => panic!("no duplicate: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn refused(self) -> RefusedReceipts {
        match self {
            Self::Refused(refused) => refused,
            other => panic!("not refused: {other:?}"),
        }
    }
}
