//! A central that is killed: in the middle of a part, before and after it decides.

use std::time::{Duration, Instant};

use closeby::config::NodeLimits;

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

#[tokio::test(flavor = "multi_thread")]
async fn of_a_part_with_a_checksum_nothing_counts_before_all_of_it() {
    let mut cluster = Cluster::with(Options { killable: true, ..Options::default() }).await;
    let bytes = content(92, 3 * PIECE);
    let tus = Tus::create(&cluster, bytes.len(), "").await;
    tus.send(0, &bytes[..1000]).await;
    let rest = &bytes[1000..];
    let sum = format!("sha1 {}", STANDARD.encode(sha1(rest)));
    let field = format!("upload-checksum: {sum}\r\n");
    let sender = tus.send_some(1000, rest, 2 * PIECE, &field).await;
    let on = cluster.sessions();
    poll("bytes behind the first piece", || async {
        on.iter().all(|place| cluster.session_bytes(place) > PIECE as u64 + 1000).then_some(())
    })
    .await;
    assert_eq!(tus.look().await["offset"], 1000, "the nodes do not count them");
    cluster.kill_central();
    drop(sender);
    cluster.start_central().await;
    cluster.wait_for_nodes(4).await;
    assert_eq!(tus.offset().await, 1000);
    // A sender that is cut, too.
    let mut sender = tus.send_some(1000, rest, 2 * PIECE, &field).await;
    tokio::io::AsyncWriteExt::shutdown(&mut sender).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut sender, &mut answer).await;
    assert_eq!(tus.offset().await, 1000);
    let whole = tus.part(1000, rest).header("upload-checksum", sum).send().await.unwrap();
    assert_eq!(whole.status(), 204);
    assert_kept(&cluster, &tus.look().await, &bytes).await;
    cluster.stop().await;
}

/// Has central killed when both nodes have done this call for the last part, and started again
/// after so long.
async fn killed_after(
    call: Call,
    bytes: &[u8],
    digest: Option<String>,
    node_limits: NodeLimits,
    away: Duration,
) -> (Cluster, Tus) {
    let cut = Cut::default();
    let options = Options { cut: Some(cut.clone()), killable: true, node_limits, ..Options::default() };
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
    let killed_at = Instant::now();
    poll("central's return", || async { (killed_at.elapsed() >= away).then_some(()) }).await;
    cluster.start_central().await;
    cluster.wait_for_nodes(4).await;
    (cluster, tus)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_every_byte_is_completed_by_the_next_question() {
    for call in [Call::Append, Call::Prepare, Call::Finish] {
        let bytes = content(75, PIECE + 1);
        let (cluster, tus) = killed_after(call, &bytes, None, NodeLimits::default(), Duration::ZERO).await;
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

/// Receipts count for so long here.
const DECIDE_WITHIN: Duration = Duration::from_secs(2);

/// Longer than that.
const TOO_LATE: Duration = Duration::from_millis(2500);

fn hasty() -> NodeLimits {
    NodeLimits {
        decide_within: DECIDE_WITHIN,
        ask_after: Duration::from_millis(100),
        ..NodeLimits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_are_too_old_are_made_anew() {
    let bytes = content(93, 1000);
    let (cluster, tus) = killed_after(Call::Prepare, &bytes, None, hasty(), TOO_LATE).await;
    assert_eq!(tus.offset().await, bytes.len());
    assert_kept(&cluster, &tus.look().await, &bytes).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_were_waited_for_too_long_are_made_anew() {
    let (cut, bytes) = (Cut::default(), content(95, 1000));
    let options = Options { cut: Some(cut.clone()), node_limits: hasty(), ..Options::default() };
    let cluster = Cluster::with(options).await;
    let tus = Tus::create(&cluster, bytes.len(), "").await;
    let [mut first, mut second, mut third] = [(); 3].map(|()| cut.hold_answer(Call::Prepare));
    let sending = tokio::spawn(tus.part(0, &bytes).send());
    first.reached().await;
    second.reached().await;
    let held_at = Instant::now();
    poll("the end of what a receipt counts", || async { (held_at.elapsed() >= TOO_LATE).then_some(()) })
        .await;
    first.release();
    second.release();
    third.reached().await;
    third.release();
    assert_eq!(sending.await.unwrap().unwrap().status(), 204);
    assert_kept(&cluster, &tus.look().await, &bytes).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_is_said_by_the_next_central_too() {
    let bytes = content(94, 1000);
    let digest = Some(format!("sha=:{}:", STANDARD.encode(sha1(b"other"))));
    let (cluster, tus) =
        killed_after(Call::Prepare, &bytes, digest, NodeLimits::default(), Duration::ZERO).await;
    for _ in 0..2 {
        assert_eq!(tus.request("HEAD").send().await.unwrap().status(), 422);
        problem(tus.part(bytes.len(), b"").send().await.unwrap(), 422, "wrong-digest").await;
    }
    assert_eq!(tus.look().await["problem"]["type"], "/problems/wrong-digest");
    cluster.wait_until_empty(DEADLINE).await;
    cluster.stop().await;
}
