//! Tokens: what a person or program shows to be let in, and what for.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256 as Hasher};

use super::Sha256;

/// What every token begins with, so that scanners for leaked secrets find one.
const PREFIX: &str = "closeby_";

/// A token: `closeby_` and 32 random bytes in base64url. Never printed by accident: it has no text form but
/// [`Token::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text that is no token. It does not say which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no token: one is `closeby_` and 43 characters, as `closeby token new` prints it")]
pub struct InvalidToken;

impl Token {
    /// A new one of 256 random bits from the operating system.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, as nothing could be kept secret then.
    #[must_use]
    pub fn random() -> Self {
        let bytes: [u8; 32] = super::id::random_bytes();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The token itself, for the one who is to have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the token's text: what is kept of it.
    #[must_use]
    pub fn digest(&self) -> Sha256 {
        Sha256::new(Hasher::digest(self.0.as_bytes()).into())
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    /// Takes the text without the white space around it, as files end in a newline.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        let random = text.strip_prefix(PREFIX).and_then(|random| URL_SAFE_NO_PAD.decode(random).ok());
        match random {
            Some(random) if random.len() == 32 => Ok(Self(text.to_owned())),
            _ => Err(InvalidToken),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Storing files.
    Upload,
    /// The list of files, and searching it.
    List,
    /// Files whose link one has.
    Read,
    /// What an operator does; it implies the others.
    Admin,
}

/// There is no such scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is `upload`, `list`, `read` or `admin`; several are joined by commas")]
pub struct UnknownScope;

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Upload, Self::List, Self::Read, Self::Admin];

    /// What it is called.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::List => "list",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.code() == text).ok_or(UnknownScope)
    }
}

/// One or more scopes, each once, in their own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Whether one of them is this one, or implies it.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        Self(vec![scope])
    }
}

impl fmt::Display for Scopes {
    /// Joined by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<&str> = self.0.iter().map(|scope| scope.code()).collect();
        f.write_str(&codes.join(","))
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let mut scopes: Vec<Scope> =
            text.split(',').map(|scope| scope.trim().parse()).collect::<Result<_, _>>()?;
        scopes.sort_unstable();
        scopes.dedup();
        Ok(Self(scopes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written_and_never_shown() {
        let token = Token::random();
        let text = token.reveal().to_owned();
        assert_eq!(text.len(), 8 + 43);
        assert_eq!(format!(" {text}\n").parse::<Token>().unwrap(), token);
        assert_ne!(token, Token::random());
        assert!(!format!("{token:?}").contains(&text[8..]));
        // `printf %s "$TOKEN" | sha256sum` finds a token's row.
        let known: Token = "closeby_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        assert_eq!(
            known.digest().to_string(),
            "b69060809333a078ffe05245483adb01c3dbbaa03b1a40d0d45b408dcc285b95"
        );
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let text = Token::random().reveal().to_owned();
        for wrong in [
            "",
            "closeby_",
            &text[8..],
            &text[..text.len() - 1],
            &format!("{text}A"),
            &format!("{text}="),
            &text.replacen("closeby", "Closeby", 1),
            &text.replacen('_', "-", 1),
            // The last character holds two bits that must be zero: one spelling a token.
            "closeby_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
            "closeby_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA é",
        ] {
            let error = wrong.parse::<Token>().unwrap_err();
            assert!(wrong.len() < 9 || !error.to_string().contains(&wrong[8..]), "{wrong}");
        }
    }

    #[test]
    fn scopes_are_a_set_and_admin_is_all_of_them() {
        let scopes: Scopes = "list, upload,list".parse().unwrap();
        assert_eq!(scopes.to_string(), "upload,list");
        assert_eq!(scopes.to_string().parse::<Scopes>().unwrap(), scopes);
        for wrong in ["", "upload,", "write", "Upload", "upload list"] {
            assert_eq!(wrong.parse::<Scopes>().unwrap_err(), UnknownScope, "{wrong}");
        }
        for (scopes, allowed) in [
            ("upload", [true, false, false, false]),
            ("list,read", [false, true, true, false]),
            ("admin", [true; 4]),
        ] {
            let scopes: Scopes = scopes.parse().unwrap();
            assert_eq!(Scope::ALL.map(|scope| scopes.allow(scope)), allowed, "{scopes}");
        }
    }
}
