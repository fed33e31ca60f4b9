#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{PutOptions, put};
use crate::role::client::fake::{Fake, console};
use crate::role::client::{ClientError, Server};
use crate::wire::api::{UploadStatus, UploadedFile};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

async fn run(server: &Server, paths: &[PathBuf], json: bool) -> (Result<(), ClientError>, String, String) {
    let (console, out, notes) = console();
    let options = PutOptions { json, patience: Duration::from_millis(200), state: None };
    let outcome = put(server, &console, paths, &options, std::future::pending()).await;
    (outcome, out.text(), notes.text())
}

#[tokio::test]
async fn new_files_are_sent_without_being_hashed() {
    let (fake, folder) = (Fake::start().await, Folder::new());
    let sizes = [0, 1, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 5 << 20];
    let paths = sizes.map(|size| folder.file(&format!("{size} bytes"), &vec![7; size]));
    let (outcome, out, notes) = run(&fake.server(), &paths, false).await;
    outcome.unwrap();
    assert_eq!(out.lines().count(), sizes.len());
    for (line, size) in out.lines().zip(sizes) {
        assert!(line.starts_with(fake.url()) && line.ends_with(&format!("/{size} bytes")), "{line}");
    }
    assert_eq!(notes, "");
    let mut expected = vec!["precheck 6".to_owned()];
    expected.extend(sizes.map(|size| format!("upload {size} bytes {size}")));
    assert_eq!(fake.calls(), expected, "one question, and no digest");
}

#[tokio::test]
async fn a_server_without_parts_gets_large_files_in_one_request() {
    let (fake, folder) = (Fake::start().await, Folder::new());
    let sizes = [16 << 20, (16 << 20) + 1];
    let paths = sizes.map(|size| folder.file(&format!("{size} bytes"), &vec![7; size]));
    let (outcome, out, _) = run(&fake.server(), &paths, false).await;
    outcome.unwrap();
    assert_eq!(out.lines().count(), 2);
    let uploads: Vec<_> = fake.calls().into_iter().filter(|call| call.starts_with("upload")).collect();
    assert_eq!(uploads, sizes.map(|size| format!("upload {size} bytes {size}")));
}

#[tokio::test]
async fn who_stops_it_is_told_what_is_left() {
    let (fake, folder) = (Fake::start().await, Folder::new());
    let (console, out, _) = console();
    let options = PutOptions { json: false, patience: Duration::ZERO, state: None };
    let paths = [folder.file("a", b"1")];
    let outcome = put(&fake.server(), &console, &paths, &options, std::future::ready(())).await;
    assert!(matches!(outcome, Err(ClientError::Interrupted(_))), "{outcome:?}");
    assert_eq!(out.text(), "");
}

#[tokio::test]
async fn a_duplicate_is_not_sent() {
    let (fake, folder) = (Fake::start().await, Folder::new());
    fake.keep("first", b"same");
    let paths = [folder.file("second", b"same"), folder.file("other", b"else")];
    let (outcome, out, notes) = run(&fake.server(), &paths, false).await;
    outcome.unwrap();
    assert_eq!(fake.calls(), ["precheck 2", "precheck 2", "upload other 4", "with digest"]);
    assert!(out.lines().next().unwrap().ends_with("/first"), "{out}");
    assert!(notes.contains("second"), "{notes}");
}

#[tokio::test]
async fn the_same_content_twice_in_one_run_is_sent_once() {
    let (fake, folder) = (Fake::start().await, Folder::new());
    let paths = [folder.file("a", b"same"), folder.file("b", b"same"), folder.file("c", b"else")];
    let (outcome, out, _) = run(&fake.server(), &paths, false).await;
    outcome.unwrap();
    let uploads: Vec<_> = fake.calls().into_iter().filter(|call| call.starts_with("upload")).collect();
    assert_eq!(uploads, ["upload a 4", "upload c 4"]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], lines[1]);
}

#[tokio::test]
async fn json_is_one_object_a_line_and_complete_for_a_duplicate() {
    let (fake, folder) = (Fake::start().await, Folder::new());
    let sha1 = fake.keep("first", b"same");
    let paths =
        [folder.file("second", b"same"), folder.file("longer", b"longer"), folder.0.path().join("none")];
    let (outcome, out, _) = run(&fake.server(), &paths, true).await;
    assert!(matches!(outcome, Err(ClientError::Some { failed: 1, all: 3 })));
    let files: Vec<UploadedFile> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(files.len(), 3);
    assert_eq!(files[0].status, UploadStatus::Duplicate);
    assert_eq!(files[0].sha1, Some(sha1.to_hex()));
    assert!(files[0].sha256.is_some());
    assert_eq!(files[0].replicas, ["amsterdam", "toronto"]);
    assert_eq!(files[1].status, UploadStatus::Stored);
    assert_eq!(files[2].status, UploadStatus::Error);
    assert!(files[2].problem.is_some());
}

#[tokio::test]
async fn a_failure_does_not_keep_the_others() {
    let (fake, folder) = (Fake::start().await, Folder::new());
    let paths = [
        folder.0.path().to_owned(),
        folder.file("refused", b"12345"),
        folder.file("line\nbreak", b"x"),
        folder.file("good", b"123"),
    ];
    let (outcome, out, notes) = run(&fake.server(), &paths, false).await;
    assert!(matches!(outcome, Err(ClientError::Some { failed: 3, all: 4 })));
    assert!(out.ends_with("/good\n") && out.lines().count() == 1, "{out}");
    assert!(notes.contains("is a folder") && notes.contains("It cannot be: collision-attack"), "{notes}");
    assert_eq!(notes.lines().count(), 3, "a name cannot forge a line: {notes}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_a_bounded_number_of_times() {
    let (fake, folder) = (Fake::start().await, Folder::new());
    let paths = [folder.file("a", b"1")];
    fake.busy(2);
    run(&fake.server(), &paths, false).await.0.unwrap();
    assert_eq!(fake.calls(), ["precheck 1", "upload a 1", "upload a 1", "upload a 1"]);

    let paths = [folder.file("b", b"12")];
    fake.busy(u32::MAX);
    let (outcome, _, notes) = run(&fake.server(), &paths, false).await;
    assert!(outcome.is_err());
    assert!(notes.contains("It cannot be: busy"), "{notes}");
    assert_eq!(fake.calls().len(), 1 + 6);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let folder = Folder::new();
    // The port is taken, and nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let server = Server::new(url.parse().unwrap()).unwrap();
    let (outcome, _, notes) = run(&server, &[folder.file("a", b"1")], false).await;
    assert!(outcome.is_err());
    assert!(notes.contains(&url) && notes.contains("refused"), "{notes}");
}

#[tokio::test]
async fn a_file_that_changes_on_its_way_is_not_sent_whole() {
    use futures_util::StreamExt as _;

    let (folder, (console, ..)) = (Folder::new(), console());
    for change in [&|path: &PathBuf| fs::write(path, vec![1; 299 << 10]).unwrap(), &|path: &PathBuf| {
        fs::write(path, vec![1; 301 << 10]).unwrap()
    }] as [&dyn Fn(&PathBuf); 2]
    {
        let path = folder.file("a", &vec![0; 300 << 10]);
        let local = super::Local::look(&path).await.unwrap();
        let watch = super::body::Watch::default();
        let body =
            super::body::open(&local, console.progress("sending", "a", 0), watch.clone()).await.unwrap();
        let mut body = Box::pin(body);
        let first = body.next().await.unwrap().unwrap();
        change(&path);
        assert!(body.next().await.unwrap().is_err());
        assert!((first.len() as u64) < local.size);
        drop(body);
        assert!(watch.into_failure().unwrap().to_string().contains("was changed"));
        let hashed = super::hash::sha1(local.clone(), console.progress("hashing", "a", 0)).await;
        assert!(hashed.unwrap_err().to_string().contains("was changed"));
        let opened = super::body::open(&local, console.progress("sending", "a", 0), watch_new()).await;
        assert!(opened.err().unwrap().to_string().contains("was changed"));
    }
}

fn watch_new() -> super::body::Watch {
    super::body::Watch::default()
}
