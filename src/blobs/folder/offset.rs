//! The acknowledged offset of a resumable session, on the disk.
//!
//! A file's length says nothing after a power cut: it may count bytes that never arrived. So
//! the offset is written down, once its bytes are synced, and synced itself before anybody is
//! told. Two places take turns, so that a torn write leaves the one before; the file never
//! grows, so that a sync is one block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::disk::Disk;

/// Each of the two places is one block of any usual disk, in bytes.
const PLACE_BYTES: usize = 4096;
/// Number and offset, then the first bytes of their SHA-256.
const RECORD_BYTES: usize = 16 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 8;
const LABEL: &[u8] = b"closeby offset v1";

/// An open offset file.
pub(super) struct OffsetFile {
    file: File,
    path: PathBuf,
    /// How many offsets were written before; the newest is the one that counts.
    number: u64,
}

impl OffsetFile {
    /// Makes one that says 0, synced.
    pub(super) fn create(disk: &Disk, path: PathBuf) -> io::Result<Self> {
        let file = disk.make_file(&path)?;
        disk.write_at(&file, &path, &[0; 2 * PLACE_BYTES], 0)?;
        let mut this = Self { file, path, number: 0 };
        this.write(disk, 0)?;
        Ok(this)
    }

    /// Opens one; says its offset.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when neither place can be read.
    pub(super) fn open(disk: &Disk, path: PathBuf) -> io::Result<(Self, u64)> {
        let file = disk.open_to_go_on(&path)?;
        let mut newest = None;
        for place in 0..2 {
            let mut record = [0; RECORD_BYTES];
            match file.read_exact_at(&mut record, place * PLACE_BYTES as u64) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                other => other?,
            }
            newest = newest.max(parse(&record));
        }
        let (number, offset) = newest.ok_or(io::ErrorKind::InvalidData)?;
        Ok((Self { file, path, number }, offset))
    }

    /// Writes an offset, synced.
    pub(super) fn write(&mut self, disk: &Disk, offset: u64) -> io::Result<()> {
        let number = self.number + 1;
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(&number.to_be_bytes());
        record[8..16].copy_from_slice(&offset.to_be_bytes());
        let checksum = checksum(&record[..16]);
        record[16..].copy_from_slice(&checksum);
        disk.write_at(&self.file, &self.path, &record, number % 2 * PLACE_BYTES as u64)?;
        disk.sync_file(&self.file, &self.path)?;
        self.number = number;
        Ok(())
    }
}

fn parse(record: &[u8; RECORD_BYTES]) -> Option<(u64, u64)> {
    let (fields, digits) = record.split_at(16);
    let (number, offset) = fields.split_at(8);
    let read = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    (checksum(fields) == digits).then_some((read(number)?, read(offset)?))
}

fn checksum(fields: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(LABEL).chain_update(fields).finalize();
    let mut first = [0; CHECKSUM_BYTES];
    first.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    first
}
