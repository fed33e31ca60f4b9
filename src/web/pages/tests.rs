//! What the pages say, and what they never let through.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::domain::{Access, Entry, FileOrder, InlineKind};

const HOSTILE: &str = "\"><script>alert(1)</script>'&.html";

fn shell() -> Shell {
    Shell { assets: "a1".to_owned(), version: "0.1.0".to_owned() }
}

fn kept(name: &str) -> KeptView {
    KeptView {
        name: name.to_owned(),
        sha1: "ab".repeat(20),
        size_bytes: 5,
        url: "https://files.example/d/ab/a".to_owned(),
        places: vec!["Amsterdam".to_owned(), "Toronto".to_owned()],
        ..KeptView::default()
    }
}

fn result(outcomes: Vec<Outcome>) -> ResultPage {
    let files = outcomes.into_iter().map(|outcome| ResultView { name: "a".to_owned(), outcome }).collect();
    ResultPage { shell: shell(), files }
}

fn failed() -> Outcome {
    Outcome::Error { title: "Too large".to_owned(), detail: "It has 2 TB.".to_owned() }
}

fn replica(place: &str, standing: Standing) -> ReplicaView {
    ReplicaView {
        node: "n".to_owned(),
        place: place.to_owned(),
        lat: 52.4,
        lon: 4.9,
        distance_km: 577.0,
        standing,
        url: "https://files.example/d/ab?node=n".to_owned(),
        verified: Moment::default(),
    }
}

fn file(replicas: Vec<ReplicaView>) -> FilePage {
    FilePage {
        shell: shell(),
        name: HOSTILE.to_owned(),
        media_type: "text/html".to_owned(),
        size_bytes: 12_345,
        sha1: "ab".repeat(20),
        sha256: "cd".repeat(32),
        added: Moment { iso: "2026-01-01T00:00:00Z".to_owned(), text: "1 day ago".to_owned() },
        url: "https://files.example/d/ab/it's".to_owned(),
        metalink_url: "https://files.example/d/ab.meta4".to_owned(),
        base_url: "https://files.example".to_owned(),
        preview: PreviewView::Shown { kind: InlineKind::Text, url: HOSTILE.to_owned() },
        from: FromView { given: HOSTILE.to_owned(), error: Some(HOSTILE.to_owned()) },
        access: Access::OPEN,
        names: vec![NameView { name: HOSTILE.to_owned(), added: Moment::default() }],
        reader: ReaderView {
            place: "Berlin".to_owned(),
            lat: 52.5,
            lon: 13.4,
            known_by: ReaderKnownBy::Address,
        },
        replicas,
    }
}

/// No page may have code or looks in it: its scripts are our own files.
fn assert_plain(page: &str) {
    let ours = r#"<script type="module" src="/static/a1/"#;
    assert!(page.contains(ours));
    assert_eq!(page.matches("<script").count(), page.matches(ours).count(), "{page}");
    for forbidden in ["<style", " style=", " onload", " onclick", "javascript:", "url("] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    assert!(page.contains("IP Geolocation by DB-IP"));
}

#[test]
fn hostile_names_stay_text_on_every_page() {
    let error = Outcome::Error { title: HOSTILE.to_owned(), detail: HOSTILE.to_owned() };
    let mut results = result(vec![Outcome::Stored(kept(HOSTILE)), Outcome::Duplicate(kept(HOSTILE)), error]);
    results.files.iter_mut().for_each(|file| file.name = HOSTILE.to_owned());
    let server = ServerView { place: HOSTILE.to_owned(), node: HOSTILE.to_owned(), ..ServerView::default() };
    let row = FileRow { name: HOSTILE.to_owned(), ..FileRow::default() };
    let pages = [
        results.render(),
        file(vec![replica(HOSTILE, Standing::Nearest), replica(HOSTILE, Standing::Damaged)]).render(),
        FilesPage {
            shell: shell(),
            query: HOSTILE.to_owned(),
            sort: FileOrder::Name,
            files: vec![row],
            total_files: 1,
            next: Some(HOSTILE.to_owned()),
            is_later_page: true,
        }
        .render(),
        ServersPage { shell: shell(), servers: vec![server.clone()], notice: Some(Notice::uploads_wait()) }
            .render(),
        IndexPage {
            shell: shell(),
            base_url: HOSTILE.to_owned(),
            max_file_bytes: 1 << 40,
            max_files: 1000,
            total_files: 0,
            total_bytes: 0,
            access: Access::default(),
            servers: vec![server],
            notice: None,
        }
        .render(),
        ErrorPage {
            shell: shell(),
            status: 404,
            title: HOSTILE.to_owned(),
            detail: HOSTILE.to_owned(),
            retry_after_s: None,
            file_sha1: None,
            request_id: Some(HOSTILE.to_owned()),
        }
        .render(),
    ];
    for page in pages {
        assert_plain(&page.unwrap());
    }
}

#[test]
fn a_preview_stands_where_it_can_be_shown() {
    let page = |kind, change: fn(&mut FilePage)| {
        let mut page = file(vec![replica("Toronto", Standing::Nearest)]);
        page.from = FromView::default();
        page.preview = PreviewView::Shown { kind, url: "/d/ab/a?inline=1".to_owned() };
        change(&mut page);
        page.render().unwrap()
    };
    let same = |_: &mut FilePage| {};
    for (kind, shows) in [
        (InlineKind::Image, r#"<img src="/d/ab/a?inline=1""#),
        (InlineKind::Video, r#"<video src="/d/ab/a?inline=1" controls preload="metadata""#),
        (InlineKind::Audio, r#"<audio src="/d/ab/a?inline=1" controls preload="metadata""#),
        (InlineKind::Text, "<pre class=\"stage scripted"),
        (
            InlineKind::Pdf,
            r#"<a class="button quiet" href="/d/ab/a?inline=1" target="_blank" rel="noopener">Open"#,
        ),
    ] {
        let html = page(kind, same);
        assert!(html.contains(shows) && html.contains("preview.js"), "{shows} in {html}");
    }
    let large = page(InlineKind::Image, |page| page.size_bytes = 64_000_001);
    assert!(large.contains("Show the picture, 64 MB") && !large.contains("<img src=\"/d/"));
    let cut = page(InlineKind::Text, |page| page.size_bytes = 1 << 20);
    assert!(cut.contains("The first 64 KiB of 1.0 MB"));
    let changes: [fn(&mut FilePage); 4] = [
        |page| page.preview = PreviewView::None,
        |page| page.preview = PreviewView::Refused,
        |page| page.size_bytes = 0,
        |page| page.replicas = vec![replica("Toronto", Standing::Away)],
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let html = page(InlineKind::Image, change);
        assert!(!html.contains("inline=1") && !html.contains("preview.js"), "{at}");
        assert_eq!(html.contains("No preview:"), at == 1);
    }
}

#[test]
fn a_page_counts_from_where_it_is_asked_to() {
    let mut page = file(vec![replica("Toronto", Standing::Nearest)]);
    page.from = FromView { given: "52.52, 13.4".to_owned(), error: None };
    page.reader.known_by = ReaderKnownBy::Given;
    let html = page.render().unwrap();
    assert!(
        html.contains("Counted from Berlin, as you asked.")
            && html.contains("it&#39;s?from=52%2E52%2C%2013%2E4\"")
    );
    assert!(!html.contains("role=\"alert\""));
    page.from.given = "203.5.76.1".to_owned();
    page.reader.known_by = ReaderKnownBy::Address;
    assert!(page.render().unwrap().contains("Counted from near Berlin, where 203.5.76.1 points to."));
    page.from.error = Some("No.".to_owned());
    let html = page.render().unwrap();
    assert!(
        html.contains("role=\"alert\">No.</p>")
            && html.contains("Your address points to")
            && !html.contains("?from=")
    );
}

#[test]
fn the_qr_code_holds_the_short_link() {
    let html = file(vec![replica("Toronto", Standing::Nearest)]).render().unwrap();
    let code = QrView::new(&format!("https://files.example/d/{}", "ab".repeat(20))).unwrap();
    assert!(
        html.contains(&format!("d=\"{}\"", code.path))
            && html.contains("role=\"img\" aria-label=\"QR code of https://")
    );
    assert!(html.contains("wget --content-disposition https://files.example/d/abab"));
}

#[test]
fn the_form_is_the_one_that_programs_know() {
    let page = IndexPage {
        shell: shell(),
        base_url: "http://127.0.0.1:8080".to_owned(),
        max_file_bytes: 1 << 40,
        max_files: 1000,
        total_files: 12_345,
        total_bytes: 3_200_000_000,
        access: Access::OPEN,
        servers: vec![
            ServerView { place: "Toronto".to_owned(), ..ServerView::default() },
            ServerView { place: "Amsterdam".to_owned(), ..ServerView::default() },
        ],
        notice: None,
    }
    .render()
    .unwrap();
    assert!(page.contains(r#"method="post" action="/upload" enctype="multipart/form-data""#));
    assert_eq!(page.matches(r#"type="file""#).count(), 1);
    assert!(page.contains(r#"type="file" name="file" multiple required"#));
    assert!(page.contains("curl -T photo.jpg http://127.0.0.1:8080/"));
    assert!(page.contains("12,345 files · 3.2 GB · 2 servers in 2 places"));
    assert!(page.contains("Up to 1 TiB a file<span class=\"unscripted\"> and 1,000 files at once</span>."));
    assert!(page.contains(r#"data-max-file-bytes="1099511627776""#));
    assert!(!page.contains("name=\"token\""));
}

#[test]
fn a_form_that_takes_a_token_asks_for_it_before_the_files_and_tells_no_counts() {
    let page = IndexPage {
        shell: shell(),
        base_url: "http://127.0.0.1:8080".to_owned(),
        max_file_bytes: 1 << 40,
        max_files: 1000,
        total_files: 12_345,
        total_bytes: 3_200_000_000,
        access: Access::default(),
        servers: vec![ServerView::default()],
        notice: None,
    }
    .render()
    .unwrap();
    let token = page.find(r#"type="password" name="token" autocomplete="off""#).unwrap();
    assert!(token < page.find(r#"type="file" name="file""#).unwrap());
    assert!(page.contains("Everyone who has a file’s link can download it. Files cannot be removed yet."));
    assert!(!page.contains("12,345") && !page.contains("3.2 GB") && page.contains("1 server in 1 place"));
}

#[test]
fn commands_carry_a_token_where_one_is_needed_and_never_to_a_node() {
    let closed = Access { read: Entry::Token, ..Access::default() };
    let mut page = file(vec![replica("Toronto", Standing::Nearest)]);
    assert!(page.render().unwrap().contains("wget") && !page.render().unwrap().contains("CLOSEBY_TOKEN"));
    page.access = closed;
    let html = page.render().unwrap();
    assert!(html.contains("--oauth2-bearer") && !html.contains("wget") && !html.contains("aria2c"));
    let help = |access| {
        HelpPage { shell: shell(), base_url: "https://files.example".to_owned(), access, example: None }
            .render()
            .unwrap()
    };
    assert!(!help(Access::OPEN).to_lowercase().contains("token"));
    let html = help(closed);
    for carried in ["-T photo.jpg", "-F file=@photo.jpg", "--fail-with-body", "-fLOJ"] {
        let line = html.lines().find(|line| line.contains(carried)).unwrap();
        assert!(line.contains("--oauth2-bearer"), "{line}");
    }
    assert!(html.contains("process.env.CLOSEBY_TOKEN") && html.contains("os.environ["));
    assert!(!html.contains("aria2c ") && !html.contains("wget "));
    let uploader: serde_json::Value = serde_json::from_str(&sharex("https://x", true)).unwrap();
    assert_eq!(uploader["Headers"]["Authorization"], "Bearer TOKEN");
    assert!(!sharex("https://x", false).contains("Headers"));
}

#[test]
fn results_say_in_one_line_how_it_went() {
    let stored = || Outcome::Stored(kept("a"));
    let known = || Outcome::Duplicate(kept("a"));
    for (outcomes, headline) in [
        (vec![], "Nothing was uploaded"),
        (vec![stored()], "Your file is stored"),
        (vec![stored(), stored()], "All 2 files are stored"),
        (vec![known()], "This file is here already"),
        (vec![known(), known()], "All 2 files are here already"),
        (vec![failed()], "This file was not stored"),
        (vec![failed(), failed()], "None of 2 files was stored"),
        (vec![stored(), known(), failed()], "1 of 3 files stored"),
        (vec![known(), failed()], "1 of 2 files here already"),
    ] {
        assert_eq!(result(outcomes).headline(), headline);
    }
    let page = result(vec![stored(), known(), failed()]).render().unwrap();
    assert!(page.contains("kept in <strong>Amsterdam and Toronto</strong>"));
    assert!(page.contains("<strong>Too large.</strong> It has 2 TB."));
    assert!(page.contains("All links as text"));
    assert!(!result(vec![stored()]).render().unwrap().contains("All links as text"));
}

#[test]
fn a_duplicate_names_the_file_that_exists() {
    let page =
        result(vec![Outcome::Duplicate(KeptView { healed: true, ..kept("other.txt") })]).render().unwrap();
    assert!(page.contains("is here as <bdi class=\"quote\">other.txt</bdi>, so nothing was stored again."));
    assert!(page.contains("your upload made it whole"));
}

#[test]
fn a_file_page_says_which_copy_and_why() {
    use Standing::{Away, Damaged, Farther, Nearest, Pending, Shared};
    for ((first, second), why) in [
        ((Nearest, Farther), "Downloads come from A, the nearest to you of the places that keep it."),
        (
            (Nearest, Away),
            "Downloads come from A, the nearest to you of the places that keep it. At the moment B does not answer.",
        ),
        ((Shared, Shared), "A and B are about equally far away, so each download draws one of them."),
        ((Away, Away), "None of its copies can be read now."),
    ] {
        let page = file(vec![replica("A", first), replica("B", second)]);
        assert_eq!(page.why(), why);
        assert_eq!(page.render().unwrap().contains(">Download</a>"), first != Away);
    }
    let far = ReplicaView { distance_km: 6480.0, ..replica("A", Nearest) };
    for (standing, why) in [
        (Away, "Downloads come from A for now, since B does not answer."),
        (Damaged, "Downloads come from A for now, since the copy in B is damaged."),
        (Pending, "Downloads come from A for now, since the copy in B is still being finished."),
    ] {
        assert_eq!(file(vec![far.clone(), replica("B", standing)]).why(), why);
    }
    assert_eq!(file(vec![replica("A", Nearest)]).source(), "from A, 577 km away");
    assert_eq!(file(vec![replica("A", Shared), replica("B", Shared)]).source(), "from A or B");
    assert_eq!(file(vec![]).why(), "None of its copies can be read now.");
}

#[test]
fn command_lines_carry_nothing_that_a_stranger_chose() {
    let page = file(vec![]);
    assert_eq!(page.curl(), format!("curl -fLOJ https://files.example/d/{}", "ab".repeat(20)));
    assert_eq!(page.aria2(), "aria2c https://files.example/d/ab.meta4");
    assert_eq!(page.closeby(), format!("closeby get {} --server https://files.example", "ab".repeat(20)));
}

#[test]
fn paging_keeps_the_search() {
    let page = FilesPage {
        shell: shell(),
        query: "a&b c".to_owned(),
        sort: FileOrder::Largest,
        files: vec![FileRow::default()],
        total_files: 1,
        next: Some("x/y".to_owned()),
        is_later_page: true,
    }
    .render()
    .unwrap();
    assert!(page.contains(r#"href="/files?query=a%26b+c&#38;sort=largest&#38;after=x%2Fy""#), "{page}");
    assert!(page.contains(r#"rel="first" href="/files?query=a%26b+c&#38;sort=largest""#), "{page}");
    assert!(page.contains(r#"<option value="largest" selected>"#), "{page}");
}

#[test]
fn empty_lists_say_what_to_do() {
    let list = |query: &str, is_later_page| {
        let page = FilesPage {
            shell: shell(),
            query: query.to_owned(),
            sort: FileOrder::Newest,
            files: vec![],
            total_files: 0,
            next: None,
            is_later_page,
        };
        page.render().unwrap()
    };
    assert!(list("", false).contains("No files yet"));
    assert!(list("", true).contains("The list ends here"));
    assert!(list("x", false).contains("No name contains"));
}

#[test]
fn servers_are_summed_up() {
    let server = |place: &str, state| ServerView {
        place: place.to_owned(),
        state,
        total_bytes: 100_000,
        free_bytes: 40_000,
        blobs: 2,
        ..ServerView::default()
    };
    use ServerState::{Healthy, Out, Silent};
    for (states, headline) in [
        (&[][..], "No server has joined yet"),
        (&[Healthy], "1 server in 1 place, healthy"),
        (&[Healthy, Healthy], "2 servers in 1 place, both healthy"),
        (&[Healthy, Healthy, Healthy], "3 servers in 1 place, all healthy"),
        (&[Healthy, Silent, Out], "3 servers in 1 place, 1 healthy"),
        (&[Silent, Out], "2 servers in 1 place, none answering"),
    ] {
        let servers = states.iter().map(|state| server("Toronto", *state)).collect();
        assert_eq!(ServersPage { shell: shell(), servers, notice: None }.headline(), headline);
    }
    let page = ServersPage {
        shell: shell(),
        servers: vec![server("Toronto", Healthy), server("Delft", Out)],
        notice: None,
    };
    assert_eq!((page.free().as_str(), page.copies().as_str()), ("40 kB", "4 copies"));
    assert_eq!(page.servers[0].used_percent(), 60);
    assert_eq!(ServerView::default().used_percent(), 0);
    assert_eq!(ServerView { free_bytes: 9, total_bytes: 1, ..ServerView::default() }.used_percent(), 0);
}

#[test]
fn errors_say_when_to_try_again() {
    let error = |retry_after_s| ErrorPage {
        shell: shell(),
        status: 503,
        title: "Busy".to_owned(),
        detail: "All slots are taken.".to_owned(),
        retry_after_s,
        file_sha1: None,
        request_id: None,
    };
    assert_eq!(error(None).retry(), None);
    assert_eq!(error(Some(1)).retry().as_deref(), Some("1 second"));
    assert_eq!(error(Some(30)).retry().as_deref(), Some("30 seconds"));
    assert_eq!(error(Some(100)).retry().as_deref(), Some("2 minutes"));
    assert!(error(Some(30)).render().unwrap().contains("Try again in about 30 seconds. This usually passes"));
}

#[test]
fn a_server_says_what_it_is_doing() {
    let doing = |receiving, sending, unfinished, received, sent| {
        let rates = (received, sent);
        let doing = Doing {
            receiving,
            sending,
            unfinished,
            received_bytes_per_s: rates.0,
            sent_bytes_per_s: rates.1,
        };
        doing.lines().join(" · ")
    };
    assert_eq!(doing(0, 0, 0, 0, 0), "idle");
    assert_eq!(doing(3, 0, 3, 0, 0), "receiving 3 uploads");
    assert_eq!(doing(0, 2, 0, 0, 40_000_000), "sending 2 downloads, 40 MB/s");
    assert_eq!(doing(1, 0, 2, 1_500_000, 0), "receiving 1 upload, 1.5 MB/s · holding 1 unfinished upload");
    assert_eq!(doing(0, 0, 0, 0, 2_000), "sending 2.0 kB/s");
}
