//! The page of one content: its names, its copies, which of them is the reader's, and why.

use askama::Template;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::preview::Preview;
use super::text::{badge_of, counted, human_bytes, human_km, kind_of, listed, shell_word};
use super::{MapPoint, Mark, Moment, PreviewView, QrView, Shell, WorldMap, bearer};
use crate::domain::{Access, Entry, PIECE_BYTES};

/// `/files/{sha1}`: one content, where it is, and how to get it.
#[derive(Debug, Clone, Template)]
#[template(path = "file.html")]
pub struct FilePage {
    /// What every page needs.
    pub shell: Shell,
    /// The name it is saved under: of the oldest visible file.
    pub name: String,
    /// What its sender said it is.
    pub media_type: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// SHA-1 in hex.
    pub sha1: String,
    /// SHA-256 in hex.
    pub sha256: String,
    /// When its oldest file came.
    pub added: Moment,
    /// The lasting link, absolute.
    pub url: String,
    /// The Metalink, absolute.
    pub metalink_url: String,
    /// Where this site is, without a slash at the end.
    pub base_url: String,
    /// What is shown of it.
    pub preview: PreviewView,
    /// What the reader wants distances to count from.
    pub from: FromView,
    /// Who may do what: commands carry a token where one is needed.
    pub access: Access,
    /// The files on it, oldest first.
    pub names: Vec<NameView>,
    /// Who reads this page.
    pub reader: ReaderView,
    /// Its copies, in order of choice.
    pub replicas: Vec<ReplicaView>,
}

/// From where the reader wants distances to count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FromView {
    /// What was asked for: an address or `lat,lon`. Empty where nothing was.
    pub given: String,
    /// Why that was not followed, as a sentence.
    pub error: Option<String>,
}

impl FromView {
    /// What was asked for and followed.
    fn followed(&self) -> Option<&str> {
        (!self.given.is_empty() && self.error.is_none()).then_some(self.given.as_str())
    }
}

/// A name of a content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameView {
    /// The name.
    pub name: String,
    /// When it came.
    pub added: Moment,
}

/// The reader's place.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderView {
    /// A city, else a country and coordinates.
    pub place: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// How the place is known.
    pub known_by: ReaderKnownBy,
}

/// How the reader's place is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderKnownBy {
    /// By the address.
    Address,
    /// The reader gave it.
    Given,
    /// It is not: central's own place stands for it.
    Central,
}

/// A copy as the reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaView {
    /// The node's id.
    pub node: String,
    /// Its place.
    pub place: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// From the reader's place, in kilometres.
    pub distance_km: f64,
    /// What it is to the reader.
    pub standing: Standing,
    /// The lasting link to this very copy.
    pub url: String,
    /// When its node last verified it.
    pub verified: Moment,
}

/// What a copy is to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The nearest: downloads come from here.
    Nearest,
    /// As near as another one: they take turns at random.
    Shared,
    /// It could be read, but another one is nearer.
    Farther,
    /// Its server does not answer now.
    Away,
    /// It is known to be damaged, and not used.
    Damaged,
    /// Its server is still finishing it.
    Pending,
}

impl Standing {
    const fn label(self) -> &'static str {
        match self {
            Self::Nearest => "Your copy",
            Self::Shared => "Yours by turns",
            Self::Farther => "Second copy",
            Self::Away => "Not answering",
            Self::Damaged => "Damaged",
            Self::Pending => "Being finished",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Nearest | Self::Shared => "good",
            Self::Farther => "plain",
            Self::Away | Self::Pending => "warn",
            Self::Damaged => "bad",
        }
    }

    const fn is_readable(self) -> bool {
        matches!(self, Self::Nearest | Self::Shared | Self::Farther)
    }

    const fn mark(self) -> Mark {
        match self {
            Self::Nearest | Self::Shared => Mark::Chosen,
            Self::Farther => Mark::Server,
            Self::Away | Self::Damaged | Self::Pending => Mark::Down,
        }
    }
}

impl ReplicaView {
    fn distance(&self) -> String {
        human_km(self.distance_km)
    }

    /// What keeps it from being read, as the end of a sentence.
    fn trouble(&self) -> String {
        match self.standing {
            Standing::Damaged => format!("the copy in {} is damaged", self.place),
            Standing::Pending => format!("the copy in {} is still being finished", self.place),
            _ => format!("{} does not answer", self.place),
        }
    }
}

impl FilePage {
    fn size(&self) -> String {
        human_bytes(self.size_bytes)
    }

    fn exact_size(&self) -> String {
        counted(self.size_bytes, "byte", "bytes")
    }

    fn kind(&self) -> &'static str {
        kind_of(&self.media_type)
    }

    fn badge(&self) -> String {
        badge_of(&self.name)
    }

    fn is_readable(&self) -> bool {
        self.replicas.iter().any(|replica| replica.standing.is_readable())
    }

    /// Whether it is more than one piece, so that several copies can give parts of it.
    fn has_pieces(&self) -> bool {
        self.size_bytes > PIECE_BYTES
    }

    fn with(&self, standing: Standing) -> Vec<&ReplicaView> {
        self.replicas.iter().filter(|replica| replica.standing == standing).collect()
    }

    fn places(&self, standing: Standing) -> String {
        listed(&self.with(standing).iter().map(|replica| replica.place.as_str()).collect::<Vec<_>>())
    }

    /// The link of the button: the lasting one, counted from where the page counts.
    fn download_url(&self) -> String {
        match self.from.followed() {
            Some(from) => format!("{}?from={}", self.url, encode(from)),
            None => self.url.clone(),
        }
    }

    /// What is shown of the content, where a copy can be read.
    fn shown(&self) -> Option<Preview<'_>> {
        match &self.preview {
            PreviewView::Shown { kind, url } if self.is_readable() && self.size_bytes > 0 => {
                Some(Preview { kind: *kind, url, size_bytes: self.size_bytes })
            }
            _ => None,
        }
    }

    fn is_refused(&self) -> bool {
        self.preview == PreviewView::Refused && self.is_readable()
    }

    /// The lasting link without its name, which anybody can type.
    fn short_url(&self) -> String {
        format!("{}/d/{}", self.base_url, self.sha1)
    }

    fn qr(&self) -> Option<QrView> {
        QrView::new(&self.short_url())
    }

    /// Where the next download comes from, for the button.
    pub(super) fn source(&self) -> String {
        let nearest = self.with(Standing::Nearest);
        match nearest.first() {
            Some(replica) => format!("from {}, {} away", replica.place, replica.distance()),
            None => {
                let shared = self.with(Standing::Shared);
                let names: Vec<&str> = shared.iter().map(|replica| replica.place.as_str()).collect();
                if names.is_empty() { String::new() } else { format!("from {}", names.join(" or ")) }
            }
        }
    }

    /// How the reader's place is known.
    fn where_from(&self) -> String {
        let place = &self.reader.place;
        if let Some(asked) = self.from.followed() {
            return match self.reader.known_by {
                ReaderKnownBy::Given => format!("Counted from {place}, as you asked."),
                ReaderKnownBy::Address => format!("Counted from near {place}, where {asked} points to."),
                ReaderKnownBy::Central => format!(
                    "{asked} does not tell where it is, so distances count from this site’s own place, {place}."
                ),
            };
        }
        match self.reader.known_by {
            ReaderKnownBy::Address => format!("Your address points to somewhere near {place}."),
            ReaderKnownBy::Given => format!("Counted from {place}, as you asked."),
            ReaderKnownBy::Central => {
                format!(
                    "Your address does not tell where you are, so distances count from this site’s own place, {place}."
                )
            }
        }
    }

    /// Why downloads come from where they do.
    pub(super) fn why(&self) -> String {
        let readable: Vec<&ReplicaView> =
            self.replicas.iter().filter(|replica| replica.standing.is_readable()).collect();
        let lost: Vec<&ReplicaView> =
            self.replicas.iter().filter(|replica| !replica.standing.is_readable()).collect();
        let lost_words: Vec<String> = lost.iter().map(|replica| replica.trouble()).collect();
        if readable.is_empty() {
            return "None of its copies can be read now.".to_owned();
        }
        let shared = self.places(Standing::Shared);
        if !shared.is_empty() {
            return format!("{shared} are about equally far away, so each download draws one of them.");
        }
        let nearest = self.places(Standing::Nearest);
        let nearest_km = readable.iter().map(|replica| replica.distance_km).fold(f64::MAX, f64::min);
        if lost.iter().any(|replica| replica.distance_km < nearest_km) {
            return format!("Downloads come from {nearest} for now, since {}.", listed(&lost_words));
        }
        let mut text =
            format!("Downloads come from {nearest}, the nearest to you of the places that keep it.");
        if !lost.is_empty() {
            text.push_str(&format!(" At the moment {}.", listed(&lost_words)));
        }
        text
    }

    fn map(&self) -> WorldMap {
        let mut points: Vec<MapPoint> = self
            .replicas
            .iter()
            .map(|replica| MapPoint {
                label: replica.place.clone(),
                lat: replica.lat,
                lon: replica.lon,
                mark: replica.standing.mark(),
            })
            .collect();
        points.push(MapPoint {
            label: match (self.reader.known_by, self.from.followed()) {
                (ReaderKnownBy::Central, _) => "This site".to_owned(),
                (_, Some(_)) => self.reader.place.clone(),
                (_, None) => "You".to_owned(),
            },
            lat: self.reader.lat,
            lon: self.reader.lon,
            mark: Mark::Reader,
        });
        let copies: Vec<String> = self
            .replicas
            .iter()
            .map(|replica| format!("{} ({})", replica.place, replica.distance()))
            .collect();
        let description = format!("World map: {} and the copies in {}.", self.reader.place, listed(&copies));
        match &self.with(Standing::Nearest)[..] {
            [nearest] => WorldMap::measured(description, &points, &nearest.distance()),
            _ => WorldMap::new(description, &points),
        }
    }

    /// Whether everybody may ask which copy another address would get.
    pub(super) fn explains(&self) -> bool {
        self.access.explain == Entry::Anyone
    }

    pub(super) fn needs_token(&self) -> bool {
        self.access.read == Entry::Token
    }

    pub(super) fn curl(&self) -> String {
        // The link without its name: a stranger chose that, and in a command line it could carry letters
        // that reorder it. With -OJ the answer names the file, and nothing is overwritten.
        format!("curl {}-fLOJ {}", bearer(self.access.read), shell_word(&self.short_url()))
    }

    pub(super) fn wget(&self) -> String {
        // The answer names the file here, too; a name that is taken gets a number.
        format!("wget --content-disposition {}", shell_word(&self.short_url()))
    }

    pub(super) fn aria2(&self) -> String {
        format!("aria2c {}", shell_word(&self.metalink_url))
    }

    pub(super) fn closeby(&self) -> String {
        format!("closeby get {} --server {}", self.sha1, shell_word(&self.base_url))
    }
}

/// A text as a parameter of a query.
fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
