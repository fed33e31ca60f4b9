//! Which bytes a `Range` field asks for (RFC 9110 §14).

use std::ops::Range;

/// No more parts are sent: who asks for more gets the whole (RFC 9110 §14.2 warns of many
/// small ranges, which cost a server more than they save).
const MAX_PARTS: usize = 16;

/// Ranges nearer to each other than this, in bytes, are sent as one: what stands between two
/// parts is longer (RFC 9110 §15.3.7.2).
const MIN_GAP: u64 = 128;

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// Everything, as if nothing had been asked for.
    Whole,
    /// These parts, at least one; none is empty, none touches another. They come in the order
    /// in which they were asked for.
    Parts(Vec<Range<u64>>),
    /// Nothing that was asked for is there.
    Unsatisfiable,
}

/// Reads a `Range` field for content of `size` bytes. What cannot be read, or is of another
/// unit, is passed over, as RFC 9110 §14.2 wants.
pub(super) fn select(field: &str, size: u64) -> Selection {
    let Some(specs) = parse(field) else { return Selection::Whole };
    // Nothing has a last byte where there is none, but its end can be asked for.
    if size == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(length) if *length > 0)) {
        return Selection::Whole;
    }
    let ranges: Vec<Range<u64>> = specs.into_iter().filter_map(|spec| spec.within(size)).collect();
    if ranges.is_empty() {
        return Selection::Unsatisfiable;
    }
    let parts = coalesce(&ranges);
    let is_whole = parts.len() > MAX_PARTS || parts.first() == Some(&(0..size));
    if is_whole && ranges.len() > 1 { Selection::Whole } else { Selection::Parts(parts) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// From a byte to another, that one among them.
    FromTo(u64, u64),
    /// From a byte to the end.
    From(u64),
    /// The last bytes.
    Suffix(u64),
}

impl Spec {
    /// The bytes it means, if any of them is there.
    fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

fn parse(field: &str) -> Option<Vec<Spec>> {
    let (unit, set) = field.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs: Option<Vec<Spec>> = set
        .split(',')
        .map(|spec| spec.trim_matches([' ', '\t']))
        // A list may have empty elements (RFC 9110 §5.6.1.2).
        .filter(|spec| !spec.is_empty())
        .map(parse_spec)
        .collect();
    specs.filter(|specs| !specs.is_empty())
}

fn parse_spec(text: &str) -> Option<Spec> {
    let (first, last) = text.split_once('-')?;
    match (first, last) {
        ("", length) => Some(Spec::Suffix(number(length)?)),
        (first, "") => Some(Spec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::FromTo(first, last))
        }
    }
}

/// Digits; a number too large for us is larger than any blob.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Makes one of ranges that overlap or nearly touch. Each stands where the first of those it
/// was made of stood.
fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<(usize, Range<u64>)> = ranges.iter().cloned().enumerate().collect();
    sorted.sort_by_key(|(_, range)| range.start);
    let mut merged: Vec<(usize, Range<u64>)> = Vec::new();
    for (place, range) in sorted {
        match merged.last_mut() {
            Some((first, last)) if range.start <= last.end.saturating_add(MIN_GAP) => {
                last.end = last.end.max(range.end);
                *first = (*first).min(place);
            }
            _ => merged.push((place, range)),
        }
    }
    merged.sort_by_key(|(place, _)| *place);
    merged.into_iter().map(|(_, range)| range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(ranges: &[(u64, u64)]) -> Selection {
        Selection::Parts(ranges.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn ranges_are_selected_as_the_rfc_says() {
        use Selection::{Unsatisfiable, Whole};
        for (field, size, expected) in [
            ("bytes=0-0", 1000, parts(&[(0, 1)])),
            ("bytes=0-", 1000, parts(&[(0, 1000)])),
            ("bytes=999-", 1000, parts(&[(999, 1000)])),
            ("bytes=1000-", 1000, Unsatisfiable),
            ("bytes=-1", 1000, parts(&[(999, 1000)])),
            ("bytes=-5000", 1000, parts(&[(0, 1000)])),
            ("bytes=-0", 1000, Unsatisfiable),
            ("bytes=500-99999999999999999999999", 1000, parts(&[(500, 1000)])),
            ("BYTES = 1-2", 1000, parts(&[(1, 3)])),
            ("bytes=1-2,,  5-9 ,", 1000, parts(&[(1, 10)])),
            ("bytes=700-709,100-109", 1000, parts(&[(700, 710), (100, 110)])),
            ("bytes=700-709,100-109,701-800", 1000, parts(&[(700, 801), (100, 110)])),
            ("bytes=0-9,1000-1001", 1000, parts(&[(0, 10)])),
            ("bytes=2000-2001,1000-1001", 1000, Unsatisfiable),
            ("bytes=0-499,500-999", 1000, Whole),
            ("bytes=0-0,0-0,0-0", 1000, parts(&[(0, 1)])),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=0-0", 0, Unsatisfiable),
            ("bytes=-1", 0, Whole),
            ("bytes=-0", 0, Unsatisfiable),
            // What cannot be read is passed over.
            ("bytes=", 1000, Whole),
            ("bytes", 1000, Whole),
            ("bytes=,", 1000, Whole),
            ("bytes=2-1", 1000, Whole),
            ("bytes=0-1,2-1", 1000, Whole),
            ("bytes=a-b", 1000, Whole),
            ("bytes=+1-2", 1000, Whole),
            ("bytes=1 - 2", 1000, Whole),
            ("bytes=-", 1000, Whole),
            ("bytes=--1", 1000, Whole),
            ("bytes=1", 1000, Whole),
            ("lines=0-1", 1000, Whole),
        ] {
            assert_eq!(select(field, size), expected, "{field:?} of {size}");
        }
    }

    #[test]
    fn too_many_parts_are_answered_with_the_whole() {
        let ask = |count: u64| {
            let specs: Vec<String> = (0..count).map(|i| format!("{}-{}", i * 1000, i * 1000)).collect();
            select(&format!("bytes={}", specs.join(",")), 1 << 30)
        };
        assert!(matches!(ask(MAX_PARTS as u64), Selection::Parts(parts) if parts.len() == MAX_PARTS));
        assert_eq!(ask(MAX_PARTS as u64 + 1), Selection::Whole);
    }

    proptest! {
        /// What is selected has every byte that was asked for, no byte twice, and nothing else
        /// but gaps that are shorter than what stands between two parts.
        #[test]
        fn every_byte_asked_for_is_sent_once(
            size in 1u64..5000,
            asked in proptest::collection::vec((0u64..6000, 0u64..600), 1..8),
        ) {
            let specs: Vec<String> =
                asked.iter().map(|(first, length)| format!("{first}-{}", first + length)).collect();
            let is_asked = |at: u64| asked.iter().any(|(first, length)| (*first..=first + length).contains(&at));
            match select(&format!("bytes={}", specs.join(",")), size) {
                Selection::Whole => prop_assert!(asked.len() > 1),
                Selection::Unsatisfiable => prop_assert!(!(0..size).any(is_asked)),
                Selection::Parts(parts) => {
                    for at in 0..size {
                        let times = parts.iter().filter(|part| part.contains(&at)).count();
                        prop_assert!(times <= 1);
                        prop_assert!(times == 1 || !is_asked(at));
                        if times == 1 && !is_asked(at) {
                            let near = at.saturating_sub(MIN_GAP)..=at + MIN_GAP;
                            prop_assert!(near.clone().any(|at| at < size && is_asked(at)));
                        }
                    }
                    prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
                }
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(field in ".*", size: u64) {
            select(&field, size);
            select(&format!("bytes={field}"), size);
        }
    }
}
