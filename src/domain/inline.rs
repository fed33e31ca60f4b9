//! What may be shown in a browser instead of being saved.

use super::{FileName, MediaType};

/// What kind of content is shown, and so with which element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InlineKind {
    /// A raster image.
    Image,
    /// Something to hear.
    Audio,
    /// Something to watch.
    Video,
    /// Plain text.
    Text,
    /// A PDF document.
    Pdf,
}

use InlineKind::{Audio, Image, Pdf, Text, Video};

/// Every media type that is ever shown. None of them is run by a browser that is told not to look for
/// another one; SVG, HTML and XML, which are, must never stand here.
const TYPES: [(&str, InlineKind); 21] = [
    ("image/png", Image),
    ("image/apng", Image),
    ("image/jpeg", Image),
    ("image/gif", Image),
    ("image/webp", Image),
    ("image/avif", Image),
    ("image/bmp", Image),
    ("audio/mpeg", Audio),
    ("audio/mp4", Audio),
    ("audio/aac", Audio),
    ("audio/ogg", Audio),
    ("audio/flac", Audio),
    ("audio/wav", Audio),
    ("audio/webm", Audio),
    ("video/mp4", Video),
    ("video/webm", Video),
    ("video/ogg", Video),
    ("video/quicktime", Video),
    ("video/3gpp", Video),
    (PLAIN_TEXT, Text),
    ("application/pdf", Pdf),
];

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Other names of types above.
const ALIASES: [(&str, &str); 18] = [
    ("image/jpg", "image/jpeg"),
    ("image/pjpeg", "image/jpeg"),
    ("image/x-png", "image/png"),
    ("image/vnd.mozilla.apng", "image/apng"),
    ("image/x-ms-bmp", "image/bmp"),
    ("image/x-bmp", "image/bmp"),
    ("audio/mp3", "audio/mpeg"),
    ("audio/x-m4a", "audio/mp4"),
    ("audio/m4a", "audio/mp4"),
    ("audio/aacp", "audio/aac"),
    ("audio/opus", "audio/ogg"),
    ("audio/x-flac", "audio/flac"),
    ("audio/x-wav", "audio/wav"),
    ("audio/wave", "audio/wav"),
    ("audio/vnd.wave", "audio/wav"),
    ("video/x-m4v", "video/mp4"),
    ("application/ogg", "video/ogg"),
    ("application/x-pdf", "application/pdf"),
];

/// Texts that don't call themselves `text/…`.
const TEXTS: [&str; 17] = [
    "application/json",
    "application/ld+json",
    "application/geo+json",
    "application/jsonlines",
    "application/x-ndjson",
    "application/json5",
    "application/javascript",
    "application/x-javascript",
    "application/ecmascript",
    "application/toml",
    "application/yaml",
    "application/x-yaml",
    "application/sql",
    "application/x-sql",
    "application/x-sh",
    "application/x-subrip",
    "application/typescript",
];

/// Endings of texts that the table of media types does not know.
const TEXT_ENDINGS: [&str; 22] = [
    "adoc", "bash", "cfg", "cjs", "conf", "diff", "env", "go", "kt", "lock", "log", "mjs", "nix", "patch",
    "ps1", "rst", "srt", "swift", "tf", "tsv", "zig", "zsh",
];

/// A media type that may be shown in a browser: one of a fixed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InlineType(&'static str, InlineKind);

impl InlineType {
    /// The type with exactly this spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        TYPES.iter().find(|(known, _)| *known == text).map(|(known, kind)| Self(known, *kind))
    }

    /// As what a file may be shown. What its sender said it is decides; where that is nothing, its
    /// name's ending does. Where either says that it is markup, it is not shown.
    ///
    /// The content itself is not looked at. One that is not what it is said to be is not run: the type
    /// is pinned, and browsers are told to look for no other.
    #[must_use]
    pub fn of(name: &FileName, media_type: &MediaType) -> Option<Self> {
        if Self::refuses(name, media_type) {
            return None;
        }
        let (said, guessed) = (essence(media_type), essence(&MediaType::guess(name)));
        if said != MediaType::UNKNOWN {
            return Self::of_essence(&said);
        }
        let ending = name.as_str().rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        let is_text = || ending.is_some_and(|ending| TEXT_ENDINGS.contains(&ending.as_str()));
        Self::of_essence(&guessed).or_else(|| is_text().then(|| Self::parse(PLAIN_TEXT)).flatten())
    }

    /// Whether a file is kept from being shown because browsers would run it, or because it is markup.
    #[must_use]
    pub fn refuses(name: &FileName, media_type: &MediaType) -> bool {
        is_markup(&essence(media_type)) || is_markup(&essence(&MediaType::guess(name)))
    }

    fn of_essence(essence: &str) -> Option<Self> {
        let own_name = ALIASES.iter().find(|(alias, _)| *alias == essence).map_or(essence, |(_, name)| name);
        let is_text = own_name.starts_with("text/") || TEXTS.contains(&own_name);
        Self::parse(if is_text { PLAIN_TEXT } else { own_name })
    }

    /// The media type as it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// What kind of content it is.
    #[must_use]
    pub const fn kind(self) -> InlineKind {
        self.1
    }
}

/// The type without its parameters, in small letters.
fn essence(media_type: &MediaType) -> String {
    media_type.as_str().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether browsers run such content, or it is markup that nobody reads as text.
fn is_markup(essence: &str) -> bool {
    essence.ends_with("+xml")
        || ["/xml", "/html", "/xsl", "/xslt", "/svg"].iter().any(|kind| essence.ends_with(kind))
        || ["/xml-", "/rtf", "/x-component", "/cache-manifest", "/mathml"]
            .iter()
            .any(|part| essence.contains(part))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn of(name: &str, media_type: &str) -> Option<&'static str> {
        let name = FileName::parse(name).unwrap();
        InlineType::of(&name, &MediaType::parse(media_type)).map(InlineType::as_str)
    }

    #[test]
    fn each_type_is_its_own() {
        for (text, kind) in TYPES {
            let inline = InlineType::parse(text).unwrap();
            assert_eq!((inline.as_str(), inline.kind()), (text, kind));
            assert_eq!(of("x", text), Some(text));
            assert!(!is_markup(text));
        }
        for (alias, name) in ALIASES {
            assert!(InlineType::parse(alias).is_none() && InlineType::parse(name).is_some(), "{alias}");
            assert_eq!(of("x", alias), Some(name));
        }
    }

    #[test]
    fn only_the_exact_spelling_is_taken() {
        for wrong in [
            "",
            "text/html",
            "image/svg+xml",
            "text/plain",
            "text/plain;charset=utf-8",
            "text/plain; charset=UTF-8",
            "text/plain; charset=utf-8 ",
            "IMAGE/PNG",
            "image/png;x=y",
            "image/*",
            "application/octet-stream",
            "text/xml",
            "application/xhtml+xml",
        ] {
            assert_eq!(InlineType::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_the_sender_said_decides_and_then_the_ending() {
        for (name, media_type, shown) in [
            ("a.png", "image/png", Some("image/png")),
            ("a.bin", "Image/JPEG; q=1", Some("image/jpeg")),
            ("a.png", "application/zip", None),
            ("a.png", "application/octet-stream", Some("image/png")),
            ("a.PNG", "", Some("image/png")),
            ("a", "application/octet-stream", None),
            ("build.log", "application/octet-stream", Some(PLAIN_TEXT)),
            ("a.txt", "text/plain; charset=iso-8859-1", Some(PLAIN_TEXT)),
            ("a.csv", "text/csv", Some(PLAIN_TEXT)),
            ("a.json", "application/json", Some(PLAIN_TEXT)),
            ("a.rs", "text/x-rust", Some(PLAIN_TEXT)),
            ("a.js", "text/javascript", Some(PLAIN_TEXT)),
            ("a.pdf", "application/pdf", Some("application/pdf")),
            ("a.mp3", "audio/mp3", Some("audio/mpeg")),
            ("a.tiff", "image/tiff", None),
            ("a.mkv", "video/x-matroska", None),
        ] {
            assert_eq!(of(name, media_type), shown, "{name} {media_type}");
        }
    }

    #[test]
    fn markup_is_never_shown() {
        for media_type in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "image/svg+xml",
            "text/xml",
            "application/xml",
            "application/xhtml+xml",
            "application/rss+xml",
            "text/xsl",
            "application/xml-dtd",
            "text/rtf",
            "application/mathml+xml",
            "multipart/x-mixed-replace",
            "message/rfc822",
        ] {
            for name in ["a", "a.png", "a.txt"] {
                assert_eq!(of(name, media_type), None, "{name} {media_type}");
            }
        }
        let refuses = |name: &str, media_type: &str| {
            InlineType::refuses(&FileName::parse(name).unwrap(), &MediaType::parse(media_type))
        };
        assert!(refuses("a.svg", "image/png") && refuses("a.png", "text/html"));
        assert!(!refuses("a.png", "image/png") && !refuses("a.zip", "application/zip"));
        for name in ["a.html", "a.HTM", "a.svg", "a.xml", "a.xhtml", "a.xsl", "a.rss"] {
            for media_type in ["text/plain", "image/png", "application/octet-stream", "application/pdf"] {
                assert_eq!(of(name, media_type), None, "{name} {media_type}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_what_is_shown_is_on_the_list(name in "[a-z]{1,3}\\.[a-z]{1,5}", media_type in "(text|image|application|audio|video)/[a-z+.-]{1,12}(; [a-z]=[a-z])?") {
            if let Some(shown) = of(&name, &media_type) {
                prop_assert!(TYPES.iter().any(|(known, _)| *known == shown));
                prop_assert!(!media_type.contains("html") && !media_type.contains("+xml"));
            }
        }
    }
}
