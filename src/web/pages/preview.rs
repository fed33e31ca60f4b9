//! What a file's page shows of the content itself.

use super::text::human_bytes;
use crate::domain::InlineKind;

/// The largest image that is loaded without being asked for, in bytes.
const IMAGE_BYTES: u64 = 64_000_000;
/// What `static/preview.js` reads of a text, in bytes.
const TEXT_BYTES: u64 = 64 << 10;
/// An image of fewer bytes gets less room.
const SMALL_IMAGE_BYTES: u64 = 4000;
/// A text from so many bytes on gets its full height at once, so that nothing jumps when it comes.
const LONG_TEXT_BYTES: u64 = 1500;

/// What is shown of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreviewView {
    /// Nothing: a browser can do little with it.
    None,
    /// Nothing, because browsers run code in such files.
    Refused,
    /// The content, from this address.
    Shown {
        /// As what.
        kind: InlineKind,
        /// The link for showing, of this site.
        url: String,
    },
}

/// A preview, ready for `preview.html`.
pub(super) struct Preview<'a> {
    pub(super) kind: InlineKind,
    pub(super) url: &'a str,
    pub(super) size_bytes: u64,
}

impl Preview<'_> {
    pub(super) fn what(&self) -> &'static str {
        match self.kind {
            InlineKind::Image => "image",
            InlineKind::Audio => "audio",
            InlineKind::Video => "video",
            InlineKind::Text => "text",
            InlineKind::Pdf => "document",
        }
    }

    pub(super) fn is(&self, what: &str) -> bool {
        self.what() == what
    }

    /// Whether it is too large to be loaded without being asked for.
    pub(super) const fn waits(&self) -> bool {
        matches!(self.kind, InlineKind::Image) && self.size_bytes > IMAGE_BYTES
    }

    pub(super) const fn is_long(&self) -> bool {
        self.size_bytes >= LONG_TEXT_BYTES
    }

    /// Whether it is most likely an icon, which needs little room.
    pub(super) const fn is_small(&self) -> bool {
        self.size_bytes < SMALL_IMAGE_BYTES
    }

    /// What is said below a text of which only the beginning is shown.
    pub(super) fn cut(&self) -> Option<String> {
        (self.size_bytes > TEXT_BYTES)
            .then(|| format!("The first 64 KiB of {}", human_bytes(self.size_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_images_wait_and_only_long_texts_are_cut() {
        let preview = |kind, size_bytes| Preview { kind, url: "", size_bytes };
        assert!(!preview(InlineKind::Image, IMAGE_BYTES).waits());
        assert!(preview(InlineKind::Image, IMAGE_BYTES + 1).waits());
        assert!(!preview(InlineKind::Video, u64::MAX).waits());
        assert_eq!(preview(InlineKind::Text, TEXT_BYTES).cut(), None);
        let cut = preview(InlineKind::Text, TEXT_BYTES + 1).cut();
        assert_eq!(cut.as_deref(), Some("The first 64 KiB of 66 kB"));
    }
}
