//! How names are searched: any part of a name, ignoring case, every character plain.
//!
//! A name is *folded* (case taken away character by character) and cut into its *grams*:
//! every run of one, two and three characters. An engine keeps, per gram, the list of files
//! that hold it; a search takes the files that hold every gram of what is looked for, newest
//! first, and checks each of them. Grams of one and two characters are kept as well as those
//! of three, because a query may be that short and a list of trigrams says nothing about it.

use std::collections::BTreeSet;

/// The most grams of a query that are looked up: enough to leave few wrong candidates, which
/// are then checked anyway.
const MAX_QUERY_GRAMS: usize = 12;

/// A text without its case.
///
/// Each character is folded by itself, unlike in `str::to_lowercase`, which writes a sigma
/// at the end of a word differently: a part of a name would then fold to something that the
/// folded name does not hold.
pub(super) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

/// All grams of a folded name, as words with spaces between them.
pub(super) fn grams(folded: &str) -> String {
    let chars: Vec<char> = folded.chars().collect();
    let grams: BTreeSet<&[char]> = (1..=3).flat_map(|length| chars.windows(length)).collect();
    let mut words = String::with_capacity(grams.len() * 5);
    for gram in grams {
        words.extend(gram.iter().map(|&c| letter(c)));
        words.push(' ');
    }
    words
}

/// The words of the grams that every name with this folded query in it has; none when it is
/// empty.
pub(super) fn query_grams(folded: &str) -> Vec<String> {
    let chars: Vec<char> = folded.chars().collect();
    if chars.is_empty() {
        return Vec::new();
    }
    let all: Vec<&[char]> = chars.windows(chars.len().min(3)).collect();
    // Spread evenly over a long query, its two ends included.
    let taken = all.len().min(MAX_QUERY_GRAMS);
    let grams: BTreeSet<&[char]> =
        (0..taken).filter_map(|i| all.get(i * (all.len() - 1) / (taken - 1).max(1)).copied()).collect();
    grams.into_iter().map(|gram| gram.iter().map(|&c| letter(c)).collect()).collect()
}

/// A character as one that stands in a word of the index.
///
/// ASCII that is neither letter nor digit would part words, so it moves to a private range of
/// Unicode. Two characters may meet there; that adds a candidate, which is then checked.
fn letter(c: char) -> char {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        char::from_u32(0xE000 + u32::from(c)).unwrap_or(c)
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_is_taken_away_wherever_a_character_stands() {
        for (text, folded) in [
            ("ÄÖÜ", "äöü"),
            ("Straße", "straße"),
            ("ẞ", "ß"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
            ("İ", "i\u{307}"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
    }

    #[test]
    fn grams_are_every_one_two_and_three_characters_once() {
        let grams = grams("aab");
        let words: Vec<&str> = grams.split_whitespace().collect();
        assert_eq!(words, ["a", "aa", "aab", "ab", "b"]);
        assert!(query_grams("").is_empty());
        assert_eq!(query_grams("x"), ["x"]);
        assert_eq!(query_grams("xy"), ["xy"]);
        assert_eq!(query_grams("wxyz"), ["wxy", "xyz"]);
        assert!(query_grams(&"0123456789abcdefghijklmnopqrst".repeat(8)).len() <= MAX_QUERY_GRAMS);
    }

    proptest! {
        #[test]
        fn a_name_has_every_gram_of_each_of_its_parts(name in ".{1,60}", from in 0usize..60, length in 1usize..60) {
            let part: String = name.chars().skip(from).take(length).collect();
            let (name, part) = (fold(&name), fold(&part));
            prop_assert!(name.contains(&part));
            let name_grams = grams(&name);
            let words: BTreeSet<&str> = name_grams.split(' ').collect();
            for gram in query_grams(&part) {
                prop_assert!(words.contains(gram.as_str()));
                prop_assert!(!gram.contains(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric()));
            }
        }
    }
}
