//! The marker that says whose folder this is, and the lock that keeps it to one process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::domain::{ClusterId, NodeId};

use super::disk::Disk;

/// The format that is written and read.
const FORMAT: u32 = 1;
/// No marker is longer, in bytes.
const MAX_MARKER_BYTES: u64 = 4 << 10;

/// Why a folder cannot be opened as a store. The messages name no path: whoever chose the
/// folder knows it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The cluster knows this node, but the folder has no marker.
    #[error(
        "the data folder has no marker, although the cluster knows this node already: is its disk mounted?"
    )]
    Unmarked,
    /// There is no marker, but blobs or sessions lie here.
    #[error("the data folder has no marker, although a store's data lies in it: it is not taken over")]
    Unclaimed,
    /// The marker names another node.
    #[error("the data folder belongs to node {found}, not to node {expected}")]
    OtherNode {
        /// Whom it belongs to.
        found: NodeId,
        /// Who asked.
        expected: NodeId,
    },
    /// The marker names another cluster.
    #[error("the data folder belongs to cluster {found}, not to cluster {expected}")]
    OtherCluster {
        /// Whom it belongs to.
        found: ClusterId,
        /// Who asked.
        expected: ClusterId,
    },
    /// A later closeby wrote here.
    #[error("the data folder has format {found}; this closeby knows formats up to {known}")]
    NewerFormat {
        /// Its format.
        found: u32,
        /// The highest known here.
        known: u32,
    },
    /// The marker is damaged.
    #[error("the data folder's marker cannot be read: {0}")]
    Damaged(serde_json::Error),
    /// Another process has it open.
    #[error("the data folder is in use by another process")]
    Locked,
    /// The disk failed.
    #[error("the data folder cannot be used: {0}")]
    Io(#[from] io::Error),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    format: u32,
    node: NodeId,
    cluster: ClusterId,
}

/// What every format's marker has.
#[derive(Deserialize)]
struct AnyMarker {
    format: u32,
}

/// Locks the folder and checks that it is this node's; marks it if it is new. The folder is
/// locked until the file is closed.
pub(super) fn claim(
    disk: &Disk,
    node: NodeId,
    cluster: ClusterId,
    known_to_cluster: bool,
) -> Result<File, OpenError> {
    // Looked at before anything is written: an empty mount point stays empty.
    if known_to_cluster && !disk.marker().try_exists()? {
        return Err(OpenError::Unmarked);
    }
    make_root(disk)?;
    let lock = lock(&disk.lock_path())?;
    match read(&disk.marker())? {
        Some(found) if found.node != node => {
            return Err(OpenError::OtherNode { found: found.node, expected: node });
        }
        Some(found) if found.cluster != cluster => {
            return Err(OpenError::OtherCluster { found: found.cluster, expected: cluster });
        }
        Some(_) => {}
        None if known_to_cluster => return Err(OpenError::Unmarked),
        None => write(disk, &Marker { format: FORMAT, node, cluster })?,
    }
    for dir in [disk.blobs(), disk.sessions(), disk.quarantine()] {
        disk.ensure_dir(&dir)?;
    }
    disk.sync_dir(disk.root())?;
    Ok(lock)
}

fn make_root(disk: &Disk) -> io::Result<()> {
    if disk.root().is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(disk.root())?;
    match disk.root().parent() {
        Some(parent) if !parent.as_os_str().is_empty() => disk.sync_dir(parent),
        _ => disk.sync_dir(Path::new(".")),
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked),
        Err(error) => Err(OpenError::Io(error.into())),
        Ok(()) => Ok(file),
    }
}

fn read(path: &Path) -> Result<Option<Marker>, OpenError> {
    use io::Read as _;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    file.take(MAX_MARKER_BYTES).read_to_end(&mut text)?;
    let AnyMarker { format } = serde_json::from_slice(&text).map_err(OpenError::Damaged)?;
    if format > FORMAT {
        return Err(OpenError::NewerFormat { found: format, known: FORMAT });
    }
    serde_json::from_slice(&text).map(Some).map_err(OpenError::Damaged)
}

/// Marks a new folder. The marker comes before the folders for data, so data without a
/// marker was never ours to take.
fn write(disk: &Disk, marker: &Marker) -> Result<(), OpenError> {
    for dir in [disk.blobs(), disk.sessions(), disk.quarantine()] {
        if dir.try_exists()? {
            return Err(OpenError::Unclaimed);
        }
    }
    let text = serde_json::to_vec(marker).map_err(io::Error::from)?;
    let draft = disk.marker_draft();
    let file = disk.make_draft(&draft)?;
    disk.write_at(&file, &draft, &text, 0)?;
    disk.sync_file(&file, &draft)?;
    disk.rename(&draft, &disk.marker())?;
    disk.sync_dir(disk.root())?;
    Ok(())
}
