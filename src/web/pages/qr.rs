//! A link as a QR code, to be taken over by a telephone.

use qrcode::{Color, EcLevel, QrCode};

/// White modules on every side, without which readers don't find it (ISO/IEC 18004 §9.1).
const QUIET_MODULES: usize = 4;

/// A QR code as a shape for an inline SVG, which needs no script and no style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QrView {
    /// Modules on each side, with the quiet zone.
    pub modules: usize,
    /// The dark modules: a path in units of one module.
    pub path: String,
}

impl QrView {
    /// The code of a text, if one can hold it: up to 2331 bytes.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
        let mut path = String::new();
        for (y, row) in code.to_colors().chunks(code.width()).enumerate() {
            // One rectangle for dark modules side by side: a quarter of the text, and no seams.
            let mut x = 0;
            for run in row.chunk_by(|a, b| a == b) {
                if run.first() == Some(&Color::Dark) {
                    let (left, top, width) = (x + QUIET_MODULES, y + QUIET_MODULES, run.len());
                    path.push_str(&format!("M{left} {top}h{width}v1h-{width}z"));
                }
                x += run.len();
            }
        }
        Some(Self { modules: code.width() + 2 * QUIET_MODULES, path })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shape_is_the_codes_dark_modules() {
        let text = "https://files.example/d/0123456789abcdef0123456789abcdef01234567";
        let view = QrView::new(text).unwrap();
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        assert_eq!(view.modules, code.width() + 8);
        let mut drawn = vec![Color::Light; view.modules * view.modules];
        for part in view.path.split('M').skip(1) {
            let (at, rest) = part.split_once('h').unwrap();
            let (x, y) = at.split_once(' ').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            let width: usize = rest.split_once('v').unwrap().0.parse().unwrap();
            assert_eq!(rest, format!("{width}v1h-{width}z"));
            drawn[y * view.modules + x..][..width].fill(Color::Dark);
        }
        for (index, color) in drawn.into_iter().enumerate() {
            let (x, y) = (index % view.modules, index / view.modules);
            let inside = |at: usize| (4..4 + code.width()).contains(&at);
            let wanted = if inside(x) && inside(y) { code[(x - 4, y - 4)] } else { Color::Light };
            assert_eq!(color, wanted, "{x} {y}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_has_none() {
        assert!(QrView::new(&"x".repeat(2331)).is_some());
        assert_eq!(QrView::new(&"x".repeat(2332)), None);
    }
}
