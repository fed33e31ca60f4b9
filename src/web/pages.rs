//! The pages: one struct a page, each with its template in `templates/`.
//!
//! They know nothing of HTTP, the ledger or the cluster. Handlers fill them with plain values; what a
//! page says about those values is decided here and in the templates, and can be tested without either.
//! Times are given as text by the caller, who knows what time it is.

mod file;
mod help;
mod map;
mod preview;
mod qr;
mod reference;
mod text;

use askama::Template;

use crate::domain::{Access, Entry, FileOrder};

pub use file::{FilePage, FromView, NameView, ReaderKnownBy, ReaderView, ReplicaView, Standing};
pub use help::{ExampleFile, HelpPage, sharex};
pub use map::{MapPoint, Mark, WorldMap, map_x, map_y};
pub use preview::PreviewView;
pub use qr::QrView;
pub use reference::{ApiPage, Reference};
pub use text::{
    advice, counted, human_ago, human_bytes, human_count, human_km, human_limit, listed, shell_word,
};

/// What every page needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shell {
    /// Changes whenever a file of `static/` does, so that those can be cached for long.
    pub assets: String,
    /// This program's version.
    pub version: String,
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moment {
    /// RFC 3339, UTC.
    pub iso: String,
    /// As people say it: `5 minutes ago`.
    pub text: String,
}

/// Something that the reader should know before anything else on the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What is the matter, in a few words.
    pub title: String,
    /// What it means and what to do.
    pub text: String,
}

impl Notice {
    /// Fewer than two servers with room answer: uploads would be refused.
    #[must_use]
    pub fn uploads_wait() -> Self {
        Self {
            title: "Uploads have to wait".to_owned(),
            text:
                "A file is kept on two servers, and fewer than two with room for it answer now. This usually \
                   passes by itself; files that are here can still be downloaded where their servers answer."
                    .to_owned(),
        }
    }
}

/// `/`: the upload form.
#[derive(Debug, Clone, Template)]
#[template(path = "index.html")]
pub struct IndexPage {
    /// What every page needs.
    pub shell: Shell,
    /// Where this site is, without a slash at the end: `https://files.example`.
    pub base_url: String,
    /// The largest file in bytes.
    pub max_file_bytes: u64,
    /// The most files of one upload.
    pub max_files: u64,
    /// Files in the list.
    pub total_files: u64,
    /// Bytes of the distinct contents, each counted once.
    pub total_bytes: u64,
    /// Who may do what.
    pub access: Access,
    /// The servers, for the map and the totals.
    pub servers: Vec<ServerView>,
    /// Shown above the form, for instance [`Notice::uploads_wait`].
    pub notice: Option<Notice>,
}

impl IndexPage {
    fn totals(&self) -> String {
        let servers = servers_in_places(&self.servers);
        if self.access.list != Entry::Anyone {
            return servers;
        }
        let files = counted(self.total_files, "file", "files");
        format!("{files} · {} · {servers}", human_bytes(self.total_bytes))
    }

    fn needs_token(&self) -> bool {
        self.access.upload == Entry::Token
    }

    /// Who will see what is uploaded.
    fn audience(&self) -> &'static str {
        match (self.access.list, self.access.read) {
            (Entry::Anyone, Entry::Anyone) => "Everyone who can open this site can list and download them",
            (Entry::Token, Entry::Anyone) => "Everyone who has a file’s link can download it",
            (Entry::Anyone, Entry::Token) => {
                "Everyone who can open this site can list them, and who has a token can download them"
            }
            (Entry::Token, Entry::Token) => "Who has a token can list or download them",
        }
    }

    fn curl(&self) -> String {
        let token = bearer(self.access.upload);
        format!("curl {token}-T photo.jpg {}", shell_word(&format!("{}/", self.base_url)))
    }

    fn map(&self) -> WorldMap {
        server_map(&self.servers)
    }
}

/// What a person uploaded, file by file.
#[derive(Debug, Clone, Template)]
#[template(path = "result.html")]
pub struct ResultPage {
    /// What every page needs.
    pub shell: Shell,
    /// In the order of the form.
    pub files: Vec<ResultView>,
}

/// One uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultView {
    /// The name that was given.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// How the upload of one file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// New content: two copies are kept.
    Stored(KeptView),
    /// The content was here already.
    Duplicate(KeptView),
    /// It was not taken.
    Error {
        /// What happened, in a few words.
        title: String,
        /// What happened here and what to do.
        detail: String,
    },
}

/// A file that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptView {
    /// Its name in the list, which for a duplicate may differ from the one that was given.
    pub name: String,
    /// SHA-1 in hex.
    pub sha1: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// What its sender said it is.
    pub media_type: String,
    /// The lasting link, absolute.
    pub url: String,
    /// The places that keep it.
    pub places: Vec<String>,
    /// Copies were missing, and this upload filled them up.
    pub healed: bool,
}

impl KeptView {
    fn size(&self) -> String {
        human_bytes(self.size_bytes)
    }

    fn kind(&self) -> &'static str {
        text::kind_of(&self.media_type)
    }

    fn badge(&self) -> String {
        text::badge_of(&self.name)
    }

    fn kept_in(&self) -> String {
        listed(&self.places)
    }
}

impl ResultView {
    fn kept(&self) -> Option<&KeptView> {
        match &self.outcome {
            Outcome::Stored(kept) | Outcome::Duplicate(kept) => Some(kept),
            Outcome::Error { .. } => None,
        }
    }
}

impl ResultPage {
    fn count(&self, wanted: fn(&Outcome) -> bool) -> u64 {
        self.files.iter().filter(|file| wanted(&file.outcome)).count() as u64
    }

    fn headline(&self) -> String {
        let stored = self.count(|outcome| matches!(outcome, Outcome::Stored(_)));
        let known = self.count(|outcome| matches!(outcome, Outcome::Duplicate(_)));
        let failed = self.count(|outcome| matches!(outcome, Outcome::Error { .. }));
        let files = |number| counted(number, "file", "files");
        match (stored, known, failed) {
            (0, 0, 0) => "Nothing was uploaded".to_owned(),
            (1, 0, 0) => "Your file is stored".to_owned(),
            (_, 0, 0) => format!("All {} are stored", files(stored)),
            (0, 1, 0) => "This file is here already".to_owned(),
            (0, _, 0) => format!("All {} are here already", files(known)),
            (0, 0, 1) => "This file was not stored".to_owned(),
            (0, 0, _) => format!("None of {} was stored", files(failed)),
            (0, _, _) => format!("{} of {} here already", human_count(known), files(known + failed)),
            _ => format!("{} of {} stored", human_count(stored), files(stored + known + failed)),
        }
    }

    fn summary(&self) -> String {
        let stored = self.count(|outcome| matches!(outcome, Outcome::Stored(_)));
        let known = self.count(|outcome| matches!(outcome, Outcome::Duplicate(_)));
        let failed = self.count(|outcome| matches!(outcome, Outcome::Error { .. }));
        match (stored, known, failed) {
            (1, 0, 0) => {
                return "It is kept on two servers. Its link leads everyone to the nearer one.".to_owned();
            }
            (0, 1, 0) => return "Nothing was stored again. Its link is below.".to_owned(),
            (0, 0, 1) => return String::new(),
            _ => {}
        }
        let parts = [
            (stored, "is new, kept on two servers", "are new, each kept on two servers"),
            (known, "was here already and keeps its link", "were here already and keep their links"),
            (failed, "was not taken: see why below", "were not taken: see why below"),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(number, ..)| *number > 0)
            .map(|(number, one, many)| {
                format!("{} {}.", human_count(number), if number == 1 { one } else { many })
            })
            .collect();
        parts.join(" ")
    }

    fn links(&self) -> Vec<&str> {
        self.files.iter().filter_map(|file| Some(file.kept()?.url.as_str())).collect()
    }
}

/// `/files`: the list.
#[derive(Debug, Clone, Template)]
#[template(path = "files.html")]
pub struct FilesPage {
    /// What every page needs.
    pub shell: Shell,
    /// What was searched for; empty for everything.
    pub query: String,
    /// The order.
    pub sort: FileOrder,
    /// One page of the list.
    pub files: Vec<FileRow>,
    /// How many files there are without the search.
    pub total_files: u64,
    /// The cursor of the next page, where there is one.
    pub next: Option<String>,
    /// Whether this is not the first page.
    pub is_later_page: bool,
}

/// What an order is called on the page.
const fn order_label(order: FileOrder) -> &'static str {
    match order {
        FileOrder::Newest => "Newest first",
        FileOrder::Oldest => "Oldest first",
        FileOrder::Name => "By name",
        FileOrder::Largest => "Largest first",
        FileOrder::Smallest => "Smallest first",
    }
}

/// A file in the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileRow {
    /// Its name.
    pub name: String,
    /// SHA-1 in hex.
    pub sha1: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// What its sender said it is.
    pub media_type: String,
    /// When it came.
    pub added: Moment,
    /// The lasting link.
    pub url: String,
}

impl FileRow {
    fn size(&self) -> String {
        human_bytes(self.size_bytes)
    }

    fn kind(&self) -> &'static str {
        text::kind_of(&self.media_type)
    }

    fn badge(&self) -> String {
        text::badge_of(&self.name)
    }
}

impl FilesPage {
    /// Each order: how it is written in the address, what it is called, and whether it is this page's.
    fn orders(&self) -> [(&'static str, &'static str, bool); 5] {
        FileOrder::ALL.map(|order| (order.code(), order_label(order), order == self.sort))
    }

    fn total(&self) -> String {
        counted(self.total_files, "file", "files")
    }

    /// The address of a page of this very search and order.
    fn address(&self, after: Option<&str>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !self.query.is_empty() {
            query.append_pair("query", &self.query);
        }
        if self.sort != FileOrder::default() {
            query.append_pair("sort", self.sort.code());
        }
        if let Some(after) = after {
            query.append_pair("after", after);
        }
        match query.finish() {
            query if query.is_empty() => "/files".to_owned(),
            query => format!("/files?{query}"),
        }
    }
}

/// `/servers`: the servers and how they are.
#[derive(Debug, Clone, Template)]
#[template(path = "servers.html")]
pub struct ServersPage {
    /// What every page needs.
    pub shell: Shell,
    /// In order of place.
    pub servers: Vec<ServerView>,
    /// Shown above the map, for instance [`Notice::uploads_wait`].
    pub notice: Option<Notice>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerView {
    /// Its id.
    pub node: String,
    /// Where it stands.
    pub place: String,
    /// ISO 3166-1 alpha-2, where known.
    pub country: Option<String>,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// How it is.
    pub state: ServerState,
    /// Bytes of its filesystem.
    pub total_bytes: u64,
    /// Bytes free for uploads.
    pub free_bytes: u64,
    /// What it is doing.
    pub doing: Doing,
    /// Copies that it keeps.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Its last heartbeat.
    pub seen: Moment,
    /// Its build.
    pub version: String,
}

/// What a server was doing at its last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doing {
    /// Uploads whose bytes it takes.
    pub receiving: u64,
    /// Downloads and copies that it sends.
    pub sending: u64,
    /// Uploads that are not finished, with those that rest.
    pub unfinished: u64,
    /// Bytes a second that it took.
    pub received_bytes_per_s: u64,
    /// Bytes a second that it sent.
    pub sent_bytes_per_s: u64,
}

impl Doing {
    /// One line for each thing that it does.
    fn lines(&self) -> Vec<String> {
        let line = |verb: &str, count: u64, noun: [&str; 2], rate: u64| {
            let [one, many] = noun;
            let what = (count > 0).then(|| format!("{verb} {}", counted(count, one, many)));
            let pace = (rate > 0).then(|| format!("{}/s", human_bytes(rate)));
            match (what, pace) {
                (Some(what), Some(pace)) => Some(format!("{what}, {pace}")),
                (Some(what), None) => Some(what),
                // It was over before the heartbeat.
                (None, Some(pace)) => Some(format!("{verb} {pace}")),
                (None, None) => None,
            }
        };
        let resting = self.unfinished.saturating_sub(self.receiving);
        let lines: Vec<String> = [
            line("receiving", self.receiving, ["upload", "uploads"], self.received_bytes_per_s),
            line("sending", self.sending, ["download", "downloads"], self.sent_bytes_per_s),
            line("holding", resting, ["unfinished upload", "unfinished uploads"], 0),
        ]
        .into_iter()
        .flatten()
        .collect();
        if lines.is_empty() { vec!["idle".to_owned()] } else { lines }
    }
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerState {
    /// It answers.
    #[default]
    Healthy,
    /// It has not answered for a moment.
    Silent,
    /// Absent for so long that its copies no longer count.
    Out,
}

impl ServerState {
    const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Silent => "Not answering",
            Self::Out => "Gone",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Healthy => "good",
            Self::Silent => "warn",
            Self::Out => "bad",
        }
    }
}

impl ServerView {
    fn free(&self) -> String {
        human_bytes(self.free_bytes)
    }

    fn total(&self) -> String {
        human_bytes(self.total_bytes)
    }

    fn copies(&self) -> String {
        human_count(self.blobs)
    }

    fn copies_size(&self) -> String {
        human_bytes(self.blob_bytes)
    }

    /// The used part of its disk in whole percent.
    fn used_percent(&self) -> u64 {
        let used = u128::from(self.total_bytes.saturating_sub(self.free_bytes));
        let percent = (used * 100).checked_div(u128::from(self.total_bytes)).unwrap_or(0);
        u64::try_from(percent).unwrap_or(100).min(100)
    }

    fn space_class(&self) -> &'static str {
        match self.used_percent() {
            0..85 => "good",
            85..95 => "warn",
            _ => "bad",
        }
    }
}

impl ServersPage {
    fn headline(&self) -> String {
        let all = self.servers.len() as u64;
        let healthy = healthy(&self.servers);
        let health = match (all, healthy) {
            (0, _) => return "No server has joined yet".to_owned(),
            (1, 1) => "healthy".to_owned(),
            (2, 2) => "both healthy".to_owned(),
            (all, healthy) if all == healthy => "all healthy".to_owned(),
            (_, 0) => "none answering".to_owned(),
            (_, healthy) => format!("{} healthy", human_count(healthy)),
        };
        format!("{}, {health}", servers_in_places(&self.servers))
    }

    fn free(&self) -> String {
        let answering = self.servers.iter().filter(|server| server.state == ServerState::Healthy);
        human_bytes(answering.fold(0, |sum, server| sum.saturating_add(server.free_bytes)))
    }

    fn copies(&self) -> String {
        counted(self.servers.iter().fold(0, |sum, server| sum.saturating_add(server.blobs)), "copy", "copies")
    }

    fn map(&self) -> WorldMap {
        server_map(&self.servers)
    }
}

/// A page for every error.
#[derive(Debug, Clone, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    /// What every page needs.
    pub shell: Shell,
    /// The HTTP status.
    pub status: u16,
    /// What this kind of problem is, in a few words.
    pub title: String,
    /// What happened here.
    pub detail: String,
    /// After how many seconds to try again, where that is known.
    pub retry_after_s: Option<u64>,
    /// The file's own page, where the error belongs to one that exists.
    pub file_sha1: Option<String>,
    /// What the operator finds in the logs.
    pub request_id: Option<String>,
}

impl ErrorPage {
    fn advice(&self) -> &'static str {
        advice(self.status)
    }

    fn retry(&self) -> Option<String> {
        let seconds = self.retry_after_s?;
        Some(match seconds {
            0..90 => counted(seconds.max(1), "second", "seconds"),
            _ => counted(seconds.div_ceil(60), "minute", "minutes"),
        })
    }
}

/// What curl says to show a token, with a space behind it; nothing where none is needed. The shell fills it in, so
/// that no page and no history holds one, and curl keeps it out of the list of processes, as it does no header.
const fn bearer(entry: Entry) -> &'static str {
    match entry {
        Entry::Anyone => "",
        Entry::Token => "--oauth2-bearer \"$CLOSEBY_TOKEN\" ",
    }
}

fn healthy(servers: &[ServerView]) -> u64 {
    servers.iter().filter(|server| server.state == ServerState::Healthy).count() as u64
}

fn servers_in_places(servers: &[ServerView]) -> String {
    let mut places: Vec<&str> = servers.iter().map(|server| server.place.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    let servers = counted(servers.len() as u64, "server", "servers");
    if places.is_empty() {
        return servers;
    }
    format!("{servers} in {}", counted(places.len() as u64, "place", "places"))
}

fn server_map(servers: &[ServerView]) -> WorldMap {
    let points: Vec<MapPoint> = servers
        .iter()
        .map(|server| MapPoint {
            label: server.place.clone(),
            lat: server.lat,
            lon: server.lon,
            mark: match server.state {
                ServerState::Healthy => Mark::Chosen,
                ServerState::Silent | ServerState::Out => Mark::Down,
            },
        })
        .collect();
    let names: Vec<&str> = servers.iter().map(|server| server.place.as_str()).collect();
    let description = if names.is_empty() {
        "World map without servers.".to_owned()
    } else {
        format!("World map with servers in {}.", listed(&names))
    };
    WorldMap::new(description, &points)
}

#[cfg(test)]
mod tests;
