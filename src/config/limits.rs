//! The limits, each with its default.

use std::time::Duration;

/// What a central takes at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest file, in bytes: 1 TiB.
    pub file_bytes: u64,
    /// Uploads at once: 64.
    pub uploads: usize,
    /// Uploads at once from one address: 16.
    pub uploads_per_address: usize,
    /// A sender below this many bytes a second over `stalled_after` is cut: 1024.
    pub stalled_bytes_per_second: u64,
    /// Over how long a sender's pace is judged: 60 s.
    pub stalled_after: Duration,
    /// A node that takes nothing for so long during an upload is replaced: 30 s.
    pub node_stalled_after: Duration,
    /// A resumable upload that does not go on for so long ends: 24 h.
    pub upload_life: Duration,
    /// Resumable uploads from one address that are not finished: 200.
    pub unfinished_uploads: usize,
    /// Files of one precheck: 1000.
    pub precheck_files: usize,
    /// Files of one form: 1000.
    pub upload_files: usize,
    /// Files of one page of the list where none are asked for: 50.
    pub list_files: usize,
    /// Files of one page of the list: 1000.
    pub list_files_max: usize,
    /// How long a download link lives at least: 12 h.
    pub link_life: Duration,
    /// The step that a link's expiry is rounded up to, so that it repeats within it: 6 h.
    pub link_step: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 40,
            uploads: 64,
            uploads_per_address: 16,
            stalled_bytes_per_second: 1024,
            stalled_after: Duration::from_secs(60),
            node_stalled_after: Duration::from_secs(30),
            upload_life: Duration::from_hours(24),
            unfinished_uploads: 200,
            precheck_files: 1000,
            upload_files: 1000,
            list_files: 50,
            list_files_max: 1000,
            link_life: Duration::from_hours(12),
            link_step: Duration::from_hours(6),
        }
    }
}

/// What a node takes at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLimits {
    /// Uploads whose bytes are taken at once: 256.
    pub sessions: usize,
    /// Downloads at once: 4096.
    pub downloads: usize,
    /// A receiver that takes nothing for so long is cut: 60 s.
    pub download_stalled_after: Duration,
    /// A prepared session that nobody called for asks central after this: 60 s.
    pub ask_after: Duration,
    /// A prepared session can be decided for so long; later it is given up: 10 min.
    pub decide_within: Duration,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            sessions: 256,
            downloads: 4096,
            download_stalled_after: Duration::from_secs(60),
            ask_after: Duration::from_secs(60),
            decide_within: Duration::from_mins(10),
        }
    }
}
