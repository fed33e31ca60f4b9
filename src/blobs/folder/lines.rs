//! Lines of JSON, each with a checksum of its own: `{json}\t{16 hex digits}\n`.
//!
//! The digits are the first 8 bytes of the JSON's SHA-256. JSON has no raw tab, so the last
//! one parts the two. A torn or rotten line is known as such and costs no other line.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::disk::Disk;

/// No line is longer, in bytes; what is longer was not written here.
const MAX_LINE_BYTES: u64 = 256 << 10;
/// Written to the disk at once, in bytes.
const BUFFER_BYTES: usize = 128 << 10;
const CHECKSUM_DIGITS: usize = 16;

fn checksum(json: &[u8]) -> String {
    hex::encode(&Sha256::digest(json)[..CHECKSUM_DIGITS / 2])
}

/// Writes lines into a draft.
pub(super) struct LineWriter<'a> {
    disk: &'a Disk,
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    at: u64,
}

impl<'a> LineWriter<'a> {
    /// Begins a draft, in place of one that a crash may have left.
    pub(super) fn create(disk: &'a Disk, path: PathBuf) -> io::Result<Self> {
        let file = disk.make_draft(&path)?;
        Ok(Self { disk, path, file, buffer: Vec::new(), at: 0 })
    }

    pub(super) fn push<T: Serialize>(&mut self, line: &T) -> io::Result<()> {
        let json = serde_json::to_vec(line)?;
        self.buffer.extend_from_slice(&json);
        self.buffer.push(b'\t');
        self.buffer.extend_from_slice(checksum(&json).as_bytes());
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.write_at(&self.file, &self.path, &self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest, syncs, and gives the draft its place, over what is there.
    pub(super) fn place(mut self, to: &Path) -> io::Result<()> {
        self.flush()?;
        self.disk.sync_file(&self.file, &self.path)?;
        self.disk.rename(&self.path, to)
    }
}

/// A line that says nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    #[error("a line is damaged")]
    Damaged,
    #[error("a line is longer than any should be")]
    TooLong,
    #[error("a line is of a kind or a format that is not known here")]
    Unknown,
}

/// Reads lines, in memory for one of them.
pub(super) struct LineReader {
    reader: BufReader<File>,
    buffer: Vec<u8>,
    ended: bool,
}

impl LineReader {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let reader = BufReader::with_capacity(4 << 10, File::open(path)?);
        Ok(Self { reader, buffer: Vec::new(), ended: false })
    }

    /// The next line, good or bad; none at the end, and after one that is too long.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<Result<T, BadLine>>> {
        if self.ended {
            return Ok(None);
        }
        self.buffer.clear();
        let read = (&mut self.reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            self.ended = true;
            return Ok(None);
        }
        if self.buffer.last() != Some(&b'\n') {
            self.ended = true;
            let too_long = read as u64 == MAX_LINE_BYTES;
            return Ok(Some(Err(if too_long { BadLine::TooLong } else { BadLine::Damaged })));
        }
        Ok(Some(parse(&self.buffer[..read - 1])))
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, BadLine> {
    let tab = line.iter().rposition(|byte| *byte == b'\t').ok_or(BadLine::Damaged)?;
    let (json, digits) = (&line[..tab], &line[tab + 1..]);
    if digits != checksum(json).as_bytes() {
        return Err(BadLine::Damaged);
    }
    serde_json::from_slice(json).map_err(|_| BadLine::Unknown)
}
