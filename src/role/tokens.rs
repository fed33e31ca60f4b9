//! What an operator does with a central's tokens from beside it.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::config::LEDGER_FILE;
use crate::domain::{Label, Scopes, Timestamp, Token, TokenId};
use crate::ledger::{Ledger as _, LedgerError, NewToken, SqliteLedger, TokenRecord};

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no such token.
    #[error("there is no token {0}: `closeby token list` names them")]
    Unknown(TokenId),
    /// Nobody could be told the token; it was taken back.
    #[error("the token could not be printed, and was revoked: {0}")]
    Unprinted(io::Error),
    /// It broke.
    #[error("it broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Makes a token in the ledger of this data folder, and prints it to stdout and nowhere else.
///
/// # Errors
/// [`TokensError`]; no token counts then.
pub async fn new(
    data: &Path,
    scopes: Scopes,
    name: Option<Label>,
    life: Option<Duration>,
) -> Result<(), TokensError> {
    let ledger = open(data).await?;
    let token = Token::random();
    let new = NewToken {
        id: TokenId::random(),
        name,
        scopes,
        sha256: token.digest(),
        expires_at: life.map(|life| ledger.now().saturating_add(life)),
    };
    let made = ledger.create_token(new.clone()).await;
    let printed = made.as_ref().map(|()| writeln!(io::stdout(), "{}", token.reveal()));
    if let Ok(Err(_)) = printed {
        ledger.revoke_token(new.id).await?;
    }
    ledger.close().await;
    if let Ok(Err(error)) = printed {
        return Err(TokensError::Unprinted(error));
    }
    made?;
    let end = new.expires_at.map_or_else(|| "until it is revoked".to_owned(), |end| format!("until {end}"));
    let NewToken { id, scopes, .. } = new;
    note(&format!("token {id} is good for {scopes} {end}; it is shown this once"));
    Ok(())
}

/// Prints the tokens in the ledger of this data folder, one a line.
///
/// # Errors
/// [`TokensError`].
pub async fn list(data: &Path) -> Result<(), TokensError> {
    let ledger = open(data).await?;
    let (tokens, now) = (ledger.list_tokens().await, ledger.now());
    ledger.close().await;
    let mut text = String::from("id\tscopes\tstate\tmade\texpires\tname\n");
    for token in tokens? {
        text.push_str(&line(&token, now));
    }
    // Not a macro that panics: nobody may be listening any more.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Takes a token of this data folder's ledger back.
///
/// # Errors
/// [`TokensError`].
pub async fn revoke(data: &Path, id: TokenId) -> Result<(), TokensError> {
    let ledger = open(data).await?;
    let revoked = ledger.revoke_token(id).await;
    ledger.close().await;
    revoked?.ok_or(TokensError::Unknown(id))?;
    note(&format!("token {id} counts no longer, 5 seconds from now at the latest"));
    Ok(())
}

async fn open(data: &Path) -> Result<SqliteLedger, TokensError> {
    let path = data.join(LEDGER_FILE);
    Ok(tokio::task::spawn_blocking(move || SqliteLedger::open_beside(&path)).await??)
}

/// A token in a line of its own, with tabs between the columns so that programs can read it.
fn line(token: &TokenRecord, now: Timestamp) -> String {
    let state = match token.revoked_at {
        Some(_) => "revoked",
        None if token.is_good(now) => "good",
        None => "expired",
    };
    let end = token.expires_at.map_or_else(|| "never".to_owned(), |end| end.to_string());
    let name = token.name.as_ref().map_or("-", Label::as_str);
    format!("{}\t{}\t{state}\t{}\t{end}\t{name}\n", token.id, token.scopes, token.created_at)
}

fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
