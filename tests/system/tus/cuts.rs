//! A sender whose connection breaks again and again, while servers are killed in between.

use super::*;
use crate::support::tus::{Tus, metadata};

const CUTS: usize = 240;

/// A generator that is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// Sends a part, and kills a server in the middle of it; says how much both nodes had by then, and
/// how much was sent.
async fn killed_within(cluster: &mut Cluster, tus: &Tus, bytes: &[u8], central: bool) -> (usize, usize) {
    // A part that is taken shows that both nodes answer.
    let at = poll("a small part", || async {
        let at = tus.offset().await;
        let answer = tus.part(at, &bytes[at..=at]).send().await.ok()?;
        (answer.status() == 204).then_some(at + 1)
    })
    .await;
    let sent = PIECE + PIECE / 2;
    let sender = tus.send_some(at, &bytes[at..], sent, "").await;
    // A node that was replaced while it was away may still have a shorter one.
    let (both, on) = poll("the part", || async {
        let mut on: Vec<_> =
            cluster.sessions().into_iter().map(|place| (cluster.session_bytes(place), place)).collect();
        on.sort_unstable();
        let (both, on) = *on.iter().rev().nth(1)?;
        let both = usize::try_from(both).unwrap();
        (both > at + PIECE).then_some((both, on))
    })
    .await;
    if central {
        cluster.kill_central();
        cluster.start_central().await;
    } else {
        cluster.kill_node(on);
        cluster.start_node(on);
    }
    drop(sender);
    cluster.wait_for_nodes(4).await;
    (both, at + sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_hundreds_of_times_it_ends_with_the_right_bytes_and_repeats_little() {
    let options = Options { killable: true, killable_nodes: true, ..Options::default() };
    let mut cluster = Cluster::with(options).await;
    let bytes = content(71, 96 << 20);
    let sha1 = hex(&sha1(&bytes));
    let tus = Tus::create(&cluster, bytes.len(), &metadata(&[("filename", "cuts"), ("sha1", &sha1)])).await;
    let mut dice = Dice(0x5eed);
    let (mut at, mut furthest, mut cuts) = (0, 0, 0);
    while cuts < CUTS {
        cuts += 1;
        // What the servers had of it, at least, and at most.
        let (had, sent) = match cuts {
            40 | 160 => killed_within(&mut cluster, &tus, &bytes, true).await,
            80 | 200 => killed_within(&mut cluster, &tus, &bytes, false).await,
            // A long one is seen to its end by central, so that nothing is left between them.
            _ if cuts % 16 == 0 => {
                let sent = dice.below(3 * PIECE / 2);
                tus.send_cut(at, &bytes[at..], sent, false).await;
                (at + sent, at + sent)
            }
            _ => {
                let sent = dice.below(128 << 10);
                tus.send_cut(at, &bytes[at..], sent, cuts % 3 == 0).await;
                (at + sent, at + sent)
            }
        };
        let now = tus.offset().await;
        assert!(now >= at, "what was acknowledged is kept: {now} after {at}");
        // A node that is behind may be gone by the next question: then the other one counts.
        furthest = furthest.max(sent);
        assert!(now <= furthest, "{now} of {furthest}");
        assert!(now + PIECE >= had, "after cut {cuts} at most a piece is sent again: {now} of {had}");
        at = now;
    }
    assert!(at > 6 * PIECE, "parts that were cut are kept as far as they came: {at}");
    tus.finish(&bytes).await;
    let object = tus.look().await;
    assert_eq!((&object["status"], &object["sha1"]), (&"stored".into(), &sha1.as_str().into()));
    assert_kept(&cluster, &object, &bytes).await;
    cluster.stop().await;
}
