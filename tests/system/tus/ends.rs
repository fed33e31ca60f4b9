//! How an upload ends: stored, duplicate, refused, cancelled, expired; and what is left of it.

use super::*;
use crate::metrics::sum;
use crate::support::tus::{Tus, metadata, number};

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_leaves_nothing() {
    let cluster = Cluster::start().await;
    let text = content(2, 200_000);
    // Cancelled.
    let url = begin(&cluster, "a", text.len()).await;
    patch(&cluster, &url, 0, text[..100_000].to_vec()).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(tus(&cluster, Method::DELETE, &url).send().await.unwrap().status(), 204);
    cluster.wait_until_empty(DEADLINE).await;
    problem(tus(&cluster, Method::DELETE, &url).send().await.unwrap(), 410, "ended").await;
    problem(patch(&cluster, &url, 100_000, "x").send().await.unwrap(), 410, "ended").await;
    assert_eq!(tus(&cluster, Method::HEAD, &url).send().await.unwrap().status(), 410);
    problem(cluster.get(&url).send().await.unwrap(), 410, "ended").await;
    // Another content than was announced at the beginning, or at the end.
    let wrong = STANDARD.encode(hex(&sha1(b"other")));
    let url = tus(&cluster, Method::POST, "/api/v1/uploads")
        .header("upload-length", text.len())
        .header("upload-metadata", format!("filename YQ==,sha1 {wrong}"));
    let url = url.send().await.unwrap().headers()["location"].to_str().unwrap().to_owned();
    problem(patch(&cluster, &url, 0, text.clone()).send().await.unwrap(), 422, "wrong-digest").await;
    assert_eq!(object(&cluster, &url).await["problem"]["type"], "/problems/wrong-digest");
    let url = begin(&cluster, "a", text.len()).await;
    let digest = format!("sha-256=:{}:", STANDARD.encode([7; 32]));
    let last = patch(&cluster, &url, 0, text.clone()).header("repr-digest", digest).send().await.unwrap();
    problem(last, 422, "wrong-digest").await;
    cluster.wait_until_empty(DEADLINE).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_finished_expires() {
    let limits = Limits { upload_life: std::time::Duration::from_secs(1), ..Limits::default() };
    let cluster = Cluster::with(Options { limits, ..Options::default() }).await;
    let url = begin(&cluster, "a", 1000).await;
    patch(&cluster, &url, 0, vec![1; 500]).send().await.unwrap();
    poll("its end", || async {
        let answer = cluster.get(&url).send().await.ok()?;
        (answer.status() == 410).then_some(())
    })
    .await;
    cluster.wait_until_empty(DEADLINE).await;
    poll("the count", || async {
        let text = cluster.get("/metrics").send().await.unwrap().text().await.unwrap();
        (sum(&text, "closeby_uploads_total", &["failed"]) == 1.0).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_told_at_the_end_and_never_before() {
    let cluster = Cluster::start().await;
    let bytes = content(78, PIECE);
    let first = cluster.store("first.bin", bytes.clone()).await;
    let given = metadata(&[("filename", "second.bin"), ("sha1", &hex(&sha1(&bytes)))]);
    let tus = Tus::create(&cluster, bytes.len(), &given).await;
    assert_eq!(tus.look().await["status"], "receiving", "a hash is a name, not a credential");
    assert_eq!(tus.offset().await, 0);
    tus.send(0, &bytes).await;
    let object = tus.look().await;
    assert_eq!((&object["status"], &object["url"]), (&"duplicate".into(), &first["url"]));
    assert_eq!(object["name"], "second.bin");
    assert_kept(&cluster, &object, &bytes).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_one_content_at_once_store_it_once() {
    let cluster = Cluster::start().await;
    let bytes = content(79, 2 * PIECE + 3);
    let uploads =
        futures_util::future::join_all((0..4).map(|_| Tus::create(&cluster, bytes.len(), ""))).await;
    let (half, rest) = bytes.split_at(PIECE + 1);
    futures_util::future::join_all(uploads.iter().map(|tus| tus.send(0, half))).await;
    futures_util::future::join_all(uploads.iter().map(|tus| tus.send(half.len(), rest))).await;
    let mut states = Vec::new();
    for tus in &uploads {
        let object = tus.look().await;
        assert_kept(&cluster, &object, &bytes).await;
        states.push(object["status"].as_str().unwrap().to_owned());
    }
    states.sort();
    assert_eq!(states, ["duplicate", "duplicate", "duplicate", "stored"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collision_is_refused_and_leaves_nothing() {
    let mut cluster = Cluster::start().await;
    // Known attacks are refused for what they are, before anything is compared.
    for file in ["shattered-1.bin", "sha-mbles-2.bin"] {
        let file = format!("{}/crates/hash/tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
        let attack = std::fs::read(file).unwrap();
        let tus = Tus::create(&cluster, attack.len(), "").await;
        let (half, rest) = attack.split_at(attack.len() / 2);
        tus.send(0, half).await;
        let last = tus.part(half.len(), rest).send().await.unwrap();
        problem(last, 422, "collision-attack").await;
        assert_eq!(tus.request("HEAD").send().await.unwrap().status(), 422);
        assert_eq!(tus.look().await["problem"]["type"], "/problems/collision-attack");
        cluster.wait_until_empty(DEADLINE).await;
    }
    // Nobody has another kind of collision: the ledger is told that it holds one.
    let bytes = content(80, 5000);
    cluster.store("first", bytes.clone()).await;
    cluster.stop_central().await;
    let ledger = rusqlite::Connection::open(cluster.ledger()).unwrap();
    let changed = ledger.execute("UPDATE blobs SET sha256 = ?1", [[7_u8; 32]]).unwrap();
    assert_eq!(changed, 1);
    drop(ledger);
    cluster.start_central().await;
    cluster.wait_for_nodes(4).await;
    let tus = Tus::create(&cluster, bytes.len(), "").await;
    tus.send(0, &bytes[..1000]).await;
    problem(tus.part(1000, &bytes[1000..]).send().await.unwrap(), 409, "collision").await;
    // Asked again, the answer is the same.
    problem(tus.part(bytes.len(), b"").send().await.unwrap(), 409, "collision").await;
    let head = tus.request("HEAD").send().await.unwrap();
    assert_eq!((head.status().as_u16(), number(&head, "upload-offset")), (409, None));
    let object = tus.look().await;
    assert_eq!((&object["status"], &object["problem"]["status"]), (&"error".into(), &409.into()));
    poll("the session's end", || async { cluster.sessions().is_empty().then_some(()) }).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_unfinished_uploads_at_most() {
    let limits = Limits { unfinished_uploads: 3, ..Limits::default() };
    let mut cluster = Cluster::with(Options { limits, ..Options::default() }).await;
    let from = async |cluster: &Cluster, address: &'static str| {
        create(cluster, "a", 5).header("x-forwarded-for", address).send().await.unwrap()
    };
    let begun = Tus::made(&cluster, from(&cluster, "192.0.2.1").await).await;
    for _ in 0..2 {
        assert_eq!(from(&cluster, "192.0.2.1").await.status(), 201);
    }
    let sessions = || -> usize { cluster.places().iter().map(|place| cluster.files_on(place).len()).sum() };
    let before = sessions();
    let refused = from(&cluster, "192.0.2.1").await;
    assert!(refused.headers().contains_key("retry-after"));
    let told = problem(refused, 429, "too-many").await;
    assert!(told["detail"].as_str().unwrap().starts_with("3 unfinished uploads"), "{told}");
    assert_eq!(sessions(), before);
    // Others behind the same proxy, and uploads in one request, are not concerned.
    assert_eq!(from(&cluster, "192.0.2.2").await.status(), 201);
    cluster.store("whole", "x").await;
    // It is in the ledger, not in one central's memory.
    cluster.stop_central().await;
    cluster.start_central().await;
    cluster.wait_for_nodes(4).await;
    problem(from(&cluster, "192.0.2.1").await, 429, "too-many").await;
    begun.send(0, b"12345").await;
    assert_eq!(from(&cluster, "192.0.2.1").await.status(), 201);
    problem(from(&cluster, "192.0.2.1").await, 429, "too-many").await;
    cluster.stop().await;
}
