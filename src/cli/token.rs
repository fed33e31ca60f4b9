//! The arguments of what an operator does with tokens.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::domain::{Label, Scopes, TokenId};

/// `closeby token`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby token new --data /var/lib/closeby --scope upload,list --name 'build server' --expires 90d\n  \
    closeby token new --config /etc/closeby/central.toml --scope admin > admin-token\n  \
    closeby token list --data /var/lib/closeby\n  \
    closeby token revoke --data /var/lib/closeby 6b2c2f0de3b84d2a9c0f6f9a4f3e1d20\n\n\
    It works on the ledger's file, so it is run where central's data folder is, as the user that central runs \
    as. Central may run meanwhile: a new token counts at once, a revoked one for 5 seconds at most. Only a \
    token's SHA-256 is kept.")]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: TokenAction,
}

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Make a token and print it, this once, to stdout.
    New {
        /// Whose it is.
        #[command(flatten)]
        at: LedgerArgs,
        /// What it is good for: upload, list, read, or admin, which is all of them. Several are joined by
        /// commas.
        #[arg(long, value_name = "SCOPES")]
        scope: Scopes,
        /// What to call it in the list.
        #[arg(long, value_name = "NAME", value_parser = |text: &str| Label::parse(text))]
        name: Option<Label>,
        /// How long it counts: a number and m, h, d or w [default: until it is revoked].
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires: Option<Duration>,
    },
    /// List every token that was made, but for the token itself.
    List {
        /// Whose they are.
        #[command(flatten)]
        at: LedgerArgs,
    },
    /// Take a token back.
    Revoke {
        /// Whose it is.
        #[command(flatten)]
        at: LedgerArgs,
        /// Its id, as `closeby token list` says it.
        #[arg(value_name = "ID")]
        id: TokenId,
    },
}

/// Which central's ledger.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// Central's data folder.
    #[arg(long, env = "CLOSEBY_DATA", value_name = "FOLDER", required_unless_present = "config")]
    pub data: Option<PathBuf>,
    /// Central's configuration file, which names the folder.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// A time as people write it: `90d`.
fn lifetime(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().unwrap_or_default();
    let hours = match unit {
        'm' => None,
        'h' => Some(1),
        'd' => Some(24),
        'w' => Some(24 * 7),
        _ => return Err("write a number and m, h, d or w: 90d is ninety days".to_owned()),
    };
    // A hundred years, so that no sum with it leaves the calendar.
    const MOST_HOURS: u64 = 100 * 366 * 24;
    let wrong = || "it is a whole number, from 1 on, and at most a hundred years".to_owned();
    let count: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let life = match hours {
        None => Some(count).filter(|minutes| *minutes <= MOST_HOURS * 60).map(Duration::from_mins),
        Some(hours) => {
            count.checked_mul(hours).filter(|hours| *hours <= MOST_HOURS).map(Duration::from_hours)
        }
    };
    life.filter(|life| !life.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        for (text, minutes) in [("1m", 1), ("12h", 720), ("90d", 90 * 1440), ("2w", 14 * 1440)] {
            assert_eq!(lifetime(text), Ok(Duration::from_mins(minutes)), "{text}");
        }
        for wrong in
            ["", "d", "90", "0d", "-1d", "1.5h", "1y", "90 d", "99999999999999999999d", "999999w", "1é"]
        {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
