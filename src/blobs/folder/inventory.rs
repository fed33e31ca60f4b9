//! The blobs in order of SHA-1, a page at a time, reading only the folders of that page.

use std::io;
use std::path::Path;

use crate::blobs::{InventoryPage, Result, StoredBlob};
use crate::domain::Sha1;

use super::{Inner, disk_failed, finish};

/// The most that one page lists.
const MAX_PAGE: usize = 10_000;

/// The blobs after one, at most `limit` (1 to 10,000).
pub(super) fn page(inner: &Inner, after: Option<Sha1>, limit: usize) -> Result<InventoryPage> {
    let limit = limit.clamp(1, MAX_PAGE);
    // One more than asked for tells whether there is a next page.
    let mut blobs = collect(inner, after, limit + 1).map_err(|error| disk_failed(error, "listing"))?;
    let more = blobs.len() > limit;
    blobs.truncate(limit);
    let next = if more { blobs.last().map(|blob| blob.digests.sha1) } else { None };
    Ok(InventoryPage { blobs, next })
}

fn collect(inner: &Inner, after: Option<Sha1>, most: usize) -> io::Result<Vec<StoredBlob>> {
    let start = after.map(|sha1| *sha1.as_bytes());
    let mut found = Vec::new();
    let root = inner.disk.blobs();
    for (outer, outer_name) in shelves(&root)? {
        if start.is_some_and(|start| outer < start[0]) {
            continue;
        }
        let outer_path = root.join(outer_name);
        for (shelf, shelf_name) in shelves(&outer_path)? {
            if start.is_some_and(|start| [outer, shelf] < [start[0], start[1]]) {
                continue;
            }
            for sha1 in blobs(&outer_path.join(shelf_name), [outer, shelf])? {
                if after.is_some_and(|after| sha1 <= after) {
                    continue;
                }
                if let Some(blob) = stored(inner, &sha1) {
                    found.push(blob);
                    if found.len() == most {
                        return Ok(found);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The folders of two hexadecimal digits in a folder, in order.
fn shelves(path: &Path) -> io::Result<Vec<(u8, String)>> {
    let mut found = Vec::new();
    for name in names(path)? {
        let mut byte = [0];
        if hex::decode_to_slice(&name, &mut byte).is_ok() && name == format!("{:02x}", byte[0]) {
            found.push((byte[0], name));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The blobs' names in a folder, in order.
fn blobs(path: &Path, shelf: [u8; 2]) -> io::Result<Vec<Sha1>> {
    let mut found = Vec::new();
    for name in names(path)? {
        if let Ok(sha1) = name.parse::<Sha1>()
            && sha1.as_bytes().starts_with(&shelf)
            && sha1.to_hex() == name
        {
            found.push(sha1);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        // A file of such a name, or a folder that was removed since: not ours.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            found.push(name);
        }
    }
    Ok(found)
}

/// A blob, if it has its file and a description that fits. One that cannot be read is left
/// out, as everything else on the disk is still worth listing.
fn stored(inner: &Inner, sha1: &Sha1) -> Option<StoredBlob> {
    let held = finish::look(inner, sha1)
        .inspect_err(|error| tracing::error!(%sha1, %error, "a blob cannot be listed"))
        .ok()??;
    let Some(header) = held.intact() else {
        tracing::warn!(%sha1, "a blob without a description that fits it is not listed");
        return None;
    };
    Some(StoredBlob { digests: header.digests(), generation: header.generation })
}
