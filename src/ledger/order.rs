//! Places in the list of files, in each of its orders.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::FileOrder;

/// Not what a page said of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in the list of files")]
pub struct InvalidCursor;

/// What begins the text of an order's cursors. The newest has none, as there was no other order at first.
const fn letter(order: FileOrder) -> &'static str {
    match order {
        FileOrder::Newest => "",
        FileOrder::Oldest => "o",
        FileOrder::Name => "n",
        FileOrder::Largest => "l",
        FileOrder::Smallest => "s",
    }
}

/// A place in the list of files: the position after which it goes on, in one order.
///
/// It holds what the file there was sorted by, so that it stays right when that file is gone. Outside of
/// the ledger it is a text that nobody needs to understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    order: FileOrder,
    pub(super) key: Key,
}

/// What parts one file from every other in an order; `seq` rises with each file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Arrival { seq: u64 },
    Name { folded: String, seq: u64 },
    Size { size: u64, blob: u64, seq: u64 },
}

impl Cursor {
    /// The cursor at a file; the key is of this order.
    pub(super) const fn new(order: FileOrder, key: Key) -> Self {
        Self { order, key }
    }

    /// The order it is a place in.
    #[must_use]
    pub const fn order(&self) -> FileOrder {
        self.order
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(letter(self.order))?;
        match &self.key {
            Key::Arrival { seq } => write!(f, "{seq}"),
            Key::Name { folded, seq } => write!(f, "{seq}.{}", URL_SAFE_NO_PAD.encode(folded)),
            Key::Size { size, blob, seq } => write!(f, "{size}.{blob}.{seq}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let order = FileOrder::ALL
            .into_iter()
            .filter(|order| text.starts_with(letter(*order)))
            .max_by_key(|order| letter(*order).len())
            .unwrap_or_default();
        let mut parts = text.strip_prefix(letter(order)).unwrap_or(text).split('.');
        let mut part = || parts.next().ok_or(InvalidCursor);
        // No engine counts further.
        let number = |part: &str| {
            part.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok()).ok_or(InvalidCursor)
        };
        let key = match order {
            FileOrder::Newest | FileOrder::Oldest => Key::Arrival { seq: number(part()?)? },
            FileOrder::Name => {
                let seq = number(part()?)?;
                let folded = URL_SAFE_NO_PAD.decode(part()?).map_err(|_| InvalidCursor)?;
                Key::Name { folded: String::from_utf8(folded).map_err(|_| InvalidCursor)?, seq }
            }
            FileOrder::Largest | FileOrder::Smallest => {
                Key::Size { size: number(part()?)?, blob: number(part()?)?, seq: number(part()?)? }
            }
        };
        if parts.next().is_some() { Err(InvalidCursor) } else { Ok(Self { order, key }) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let size = Key::Size { size: 7, blob: 3, seq: 5 };
        for (cursor, text) in [
            (Cursor::new(FileOrder::Newest, Key::Arrival { seq: 12 }), "12"),
            (Cursor::new(FileOrder::Oldest, Key::Arrival { seq: 12 }), "o12"),
            (Cursor::new(FileOrder::Name, Key::Name { folded: "ä.b".to_owned(), seq: 4 }), "n4.w6QuYg"),
            (Cursor::new(FileOrder::Largest, size.clone()), "l7.3.5"),
            (Cursor::new(FileOrder::Smallest, size), "s7.3.5"),
        ] {
            assert_eq!(cursor.to_string(), text);
            assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
        }
    }

    #[test]
    fn anything_else_is_no_cursor() {
        for text in [
            "",
            "x",
            "-1",
            "o",
            "1.2",
            "n1",
            "n1.!",
            "n1._w",
            "l1.2",
            "l1.2.3.4",
            "s1.2.x",
            "9223372036854775808",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text:?}");
        }
    }
}
