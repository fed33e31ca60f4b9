//! A small central and two copies for the client's tests: real HTTP, scripted faults.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::{ServerHandle, Service as _};
use actix_web::web::{Bytes, Data, Json, Path, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::stream;
use serde_json::json;
use sha1_of::{sha1, sha256};

use super::{Console, Server};
use crate::domain::{NodeId, Sha1};
use crate::wire::api::{
    PrecheckAnswer, PrecheckRequest, PrecheckResult, PrecheckState, UploadStatus, UploadedFile,
};

/// What a copy does with one request for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The ticket is over.
    Expired,
    /// It breaks off after so many bytes.
    Cut(usize),
    /// Other bytes of the same length.
    Corrupt,
    /// It has no such blob.
    Missing,
    /// It ignores the range.
    NoRange,
    /// More bytes than there are.
    TooMany,
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, (String, Vec<u8>)>,
    calls: Vec<String>,
    busy: u32,
    faults: [VecDeque<Fault>; 2],
    /// Instead of a fault list: each request fails so.
    always: [Option<Fault>; 2],
    copies: [String; 2],
    reads: u64,
    /// Of each copy and of central: how many requests came, and how many of them showed something.
    asked: [(u32, u32); 3],
}

/// A central with two copies of everything.
pub struct Fake {
    state: Arc<Mutex<State>>,
    url: String,
    handles: Vec<ServerHandle>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        for handle in &self.handles {
            drop(handle.stop(false));
        }
    }
}

type Shared = Data<Mutex<State>>;

impl Fake {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let mut handles = Vec::new();
        let mut urls = Vec::new();
        for role in 0..3_usize {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            let shared = Data::from(state.clone());
            let server = HttpServer::new(move || {
                let seen = shared.clone();
                let app = App::new()
                    .app_data(shared.clone())
                    .app_data(web::PayloadConfig::new(64 << 20))
                    .wrap_fn(move |request, service| {
                        let asked = &mut seen.lock().unwrap().asked[role];
                        asked.0 += 1;
                        asked.1 += u32::from(request.headers().contains_key("authorization"));
                        service.call(request)
                    });
                match role {
                    0 | 1 => app.route("/b/{sha1}", web::get().to(move |s, p, r| serve(s, p, r, role))),
                    _ => app
                        .route("/api/v1/precheck", web::post().to(precheck))
                        .route("/api/v1/files", web::post().to(upload))
                        .route("/api/v1/files", web::get().to(list))
                        .route("/api/v1/blobs/{sha1}", web::get().to(blob))
                        .route("/api/v1/blobs/{sha1}/replicas", web::get().to(replicas))
                        .route("/d/{sha1}", web::get().to(link))
                        .route("/readyz", web::get().to(ready)),
                }
            })
            .workers(1)
            .disable_signals()
            // Longer than any client here keeps a connection.
            .keep_alive(Duration::from_secs(75))
            .client_request_timeout(Duration::from_mins(1))
            .listen(listener)
            .unwrap()
            .run();
            handles.push(server.handle());
            tokio::spawn(server);
        }
        state.lock().unwrap().copies = [urls[0].clone(), urls[1].clone()];
        Self { state, url: urls[2].clone(), handles }
    }

    pub fn server(&self) -> Server {
        let mut server = Server::new(self.url.parse().unwrap()).unwrap();
        server.second = Duration::from_millis(1);
        server
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes content known.
    pub fn keep(&self, name: &str, content: &[u8]) -> Sha1 {
        let sha1 = sha1(content);
        self.state.lock().unwrap().blobs.insert(sha1.to_hex(), (name.to_owned(), content.to_vec()));
        sha1
    }

    /// Makes a copy fail: once for each fault, in order.
    pub fn faults(&self, copy: usize, faults: &[Fault]) {
        self.state.lock().unwrap().faults[copy].extend(faults);
    }

    /// Makes a copy fail always.
    pub fn always(&self, copy: usize, fault: Fault) {
        self.state.lock().unwrap().always[copy] = Some(fault);
    }

    /// The next so many uploads are told to come again.
    pub fn busy(&self, times: u32) {
        self.state.lock().unwrap().busy = times;
    }

    /// Of each copy and of central, since the last time: requests, and those that showed something.
    pub fn asked(&self) -> [(u32, u32); 3] {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// What was called since the last time this was asked.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }
}

/// A console that keeps what is written.
#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console, its stdout and its stderr.
pub fn console() -> (Console, Written, Written) {
    let (out, notes) = (Written::default(), Written::default());
    (Console::plain(Box::new(out.clone()), Box::new(notes.clone())), out, notes)
}

mod sha1_of {
    use sha2::Digest as _;

    use crate::domain::{Sha1, Sha256};

    pub fn sha1(content: &[u8]) -> Sha1 {
        let mut hasher = closeby_hash::BlobHasher::new();
        let mut pieces = Vec::new();
        hasher.update(content, &mut pieces);
        Sha1::new(hasher.finish(&mut pieces).unwrap().sha1)
    }

    pub fn sha256(content: &[u8]) -> Sha256 {
        Sha256::new(sha2::Sha256::digest(content).into())
    }
}

fn node(copy: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(copy).unwrap(); 16])
}

fn place(copy: usize) -> serde_json::Value {
    let name = ["Toronto", "Amsterdam"][copy];
    json!({"name": name, "lat": 1.0, "lon": 2.0})
}

fn problem(status: u16, code: &str) -> HttpResponse {
    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap()).json(json!({
        "type": format!("/problems/{code}"), "title": "It cannot be", "status": status, "detail": code,
    }))
}

fn lasting(request: &HttpRequest, sha1: &str, name: &str) -> String {
    format!("http://{}/d/{sha1}/{name}", request.connection_info().host())
}

async fn precheck(state: Shared, request: HttpRequest, asked: Json<PrecheckRequest>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    state.calls.push(format!("precheck {}", asked.files.len()));
    let files = asked.files.iter().map(|file| {
        let known = file.sha1.as_ref().and_then(|sha1| state.blobs.get_key_value(sha1));
        if let Some((sha1, (name, _))) = known {
            return PrecheckResult { state: PrecheckState::Exists, url: Some(lasting(&request, sha1, name)) };
        }
        let is_size_known = state.blobs.values().any(|(_, content)| content.len() as u64 == file.size);
        let answer =
            if is_size_known && file.sha1.is_none() { PrecheckState::Hash } else { PrecheckState::Send };
        PrecheckResult { state: answer, url: None }
    });
    HttpResponse::Ok().json(PrecheckAnswer { files: files.collect() })
}

async fn upload(
    state: Shared,
    request: HttpRequest,
    query: Query<HashMap<String, String>>,
    body: Bytes,
) -> HttpResponse {
    let mut state = state.lock().unwrap();
    let name = query["name"].clone();
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    state.calls.push(format!("upload {name} {}", body.len()));
    assert_eq!(header("content-length"), Some(body.len().to_string()));
    assert_eq!(header("user-agent"), Some(concat!("closeby/", env!("CARGO_PKG_VERSION")).to_owned()));
    if state.busy > 0 {
        state.busy -= 1;
        let mut response = problem(503, "busy");
        response.headers_mut().insert("retry-after".parse().unwrap(), "3".parse().unwrap());
        return response;
    }
    if name == "refused" {
        return problem(422, "collision-attack");
    }
    let sha1 = sha1(&body);
    if let Some(digest) = header("repr-digest") {
        state.calls.push("with digest".to_owned());
        assert_eq!(digest, format!("sha=:{}:", sha1.to_base64()));
    }
    let hex = sha1.to_hex();
    let file = UploadedFile {
        name: name.clone(),
        status: UploadStatus::Stored,
        sha1: Some(hex.clone()),
        sha256: Some(sha256(&body).to_hex()),
        size: Some(body.len() as u64),
        url: Some(lasting(&request, &hex, &name)),
        offset: None,
        replicas: vec!["amsterdam".to_owned(), "toronto".to_owned()],
        healed: false,
        problem: None,
    };
    state.blobs.insert(hex, (name, body.to_vec()));
    HttpResponse::Created().json(file)
}

fn file_json(id: usize, name: &str, content: &[u8]) -> serde_json::Value {
    json!({
        "id": format!("{id:032x}"), "name": name, "sha1": sha1(content), "sha256": sha256(content),
        "size": content.len(), "media_type": "text/plain", "created_at": "2026-01-01T00:00:00.000Z",
        "url": "http://x/d/y",
    })
}

/// Two files a page, whatever is asked for.
async fn list(state: Shared, query: Query<HashMap<String, String>>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    let wanted = query.get("query").cloned().unwrap_or_default();
    state.calls.push(format!("list {wanted} {}", query["limit"]));
    let mut names: Vec<_> = state.blobs.values().filter(|(name, _)| name.contains(&wanted)).collect();
    names.sort();
    let after: usize = query.get("after").map_or(0, |after| after.parse().unwrap());
    let limit: usize = query["limit"].parse::<usize>().unwrap().min(2);
    let page = names
        .iter()
        .enumerate()
        .skip(after)
        .take(limit)
        .map(|(id, (name, content))| file_json(id, name, content));
    let page: Vec<_> = page.collect();
    let next = (after + page.len() < names.len()).then(|| (after + page.len()).to_string());
    HttpResponse::Ok().json(json!({"files": page, "next": next}))
}

async fn blob(state: Shared, request: HttpRequest, hex: Path<String>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    state.calls.push("blob".to_owned());
    let Some((name, content)) = state.blobs.get(&*hex) else { return problem(404, "not-found") };
    let replicas = [0, 1].map(|copy| {
        json!({
            "node": node(copy), "place": place(copy), "state": "stored", "healthy": true,
            "verified_at": "2026-01-01T00:00:00.000Z",
        })
    });
    HttpResponse::Ok().json(json!({
        "sha1": *hex, "sha256": sha256(content), "size": content.len(), "url": lasting(&request, &hex, name),
        "files": [file_json(1, name, content)], "replicas": replicas,
    }))
}

async fn replicas(state: Shared) -> HttpResponse {
    state.lock().unwrap().calls.push("replicas".to_owned());
    let replicas = [0, 1].map(|copy| {
        json!({"node": node(copy), "place": place(copy), "distance_km": 12.3, "healthy": true, "url": "http://nowhere.invalid/"})
    });
    HttpResponse::Ok().json(json!({
        "client": {"address": null, "place": place(0), "known_by": "central"}, "replicas": replicas,
    }))
}

async fn link(state: Shared, hex: Path<String>, query: Query<HashMap<String, String>>) -> HttpResponse {
    let mut state = state.lock().unwrap();
    let copy = query.get("node").map_or(0, |id| usize::from(id.parse::<NodeId>().unwrap().as_bytes()[0]));
    state.calls.push(format!("link {copy}"));
    let location = format!("{}/b/{}?ticket=hidden", state.copies[copy], *hex);
    HttpResponse::Found().insert_header(("location", location)).finish()
}

async fn ready(state: Shared) -> HttpResponse {
    if state.lock().unwrap().busy > 0 { problem(503, "unavailable") } else { HttpResponse::Ok().finish() }
}

async fn serve(state: Shared, hex: Path<String>, request: HttpRequest, copy: usize) -> HttpResponse {
    let mut state = state.lock().unwrap();
    state.reads += 1;
    let range = request.headers().get("range").map(|range| range.to_str().unwrap().to_owned());
    state.calls.push(format!("read {copy} {}", range.as_deref().unwrap_or("all")));
    let fault = state.faults[copy].pop_front().or(state.always[copy]);
    let mut content = state.blobs[&*hex].1.clone();
    let size = content.len();
    let from = match range {
        Some(range) if fault != Some(Fault::NoRange) => {
            range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
        }
        _ => 0,
    };
    match fault {
        Some(Fault::Expired) => return problem(410, "expired"),
        Some(Fault::Missing) => return problem(404, "not-found"),
        Some(Fault::Corrupt) => content[size - 1] ^= 1,
        Some(Fault::TooMany) => content.push(0),
        _ => {}
    }
    let mut response = if from > 0 { HttpResponse::PartialContent() } else { HttpResponse::Ok() };
    if from > 0 {
        response.insert_header(("content-range", format!("bytes {from}-{}/{size}", size - 1)));
    }
    let mut content = content.split_off(from);
    if let Some(Fault::Cut(bytes)) = fault {
        content.truncate(bytes);
        let chunks = [Ok(Bytes::from(content)), Err(io::Error::other("cut"))];
        return response.streaming(stream::iter(chunks));
    }
    response.streaming(stream::iter([Ok::<_, io::Error>(Bytes::from(content))]))
}
