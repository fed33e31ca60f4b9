//! What a person points at: a link or a SHA-1.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::domain::{FileName, Sha1};

/// A text that points at no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is neither a SHA-1 (40 hexadecimal digits) nor a link such as https://files.example/d/{{sha1}}")]
pub struct InvalidTarget;

/// A content, and what the link said beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The content.
    pub sha1: Sha1,
    /// The server of the link.
    pub server: Option<Url>,
    /// The name in the link: decoration, unless the ledger knows a file of that name.
    pub name: Option<FileName>,
}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// Reads a SHA-1, a link `/d/{sha1}[/{name}]` or a page `/files/{sha1}`.
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if let Ok(sha1) = text.parse() {
            return Ok(Self { sha1, server: None, name: None });
        }
        let url: Url = text.parse().map_err(|_| InvalidTarget)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidTarget);
        }
        let segments: Vec<&str> = url.path_segments().ok_or(InvalidTarget)?.collect();
        let (sha1, name) = match segments[..] {
            ["d", sha1] => (sha1.strip_suffix(".meta4").unwrap_or(sha1), None),
            ["d", sha1, name] => (sha1, Some(name)),
            ["files", sha1] | ["files", sha1, ""] => (sha1, None),
            _ => return Err(InvalidTarget),
        };
        let sha1 = sha1.parse().map_err(|_| InvalidTarget)?;
        let name = name
            .and_then(|name| percent_decode_str(name).decode_utf8().ok())
            .and_then(|name| FileName::parse(&name).ok());
        let mut server = url.clone();
        server.set_path("/");
        server.set_query(None);
        server.set_fragment(None);
        Ok(Self { sha1, server: Some(server), name })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    #[test]
    fn links_pages_and_digests_are_read() {
        for (text, server, name) in [
            (SHA1.to_owned(), None, None),
            (SHA1.to_uppercase(), None, None),
            (format!("https://x:1/d/{SHA1}"), Some("https://x:1/"), None),
            (format!("https://x/d/{SHA1}.meta4"), Some("https://x/"), None),
            (format!("http://x/d/{SHA1}/a%20b.txt?node=1#x"), Some("http://x/"), Some("a b.txt")),
            (format!("http://x/d/{SHA1}/..%2F..%2Fetc%2Fpasswd"), Some("http://x/"), Some("passwd")),
            (format!("http://x/d/{SHA1}/%0a"), Some("http://x/"), None),
            (format!("http://x/files/{SHA1}"), Some("http://x/"), None),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.sha1.to_string(), SHA1);
            assert_eq!(target.server.as_ref().map(Url::as_str), server, "{text}");
            assert_eq!(target.name.as_ref().map(FileName::as_str), name, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "abc", "http://x/", "http://x/d/", "http://x/d/abc", "ftp://x/d/", "d/abc", "mailto:a@b"]
        {
            assert_eq!(text.parse::<Target>(), Err(InvalidTarget), "{text}");
        }
        assert!(format!("http://x/b/{SHA1}/a").parse::<Target>().is_err());
        assert!(format!("ftp://x/d/{SHA1}").parse::<Target>().is_err());
    }
}
