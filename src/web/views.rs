//! Services' values as the pages' plain ones.

use super::pages::{Doing, FileRow, KeptView, Moment, ServerState, ServerView, human_ago};
use crate::api::common::file_url;
use crate::domain::Timestamp;
use crate::service::central::FileRecord;
use crate::service::central::catalog::{Detail, NodeStanding};

/// A point in time as a page says it now.
pub(super) fn moment(time: Timestamp, now: Timestamp) -> Moment {
    Moment { iso: time.to_string(), text: human_ago(now.since(time).as_secs()) }
}

/// A server.
pub(super) fn server(standing: &NodeStanding, now: Timestamp) -> ServerView {
    let node = &standing.known.node;
    let member = standing.member.as_deref();
    ServerView {
        node: node.id.to_string(),
        place: node.place.name.to_string(),
        country: node.place.country.map(|country| country.to_string()),
        lat: node.place.coordinates.lat(),
        lon: node.place.coordinates.lon(),
        state: match (standing.healthy, node.out) {
            (true, _) => ServerState::Healthy,
            (false, false) => ServerState::Silent,
            (false, true) => ServerState::Out,
        },
        total_bytes: member.map_or(0, |member| member.total_bytes),
        free_bytes: member.map_or(0, |member| member.free_bytes),
        doing: member.filter(|_| standing.healthy).map_or_else(Doing::default, |member| Doing {
            receiving: member.activity.receiving,
            sending: member.activity.sending,
            unfinished: member.sessions,
            received_bytes_per_s: member.activity.received_bytes_per_s,
            sent_bytes_per_s: member.activity.sent_bytes_per_s,
        }),
        blobs: standing.known.replicas,
        blob_bytes: standing.known.bytes,
        seen: moment(member.map_or(node.seen_at, |member| member.seen_at), now),
        version: node.version.to_string(),
    }
}

/// A file in the list.
pub(super) fn row(base: &str, file: &FileRecord, now: Timestamp) -> FileRow {
    FileRow {
        name: file.name.to_string(),
        sha1: file.blob.sha1.to_string(),
        size_bytes: file.blob.size,
        media_type: file.media_type.as_str().to_owned(),
        added: moment(file.created_at, now),
        url: file_url(base, file),
    }
}

/// A file that was just uploaded.
pub(super) fn kept(base: &str, detail: &Detail, healed: bool) -> KeptView {
    let file = &detail.blob.file;
    let mut places: Vec<String> = detail
        .replicas
        .iter()
        .filter(|at| at.replica.is_usable())
        .map(|at| at.node.node.place.name.to_string())
        .collect();
    places.sort();
    KeptView {
        name: file.name.to_string(),
        sha1: file.blob.sha1.to_string(),
        size_bytes: file.blob.size,
        media_type: file.media_type.as_str().to_owned(),
        url: file_url(base, file),
        places,
        healed,
    }
}
