//! `closeby put` of large files: the real binary, over a line that breaks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use closeby::role::central::Links;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha1::Digest as _;

use crate::support::line::Line;
use crate::support::{Cluster, DEADLINE, Options, content, poll};

const SIZE: usize = 40_000_000;
const MB: u64 = 1_000_000;

fn sha1(bytes: &[u8]) -> String {
    sha1::Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A cluster, the line to it, and a person with a file and a home.
struct Case {
    cluster: Cluster,
    line: Line,
    home: PathBuf,
}

impl Case {
    async fn new() -> Self {
        // Links for whoever asks: the line has an address of its own.
        let cluster = Cluster::with(Options { links: Links::Demo, ..Options::default() }).await;
        let line = Line::start(&cluster.base).await;
        let home = cluster.scratch("home");
        Self { cluster, line, home }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn put(&self, file: &Path, arguments: &[&str]) -> Put {
        self.put_with_state(file, arguments, &self.home.join("state"))
    }

    fn put_with_state(&self, file: &Path, arguments: &[&str], state: &Path) -> Put {
        let (out, notes) = (self.home.join("out"), self.home.join("notes"));
        let child = Command::new(env!("CARGO_BIN_EXE_closeby"))
            .args(["put", "--server", &self.line.url])
            .arg(file)
            .args(arguments)
            .env("XDG_STATE_HOME", state)
            .env_remove("CLOSEBY_SERVER")
            .env_remove("CLOSEBY_LOG")
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&notes).unwrap())
            .spawn()
            .unwrap();
        Put { child, out, notes }
    }

    /// What is remembered of uploads.
    fn remembered(&self) -> Vec<Value> {
        let Ok(entries) = fs::read_dir(self.home.join("state/closeby/uploads")) else { return Vec::new() };
        entries
            .map(|entry| serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap())
            .collect()
    }

    /// The one upload that is remembered.
    fn upload(&self) -> String {
        let remembered = self.remembered();
        assert_eq!(remembered.len(), 1, "{remembered:?}");
        remembered[0]["upload"].as_str().unwrap().to_owned()
    }

    /// How much of an upload the server has.
    async fn offset(&self, upload: &str) -> u64 {
        let url = self.cluster.url(&format!("/api/v1/uploads/{upload}"));
        poll("an offset", || async {
            let answer = self.cluster.http.head(&url).header("tus-resumable", "1.0.0").send().await.ok()?;
            answer.headers().get("upload-offset")?.to_str().ok()?.parse().ok()
        })
        .await
    }

    /// It was stored, and nothing is remembered.
    fn assert_stored(&self, ended: &Ended, bytes: &[u8]) {
        assert_eq!(ended.status, Some(0), "{}", ended.notes);
        let sha1 = sha1(bytes);
        assert!(ended.out.starts_with(&format!("{}/d/{sha1}/", self.line.url)), "{}", ended.out);
        assert_eq!(self.cluster.holders(&sha1, bytes).len(), 2);
        assert!(self.remembered().is_empty(), "{:?}", self.remembered());
    }

    async fn stop(self) {
        self.line.stop().await;
        self.cluster.stop().await;
    }
}

/// A running `closeby put`, killed with the test.
struct Put {
    child: Child,
    out: PathBuf,
    notes: PathBuf,
}

struct Ended {
    status: Option<i32>,
    out: String,
    notes: String,
}

impl Put {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn end(mut self) -> Ended {
        let child = std::cell::RefCell::new(&mut self.child);
        let status = poll("its end", || async { child.borrow_mut().try_wait().unwrap() }).await;
        let text = |path| fs::read_to_string(path).unwrap();
        Ended { status: status.code(), out: text(&self.out), notes: text(&self.notes) }
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_again_and_again_costs_little() {
    let case = Case::new().await;
    let bytes = content(901, SIZE);
    let file = case.file("many cuts.bin", &bytes);
    let cuts = [5, 12, 20, 21, 31, 40].map(|at| at * MB);
    case.line.cut_at(&cuts);
    let ended = case.put(&file, &[]).end().await;
    case.assert_stored(&ended, &bytes);
    case.line.assert_spent();
    let repeated = case.line.take_sent() - SIZE as u64;
    // What was on its way at a cut, most of it in the buffers of two connections, and nothing before it.
    assert!(repeated < 3 * MB * cuts.len() as u64, "{repeated} bytes were sent again");
    assert!(ended.notes.contains("waits at") && ended.notes.contains("goes on at"), "{}", ended.notes);
    assert!(ended.out.trim().ends_with("/many%20cuts.bin"), "{}", ended.out);
    case.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_central_is_waited_for() {
    let mut case = Case::new().await;
    let bytes = content(902, SIZE);
    let file = case.file("a", &bytes);
    case.line.hold_at(20 * MB);
    let put = case.put(&file, &[]);
    case.line.held().await;
    case.line.cut(true);
    case.cluster.stop_central().await;
    case.cluster.start_central().await;
    case.cluster.wait_for_nodes(4).await;
    case.line.up();
    let ended = put.end().await;
    case.assert_stored(&ended, &bytes);
    let sent = case.line.take_sent();
    assert!(sent < SIZE as u64 + 5 * MB, "{sent}");
    case.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stopped_goes_on_when_it_is_started_again() {
    let case = Case::new().await;
    for (seed, signal, status) in [(903, Signal::KILL, None), (904, Signal::INT, Some(130))] {
        let bytes = content(seed, SIZE);
        let file = case.file("a", &bytes);
        case.line.hold_at(20 * MB);
        let put = case.put(&file, &[]);
        case.line.held().await;
        put.signal(signal);
        let ended = put.end().await;
        assert_eq!((ended.status, ended.out.as_str()), (status, ""), "{}", ended.notes);
        assert_eq!(ended.notes.contains("the same command goes on from there"), status.is_some());
        case.line.cut(false);
        case.line.take_sent();
        let upload = case.upload();
        let offset = case.offset(&upload).await;
        assert!(offset > 8 * MB, "{offset}");

        let ended = case.put(&file, &["--log", "trace"]).end().await;
        case.assert_stored(&ended, &bytes);
        assert!(ended.notes.contains("goes on at"), "{}", ended.notes);
        let sent = case.line.take_sent();
        assert!(sent < SIZE as u64 - offset + MB, "{sent} bytes after {offset}");
        assert!(!ended.notes.contains(&upload), "the upload's id is a secret: {}", ended.notes);
    }
    case.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_up_in_the_end_and_says_how_to_go_on() {
    let case = Case::new().await;
    let bytes = content(905, SIZE);
    let file = case.file("a", &bytes);
    case.line.hold_at(20 * MB);
    let put = case.put(&file, &["--patience", "1"]);
    case.line.held().await;
    case.line.cut(true);
    let ended = put.end().await;
    assert_eq!(ended.status, Some(1));
    assert!(ended.notes.contains("the same command goes on from there"), "{}", ended.notes);
    let upload = case.upload();
    assert!(!ended.notes.contains(&upload), "{}", ended.notes);

    // The server has lost it meanwhile: all is sent again, by the same command.
    let url = case.cluster.url(&format!("/api/v1/uploads/{upload}"));
    let gone = case.cluster.http.delete(url).header("tus-resumable", "1.0.0").send().await.unwrap();
    assert_eq!(gone.status(), 204);
    case.line.up();
    let ended = case.put(&file, &[]).end().await;
    case.assert_stored(&ended, &bytes);
    assert!(ended.notes.contains("begins anew"), "{}", ended.notes);
    case.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_is_never_stored_as_a_mixture() {
    let case = Case::new().await;
    let (before, after) = (content(906, SIZE), content(907, SIZE));
    // While it is sent.
    let file = case.file("a", &before);
    case.line.hold_at(20 * MB);
    let put = case.put(&file, &[]);
    case.line.held().await;
    fs::write(&file, &after).unwrap();
    case.line.cut(false);
    let ended = put.end().await;
    assert_eq!(ended.status, Some(1));
    assert!(ended.notes.contains("was changed while it was read"), "{}", ended.notes);
    assert!(case.remembered().is_empty());
    case.cluster.wait_until_empty(DEADLINE).await;

    // Between two runs.
    fs::write(&file, &before).unwrap();
    case.line.take_sent();
    case.line.hold_at(20 * MB);
    let put = case.put(&file, &[]);
    case.line.held().await;
    put.signal(Signal::KILL);
    put.end().await;
    case.line.cut(false);
    assert!(case.offset(&case.upload()).await > 0);
    fs::write(&file, &after).unwrap();
    let ended = case.put(&file, &[]).end().await;
    case.assert_stored(&ended, &after);
    assert!(ended.notes.contains("was changed") && ended.notes.contains("begins anew"), "{}", ended.notes);

    // So that nobody could see it: only the digest tells.
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, &before).unwrap();
    File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    case.line.take_sent();
    case.line.hold_at(20 * MB);
    let put = case.put(&file, &[]);
    case.line.held().await;
    put.signal(Signal::KILL);
    put.end().await;
    case.line.cut(false);
    assert!(case.offset(&case.upload()).await > 0);
    let other = content(908, SIZE);
    fs::write(&file, &other).unwrap();
    File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    let ended = case.put(&file, &[]).end().await;
    case.assert_stored(&ended, &other);
    assert!(ended.notes.contains("begins anew"), "{}", ended.notes);
    case.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_cannot_be_used_keeps_no_upload_from_working() {
    let case = Case::new().await;
    for (seed, name) in [(909, "a file"), (910, "a broken entry")] {
        let bytes = content(seed, 17 << 20);
        let file = case.file(name, &bytes);
        let state = case.home.join(format!("state of {name}"));
        if name == "a file" {
            fs::write(&state, "").unwrap();
        } else {
            // Where it would be remembered stands something else.
            let put = case.put_with_state(&file, &[], &state);
            assert_eq!(put.end().await.status, Some(0));
            let uploads = state.join("closeby/uploads");
            assert_eq!(fs::read_dir(&uploads).unwrap().count(), 0);
            fs::remove_dir(&uploads).unwrap();
            fs::write(&uploads, "").unwrap();
            fs::write(&file, content(911, 17 << 20)).unwrap();
        }
        let ended = case.put_with_state(&file, &[], &state).end().await;
        assert_eq!(ended.status, Some(0), "{}", ended.notes);
        assert!(ended.notes.contains("remembered"), "{}", ended.notes);
    }
    case.stop().await;
}
