//! Random identifiers, each a type of its own, written in lower-case hex.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: 32 lower-case hexadecimal digits are expected")]
pub struct InvalidId {
    kind: &'static str,
}

macro_rules! id {
    ($name:ident, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A new one of 128 random bits from the operating system.
            ///
            /// # Panics
            /// When the operating system has no randomness to give, as nothing could be
            /// kept secret or unique then.
            #[must_use]
            pub fn random() -> Self {
                Self(crate::domain::id::random_bytes())
            }

            /// Wraps raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; 16];
                // One spelling an id: an upper-case twin would be another cache key.
                if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(InvalidId { kind: $kind });
                }
                hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidId { kind: $kind })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // At once: a link writes several, and formatting byte by byte is slow.
                let mut text = [0; 16 * 2];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    NodeId,
    "node id",
    "A storage server: random, kept in the node's folder, bound to its key at the first join."
);
id!(ClusterId, "cluster id", "The cluster that a ledger and its nodes belong to.");
id!(UploadId, "upload id", "One upload, on central and as a session on each of its nodes.");

impl UploadId {
    /// Its first eight digits: enough to find it in a log, too few to write into the upload, for which
    /// the whole of it is all that it takes.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

id!(FileId, "file id", "A name that a person gave to a blob.");
id!(TokenId, "token id", "What a token is called where the token itself must not be said.");

/// Which of the keys that can live at once signed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Random bytes from the operating system.
#[allow(clippy::expect_used)]
pub(super) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
