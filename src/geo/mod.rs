//! Where people are and what is near them.
//!
//! A request's address comes from its peer or, behind trusted proxies, from a header
//! ([`ClientAddresses`]); the database says where that is ([`GeoSource`], [`GeoDatabase`],
//! [`locate`]); and [`rank`] puts replicas in order. All of it is pure but for
//! [`GeoDatabase::open`] and [`GeoSource`], which read the database's file.

mod address;
mod choice;
mod client;
mod database;
mod distance;
mod forwarded;
mod origin;
mod source;
#[cfg(test)]
mod testing;

pub use address::{has_no_place, is_private, normalise};
pub use choice::{Candidate, NEAR_KM, NEAR_SHARE, Ranked, is_near, rank};
pub use client::{ClientAddress, ClientAddresses, HeaderKind, UnknownHeaderKind};
pub use database::{GeoDatabase, GeoError, GeoPlace};
pub use distance::distance_km;
pub use origin::{InvalidFrom, KnownBy, Origin, locate, parse_from};
pub use source::{GeoSource, Reload};
