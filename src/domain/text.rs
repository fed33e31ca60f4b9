//! Short texts that come from other machines and end in pages, logs and headers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a label has 1 to 64 characters: letters, digits, spaces and . , ' ( ) _ + -")]
pub struct InvalidText;

/// 1 to 64 letters, digits, spaces and `. , ' ( ) _ + -`: a place's name, a version, a domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// Reads a label.
    ///
    /// # Errors
    /// When it is empty, too long or holds another character.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let allowed = |c: char| c.is_alphanumeric() || " .,'()_+-".contains(c);
        let fits = (1..=64).contains(&text.chars().count());
        if fits && text.trim() == text && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidText)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case, with `-` for every run of anything but letters and digits:
    /// `New York` is `new-york`.
    #[must_use]
    pub fn slug(&self) -> String {
        let words: Vec<String> = self
            .0
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        words.join("-")
    }
}

impl TryFrom<String> for Label {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        Self::parse(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
