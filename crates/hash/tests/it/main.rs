//! The digests against published answers, against the plain hashes, and against the public collisions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checkpoints;
mod collisions;
mod known_answers;
mod pieces;
mod plain_sha1;
mod reference;
