//! Nodes that go away, for a while or for good.

use super::*;
use crate::support::cut::{Call, Cut};
use crate::support::tus::Tus;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_is_replaced() {
    let mut cluster = Cluster::start().await;
    let text = content(5, 3 << 20);
    let url = begin(&cluster, "lost", text.len()).await;
    patch(&cluster, &url, 0, text[..1 << 20].to_vec()).send().await.unwrap().error_for_status().unwrap();
    for step in 1..3 {
        let lost = cluster.sessions()[0];
        cluster.stop_node(lost).await;
        let _ = std::fs::remove_dir_all(cluster.node_dir(lost));
        let from = step << 20;
        poll("the next part", || async {
            let answer =
                patch(&cluster, &url, from, text[from..from + (1 << 20)].to_vec()).send().await.ok()?;
            (answer.status() == 204).then_some(())
        })
        .await;
    }
    assert_eq!(object(&cluster, &url).await["status"], "stored");
    assert_eq!(cluster.holders(&hex(&sha1(&text)), &text).len(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_replaced_while_it_was_away_keeps_nothing() {
    let mut cluster = Cluster::start().await;
    let text = content(8, 3 << 20);
    for is_finished in [true, false] {
        let url = begin(&cluster, "away", text.len()).await;
        let send = |from: usize| patch(&cluster, &url, from, text[from..from + (1 << 20)].to_vec()).send();
        assert_eq!(send(0).await.unwrap().status(), 204);
        let away = cluster.sessions()[0];
        cluster.stop_node(away).await;
        poll("the next part", || async {
            let from = 1 << 20;
            let part = patch(&cluster, &url, from, text[from..from + (1 << 20)].to_vec());
            (part.send().await.ok()?.status() == 204).then_some(())
        })
        .await;
        cluster.start_node(away);
        cluster.wait_for_nodes(4).await;
        let last = if is_finished {
            patch(&cluster, &url, 2 << 20, text[2 << 20..].to_vec())
        } else {
            tus(&cluster, Method::DELETE, &url)
        };
        assert_eq!(last.send().await.unwrap().status(), 204);
        poll("every session's end", || async { cluster.sessions().is_empty().then_some(()) }).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_connection_breaks_within_a_part_is_replaced() {
    let cut = Cut::default();
    let cluster = Cluster::with(Options { cut: Some(cut.clone()), ..Options::default() }).await;
    let bytes = content(74, 2 * PIECE);
    let tus = Tus::create(&cluster, bytes.len(), "").await;
    // Within the first piece, behind it, and when all is done but the answer.
    let mut at = 0;
    for (end, broken_after) in [(PIECE / 2, 100_000), (2 * PIECE - 9, PIECE as u64 + 5)] {
        cut.break_after(Call::Append, broken_after);
        tus.send(at, &bytes[at..end]).await;
        at = end;
        assert_eq!(tus.offset().await, at, "one node has all of it");
    }
    cut.lose_answers(Call::Append, 1);
    tus.send(at, &bytes[at..bytes.len() - 1]).await;
    tus.finish(&bytes).await;
    assert_kept(&cluster, &tus.look().await, &bytes).await;
    cut.assert_spent();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_both_nodes_away_it_waits_and_with_both_out_it_begins_anew() {
    let options = Options { node_out_after: std::time::Duration::from_secs(10), ..Options::default() };
    let mut cluster = Cluster::with(options).await;
    let bytes = content(73, PIECE);
    let tus = Tus::create(&cluster, bytes.len(), "").await;
    tus.send(0, &bytes[..100]).await;
    let on = cluster.sessions();
    for place in &on {
        cluster.stop_node(place).await;
    }
    assert_eq!(tus.request("HEAD").send().await.unwrap().status(), 503, "they may come back");
    assert_eq!(tus.offset().await, 0, "no copy lives");
    assert_eq!(tus.look().await["offset"], 0);
    tus.send(0, &bytes[..200]).await;
    // They come back later: nothing waits for them, and they keep nothing.
    for place in &on {
        cluster.start_node(place);
    }
    cluster.wait_for_nodes(4).await;
    assert_eq!(tus.offset().await, 200);
    tus.send(200, &bytes[200..]).await;
    assert_kept(&cluster, &tus.look().await, &bytes).await;
    assert!(places(&tus.look().await).iter().all(|place| !on.contains(&place.as_str())));
    cluster.stop().await;
}
