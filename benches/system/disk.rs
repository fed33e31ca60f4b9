//! The folder that is worked in, and writing to it plainly.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use tempfile::TempDir;

/// `f_type` of file systems that keep everything in memory.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// A new folder in this one, removed with what is in it when dropped.
pub fn folder(parent: &Path) -> TempDir {
    std::fs::create_dir_all(parent).expect("the data folder can be made");
    let folder = TempDir::with_prefix_in("bench-", parent).expect("a folder can be made in the data folder");
    assert!(
        !IN_MEMORY.contains(&file_system(folder.path())),
        "{} is in memory, where syncing costs nothing: give a folder on a disk with --data",
        parent.display()
    );
    folder
}

#[allow(clippy::useless_conversion)] // The field's width differs from machine to machine.
fn file_system(path: &Path) -> i64 {
    i64::try_from(rustix::fs::statfs(path).expect("the file system answers").f_type).unwrap_or_default()
}

/// What the folder lies on, in words.
pub fn kind(path: &Path) -> String {
    match file_system(path) {
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x2fc1_2fc1 => "zfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        other => format!("a file system of type {other:#x}"),
    }
}

/// Writes one file from parts and syncs it.
pub fn write_and_sync<'a>(path: &Path, parts: impl Iterator<Item = &'a [u8]>) {
    let mut file = File::create(path).expect("a file can be made");
    for part in parts {
        file.write_all(part).expect("the disk takes bytes");
    }
    file.sync_all().expect("the disk syncs");
}
