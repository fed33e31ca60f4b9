//! What people call their files.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: what common filesystems take.
pub const MAX_NAME_BYTES: usize = 255;

/// A name that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing is left of it.
    #[error("the file has no name: give it one that is not empty")]
    Empty,
    /// A line break or the like, which would forge headers and listings.
    #[error("the name holds a control character: take it out")]
    Control,
    /// More than 255 bytes.
    #[error("the name is longer than 255 bytes: shorten it")]
    TooLong,
}

/// A file's name: any Unicode of 1 to 255 bytes without control characters or path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

impl FileName {
    /// Takes what a person or a browser sent as a name.
    ///
    /// What stands before the last `/` or `\` is dropped, as browsers send folders.
    ///
    /// # Errors
    /// When nothing is left, when a control character is in it or when it is too long.
    pub fn parse(given: &str) -> Result<Self, InvalidName> {
        let name = given.rsplit(['/', '\\']).next().unwrap_or_default();
        // `.` and `..` are folders on every system that people save to.
        if name.is_empty() || name == "." || name == ".." {
            return Err(InvalidName::Empty);
        }
        if name.chars().any(is_control) {
            return Err(InvalidName::Control);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(InvalidName::TooLong);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters, and the line and paragraph separators that some programs break at.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

impl TryFrom<String> for FileName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A media type (RFC 9110 §8.3.1) of at most 127 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaType(String);

impl MediaType {
    /// What is said of content of which nothing is known.
    pub const UNKNOWN: &'static str = "application/octet-stream";

    /// Reads `type/subtype` with optional parameters; anything else is unknown content.
    #[must_use]
    pub fn parse(given: &str) -> Self {
        let given = given.trim();
        let essence = given.split(';').next().unwrap_or_default().trim();
        let token = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        let is_type = essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub));
        if is_type && given.len() <= 127 && given.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            Self(given.to_owned())
        } else {
            Self(Self::UNKNOWN.to_owned())
        }
    }

    /// What a name's ending says the content is.
    #[must_use]
    pub fn guess(name: &FileName) -> Self {
        // Parsed like any other: a ticket's link is signed with this and checked with what is
        // read back.
        Self::parse(mime_guess::from_path(name.as_str()).first_raw().unwrap_or(Self::UNKNOWN))
    }

    /// The media type.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn folders_are_dropped_and_the_rest_is_kept_as_it_is() {
        for (given, kept) in [
            ("a.txt", "a.txt"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\a b.txt", "a b.txt"),
            ("Ünï\u{202e}côde 名.txt", "Ünï\u{202e}côde 名.txt"),
            ("...", "..."),
            (" ", " "),
        ] {
            assert_eq!(FileName::parse(given).unwrap().as_str(), kept);
        }
        let longest = "é".repeat(127) + "x";
        assert_eq!(FileName::parse(&longest).unwrap().as_str(), longest);
    }

    #[test]
    fn names_that_attack_are_refused() {
        for (given, why) in [
            ("", InvalidName::Empty),
            ("folder/", InvalidName::Empty),
            ("..", InvalidName::Empty),
            ("a\r\nX-Evil: 1", InvalidName::Control),
            ("nul\0", InvalidName::Control),
            ("a\u{2028}b", InvalidName::Control),
            ("a\u{85}b", InvalidName::Control),
        ] {
            assert_eq!(FileName::parse(given), Err(why), "{given:?}");
        }
        assert_eq!(FileName::parse(&"é".repeat(128)), Err(InvalidName::TooLong));
    }

    #[test]
    fn a_media_type_is_a_type_or_unknown() {
        assert_eq!(MediaType::parse("text/plain; charset=utf-8").as_str(), "text/plain; charset=utf-8");
        for given in ["", "text", "text/", "a/b\r\nX: 1", "té/xt", &format!("a/{}", "b".repeat(127))] {
            assert_eq!(MediaType::parse(given).as_str(), MediaType::UNKNOWN, "{given:?}");
        }
        assert_eq!(MediaType::guess(&FileName::parse("a.png").unwrap()).as_str(), "image/png");
    }
}
