//! Calls lost, held and cut at each arrow of prepare → decide → finish, and full disks: what a
//! person was told is true, and nothing is left that nobody was told of.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use closeby::config::NodeLimits;
use futures_util::stream;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::metrics::sum;
use crate::support::cut::{Call, Cut};
use crate::support::{Cluster, Options, content, poll};

const FOUR: [&str; 4] = ["toronto", "amsterdam", "bangalore", "singapore"];
const TWO: [&str; 2] = ["toronto", "amsterdam"];

/// What a person heard; nothing where the connection broke.
type Told = Option<(StatusCode, Value)>;

/// How an upload that was not acknowledged came to its end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Two good copies, one file.
    Kept,
    /// Nothing anywhere.
    Nothing,
}

fn options(places: &[&'static str], cut: &Cut) -> Options {
    let node_limits = NodeLimits {
        ask_after: Duration::from_millis(200),
        decide_within: Duration::from_secs(5),
        ..NodeLimits::default()
    };
    Options { places: places.to_vec(), cut: Some(cut.clone()), node_limits, ..Options::default() }
}

/// Nodes that ask late: nothing but central settles what a test looks at.
fn patient(places: &[&'static str], cut: &Cut) -> Options {
    Options { node_limits: Options::default().node_limits, ..options(places, cut) }
}

fn sha1_hex(bytes: &[u8]) -> String {
    hex::encode(Sha1::digest(bytes))
}

/// Gives content, whatever comes of it.
fn give<B: Into<reqwest::Body>>(cluster: &Cluster, bytes: B) -> impl Future<Output = Told> + Send + use<B> {
    let request = cluster.post("/api/v1/files?name=fault.bin").body(bytes);
    async move {
        let answer = request.send().await.ok()?;
        Some((answer.status(), answer.json().await.ok()?))
    }
}

/// The uploads that have a session, with the nodes that it is on.
fn sessions(cluster: &Cluster) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for place in cluster.places() {
        let folder = cluster.node_dir(place).join("sessions");
        for session in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            found.entry(session.file_name().to_string_lossy().into_owned()).or_default().insert(*place);
        }
    }
    found
}

/// Nodes that have a prepared session.
fn prepared(cluster: &Cluster) -> usize {
    let is_prepared = |place: &&&str| cluster.files_on(place).iter().any(|path| path.ends_with("about"));
    cluster.places().iter().filter(is_prepared).count()
}

/// The blob's replicas as the ledger has them: (place, state).
async fn replicas(cluster: &Cluster, bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let answer = cluster.get(&format!("/api/v1/blobs/{}", sha1_hex(bytes))).send().await.unwrap();
    if answer.status() == StatusCode::NOT_FOUND {
        return None;
    }
    let blob: Value = answer.json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_lowercase();
    let replicas = blob["replicas"].as_array().unwrap().iter();
    Some(replicas.map(|replica| (text(&replica["place"]["name"]), text(&replica["state"]))).collect())
}

/// The two copies, in the ledger and on the disks alike.
async fn is_kept_twice(cluster: &Cluster, bytes: &[u8]) -> bool {
    let Some(replicas) = replicas(cluster, bytes).await else { return false };
    let holders: BTreeSet<&str> = cluster.holders(&sha1_hex(bytes), bytes).into_iter().collect();
    let recorded: BTreeSet<&str> = replicas.keys().map(String::as_str).collect();
    holders.len() == 2 && holders == recorded && replicas.values().all(|state| state == "stored")
}

/// How it stands, when everything has come to its end.
async fn end_now(cluster: &Cluster, bytes: &[u8]) -> Option<End> {
    let files: Vec<_> = cluster.places().iter().flat_map(|place| cluster.files_on(place)).collect();
    let list: Value = cluster.get("/api/v1/files").send().await.ok()?.json().await.ok()?;
    match list["files"].as_array()?.len() {
        0 if files.is_empty() && replicas(cluster, bytes).await.is_none() => Some(End::Nothing),
        // The data and its description, twice.
        1 if files.len() == 4 && is_kept_twice(cluster, bytes).await => Some(End::Kept),
        0 | 1 => None,
        more => panic!("{more} files of one content: {list}"),
    }
}

async fn end(cluster: &Cluster, bytes: &[u8]) -> End {
    poll("an end of the upload", || end_now(cluster, bytes)).await
}

/// Whoever heard so finds two copies at once, and the content behind the link.
async fn assert_told_truly(cluster: &Cluster, bytes: &[u8], told: &Value) {
    assert!(is_kept_twice(cluster, bytes).await, "{told}: {:?}", replicas(cluster, bytes).await);
    assert!(cluster.download(told["url"].as_str().unwrap()).await == bytes);
    assert_eq!(end(cluster, bytes).await, End::Kept);
}

/// It was acknowledged.
async fn assert_stored(cluster: &Cluster, bytes: &[u8], told: Told) {
    let (status, object) = told.expect("an answer");
    assert_eq!((status, &object["status"]), (StatusCode::CREATED, &json!("stored")), "{object}");
    assert_told_truly(cluster, bytes, &object).await;
    assert_given_again(cluster, bytes, StatusCode::OK).await;
}

/// It was not acknowledged, so what became of it is one of two things.
async fn assert_not_stored(cluster: &Cluster, bytes: &[u8], told: Told, expected: End) {
    if let Some((status, problem)) = told {
        assert!(status.is_server_error(), "{status}: {problem}");
    }
    assert_eq!(end(cluster, bytes).await, expected);
    let again = if expected == End::Kept { StatusCode::OK } else { StatusCode::CREATED };
    assert_given_again(cluster, bytes, again).await;
}

/// The same content, given until the nodes are trusted again.
async fn assert_given_again(cluster: &Cluster, bytes: &[u8], expected: StatusCode) {
    let object = poll("the content to be taken", || async {
        let (status, object) = give(cluster, bytes.to_vec()).await.expect("an answer");
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        assert_eq!(status, expected, "{object}");
        Some(object)
    })
    .await;
    assert_told_truly(cluster, bytes, &object).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_prepare_or_its_lost_answer_is_made_up_for_by_another_node() {
    let lost = async |seed, lose: fn(&Cut, Call, usize)| {
        let (cut, bytes) = (Cut::default(), content(seed, 300_000));
        let cluster = Cluster::with(options(&FOUR, &cut)).await;
        lose(&cut, Call::Write, 1);
        let told = give(&cluster, bytes.clone()).await;
        cut.assert_spent();
        assert_stored(&cluster, &bytes, told).await;
        cluster.stop().await;
    };
    tokio::join!(lost(100, Cut::lose_requests), lost(101, Cut::lose_answers));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_fails_is_replaced() {
    let (cut, bytes) = (Cut::default(), content(102, 300_000));
    let cluster = Cluster::with(options(&FOUR, &cut)).await;
    cut.lose_requests(Call::Write, 1);
    cut.lose_answers(Call::Copy, 1);
    let told = give(&cluster, bytes.clone()).await;
    cut.assert_spent();
    assert_stored(&cluster, &bytes, told).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_decided_too_late_leaves_nothing() {
    let (cut, bytes) = (Cut::default(), content(106, 300_000));
    let mut options = patient(&TWO, &cut);
    options.node_limits.decide_within = Duration::from_secs(2);
    let cluster = Cluster::with(options).await;
    let mut held = cut.hold_answer(Call::Write);
    let told = tokio::spawn(give(&cluster, bytes.clone()));
    held.reached().await;
    let held_at = Instant::now();
    let late = || async { (held_at.elapsed() > Duration::from_secs(3)).then_some(()) };
    poll("the end of what a receipt counts", late).await;
    held.release();
    let told = told.await.unwrap();
    assert_eq!(told.as_ref().expect("an answer").0, StatusCode::SERVICE_UNAVAILABLE);
    assert_not_stored(&cluster, &bytes, told, End::Nothing).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_nodes_all_fail_leaves_nothing() {
    let lost = async |seed, requests, answers| {
        let (cut, bytes) = (Cut::default(), content(seed, 300_000));
        let cluster = Cluster::with(patient(&TWO, &cut)).await;
        cut.lose_requests(Call::Write, requests);
        cut.lose_answers(Call::Write, answers);
        let told = give(&cluster, bytes.clone()).await;
        assert!(told.is_some(), "an answer");
        cut.assert_spent();
        assert_not_stored(&cluster, &bytes, told, End::Nothing).await;
        cluster.stop().await;
    };
    tokio::join!(lost(103, 2, 0), lost(104, 0, 1), lost(105, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_sessions_whose_abort_is_lost_are_given_up() {
    let (cut, bytes) = (Cut::default(), content(106, 300_000));
    let cluster = Cluster::with(options(&TWO, &cut)).await;
    cut.lose_answers(Call::Write, 2);
    cut.lose_requests(Call::Abort, 2);
    let told = give(&cluster, bytes.clone()).await;
    cut.assert_spent();
    assert_not_stored(&cluster, &bytes, told, End::Nothing).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_killed_before_it_decides_leaves_nothing() {
    let (cut, bytes) = (Cut::default(), content(107, 300_000));
    let mut cluster = Cluster::with(Options { killable: true, ..options(&TWO, &cut) }).await;
    let mut receipt = cut.hold_answer(Call::Write);
    let upload = tokio::spawn(give(&cluster, bytes.clone()));
    receipt.reached().await;
    poll("both to be prepared", || async { (prepared(&cluster) == 2).then_some(()) }).await;
    cluster.kill_central();
    assert!(upload.await.unwrap().is_none(), "nothing was told");
    drop(receipt);
    cluster.start_central().await;
    cluster.wait_for_nodes(2).await;
    assert_not_stored(&cluster, &bytes, None, End::Nothing).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_killed_after_it_decided_is_made_good_by_the_nodes() {
    let (cut, bytes) = (Cut::default(), content(108, 300_000));
    let mut options = Options { killable: true, ..options(&TWO, &cut) };
    // Asked for before, they would be finished already.
    options.node_limits.ask_after = Duration::from_secs(3);
    let mut cluster = Cluster::with(options).await;
    let mut finishes = [cut.hold_request(Call::Finish), cut.hold_request(Call::Finish)];
    let upload = tokio::spawn(give(&cluster, bytes.clone()));
    for finish in &mut finishes {
        finish.reached().await;
    }
    cluster.kill_central();
    assert!(upload.await.unwrap().is_none(), "nothing was told");
    drop(finishes);
    cluster.start_central().await;
    cluster.wait_for_nodes(2).await;
    assert_not_stored(&cluster, &bytes, None, End::Kept).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stopped_before_it_finished_does_so_after_its_start() {
    let (cut, bytes) = (Cut::default(), content(109, 300_000));
    let mut cluster = Cluster::with(patient(&TWO, &cut)).await;
    let mut finish = cut.hold_request(Call::Finish);
    let upload = tokio::spawn(give(&cluster, bytes.clone()));
    let stopped = finish.reached().await;
    cluster.stop_node(stopped).await;
    let told = upload.await.unwrap();
    assert!(told.is_some(), "an answer");
    assert_eq!(cluster.holders(&sha1_hex(&bytes), &bytes).len(), 1);
    cluster.node_limits(options(&TWO, &cut).node_limits);
    cluster.start_node(stopped);
    cluster.wait_for_nodes(2).await;
    assert_not_stored(&cluster, &bytes, told, End::Kept).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_is_tried_again() {
    let lost = async |seed, lose: fn(&Cut, Call, usize)| {
        let (cut, bytes) = (Cut::default(), content(seed, 300_000));
        let cluster = Cluster::with(patient(&TWO, &cut)).await;
        lose(&cut, Call::Finish, 1);
        let told = give(&cluster, bytes.clone()).await;
        cut.assert_spent();
        // A node that answered at the second try goes on being used.
        let ready = cluster.get("/readyz").send().await.unwrap();
        assert_eq!(ready.status(), StatusCode::OK, "{}", ready.text().await.unwrap());
        assert_stored(&cluster, &bytes, told).await;
        cluster.stop().await;
    };
    tokio::join!(lost(110, Cut::lose_requests), lost(111, Cut::lose_answers));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_killed_before_it_heard_of_the_finish_makes_sure_of_it() {
    let (cut, bytes) = (Cut::default(), content(115, 300_000));
    let mut cluster = Cluster::with(Options { killable: true, ..options(&TWO, &cut) }).await;
    let mut finishes = [cut.hold_answer(Call::Finish), cut.hold_answer(Call::Finish)];
    let upload = tokio::spawn(give(&cluster, bytes.clone()));
    for finish in &mut finishes {
        finish.reached().await;
    }
    cluster.kill_central();
    assert!(upload.await.unwrap().is_none(), "nothing was told");
    drop(finishes);
    cluster.start_central().await;
    cluster.wait_for_nodes(2).await;
    // The nodes have nothing left to ask for.
    assert_eq!(sessions(&cluster), BTreeMap::new());
    assert_given_again(&cluster, &bytes, StatusCode::OK).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finishes_that_are_all_lost_are_asked_for_by_the_nodes() {
    let (cut, bytes) = (Cut::default(), content(112, 300_000));
    let cluster = Cluster::with(options(&TWO, &cut)).await;
    // Each node is told twice.
    cut.lose_requests(Call::Finish, 4);
    let told = give(&cluster, bytes.clone()).await;
    cut.assert_spent();
    assert_not_stored(&cluster, &bytes, told, End::Kept).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finishes_whose_answers_are_all_lost_are_not_acknowledged_before_they_are_confirmed() {
    let (cut, bytes) = (Cut::default(), content(113, 300_000));
    let cluster = Cluster::with(options(&TWO, &cut)).await;
    cut.lose_answers(Call::Finish, 4);
    let told = give(&cluster, bytes.clone()).await;
    cut.assert_spent();
    let (status, problem) = told.expect("an answer");
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    let text = cluster.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert_eq!(sum(&text, "closeby_uploads_total", &["stored"]), 1.0, "{text}");
    assert_eq!(sum(&text, "closeby_uploads_total", &["failed"]), 0.0, "{text}");
    // Whoever gives it next has it confirmed.
    assert_given_again(&cluster, &bytes, StatusCode::OK).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_of_what_is_being_finished_is_told_when_it_is() {
    let (cut, bytes) = (Cut::default(), content(114, 300_000));
    let cluster = Cluster::with(patient(&TWO, &cut)).await;
    let mut finishes = [cut.hold_request(Call::Finish), cut.hold_request(Call::Finish)];
    let first = tokio::spawn(give(&cluster, bytes.clone()));
    for finish in &mut finishes {
        finish.reached().await;
    }
    // It does not rely on the first one's sender, nor on its calls.
    let (status, object) = give(&cluster, bytes.clone()).await.expect("an answer");
    assert_eq!((status, &object["status"]), (StatusCode::OK, &json!("duplicate")), "{object}");
    assert_told_truly(&cluster, &bytes, &object).await;
    for finish in finishes {
        finish.release();
    }
    assert_stored(&cluster, &bytes, first.await.unwrap()).await;
    cluster.stop().await;
}

/// An upload that is under way and waits for its last bytes.
struct Open {
    feed: mpsc::Sender<Result<Bytes, std::io::Error>>,
    told: tokio::task::JoinHandle<Told>,
    rest: Bytes,
    nodes: BTreeSet<&'static str>,
}

impl Open {
    async fn begin(cluster: &Cluster, bytes: &[u8]) -> Self {
        let before = sessions(cluster);
        let (feed, body) = mpsc::channel(1);
        let body = stream::unfold(body, |mut body| async { Some((body.recv().await?, body)) });
        let told = tokio::spawn(give(cluster, reqwest::Body::wrap_stream(body)));
        let mut rest = Bytes::copy_from_slice(bytes);
        feed.send(Ok(rest.split_to(1000))).await.unwrap();
        let nodes = poll("sessions on two nodes", || async {
            let new = sessions(cluster).into_iter().find(|(upload, _)| !before.contains_key(upload));
            new.map(|(_, nodes)| nodes).filter(|nodes| nodes.len() == 2)
        })
        .await;
        Self { feed, told, rest, nodes }
    }

    async fn end(self) -> Told {
        let Self { feed, told, rest, .. } = self;
        feed.send(Ok(rest)).await.unwrap();
        drop(feed);
        told.await.unwrap()
    }

    /// As a sender that vanishes.
    async fn vanish(self, cluster: &Cluster) {
        let others = sessions(cluster).len() - 1;
        self.told.abort();
        let _ = self.told.await;
        poll("the session to end", || async { (sessions(cluster).len() == others).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_uploads_of_one_new_content_leave_two_copies_whatever_nodes_they_share() {
    let cluster = Cluster::start().await;
    for (seed, shared) in [(120, 0), (121, 1), (122, 2)] {
        let bytes = content(seed, 400_000);
        let first = Open::begin(&cluster, &bytes).await;
        // The nodes are drawn; one that did not fall as wanted is drawn again.
        let mut second = Open::begin(&cluster, &bytes).await;
        let mut draws = 1;
        while first.nodes.intersection(&second.nodes).count() != shared {
            second.vanish(&cluster).await;
            draws += 1;
            assert!(draws < 300, "{shared} shared: one in six draws at least");
            second = Open::begin(&cluster, &bytes).await;
        }
        let (first, second) = tokio::join!(first.end(), second.end());
        let (first, second) = (first.expect("an answer"), second.expect("an answer"));
        let states: BTreeSet<(StatusCode, &str)> =
            [&first, &second].map(|(status, object)| (*status, object["status"].as_str().unwrap())).into();
        let expected = BTreeSet::from([(StatusCode::CREATED, "stored"), (StatusCode::OK, "duplicate")]);
        assert_eq!(states, expected, "{shared} shared: {first:?} {second:?}");
        assert_eq!(first.1["url"], second.1["url"]);
        assert!(is_kept_twice(&cluster, &bytes).await, "{shared} shared");
        assert!(cluster.download(first.1["url"].as_str().unwrap()).await == bytes);
        poll("sessions to end", || async { sessions(&cluster).is_empty().then_some(()) }).await;
        assert!(is_kept_twice(&cluster, &bytes).await, "{shared} shared");
    }
    cluster.stop().await;
}

fn assert_no_space(told: Told) {
    let (status, problem) = told.expect("an answer");
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem}");
    assert_eq!(problem["type"], "/problems/no-space");
    assert!(!problem["detail"].as_str().unwrap().is_empty());
}

/// A body whose size is not declared.
fn chunked(bytes: Vec<u8>) -> reqwest::Body {
    let bytes = Bytes::from(bytes);
    let parts = (0..bytes.len()).step_by(1 << 16);
    let parts: Vec<Bytes> = parts.map(|at| bytes.slice(at..bytes.len().min(at + (1 << 16)))).collect();
    reqwest::Body::wrap_stream(stream::iter(parts.into_iter().map(Ok::<_, std::io::Error>)))
}

#[tokio::test(flavor = "multi_thread")]
async fn full_nodes_take_nothing_and_say_so() {
    let full = FOUR.map(|place| (place, u64::MAX)).into();
    let cluster = Cluster::with(Options { reserve_bytes: full, ..Options::default() }).await;
    assert_no_space(give(&cluster, content(130, 100_000)).await);
    assert_no_space(give(&cluster, chunked(content(130, 100_000))).await);
    assert_eq!(end(&cluster, &content(130, 100_000)).await, End::Nothing);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_is_avoided() {
    let places = vec!["toronto", "amsterdam", "bangalore"];
    let reserve_bytes = [("amsterdam", u64::MAX)].into();
    let cluster = Cluster::with(Options { places, reserve_bytes, ..Options::default() }).await;
    for seed in 140..150 {
        let (status, object) = give(&cluster, content(seed, 10_000)).await.expect("an answer");
        assert_eq!(status, StatusCode::CREATED, "{object}");
        assert_eq!(object["replicas"], json!(["bangalore", "toronto"]));
    }
    assert!(cluster.files_on("amsterdam").is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_fill_up_during_an_upload_keep_nothing_of_it() {
    // A disk in memory, where it is there: nobody else's files make its room more or less.
    let memory = Path::new("/dev/shm");
    let disk = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
    let found = rustix::fs::statvfs(disk.path()).unwrap();
    let left = 30 << 20;
    let reserve = (found.f_bavail * found.f_frsize).saturating_sub(left);
    let cluster = Cluster::with(Options {
        places: TWO.to_vec(),
        reserve_bytes: TWO.map(|place| (place, reserve)).into(),
        disk: Some(disk.path().to_owned()),
        ..Options::default()
    })
    .await;
    let (small, large) = (content(131, 1_000_000), content(132, 40 << 20));
    assert_no_space(give(&cluster, large.clone()).await);
    assert_no_space(give(&cluster, chunked(large.clone())).await);
    assert_eq!(end(&cluster, &large).await, End::Nothing);
    // What fits is taken, its size declared or not, and the room of what failed is free again.
    let told = give(&cluster, chunked(small.clone())).await;
    assert_stored(&cluster, &small, told).await;
    cluster.stop().await;
}
