//! A central that is killed: in the middle of a part, before and after it decides.

use super::*;
use crate::support::cut::{Call, Cut};
use crate::support::tus::Tus;

#[tokio::test(flavor = "multi_thread")]
async fn a_central_that_is_killed_within_a_part_loses_nothing_that_a_node_has() {
    let mut cluster = Cluster::with(Options { killable: true, ..Options::default() }).await;
    let bytes = content(91, 3 * PIECE);
    let tus = Tus::create(&cluster, bytes.len(), "").await;
    let sender = tus.send_some(0, &bytes, 2 * PIECE + 7, "").await;
    let on = cluster.sessions();
    poll("bytes behind the first piece", || async {
        on.iter().all(|place| cluster.session_bytes(place) > PIECE as u64 + 1000).then_some(())
    })
    .await;
    cluster.kill_central();
    drop(sender);
    cluster.start_central().await;
    cluster.wait_for_nodes(4).await;
    let at = tus.offset().await;
    assert!((PIECE + 1000..=2 * PIECE + 7).contains(&at), "{at}");
    tus.send(at, &bytes[at..]).await;
    assert_kept(&cluster, &tus.look().await, &bytes).await;
    cluster.stop().await;
}

/// A central that is killed when both nodes have done this call for the last part.
async fn killed_after(call: Call, bytes: &[u8], digest: Option<String>) -> (Cluster, Tus) {
    let cut = Cut::default();
    let options = Options { cut: Some(cut.clone()), killable: true, ..Options::default() };
    let mut cluster = Cluster::with(options).await;
    let tus = Tus::create(&cluster, bytes.len(), "").await;
    let mut held = [cut.hold_answer(call), cut.hold_answer(call)];
    let mut request = tus.part(0, bytes);
    if let Some(digest) = digest {
        request = request.header("repr-digest", digest);
    }
    let sending = tokio::spawn(async move { drop(request.send().await) });
    for held in &mut held {
        held.reached().await;
    }
    cluster.kill_central();
    sending.await.unwrap();
    drop(held);
    cluster.start_central().await;
    cluster.wait_for_nodes(4).await;
    (cluster, tus)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_every_byte_is_completed_by_the_next_question() {
    for call in [Call::Append, Call::Prepare, Call::Finish] {
        let bytes = content(75, PIECE + 1);
        let (cluster, tus) = killed_after(call, &bytes, None).await;
        let before = tus.look().await;
        if call == Call::Finish {
            assert_eq!(before["status"], "stored");
        } else {
            assert_eq!((&before["status"], &before["offset"]), (&"receiving".into(), &bytes.len().into()));
        }
        assert_eq!(tus.offset().await, bytes.len());
        let object = tus.look().await;
        assert_eq!(object["status"], "stored", "{call:?}");
        assert_kept(&cluster, &object, &bytes).await;
        cluster.stop().await;
    }
}
