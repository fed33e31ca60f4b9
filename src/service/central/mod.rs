//! Central's use cases: precheck, upload and its completion, link, list and detail, and
//! what nodes ask of central.

pub mod access;
pub mod catalog;
pub mod complete;
pub mod control;
pub mod finisher;
pub mod link;
mod pace;
pub mod resumable;
mod slots;
mod transfer;
pub mod upload;

use crate::domain::Generation;
use crate::wire::PROTOCOL;
use crate::wire::node::{FileOnBlob, FinishRequest};

// What the services answer with, for the adapters, which know no ledger and no GeoIP database.
pub use crate::geo::{ClientAddress, ClientAddresses, KnownBy, Origin, is_near};
pub use crate::ledger::{Cursor, FileRecord, LedgerError, ReplicaState, VisibleBlob};

/// What a node is told when a session of a blob with these files is to be finished.
fn finish_request(sha1: crate::domain::Sha1, generation: Generation, files: &[FileRecord]) -> FinishRequest {
    let files = files
        .iter()
        .map(|file| FileOnBlob {
            id: file.id,
            revision: 1,
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            at: file.created_at,
        })
        .collect();
    FinishRequest { protocol: PROTOCOL, sha1, generation, files }
}
