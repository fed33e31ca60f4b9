//! A cluster of its own for each test, and a client that follows nothing by itself.

pub mod browser;
pub mod cut;
pub mod line;
mod process;
pub mod tus;
pub mod wire;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use closeby::config::{CentralConfig, Limits, NodeConfig, NodeLimits, Stop};
use closeby::domain::{Access, Label, Place};
use closeby::geo::HeaderKind;
use closeby::role::central::{Central, Links};
use closeby::role::node::Node;
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use cut::Cut;
pub use process::LoggedProcess;
use process::ServerProcess;

/// The longest that anything here is waited for.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// How often it is looked.
const PACE: Duration = Duration::from_millis(20);

const JOIN_SECRET: &str = "join-secret-for-tests-join-secret-for-tests";
const SIGNING_ROOT: &str = "signing-root-for-tests-signing-root-for-tests";

/// Nobody comes late in a test.
pub const STOP: Stop = Stop { unready: Duration::ZERO, drain: Duration::from_secs(4) };

/// What runs until it is told to stop.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    proxy: Option<JoinHandle<()>>,
}

impl Running {
    async fn end(self) {
        if let Some(proxy) = self.proxy {
            proxy.abort();
            let _ = proxy.await;
        }
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("it stops in time")
            .expect("it does not panic");
    }
}

/// A server here or in a process of its own.
enum Server {
    Here(Running),
    Process(ServerProcess),
}

impl Server {
    async fn end(self) {
        match self {
            Self::Here(running) => running.end().await,
            Self::Process(process) => process.end().await,
        }
    }

    fn kill(self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Here(_) => panic!("it is not to be killed"),
        }
    }
}

/// What a test wants of its cluster.
pub struct Options {
    pub places: Vec<&'static str>,
    pub limits: Limits,
    pub node_out_after: Duration,
    pub links: Links,
    pub node_limits: NodeLimits,
    /// How central and nodes stop.
    pub stop: Stop,
    /// Central's calls to nodes go through it.
    pub cut: Option<Cut>,
    /// Central can be killed; its limits are the defaults.
    pub killable: bool,
    /// Nodes can be killed; their limits are the defaults.
    pub killable_nodes: bool,
    /// What can be killed sends its traces to this collector.
    pub collector: Option<SocketAddr>,
    /// What can be killed says everything in a file of its own, as JSON.
    pub logs: bool,
    /// Bytes that a node leaves free on its disk, where it is not none.
    pub reserve_bytes: BTreeMap<&'static str, u64>,
    /// What links begin with, where a proxy stands before central.
    pub public_url: Option<String>,
    /// Who may do what.
    pub access: Access,
    /// Where the nodes' folders are, where it is not beside central's.
    pub disk: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            places: vec!["toronto", "amsterdam", "bangalore", "singapore"],
            limits: Limits::default(),
            node_out_after: Duration::from_secs(3600),
            links: Links::Fixed,
            // Nothing that a test waits for is done by nodes that ask for it.
            node_limits: NodeLimits { ask_after: Duration::from_hours(1), ..NodeLimits::default() },
            stop: STOP,
            cut: None,
            killable: false,
            killable_nodes: false,
            collector: None,
            logs: false,
            reserve_bytes: BTreeMap::new(),
            public_url: None,
            access: Access::OPEN,
            disk: None,
        }
    }
}

/// A central and its nodes.
pub struct Cluster {
    pub base: String,
    pub http: reqwest::Client,
    dir: TempDir,
    options: Options,
    central: Option<Server>,
    central_address: SocketAddr,
    /// Which folder central has, of those in `dir`.
    central_folder: &'static str,
    nodes: BTreeMap<&'static str, Server>,
}

impl Cluster {
    /// Four nodes, defaults.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .build()
            .unwrap();
        // Where it is started again, or binds its address itself, nothing else takes the port meanwhile.
        let ip = if options.links == Links::Demo { Ipv4Addr::LOCALHOST } else { own_address() };
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let central_address = listener.local_addr().unwrap();
        let mut cluster = Self {
            base: format!("http://{central_address}"),
            http,
            dir: TempDir::new().unwrap(),
            options,
            central: None,
            central_address,
            central_folder: "central",
            nodes: BTreeMap::new(),
        };
        cluster.run_central(listener);
        for place in cluster.options.places.clone() {
            cluster.start_node(place);
        }
        cluster.wait_for_nodes(cluster.options.places.len()).await;
        cluster
    }

    fn run_central(&mut self, listener: TcpListener) {
        if self.options.killable {
            drop(listener);
            let data = self.central_data();
            let (access, log) = (self.options.access, self.log_of("central"));
            let watched = (log.as_deref(), self.options.collector);
            let central = ServerProcess::central(self.central_address, &data, access, watched);
            self.central = Some(Server::Process(central));
            return;
        }
        let config = CentralConfig {
            listen: self.central_address,
            public_url: self.options.public_url.as_ref().unwrap_or(&self.base).parse().unwrap(),
            data: self.central_data(),
            join_secret: JOIN_SECRET.parse().unwrap(),
            signing_root: SIGNING_ROOT.parse().unwrap(),
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            ca_file: None,
            geoip: None,
            geoip_private: false,
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            client_address_headers: vec![HeaderKind::XForwardedFor, HeaderKind::Forwarded],
            place: Place::city("new-york").unwrap(),
            access: self.options.access,
            tls: None,
            stop: self.options.stop,
            node_out_after: self.options.node_out_after,
            limits: self.options.limits.clone(),
        };
        let stop = CancellationToken::new();
        let central = Central::with_listener(config, listener, self.options.links);
        let token = stop.clone();
        let task = tokio::spawn(async move { central.run(token).await.expect("central runs") });
        self.central = Some(Server::Here(Running { stop, task, proxy: None }));
    }

    /// Stops central; nodes go on.
    pub async fn stop_central(&mut self) {
        self.central.take().expect("central runs").end().await;
    }

    /// Kills central without a word; nodes go on.
    pub fn kill_central(&mut self) {
        self.central.take().expect("central runs").kill();
    }

    /// Tells central to stop; it is waited for by `stop_central`.
    pub fn begin_to_stop_central(&self) {
        match &self.central {
            Some(Server::Here(central)) => central.stop.cancel(),
            _ => panic!("central is not here"),
        }
    }

    /// Where central listens.
    pub const fn central_address(&self) -> SocketAddr {
        self.central_address
    }

    /// Where central keeps its ledger.
    pub fn central_data(&self) -> PathBuf {
        self.dir.path().join(self.central_folder)
    }

    /// Gives central another folder for its next start.
    pub fn move_central(&mut self, folder: &'static str) {
        self.central_folder = folder;
    }

    /// Starts central again at the same address.
    pub async fn start_central(&mut self) {
        let address = self.central_address;
        let listener = poll("central's address", || async move { bind_again(address) }).await;
        self.run_central(listener);
    }

    /// The configuration of a node in this cluster.
    pub fn node_config(&self, place: &str, data: PathBuf, listen: SocketAddr) -> NodeConfig {
        let place = Place::city(place).unwrap();
        NodeConfig {
            listen,
            public_url: format!("http://{listen}").parse().unwrap(),
            data,
            central_url: self.base.parse().unwrap(),
            ca_file: None,
            cluster_tls: true,
            join_secret: JOIN_SECRET.parse().unwrap(),
            failure_domain: Label::parse(place.name.as_str()).unwrap(),
            place,
            tls: None,
            stop: self.options.stop,
            internal_address: None,
            reserve_bytes: 0,
            limits: self.options.node_limits.clone(),
        }
    }

    /// Starts a node on its own folder.
    pub fn start_node(&mut self, place: &'static str) {
        if self.options.killable_nodes {
            self.start_node_process(place);
            return;
        }
        let (listener, proxy) = match &self.options.cut {
            None => (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), None),
            Some(cut) => {
                let (listener, proxy) = Cut::listen();
                let proxy = cut.run(place, proxy, listener.local_addr().unwrap());
                (listener, Some(proxy))
            }
        };
        let mut config = self.node_config(place, self.node_dir(place), listener.local_addr().unwrap());
        config.internal_address = proxy.as_ref().map(|_| cut::PROXY.into());
        config.reserve_bytes = self.options.reserve_bytes.get(place).copied().unwrap_or(0);
        let stop = CancellationToken::new();
        let token = stop.clone();
        let node = Node::with_listener(config, listener);
        let task = tokio::spawn(async move { node.run(token).await.expect("the node runs") });
        self.nodes.insert(place, Server::Here(Running { stop, task, proxy }));
    }

    fn start_node_process(&mut self, place: &'static str) {
        let address = free();
        let log = self.log_of(place);
        let node = ServerProcess::node(
            place,
            address,
            &self.node_dir(place),
            &self.base,
            (log.as_deref(), self.options.collector),
        );
        self.nodes.insert(place, Server::Process(node));
    }

    /// Kills a node without a word.
    pub fn kill_node(&mut self, place: &str) {
        self.nodes.remove(place).expect("the node runs").kill();
    }

    /// Stops a node.
    pub async fn stop_node(&mut self, place: &str) {
        self.nodes.remove(place).expect("the node runs").end().await;
    }

    /// Tells a node to stop, beside what the test does meanwhile.
    pub fn begin_to_stop_node(&mut self, place: &str) -> JoinHandle<()> {
        match self.nodes.remove(place) {
            Some(Server::Here(node)) => tokio::spawn(node.end()),
            _ => panic!("the node is not here"),
        }
    }

    /// Waits until so many nodes are healthy.
    pub async fn wait_for_nodes(&self, count: usize) {
        poll("healthy nodes", || async {
            let nodes: Value = self.get("/api/v1/nodes").send().await.ok()?.json().await.ok()?;
            let healthy = nodes["nodes"].as_array()?.iter().filter(|node| node["healthy"] == true).count();
            (healthy == count).then_some(())
        })
        .await;
    }

    /// Where a session is, that is: where nodes have something that is no blob.
    pub fn sessions(&self) -> Vec<&'static str> {
        let has_one = |place: &&&'static str| {
            self.files_on(place).iter().any(|path| path.to_string_lossy().contains("sessions"))
        };
        self.options.places.iter().filter(has_one).copied().collect()
    }

    /// How many bytes of the one session that a node has are in its file.
    pub fn session_bytes(&self, place: &str) -> u64 {
        let files = self.files_on(place);
        let data = files.iter().find(|path| path.ends_with("data"));
        data.and_then(|path| path.metadata().ok()).map_or(0, |data| data.len())
    }

    /// Where nodes are, running or not.
    pub fn places(&self) -> &[&'static str] {
        &self.options.places
    }

    /// What nodes that start from now on take.
    pub fn node_limits(&mut self, limits: NodeLimits) {
        self.options.node_limits = limits;
    }

    fn log_of(&self, server: &str) -> Option<PathBuf> {
        self.options.logs.then(|| self.scratch("logs").join(server))
    }

    /// What a server said, where it keeps that.
    pub fn logged(&self, server: &str) -> String {
        std::fs::read_to_string(self.log_of(server).expect("logs are kept")).unwrap_or_default()
    }

    /// Central's ledger, to be opened while central is stopped.
    pub fn ledger(&self) -> PathBuf {
        self.dir.path().join("central").join("ledger.sqlite")
    }

    /// The folder of a node.
    pub fn node_dir(&self, place: &str) -> PathBuf {
        self.options.disk.as_deref().unwrap_or(self.dir.path()).join("nodes").join(place)
    }

    /// A folder for the test's own files.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join("scratch").join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        let request = self.http.get(self.url(path));
        // As a proxy passes on what was asked for.
        let host = self.options.public_url.as_ref().and_then(|url| url.split_once("//"));
        match host {
            Some((_, host)) => request.header(header::HOST, host),
            None => request,
        }
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(self.url(path))
    }

    /// A path as a URL; a URL as it is.
    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    /// Uploads through the API.
    pub async fn upload(&self, name: &str, content: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        let answer = self.post("/api/v1/files").query(&[("name", name)]).body(content).send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap())
    }

    /// Uploads new content.
    pub async fn store(&self, name: &str, content: impl Into<reqwest::Body>) -> Value {
        let (status, object) = self.upload(name, content).await;
        assert_eq!(status, StatusCode::CREATED, "{object}");
        assert_eq!(object["status"], "stored");
        object
    }

    /// Where a link leads now.
    pub async fn redirect(&self, link: &str) -> Response {
        let answer = self.get(link).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND, "{}", answer.text().await.unwrap());
        answer
    }

    /// Downloads as a person would: the link, then the node.
    pub async fn download(&self, link: &str) -> Vec<u8> {
        let node = location(&self.redirect(link).await);
        let answer = self.http.get(node).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.unwrap().to_vec()
    }

    /// The nodes whose folder holds exactly this content at its final path, with its
    /// description beside it.
    pub fn holders(&self, sha1: &str, content: &[u8]) -> Vec<&'static str> {
        let holds = |place: &&&'static str| {
            let path = self.node_dir(place).join("blobs").join(&sha1[..2]).join(&sha1[2..4]).join(sha1);
            std::fs::read(&path).is_ok_and(|bytes| bytes == content) && path.with_extension("about").exists()
        };
        self.options.places.iter().filter(holds).copied().collect()
    }

    /// Every file below a node's `blobs` and `sessions`.
    pub fn files_on(&self, place: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in ["blobs", "sessions"] {
            walk(&self.node_dir(place).join(folder), &mut files);
        }
        files
    }

    /// Waits until no node has anything at all, as after an upload that failed.
    pub async fn wait_until_empty(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut pace = tokio::time::interval(PACE);
        loop {
            let left: Vec<PathBuf> =
                self.options.places.iter().flat_map(|place| self.files_on(place)).collect();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind: {left:?}");
            pace.tick().await;
        }
    }

    /// Stops everything, as every test must at its end.
    pub async fn stop(mut self) {
        for (_, node) in std::mem::take(&mut self.nodes) {
            node.end().await;
        }
        if self.central.is_some() {
            self.stop_central().await;
        }
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

fn bind_again(address: SocketAddr) -> Option<TcpListener> {
    TcpListener::bind(address).ok()
}

/// Where a redirect leads.
pub fn location(answer: &Response) -> String {
    answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// A loopback address that nothing else in this process uses, so that a port that is free there stays so.
pub fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

/// Where a server can listen that binds its address itself.
pub fn free() -> SocketAddr {
    free_at(own_address())
}

/// The same at an address that a test takes for itself, as one that stands in its certificates.
pub fn free_at(host: Ipv4Addr) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// Asks until there is an answer, for [`DEADLINE`] at most.
pub async fn poll<T, F, Fut>(what: &str, mut ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + DEADLINE;
    let mut pace = tokio::time::interval(PACE);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: waited too long");
        pace.tick().await;
    }
}

/// Content that differs from every other test's.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The places of an object's replicas.
pub fn places(object: &Value) -> Vec<String> {
    object["replicas"].as_array().unwrap().iter().map(|place| place.as_str().unwrap().to_owned()).collect()
}
