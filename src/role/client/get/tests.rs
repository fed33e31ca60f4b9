#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::{Path, PathBuf};

use super::get;
use crate::domain::{FileOrder, Sha1, Token};
use crate::role::client::fake::{Fake, Fault, console};
use crate::role::client::{ClientError, Question, Server, Target, health, info, ls};

/// Bytes that differ from place to place.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

struct Setting {
    fake: Fake,
    folder: tempfile::TempDir,
    content: Vec<u8>,
    sha1: Sha1,
}

impl Setting {
    async fn new() -> Self {
        let fake = Fake::start().await;
        let content = content(3 << 20);
        let sha1 = fake.keep("a b.bin", &content);
        Self { fake, folder: tempfile::tempdir().unwrap(), content, sha1 }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("a b.bin")
    }

    fn partial(&self) -> PathBuf {
        self.folder.path().join("a b.bin.closeby-part")
    }

    async fn get(&self) -> (Result<(), ClientError>, String, String) {
        let (console, out, notes) = console();
        let target = Target { sha1: self.sha1, server: None, name: None };
        let outcome = get(self.fake.server(), &console, &target, Some(self.folder.path())).await;
        (outcome, out.text(), notes.text())
    }

    /// It is complete, under its name, and nothing else is left.
    fn assert_got(&self) {
        assert!(fs::read(self.path()).unwrap() == self.content);
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 1);
    }

    fn reads(&self) -> Vec<String> {
        self.fake.calls().into_iter().filter(|call| call.starts_with("read ")).collect()
    }
}

#[tokio::test]
async fn a_file_comes_under_the_ledgers_name() {
    let setting = Setting::new().await;
    let (outcome, out, notes) = setting.get().await;
    outcome.unwrap();
    setting.assert_got();
    assert_eq!(out, format!("{}\n", setting.path().display()));
    assert_eq!(notes, "");
    assert_eq!(setting.fake.calls(), ["blob", "link 0", "read 0 all"]);
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let setting = Setting::new().await;
    fs::write(setting.path(), "mine").unwrap();
    let (outcome, ..) = setting.get().await;
    assert!(outcome.unwrap_err().to_string().contains("exists already"));
    assert_eq!(fs::read(setting.path()).unwrap(), b"mine");
    assert!(!setting.partial().exists());

    fs::remove_file(setting.path()).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", setting.path()).unwrap();
    assert!(setting.get().await.0.is_err());
    assert!(setting.reads().is_empty(), "nothing was loaded in vain");
}

#[tokio::test]
async fn a_name_that_appears_meanwhile_is_not_overwritten() {
    let setting = Setting::new().await;
    let partial = super::Partial::open(setting.partial(), 10).await.unwrap();
    fs::write(setting.path(), "mine").unwrap();
    let error = partial.keep_as(&setting.path()).await.unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(fs::read(setting.path()).unwrap(), b"mine");
}

#[tokio::test]
async fn a_part_is_gone_on_with() {
    let setting = Setting::new().await;
    for have in [1, 1 << 20, setting.content.len() - 1] {
        fs::write(setting.partial(), &setting.content[..have]).unwrap();
        setting.get().await.0.unwrap();
        setting.assert_got();
        assert_eq!(setting.reads(), [format!("read 0 bytes={have}-")]);
        fs::remove_file(setting.path()).unwrap();
    }
    // All of it is there: only the check was missing.
    fs::write(setting.partial(), &setting.content).unwrap();
    setting.get().await.0.unwrap();
    setting.assert_got();
    assert!(setting.reads().is_empty());
}

#[tokio::test]
async fn a_part_of_something_else_is_thrown_away() {
    let setting = Setting::new().await;
    for part in [vec![0; 1000], vec![0; setting.content.len()], vec![0; setting.content.len() + 1]] {
        fs::write(setting.partial(), &part).unwrap();
        setting.get().await.0.unwrap();
        setting.assert_got();
        assert_eq!(setting.reads().last().unwrap(), "read 0 all");
        fs::remove_file(setting.path()).unwrap();
    }
}

#[tokio::test]
async fn a_copy_that_ignores_the_range_is_taken_from_the_beginning() {
    let setting = Setting::new().await;
    fs::write(setting.partial(), &setting.content[..1000]).unwrap();
    setting.fake.faults(0, &[Fault::NoRange]);
    setting.get().await.0.unwrap();
    setting.assert_got();
}

#[tokio::test]
async fn an_expired_link_is_asked_for_again() {
    let setting = Setting::new().await;
    setting.fake.faults(0, &[Fault::Expired]);
    setting.get().await.0.unwrap();
    setting.assert_got();
    assert_eq!(setting.fake.calls(), ["blob", "link 0", "read 0 all", "link 0", "read 0 all"]);
}

#[tokio::test]
async fn links_that_are_always_expired_end_it() {
    let setting = Setting::new().await;
    setting.fake.always(0, Fault::Expired);
    setting.fake.always(1, Fault::Expired);
    let (outcome, ..) = setting.get().await;
    assert!(outcome.unwrap_err().to_string().contains("expired"));
    assert!(setting.reads().len() < 50);
    assert!(!setting.partial().exists(), "nothing is left of nothing");
}

#[tokio::test]
async fn the_other_copy_goes_on_where_one_broke_off() {
    let setting = Setting::new().await;
    setting.fake.always(0, Fault::Cut(1 << 20));
    let (outcome, _, notes) = setting.get().await;
    outcome.unwrap();
    setting.assert_got();
    let reads = setting.reads();
    assert_eq!(reads[0], "read 0 all");
    assert!(reads[1].starts_with("read 1 bytes="), "{reads:?}");
    assert!(notes.contains("another copy"), "{notes}");
    assert!(!notes.contains("hidden"), "no ticket is shown: {notes}");
}

#[tokio::test]
async fn a_copy_that_lost_the_file_is_passed_over() {
    let setting = Setting::new().await;
    for fault in [Fault::Missing, Fault::TooMany] {
        setting.fake.always(0, fault);
        setting.get().await.0.unwrap();
        setting.assert_got();
        fs::remove_file(setting.path()).unwrap();
    }
}

#[tokio::test]
async fn copies_that_all_fail_end_it_and_the_part_stays() {
    let setting = Setting::new().await;
    setting.fake.faults(0, &[Fault::Cut(1 << 20)]);
    setting.fake.always(0, Fault::Missing);
    setting.fake.always(1, Fault::Missing);
    let (outcome, ..) = setting.get().await;
    assert!(outcome.is_err());
    assert!(setting.reads().len() < 50);
    assert!(!setting.path().exists());
    let kept = fs::read(setting.partial()).unwrap();
    assert!(!kept.is_empty() && kept == setting.content[..kept.len()]);
}

#[tokio::test]
async fn wrong_bytes_are_replaced_by_the_other_copys() {
    let setting = Setting::new().await;
    setting.fake.always(0, Fault::Corrupt);
    setting.get().await.0.unwrap();
    setting.assert_got();
    assert_eq!(setting.reads(), ["read 0 all", "read 1 all"]);
}

#[tokio::test]
async fn wrong_bytes_from_everywhere_are_refused() {
    let setting = Setting::new().await;
    setting.fake.always(0, Fault::Corrupt);
    setting.fake.always(1, Fault::Corrupt);
    let error = setting.get().await.0.unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
    assert_eq!(fs::read_dir(setting.folder.path()).unwrap().count(), 0, "nothing of it was kept");
    assert_eq!(setting.reads().len(), 2);
}

#[tokio::test]
async fn two_at_once_do_not_share_a_part() {
    let setting = Setting::new().await;
    let _other = super::Partial::open(setting.partial(), u64::MAX).await.unwrap();
    let (outcome, ..) = setting.get().await;
    assert!(outcome.unwrap_err().to_string().contains("another closeby"));
}

#[tokio::test]
async fn names_of_the_server_lead_nowhere_else() {
    let setting = Setting::new().await;
    let sha1 = setting.fake.keep("../../evil", b"x");
    let (console, out, _) = console();
    let target = Target { sha1, server: None, name: None };
    get(setting.fake.server(), &console, &target, Some(setting.folder.path())).await.unwrap();
    assert!(setting.folder.path().join("evil").exists(), "{}", out.text());
}

#[tokio::test]
async fn a_link_says_its_server_and_output_its_name() {
    let setting = Setting::new().await;
    let target: Target = format!("{}/d/{}/x", setting.fake.url(), setting.sha1).parse().unwrap();
    let elsewhere = crate::role::client::Server::new("http://nowhere.invalid/".parse().unwrap()).unwrap();
    let path = setting.folder.path().join("given");
    get(elsewhere, &console().0, &target, Some(&path)).await.unwrap();
    assert!(fs::read(&path).unwrap() == setting.content);
}

#[tokio::test]
async fn a_token_is_shown_to_its_own_server_and_to_nobody_else() {
    let setting = Setting::new().await;
    let token = Token::random();
    let server = setting.fake.server().with_token(Some(&token));
    let target = Target { sha1: setting.sha1, server: None, name: None };
    get(server, &console().0, &target, Some(&setting.folder.path().join("first"))).await.unwrap();
    let [one, other, central] = setting.fake.asked();
    assert!(one.0 + other.0 > 0 && one.1 + other.1 == 0, "a copy takes a ticket: {one:?} {other:?}");
    assert!(central.0 > 0 && central.1 == central.0, "{central:?}");

    let elsewhere = Server::new("http://nowhere.invalid/".parse().unwrap()).unwrap().with_token(Some(&token));
    let link: Target = format!("{}/d/{}/x", setting.fake.url(), setting.sha1).parse().unwrap();
    get(elsewhere, &console().0, &link, Some(&setting.folder.path().join("second"))).await.unwrap();
    let [_, _, central] = setting.fake.asked();
    assert!(central.0 > 0 && central.1 == 0, "a link names its own server: {central:?}");
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let setting = Setting::new().await;
    let sha1 = setting.fake.keep("empty", b"");
    let target = Target { sha1, server: None, name: None };
    get(setting.fake.server(), &console().0, &target, Some(setting.folder.path())).await.unwrap();
    assert_eq!(fs::read(setting.folder.path().join("empty")).unwrap(), b"");
}

#[test]
fn a_part_of_a_long_name_has_a_name_that_fits() {
    let sha1 = Sha1::new([0xab; 20]);
    let path = Path::new("folder").join("x".repeat(255));
    let partial = super::partial_path(&path, sha1);
    assert_eq!(partial, Path::new("folder").join(format!("{sha1}.closeby-part")));
    assert_eq!(super::partial_path(Path::new("a"), sha1), Path::new("a.closeby-part"));
}

#[tokio::test]
async fn unknown_content_is_said_in_the_servers_words() {
    let setting = Setting::new().await;
    let target = Target { sha1: Sha1::new([0; 20]), server: None, name: None };
    let error = get(setting.fake.server(), &console().0, &target, None).await.unwrap_err();
    assert_eq!(error.to_string(), "It cannot be: not-found");
}

#[tokio::test]
async fn files_are_listed_page_by_page() {
    let fake = Fake::start().await;
    for name in ["e1", "e2", "e3", "e4", "e5", "xyz"] {
        fake.keep(name, name.as_bytes());
    }
    for (limit, lines, calls) in [(0, 0, 0), (1, 1, 1), (2, 2, 1), (3, 3, 2), (5, 5, 3), (50, 5, 3)] {
        let (console, out, notes) = console();
        ls(fake.server(), &console, Some("e"), FileOrder::default(), limit, false).await.unwrap();
        let text = out.text();
        let listed: Vec<_> = text.lines().collect();
        assert_eq!(listed.len(), lines.min(5), "{text}");
        assert!(fake.calls().len() >= calls);
        assert_eq!(notes.text().contains("there are more"), (1..5).contains(&limit), "{limit}");
    }
    let (console, out, _) = console();
    ls(fake.server(), &console, None, FileOrder::default(), 50, true).await.unwrap();
    let first: crate::wire::api::File = serde_json::from_str(out.text().lines().next().unwrap()).unwrap();
    assert_eq!(first.name, "e1");
}

#[tokio::test]
async fn info_and_health_say_what_is() {
    const WITHIN: std::time::Duration = std::time::Duration::from_secs(30);
    let setting = Setting::new().await;
    let target = Target { sha1: setting.sha1, server: None, name: None };
    let (shown, out, _) = console();
    info(setting.fake.server(), &shown, &target, false).await.unwrap();
    let text = out.text();
    assert!(text.contains("Toronto, 12 km, yours") && text.contains("a b.bin"), "{text}");
    let (shown, out, _) = console();
    info(setting.fake.server(), &shown, &target, true).await.unwrap();
    serde_json::from_str::<crate::wire::api::Blob>(&out.text()).unwrap();

    let (shown, out, _) = console();
    health(setting.fake.server(), &shown, Question::Ready, WITHIN).await.unwrap();
    assert_eq!(out.text(), "ready\n");
    setting.fake.busy(1);
    let error = health(setting.fake.server(), &shown, Question::Ready, WITHIN).await.unwrap_err();
    assert_eq!(error.to_string(), "It cannot be: unavailable");
}
