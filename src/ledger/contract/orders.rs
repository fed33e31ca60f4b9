//! The orders of the list, each with its search.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::super::{Cursor, FileOrder, FileRecord, LedgerError};
use super::{Fixture, content};
use crate::domain::{BlobDigests, Viewer};

/// More than one page looks at where it sorts what a search found, and more than any index holds back.
const MANY: u64 = 700;

/// All files that a search finds, over pages of this size.
async fn walk(t: &Fixture, query: &str, order: FileOrder, limit: usize) -> Vec<FileRecord> {
    let (mut files, mut after): (Vec<FileRecord>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let page = t.ledger.list_files(Viewer::Public, query, order, after.clone(), limit).await.unwrap();
        assert!(page.items.len() <= limit);
        files.extend(page.items);
        match page.next {
            Some(next) => {
                assert_ne!(Some(&next), after.as_ref(), "a page goes on");
                // As it is given to people and back.
                assert_eq!(next.to_string().parse::<Cursor>().as_ref(), Ok(&next));
                after = Some(next);
            }
            None => return files,
        }
    }
}

fn names(files: &[FileRecord]) -> Vec<&str> {
    files.iter().map(|file| file.name.as_str()).collect()
}

/// Files of few names and few sizes, so that most of them share one or both.
async fn store_many(t: &Fixture) -> Vec<FileRecord> {
    let mut rng = StdRng::seed_from_u64(11);
    let words = ["alpha", "Beta", "beta", "gamma", "ärger", "Zeta", "a", "B.txt"];
    let nodes = t.nodes(2).await;
    let mut stored = Vec::new();
    for number in 0..MANY {
        let size = *[0, 1, 1000, 1000, 5_000_000_000].choose(&mut rng).unwrap();
        let name = format!("{}{}", words.choose(&mut rng).unwrap(), rng.random_range(0..5));
        let digests = BlobDigests { size, ..content(number) };
        stored.push(t.store(&name, digests, &nodes).await.blob.file);
    }
    stored
}

/// What is expected of an order: `files` are oldest first, each on a blob of its own.
fn sorted(files: &[FileRecord], order: FileOrder) -> Vec<FileRecord> {
    let mut files = files.to_vec();
    // Stable: what is equal stays in its order of arrival.
    match order {
        FileOrder::Oldest => {}
        FileOrder::Newest => files.reverse(),
        FileOrder::Name => files.sort_by_key(|file| file.name.as_str().to_lowercase()),
        FileOrder::Smallest => files.sort_by_key(|file| file.blob.size),
        FileOrder::Largest => {
            files.sort_by_key(|file| file.blob.size);
            files.reverse();
        }
    }
    files
}

pub async fn every_order_goes_on_from_page_to_page_through_equals(t: Fixture) {
    let stored = store_many(&t).await;
    for order in FileOrder::ALL {
        let expected = sorted(&stored, order);
        for limit in [1, 7, 100, 699, 700, 1000] {
            let found = walk(&t, "", order, limit).await;
            assert!(found == expected, "{order} by {limit}: {:?}", names(&found));
        }
    }
}

pub async fn a_search_keeps_every_order(t: Fixture) {
    let stored = store_many(&t).await;
    // Many matches, some, few, none; also such as no index has yet.
    let last = stored.last().unwrap().name.as_str().to_owned();
    for query in ["", "a", "beta", "BETA3", "ä", "a4", "nothing", last.as_str()] {
        let folded = query.to_lowercase();
        let matching: Vec<FileRecord> = stored
            .iter()
            .filter(|file| file.name.as_str().to_lowercase().contains(&folded))
            .cloned()
            .collect();
        for order in FileOrder::ALL {
            let expected = sorted(&matching, order);
            for limit in [3, 1000] {
                let found = walk(&t, query, order, limit).await;
                assert!(found == expected, "{query:?} {order} by {limit}: {:?}", names(&found));
            }
        }
    }
}

pub async fn pages_of_every_order_stay_while_files_arrive(t: Fixture) {
    let before = store_many(&t).await;
    let nodes = t.nodes(2).await;
    for (round, order) in (0u64..).zip(FileOrder::ALL) {
        let whole = walk(&t, "", order, 1000).await;
        let first = t.ledger.list_files(Viewer::Public, "", order, None, 50).await.unwrap();
        let mut files = first.items;
        let mut after = first.next;
        let mut number = 10_000 + round * 1000;
        while after.is_some() {
            let digests = BlobDigests { size: number % 3 * 500, ..content(number) };
            t.store(&format!("beta{}", number % 7), digests, &nodes).await;
            number += 1;
            let page = t.ledger.list_files(Viewer::Public, "", order, after, 50).await.unwrap();
            files.extend(page.items);
            after = page.next;
        }
        // Nothing twice, nothing missed; what arrived behind the place is seen.
        let known: Vec<&FileRecord> = files.iter().filter(|file| whole.contains(file)).collect();
        assert_eq!(known, whole.iter().collect::<Vec<_>>(), "{order}");
        let mut ids: Vec<_> = files.iter().map(|file| file.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), files.len(), "{order}");
    }
    assert!(before.len() < walk(&t, "", FileOrder::Name, 1000).await.len());
}

pub async fn a_place_in_another_order_is_refused(t: Fixture) {
    let nodes = t.nodes(2).await;
    for number in 0..3 {
        t.store("a.txt", content(number), &nodes).await;
    }
    for of in FileOrder::ALL {
        let next = t.ledger.list_files(Viewer::Public, "", of, None, 1).await.unwrap().next;
        for asked in FileOrder::ALL {
            let answer = t.ledger.list_files(Viewer::Public, "", asked, next.clone(), 1).await;
            if of == asked {
                assert_eq!(answer.unwrap().items.len(), 1);
                continue;
            }
            let error = answer.unwrap_err();
            assert!(matches!(error, LedgerError::OtherOrder { .. }), "{error}");
            let said = error.to_string();
            assert!(said.contains(of.code()) && said.contains(asked.code()), "{said}");
        }
    }
}
