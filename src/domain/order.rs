//! The orders in which files are listed.

use std::fmt;
use std::str::FromStr;

/// In which order files are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileOrder {
    /// The last one first.
    #[default]
    Newest,
    /// The first one first.
    Oldest,
    /// By name, without case, character by character; equal names oldest first.
    Name,
    /// The longest first; equal sizes in the reverse of [`FileOrder::Smallest`].
    Largest,
    /// The shortest first; equal sizes by content, oldest first.
    Smallest,
}

/// No order is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("files are sorted by `newest`, `oldest`, `name`, `largest` or `smallest`")]
pub struct UnknownOrder;

impl FileOrder {
    /// Every order, the usual one first.
    pub const ALL: [Self; 5] = [Self::Newest, Self::Oldest, Self::Name, Self::Largest, Self::Smallest];

    /// What it is called in an address.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Name => "name",
            Self::Largest => "largest",
            Self::Smallest => "smallest",
        }
    }
}

impl fmt::Display for FileOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for FileOrder {
    type Err = UnknownOrder;

    fn from_str(text: &str) -> Result<Self, UnknownOrder> {
        Self::ALL.into_iter().find(|order| order.code() == text).ok_or(UnknownOrder)
    }
}
