//! The `Forwarded` header (RFC 7239), read from the right.
//!
//! From the right, because the rightmost part was written by the nearest proxy: whatever a
//! client put before it, an open quote for one, must not change how that part is read.

use std::net::IpAddr;

use super::client::parse_node;

/// The longest element that is read, in bytes.
const MAX_ELEMENT_BYTES: usize = 1024;

/// The `for` addresses of one line from right to left; none for what is unreadable or hidden.
/// Empty elements are passed over (RFC 9110 §5.6.1.2).
pub(super) fn hops_from_the_right(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> + '_ {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        loop {
            let element = match split_last(rest?) {
                Some((before, element)) => {
                    rest = before;
                    element
                }
                None => {
                    // What cannot be told apart from its left cannot be read further.
                    rest = None;
                    return Some(None);
                }
            };
            let element = trim(element);
            if !element.is_empty() {
                return Some(std::str::from_utf8(element).ok().and_then(parse_element));
            }
        }
    })
}

/// What stands before the last comma outside quotes, if there is one, and what follows it;
/// none when a quote has no partner or the element is too long.
#[allow(clippy::type_complexity)]
fn split_last(line: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let mut quoted = false;
    let first = line.len().saturating_sub(MAX_ELEMENT_BYTES);
    for at in (first..line.len()).rev() {
        match line[at] {
            // Within quotes a backslash makes the next byte plain; outside it means nothing.
            b'"' if !(quoted && is_escaped(&line[..at])) => quoted = !quoted,
            b',' if !quoted => return Some((Some(&line[..at]), &line[at + 1..])),
            _ => {}
        }
    }
    (first == 0 && !quoted).then_some((None, line))
}

/// Whether an odd number of backslashes ends this.
fn is_escaped(before: &[u8]) -> bool {
    let kept = before.len().saturating_sub(MAX_ELEMENT_BYTES);
    before[kept..].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}

/// The address in the one `for` of an element of RFC 7239 §4; none when it has none, or two,
/// or when any of its parameters is malformed.
fn parse_element(element: &str) -> Option<IpAddr> {
    let mut node: Option<String> = None;
    let mut rest = element;
    loop {
        let (name, after) = rest.split_once('=')?;
        if !is_token(name) {
            return None;
        }
        let (value, after) = parse_value(after)?;
        if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
            return None;
        }
        match after.trim_start_matches([' ', '\t']) {
            "" => break,
            // Many put a space behind the semicolon, and some a semicolon at the end.
            more => rest = more.strip_prefix(';')?.trim_start_matches([' ', '\t']),
        }
        if rest.is_empty() {
            break;
        }
    }
    parse_node(&node?)
}

/// A token or a quoted string (RFC 9110 §5.6.4) and what follows it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return is_token(token).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
