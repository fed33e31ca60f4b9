//! SHA-1 and SHA-256 values, written in lower-case hex and in base64 for HTTP fields.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A text that is no digest of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} digest: {expected} hexadecimal digits are expected")]
pub struct InvalidDigest {
    kind: &'static str,
    expected: usize,
}

macro_rules! digest {
    ($name:ident, $bytes:literal, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The length in bytes.
            pub const BYTES: usize = $bytes;

            /// Wraps the raw digest.
            #[must_use]
            pub const fn new(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The raw digest.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Lower-case hex, as in links and in the ledger's answers.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }

            /// Padded base64, as HTTP's digest fields want it (RFC 9530 §2).
            #[must_use]
            pub fn to_base64(&self) -> String {
                STANDARD.encode(self.0)
            }

            /// Reads padded base64 (RFC 9530 §2).
            ///
            /// # Errors
            /// When the text is no base64 or of another length.
            pub fn from_base64(text: &str) -> Result<Self, InvalidDigest> {
                STANDARD
                    .decode(text)
                    .ok()
                    .and_then(|bytes| Self::from_slice(&bytes))
                    .ok_or(InvalidDigest { kind: $kind, expected: $bytes * 2 })
            }

            /// The digest in a slice, if its length fits.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidDigest;

            /// Reads hex in either case.
            fn from_str(text: &str) -> Result<Self, InvalidDigest> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| InvalidDigest { kind: $kind, expected: $bytes * 2 })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // At once: a link writes several, and formatting byte by byte is slow.
                let mut text = [0; $bytes * 2];
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

digest!(Sha1, 20, "SHA-1", "A SHA-1 digest (FIPS 180-4): the ledger's key of a blob.");
digest!(Sha256, 32, "SHA-256", "A SHA-256 digest (FIPS 180-4): what bytes are checked by.");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hex_is_read_in_either_case_and_written_in_lower_case() {
        let text = "A9993E364706816ABA3E25717850C26C9CD0D89D";
        let digest: Sha1 = text.parse().unwrap();
        assert_eq!(digest.to_string(), text.to_ascii_lowercase());
        assert_eq!(Sha1::from_base64(&digest.to_base64()).unwrap(), digest);
        assert_eq!(serde_json::from_str::<Sha1>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "a9",
            "g9993e364706816aba3e25717850c26c9cd0d89d",
            " a9993e364706816aba3e25717850c26c9cd0d89d",
        ] {
            assert!(text.parse::<Sha1>().is_err(), "{text:?}");
        }
        assert!(Sha256::from_base64("AAAA").is_err());
    }
}
