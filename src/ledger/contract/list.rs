//! The list of files and its search.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::super::{Cursor, FileOrder};
use super::{Fixture, content};
use crate::domain::Viewer;

/// More than any index holds back before it is brought up to date.
const MANY: u64 = 700;

async fn store_names<S: AsRef<str>>(t: &Fixture, from: u64, names: impl IntoIterator<Item = S>) {
    let nodes = t.nodes(2).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (number, name) in (from..).zip(names) {
        let upload = t.upload(name.as_ref(), content(number), &nodes);
        let ledger = t.ledger.clone();
        // In order, and many at once all the same.
        tasks.spawn(async move { ledger.decide_upload(upload).await.unwrap().stored() });
        if number % 64 == 0 {
            tasks.join_next().await;
        }
    }
    tasks.join_all().await;
}

/// All names that a search finds, newest first, over pages of this size.
async fn search(t: &Fixture, query: &str, limit: usize) -> Vec<String> {
    let (mut names, mut after): (Vec<String>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let page = t
            .ledger
            .list_files(Viewer::Public, query, FileOrder::Newest, after.clone(), limit)
            .await
            .unwrap();
        assert!(page.items.len() <= limit);
        names.extend(page.items.into_iter().map(|file| file.name.as_str().to_owned()));
        match page.next {
            Some(next) => {
                assert_ne!(Some(&next), after.as_ref(), "a page goes on");
                after = Some(next);
            }
            None => return names,
        }
    }
}

/// Puts names that are searched for among many others, older and newer.
async fn among_others(t: &Fixture, names: &[&str]) {
    store_names(t, 0, (0..MANY).map(|i| format!("other-{i}.bin"))).await;
    store_names(t, MANY, names).await;
    store_names(t, 2 * MANY, (0..MANY).map(|i| format!("other-{i}.bin"))).await;
}

async fn assert_finds(t: &Fixture, query: &str, expected: &[&str]) {
    let (mut found, mut expected) = (search(t, query, 7).await, expected.to_vec());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{query:?}");
}

pub async fn files_come_newest_first_in_pages(t: Fixture) {
    let nodes = t.nodes(2).await;
    let mut names: Vec<String> = (0..20).map(|i| format!("{i}.txt")).collect();
    for (number, name) in (0..).zip(&names) {
        t.store(name, content(number), &nodes).await;
    }
    names.reverse();
    for limit in [1, 3, 19, 20, 21, 1000] {
        assert_eq!(search(&t, "", limit).await, names, "{limit}");
        assert_eq!(search(&t, ".t", limit).await, names, "{limit}");
    }
    let page = t.ledger.list_files(Viewer::Public, "", FileOrder::Newest, None, 20).await.unwrap();
    assert_eq!(page.next, None, "a page that ends the list says so");
    let page = t.ledger.list_files(Viewer::Public, "", FileOrder::Newest, None, 19).await.unwrap();
    assert!(page.next.is_some());
    assert!(
        t.ledger.list_files(Viewer::Public, "", FileOrder::Newest, None, 0).await.unwrap().items.is_empty()
    );
}

pub async fn pages_stay_stable_while_files_arrive(t: Fixture) {
    store_names(&t, 0, (0..MANY).map(|i| format!("old-{i}"))).await;
    for query in ["", "o", "old-"] {
        let whole = search(&t, query, 1000).await;
        let first = t.ledger.list_files(Viewer::Public, query, FileOrder::Newest, None, 300).await.unwrap();
        let from = t.ledger.totals().await.unwrap().files;
        store_names(&t, from, (0..MANY).map(|i| format!("old-new-{i}"))).await;
        let mut names: Vec<String> = first.items.iter().map(|file| file.name.as_str().to_owned()).collect();
        let mut after = first.next;
        while after.is_some() {
            let page =
                t.ledger.list_files(Viewer::Public, query, FileOrder::Newest, after, 300).await.unwrap();
            names.extend(page.items.iter().map(|file| file.name.as_str().to_owned()));
            after = page.next;
        }
        assert_eq!(names, whole, "nothing twice, nothing missed, nothing new");
    }
}

pub async fn a_search_finds_any_part_of_any_length(t: Fixture) {
    let long = "long ".repeat(50) + "name";
    among_others(&t, &["Report 2024.pdf", "x", "photo 😀🎉.jpg", "ab", &long, "aaa", "名前.txt"]).await;
    for (query, found) in [
        ("Report 2024.pdf", &["Report 2024.pdf"][..]),
        ("port 2", &["Report 2024.pdf"]),
        ("df", &["Report 2024.pdf"]),
        ("d", &["Report 2024.pdf"]),
        ("x", &["x", "名前.txt"]),
        ("😀", &["photo 😀🎉.jpg"]),
        ("😀🎉", &["photo 😀🎉.jpg"]),
        ("😀🎉.j", &["photo 😀🎉.jpg"]),
        ("🎉😀", &[]),
        ("ab", &["ab"]),
        ("abc", &[]),
        ("aaa", &["aaa"]),
        // Every gram of it is in a name, but it is not.
        ("aaaa", &[]),
        ("前", &["名前.txt"]),
        (&long, &[&long]),
        (&long[3..], &[&long]),
        (&long.repeat(10), &[]),
    ] {
        assert_finds(&t, query, found).await;
    }
    assert_eq!(search(&t, "other-", 1000).await.len(), 2 * usize::try_from(MANY).unwrap());
}

pub async fn a_search_takes_every_character_plainly(t: Fixture) {
    let names = [
        "100%.txt",
        "100_.txt",
        "1000.txt",
        "a\"b",
        "a'b",
        "a*b",
        "a AND b",
        "a OR b",
        "NOT",
        "NEAR(a b)",
        "(x",
        "^x",
        "grams:x",
        "-x",
        "+x",
        "a  b",
        "[x]",
        "{x}",
        "a?b",
        " ",
        "!",
    ];
    among_others(&t, &names).await;
    for query in names
        .iter()
        .copied()
        .chain(["%", "_", "\"", "'", "*", "?", "0%", "00_", "%.t", "\" OR \"", "  ", "("])
    {
        let expected: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| name.to_lowercase().contains(&query.to_lowercase()))
            .collect();
        assert_finds(&t, query, &expected).await;
    }
    // What no name can hold is found in none, and is no error.
    for query in ["\0", "a\0b", "/", "\\", "\u{e020}", "\n"] {
        assert_finds(&t, query, &[]).await;
    }
}

pub async fn a_search_ignores_case_beyond_ascii(t: Fixture) {
    among_others(&t, &["ÄRGER.txt", "ärger.TXT", "Straße", "STRASSE", "ΟΔΟΣ", "οδος.md", "Ünï", "İstanbul"])
        .await;
    for (query, found) in [
        ("ä", &["ÄRGER.txt", "ärger.TXT"][..]),
        ("Ä", &["ÄRGER.txt", "ärger.TXT"]),
        ("äR", &["ÄRGER.txt", "ärger.TXT"]),
        ("Ärger.TxT", &["ÄRGER.txt", "ärger.TXT"]),
        ("ß", &["Straße"]),
        ("ẞ", &["Straße"]),
        ("stra", &["Straße", "STRASSE"]),
        ("Σ", &["ΟΔΟΣ", "οδος.md"]),
        ("οδοσ", &["ΟΔΟΣ", "οδος.md"]),
        ("ΔΟς", &["ΟΔΟΣ", "οδος.md"]),
        ("NÏ", &["Ünï"]),
        ("İST", &["İstanbul"]),
    ] {
        assert_finds(&t, query, found).await;
    }
}

pub async fn a_search_agrees_with_reading_every_name(t: Fixture) {
    let mut rng = StdRng::seed_from_u64(3);
    let letters = ['a', 'b', 'B', ' ', '.', 'é', 'É'];
    let mut word = |longest| -> String {
        (0..rng.random_range(1..=longest)).map(|_| *letters.choose(&mut rng).unwrap()).collect()
    };
    let names: Vec<String> =
        (0..MANY + 50).map(|_| word(9)).filter(|name| name != "." && name != "..").collect();
    store_names(&t, 0, &names).await;
    for _ in 0..60 {
        let query = word(5);
        let mut found = search(&t, &query, 50).await;
        let mut expected: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| name.to_lowercase().contains(&query.to_lowercase()))
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{query:?}");
    }
}
