//! `Content-Disposition` (RFC 6266): under which name a browser saves an answer.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::FileName;
use crate::service::node::Disposition;

/// What stands for itself in an extended parameter: RFC 8187's `attr-char`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The field's value: the name for today's programs, and one in plain ASCII for old ones.
pub(super) fn content_disposition(disposition: &Disposition, name: &FileName) -> String {
    let how = match disposition {
        Disposition::Attachment(_) => "attachment",
        Disposition::Inline(_) => "inline",
    };
    // `%` is replaced too, as some programs decode what looks percent-encoded.
    let plain = |c: char| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%') { c } else { '_' };
    let fallback: String = name.as_str().chars().map(plain).collect();
    let full = utf8_percent_encode(name.as_str(), ESCAPED);
    format!("{how}; filename=\"{fallback}\"; filename*=UTF-8''{full}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::{InlineType, MediaType};
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    fn attachment(name: &FileName) -> String {
        content_disposition(&Disposition::Attachment(MediaType::guess(name)), name)
    }

    #[test]
    fn what_is_shown_has_a_name_too() {
        let inline = Disposition::Inline(InlineType::parse("image/png").unwrap());
        let field = content_disposition(&inline, &FileName::parse("é.png").unwrap());
        assert_eq!(field, r#"inline; filename="_.png"; filename*=UTF-8''%C3%A9.png"#);
    }

    #[test]
    fn names_are_written_for_old_and_new_programs() {
        for (name, expected) in [
            ("a.txt", r#"attachment; filename="a.txt"; filename*=UTF-8''a.txt"#),
            ("a b;c.txt", r#"attachment; filename="a b;c.txt"; filename*=UTF-8''a%20b%3Bc.txt"#),
            ("€ 名.txt", r#"attachment; filename="_ _.txt"; filename*=UTF-8''%E2%82%AC%20%E5%90%8D.txt"#),
            (r#""; x="y"#, r#"attachment; filename="_; x=_y"; filename*=UTF-8''%22%3B%20x%3D%22y"#),
            ("100%25.txt", r#"attachment; filename="100_25.txt"; filename*=UTF-8''100%2525.txt"#),
        ] {
            assert_eq!(attachment(&FileName::parse(name).unwrap()), expected);
        }
    }

    proptest! {
        #[test]
        fn any_name_is_one_value_of_three_parts(given in ".{1,80}") {
            let Ok(name) = FileName::parse(&given) else { return Ok(()) };
            let field = attachment(&name);
            prop_assert!(HeaderValue::from_str(&field).is_ok());
            prop_assert!(field.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(field.matches('"').count(), 2);
            let full = field.rsplit("filename*=UTF-8''").next().unwrap();
            let decoded = percent_encoding::percent_decode_str(full).decode_utf8().unwrap();
            prop_assert_eq!(decoded, name.as_str());
            prop_assert!(!full.contains([';', '"', ' ', '\'', '*']));
        }
    }
}
