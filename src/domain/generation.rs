//! The order in which decisions about one blob were taken.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The pair (epoch, number), compared in that order.
///
/// Kept per blob with its row, drawn inside the transaction that decides, and kept by nodes
/// beside the blob, so that a late message about an older decision is known as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// Rises with every restore or rebuild of the ledger.
    pub epoch: u64,
    /// Rises with every decision within an epoch.
    pub number: u64,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl FromStr for Generation {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, number) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self { epoch: epoch.parse()?, number: number.parse()? })
    }
}
