//! Who is let in where: every guarded route with and without a token, before anything of a body is read.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use closeby::domain::{Access, Entry, Timestamp, Token, TokenId};
use closeby::ledger::{Ledger as _, NewToken, SqliteLedger};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Cluster, DEADLINE, Options, content, free, poll};

const CLOSED: Access =
    Access { upload: Entry::Token, list: Entry::Token, read: Entry::Token, explain: Entry::Token };

async fn cluster(access: Access) -> Cluster {
    Cluster::with(Options { places: vec!["toronto", "amsterdam"], access, ..Options::default() }).await
}

/// `closeby token …`, beside a central.
fn token(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_closeby"))
        .args(["token", arguments[0], "--data"])
        .arg(data)
        .args(&arguments[1..])
        .env_remove("CLOSEBY_DATA")
        .output()
        .unwrap()
}

/// A new token, and its id.
pub fn new_token(data: &Path, scope: &str) -> (String, String) {
    let output = token(data, &["new", "--scope", scope]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let secret = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains(secret.trim()), "it goes to stdout alone");
    let id = said.split_whitespace().nth(1).unwrap().to_owned();
    (secret.trim().to_owned(), id)
}

/// What a problem is, and what the answer wants to see.
async fn problem(answer: Response) -> (u16, String, Vec<String>) {
    let status = answer.status().as_u16();
    let challenges =
        answer.headers().get_all("www-authenticate").iter().map(|line| line.to_str().unwrap().to_owned());
    let challenges = challenges.collect();
    let problem: Value = answer.json().await.unwrap_or_default();
    (status, problem["type"].as_str().unwrap_or_default().replace("/problems/", ""), challenges)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_guarded_route_takes_a_token_of_its_scope() {
    let cluster = cluster(CLOSED).await;
    let data = cluster.central_data();
    let (upload, list, read) =
        (new_token(&data, "upload").0, new_token(&data, "list").0, new_token(&data, "read").0);
    let admin = new_token(&data, "admin").0;
    let (revoked, id) = new_token(&data, "admin");
    assert!(token(&data, &["revoke", &id]).status.success());
    let expired = Token::random();
    let ledger = SqliteLedger::open_beside(&cluster.ledger()).unwrap();
    let new = NewToken {
        id: TokenId::random(),
        name: None,
        scopes: "admin".parse().unwrap(),
        sha256: expired.digest(),
        expires_at: Some(Timestamp::system()),
    };
    ledger.create_token(new).await.unwrap();
    ledger.close().await;
    let unknown = Token::random();

    let stored = cluster.post("/api/v1/files?name=a.txt").bearer_auth(&upload).body("abc").send().await;
    let object: Value = stored.unwrap().json().await.unwrap();
    let sha1 = object["sha1"].as_str().unwrap();
    let begun = cluster.post("/api/v1/uploads").bearer_auth(&upload);
    let begun = begun.header("tus-resumable", "1.0.0").header("upload-length", "9").send().await.unwrap();
    let tus = crate::support::location(&begun);
    let listed = cluster.get("/api/v1/files").bearer_auth(&list).send().await.unwrap();
    let listed: Value = listed.json().await.unwrap();
    let file = listed["files"][0]["id"].as_str().unwrap();

    let routes = [
        (Method::PUT, "/name.txt".to_owned(), &upload, &read),
        (Method::PUT, "/healthz".to_owned(), &upload, &read),
        (Method::POST, "/api/v1/files?name=b.txt".to_owned(), &upload, &list),
        (Method::POST, "/api/v1/precheck".to_owned(), &upload, &list),
        (Method::POST, "/api/v1/uploads".to_owned(), &upload, &read),
        (Method::HEAD, tus.clone(), &upload, &read),
        (Method::GET, tus.clone(), &upload, &list),
        (Method::PATCH, tus.clone(), &upload, &read),
        (Method::POST, tus.clone(), &upload, &read),
        (Method::DELETE, tus.clone(), &upload, &read),
        (Method::GET, "/api/v1/files".to_owned(), &list, &read),
        (Method::HEAD, "/api/v1/files".to_owned(), &list, &read),
        (Method::GET, "/files?query=a".to_owned(), &list, &upload),
        (Method::GET, "/%66iles".to_owned(), &list, &upload),
        (Method::GET, format!("/files/{sha1}"), &read, &list),
        (Method::HEAD, format!("/files/{sha1}"), &read, &list),
        (Method::GET, format!("/d/{sha1}"), &read, &upload),
        (Method::GET, format!("/%64/{sha1}/a.txt"), &read, &upload),
        (Method::HEAD, format!("/d/{sha1}/a.txt?inline=1"), &read, &upload),
        (Method::GET, format!("/d/{sha1}.meta4"), &read, &upload),
        (Method::GET, format!("/api/v1/files/{file}"), &read, &list),
        (Method::GET, format!("/api/v1/blobs/{sha1}"), &read, &list),
        (Method::GET, format!("/api/v1/blobs/{sha1}/pieces"), &read, &list),
        (Method::GET, format!("/api/v1/blobs/{sha1}/replicas"), &read, &list),
        (Method::GET, "/uploaded?k=".to_owned(), &read, &list),
    ];
    for (method, path, _, lacking) in &routes {
        let ask = |token: Option<&str>| {
            let request = cluster.http.request(method.clone(), cluster.url(path));
            let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
            async { problem(request.send().await.unwrap()).await }
        };
        let is_told = *method != Method::HEAD;
        let (status, code, challenges) = ask(None).await;
        assert_eq!((status, code == "token-needed"), (401, is_told), "{method} {path}");
        assert!(challenges[0].starts_with("Bearer realm=\"closeby\", scope="), "{path} {challenges:?}");
        assert_eq!(challenges.len(), 1, "no program is asked for a password: {path}");
        for bad in [unknown.reveal(), &revoked, expired.reveal(), "hunter2"] {
            let (status, code, challenges) = ask(Some(bad)).await;
            assert_eq!((status, code == "invalid-token"), (401, is_told), "{method} {path}");
            assert!(challenges[0].contains("error=\"invalid_token\""), "{path} {challenges:?}");
        }
        let (status, code, challenges) = ask(Some(lacking)).await;
        assert_eq!((status, code == "insufficient-scope"), (403, is_told), "{method} {path}");
        assert!(challenges[0].contains("error=\"insufficient_scope\""), "{path} {challenges:?}");
    }
    // What is not let in changes nothing, so the right ones come last.
    for (method, path, right, _) in &routes {
        for good in [right.as_str(), &admin] {
            let request = cluster.http.request(method.clone(), cluster.url(path)).bearer_auth(good);
            let status = request.send().await.unwrap().status().as_u16();
            assert!(![401, 403].contains(&status), "{method} {path}: {status}");
        }
    }
    for path in ["/", "/help", "/help/api", "/servers", "/healthz", "/readyz", "/api/openapi.json"] {
        assert_eq!(cluster.get(path).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    let options = cluster.http.request(Method::OPTIONS, cluster.url("/api/v1/uploads")).send().await.unwrap();
    assert_eq!(options.status(), StatusCode::NO_CONTENT);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_hears_so_before_sending_anything() {
    let cluster = cluster(Access::default()).await;
    let host = cluster.base.trim_start_matches("http://");
    let wrong = format!("authorization: Bearer {}\r\n", Token::random().reveal());
    let form = "content-type: multipart/form-data; boundary=XX\r\n".to_owned();
    let json = "content-type: application/json\r\n".to_owned();
    let tus = "tus-resumable: 1.0.0\r\nupload-length: 5000000000\r\n\
               content-type: application/offset+octet-stream\r\n"
        .to_owned();
    let file = "--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nfirst bytes";
    for (line, fields, begin) in [
        ("PUT /a.bin", String::new(), ""),
        ("PUT /a.bin", wrong.clone(), ""),
        ("POST /api/v1/files?name=a", String::new(), ""),
        ("POST /api/v1/precheck", json, ""),
        ("POST /api/v1/uploads", tus, ""),
        ("POST /upload", format!("{form}{wrong}"), ""),
        // A form may still bring one, until its first file comes.
        ("POST /upload", form, file),
    ] {
        let mut socket = TcpStream::connect(host).await.unwrap();
        let head =
            format!("{line} HTTP/1.1\r\nhost: {host}\r\n{fields}content-length: 5000000000\r\n\r\n{begin}");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let read = tokio::time::timeout(DEADLINE, socket.read_exact(&mut answer)).await;
        read.unwrap_or_else(|_| panic!("{line}: no answer")).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401", "{line}");
        // What was on its way meets an open connection, so that the answer is not lost to a reset.
        for _ in 0..4 {
            socket.write_all(&[0; 16 << 10]).await.unwrap();
        }
        let mut rest = [0; 64];
        assert!(socket.read(&mut rest).await.unwrap() > 0, "{line}: the answer goes on");
    }
    cluster.wait_until_empty(DEADLINE).await;
    cluster.stop().await;
}

fn part(name: &str, content: &str) -> String {
    format!("--XX\r\ncontent-disposition: form-data; {name}\r\n\r\n{content}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_brings_its_token_first() {
    let cluster = cluster(Access::default()).await;
    let (good, _) = new_token(&cluster.central_data(), "upload");
    let (reading, _) = new_token(&cluster.central_data(), "read");
    let file = part("name=\"file\"; filename=\"a.txt\"", "abc");
    let field = |token: &str| part("name=\"token\"", token);
    let send = |parts: &[&str], accept: &'static str| {
        cluster
            .post("/upload")
            .header("content-type", "multipart/form-data; boundary=XX")
            .header("accept", accept)
            .body(format!("{}--XX--\r\n", parts.concat()))
            .send()
    };
    let json = "application/json";
    for (parts, status, code) in [
        (vec![file.as_str()], 401, "token-needed"),
        (vec![&field(""), &file], 401, "token-needed"),
        (vec![&file, &field(&good)], 401, "token-needed"),
        // Nothing else is read of a stranger's form, however much of it there is.
        (vec![&part("name=\"note\"", "x"), &field(&good), &file], 401, "token-needed"),
        (vec![&field(""), &field(&good), &file], 401, "token-needed"),
        (vec![], 401, "token-needed"),
        (vec![&field("hunter2"), &file], 401, "invalid-token"),
        (vec![&field(Token::random().reveal()), &file], 401, "invalid-token"),
        (vec![&field(&reading), &file], 403, "insufficient-scope"),
        (vec![&field(&"x".repeat(5000)), &file], 400, "bad-request"),
    ] {
        let (found, kind, _) = problem(send(&parts, json).await.unwrap()).await;
        assert_eq!((found, kind.as_str()), (status, code));
    }
    let page = send(&[&field(&good), &file, &field("later")], "text/html").await.unwrap();
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    assert!(!crate::support::location(&page).contains(&good));
    let again = send(&[&field(&good), &file, &file], json).await.unwrap();
    assert_eq!(again.status(), StatusCode::OK, "both are duplicates");

    let refused = send(&[&field(&reading), &file], "text/html").await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let html = refused.text().await.unwrap();
    assert!(html.contains("not good for this") && !html.contains(&reading[8..]), "{html}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_ask_for_a_password_where_people_read_and_it_changes_nothing() {
    let cluster = cluster(CLOSED).await;
    let (list, _) = new_token(&cluster.central_data(), "list,upload");
    let html = |path: &str| cluster.get(path).header("accept", "text/html,*/*;q=0.8");
    let page = html("/files").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
    let challenges: Vec<_> = page.headers().get_all("www-authenticate").iter().cloned().collect();
    assert_eq!(challenges.len(), 2, "{challenges:?}");
    assert_eq!(challenges[1], "Basic realm=\"closeby\", charset=\"UTF-8\"");
    assert!(page.text().await.unwrap().contains("closeby token new"), "it says what to do");
    let seen = html("/files").basic_auth("anybody", Some(&list)).send().await.unwrap();
    assert_eq!(seen.status(), StatusCode::OK);
    // One that is good for something else: the browser asks again.
    let sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
    let other = html(&format!("/files/{sha1}")).basic_auth("", Some(&list)).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(other.headers().get_all("www-authenticate").iter().count(), 2);
    // What a page loads is asked for with what the person gave.
    let picture =
        cluster.get(&format!("/d/{sha1}")).header("sec-fetch-mode", "no-cors").send().await.unwrap();
    assert_eq!(picture.headers().get_all("www-authenticate").iter().count(), 2);
    // A browser sends a password by itself, so nothing is stored by it.
    let put = cluster.http.put(cluster.url("/a.txt")).basic_auth("", Some(&list)).body("abc");
    let (status, code, challenges) = problem(put.send().await.unwrap()).await;
    assert_eq!((status, code.as_str(), challenges.len()), (401, "token-needed", 1));

    let start = cluster.get("/").send().await.unwrap().text().await.unwrap();
    assert!(start.contains("name=\"token\"") && !start.contains(" files · "));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_insiders_and_operators() {
    let cluster = cluster(Access::default()).await;
    let (admin, _) = new_token(&cluster.central_data(), "admin");
    let (upload, _) = new_token(&cluster.central_data(), "upload,list,read");
    let ask = |header: Option<(&'static str, &'static str)>, token: Option<&str>| {
        let mut request = cluster.get("/metrics");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(ask(None, None).await, 200, "loopback is inside");
    assert_eq!(ask(Some(("x-forwarded-for", "127.0.0.9")), None).await, 401, "nobody can be known by that");
    for outside in
        [("x-forwarded-for", "203.5.76.1"), ("forwarded", "for=203.5.76.1"), ("x-real-ip", "127.0.0.1")]
    {
        assert_eq!(ask(Some(outside), None).await, 401, "{outside:?}");
        assert_eq!(ask(Some(outside), Some(&upload)).await, 403, "{outside:?}");
        assert_eq!(ask(Some(outside), Some(&admin)).await, 200, "{outside:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_address_would_get_is_an_operators_to_ask() {
    let cluster = cluster(Access { upload: Entry::Anyone, ..Access::default() }).await;
    let (admin, _) = new_token(&cluster.central_data(), "admin");
    let object = cluster.store("a.txt", content(9801, 1000)).await;
    let sha1 = object["sha1"].as_str().unwrap();
    for path in [format!("/d/{sha1}"), format!("/files/{sha1}"), format!("/api/v1/blobs/{sha1}/replicas")] {
        let ask = |from: &str, token: Option<&str>| {
            let request =
                cluster.get(&path).query(&[("from", from)]).header("x-forwarded-for", "81.2.69.142");
            let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
            async { request.send().await.unwrap().status().as_u16() }
        };
        for own in ["81.2.69.142", " ::ffff:81.2.69.142 ", "52.5,13.4"] {
            assert!([200, 302].contains(&ask(own, None).await), "{path} {own}");
        }
        for foreign in ["203.5.76.1", " 203.5.76.1", "2a02:8109::1"] {
            assert_eq!(ask(foreign, None).await, 401, "{path} {foreign}");
            assert!([200, 302].contains(&ask(foreign, Some(&admin)).await), "{path} {foreign}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_at_once_and_until_it_is_revoked_and_no_log_tells_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    assert!(!token(&data, &["new", "--scope", "admin"]).status.success(), "there is no ledger yet");
    let address = free();
    let base = format!("http://{address}");
    let mut central = Command::new(env!("CARGO_BIN_EXE_closeby"))
        .args(["central", "--place", "new-york", "--log", "trace", "--public-url", &base])
        .args(["--listen", &address.to_string(), "--data"])
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    poll("central", || async { http.get(format!("{base}/healthz")).send().await.ok() }).await;

    let (good, id) = new_token(&data, "upload,list");
    let ask = || async {
        let list = http.get(format!("{base}/api/v1/files")).bearer_auth(&good);
        list.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask().await, 200, "it counts at once");
    let list = http.get(format!("{base}/files")).header("accept", "text/html").basic_auth("x", Some(&good));
    assert_eq!(list.send().await.unwrap().status(), StatusCode::OK);
    let form = format!("{}--XX--\r\n", part("name=\"token\"", &good));
    let form = http.post(format!("{base}/upload")).body(form);
    let form = form.header("content-type", "multipart/form-data; boundary=XX").send().await.unwrap();
    assert_eq!(form.status(), StatusCode::BAD_REQUEST, "it holds no file");
    let listed = String::from_utf8(token(&data, &["list"]).stdout).unwrap();
    assert!(listed.contains(&format!("{id}\tupload,list\tgood\t")), "{listed}");
    assert!(!listed.contains(&good[8..]));

    assert!(token(&data, &["revoke", &id]).status.success());
    let revoked = Instant::now();
    poll("the revocation", || async { (ask().await == 401).then_some(()) }).await;
    // Five seconds, and what a busy machine adds.
    assert!(revoked.elapsed() < Duration::from_secs(10), "{:?}", revoked.elapsed());
    let listed = String::from_utf8(token(&data, &["list"]).stdout).unwrap();
    assert!(listed.contains(&format!("{id}\tupload,list\trevoked\t")), "{listed}");
    assert!(token(&data, &["revoke", &id]).status.success(), "again changes nothing");
    let unknown = token(&data, &["revoke", &TokenId::random().to_string()]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");

    let pid = rustix::process::Pid::from_child(&central);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = std::cell::RefCell::new(&mut central);
    poll("central's end", || async { ended.borrow_mut().try_wait().unwrap() }).await;
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("DEBUG"), "it logs everything");
    assert!(!log.contains(&good[8..]));
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("x:{good}"));
    assert!(!log.contains(&basic));
    for file in std::fs::read_dir(&data).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let secret = &good.as_bytes()[8..];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "only its digest is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_client_shows_its_token() {
    let cluster = cluster(CLOSED).await;
    let (good, _) = new_token(&cluster.central_data(), "upload,list,read");
    let folder = cluster.scratch("client");
    let (small, large) = (content(9901, 1000), content(9902, 17 << 20));
    std::fs::write(folder.join("small.bin"), &small).unwrap();
    // Over what goes in one request.
    std::fs::write(folder.join("large.bin"), &large).unwrap();
    std::fs::write(folder.join("token"), format!("{good}\n")).unwrap();
    let run = |arguments: &[&str], token: &str| {
        Command::new(env!("CARGO_BIN_EXE_closeby"))
            .args(arguments)
            .args(["--server", &cluster.base])
            .current_dir(&folder)
            .env("CLOSEBY_TOKEN", token)
            .env("XDG_STATE_HOME", folder.join("state"))
            .output()
            .unwrap()
    };
    let without = run(&["put", "small.bin"], "");
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert_eq!(without.status.code(), Some(1));
    assert!(said.contains("A token is needed") && said.contains("--token-file"), "{said}");
    let wrong = run(&["ls"], Token::random().reveal());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("does not count"), "{wrong:?}");
    let garbled = run(&["ls"], "hunter2");
    let said = String::from_utf8_lossy(&garbled.stderr).into_owned();
    assert_eq!(garbled.status.code(), Some(2), "{said}");
    assert!(said.contains("CLOSEBY_TOKEN") && !said.contains("hunter2"), "{said}");

    let put = run(&["put", "small.bin", "large.bin"], &good);
    assert!(put.status.success(), "{put:?}");
    let links = String::from_utf8(put.stdout).unwrap();
    let link = links.lines().nth(1).unwrap();
    let list = run(&["ls", "--token-file", "token"], "");
    assert_eq!(String::from_utf8(list.stdout).unwrap().lines().count(), 2);
    let info = run(&["info", link], &good);
    assert!(info.status.success(), "{info:?}");
    let get = run(&["get", link, "-o", "back"], &good);
    assert!(get.status.success(), "{get:?}");
    assert!(std::fs::read(folder.join("back")).unwrap() == large);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_helps_commands_show_the_token_of_the_environment() {
    let cluster = cluster(CLOSED).await;
    let (good, _) = new_token(&cluster.central_data(), "upload,read");
    let folder = cluster.scratch("help");
    let photo = content(9903, 5000);
    std::fs::write(folder.join("photo.jpg"), &photo).unwrap();
    let help = cluster.get("/help").send().await.unwrap().text().await.unwrap();
    let bash = |line: &str| {
        let mut command = Command::new("bash");
        command.args(["-c", line]).current_dir(&folder).env("CLOSEBY_TOKEN", &good).env("no_proxy", "*");
        command.output().unwrap()
    };
    let link = bash(&crate::ways::snippet(&help, "curl-put"));
    let link = String::from_utf8(link.stdout).unwrap();
    assert!(link.contains("/d/"), "{link}");
    for id in ["curl-form", "curl-digest"] {
        let answer = String::from_utf8(bash(&crate::ways::snippet(&help, id)).stdout).unwrap();
        assert!(answer.contains("\"duplicate\""), "{id}: {answer}");
    }
    let sha1 = link.split("/d/").nth(1).unwrap().split('/').next().unwrap();
    std::fs::remove_file(folder.join("photo.jpg")).unwrap();
    bash(&crate::ways::snippet(&help, "curl-get").replace("SHA1", sha1));
    assert!(std::fs::read(folder.join("photo.jpg")).unwrap() == photo);
    cluster.stop().await;
}
