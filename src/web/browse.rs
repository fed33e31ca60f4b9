//! `/`, `/files`, `/files/{sha1}` and `/servers`.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::pages::{
    FilePage, FilesPage, FromView, IndexPage, NameView, Notice, PreviewView, ReaderKnownBy, ReaderView,
    ReplicaView, ServersPage, Standing,
};
use super::policy::NodeOrigins;
use super::respond::{page, page_with, shell};
use super::views;
use crate::api::common::{
    ApiError, ProblemKind, Site, admit_asking_for, blob_path, encode_segment, file_url,
};
use crate::domain::{FileOrder, InlineType, Sha1, Timestamp, Viewer};
use crate::service::central::catalog::{Detail, NodeStanding, ReplicaAt};
use crate::service::central::link::{Choice, LinkError, LinkService, Wish};
use crate::service::central::{Cursor, FileRecord, ReplicaState};
use crate::service::central::{KnownBy, is_near};

pub(super) async fn index(site: web::Data<Site>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let base_url = site.base(&request)?;
    let (totals, nodes) = (site.catalog.totals().await?, site.catalog.nodes().await?);
    let now = site.catalog.now();
    page(
        StatusCode::OK,
        &IndexPage {
            shell: shell(),
            base_url,
            max_file_bytes: site.uploads.limits().file_bytes,
            max_files: site.limits.form_files as u64,
            total_files: totals.files,
            total_bytes: totals.bytes,
            access: *site.access.rules(),
            notice: notice(&nodes),
            servers: nodes.iter().map(|standing| views::server(standing, now)).collect(),
        },
    )
}

fn notice(nodes: &[NodeStanding]) -> Option<Notice> {
    (nodes.iter().filter(|standing| standing.healthy).count() < 2).then(Notice::uploads_wait)
}

pub(super) async fn servers(site: web::Data<Site>) -> Result<HttpResponse, ApiError> {
    let nodes = site.catalog.nodes().await?;
    let now = site.catalog.now();
    let servers = nodes.iter().map(|standing| views::server(standing, now)).collect();
    page(StatusCode::OK, &ServersPage { shell: shell(), servers, notice: notice(&nodes) })
}

/// The query of the list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    query: String,
    #[serde(default)]
    sort: String,
    after: Option<String>,
}

pub(super) async fn files(
    site: web::Data<Site>,
    request: HttpRequest,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, ApiError> {
    let base = site.base(&request)?;
    let after = match query.after.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse::<Cursor>().map_err(|_| {
            ApiError::new(ProblemKind::BadRequest, "this page of the list does not exist: begin at /files")
        })?),
    };
    let order = match query.sort.as_str() {
        "" => FileOrder::default(),
        text => text.parse().map_err(|error| ApiError::new(ProblemKind::BadRequest, format!("{error}")))?,
    };
    let is_later_page = after.is_some();
    let limit = site.limits.list_files;
    let listed = site.catalog.list(Viewer::Public, &query.query, order, after, limit).await?;
    let now = site.catalog.now();
    page(
        StatusCode::OK,
        &FilesPage {
            shell: shell(),
            query: query.query.clone(),
            files: listed.items.iter().map(|file| views::row(&base, file, now)).collect(),
            total_files: site.catalog.totals().await?.files,
            sort: order,
            next: listed.next.map(|cursor| cursor.to_string()),
            is_later_page,
        },
    )
}

/// The query of a file's page.
#[derive(Debug, Deserialize)]
pub(super) struct FileQuery {
    from: Option<String>,
}

pub(super) async fn file(
    site: web::Data<Site>,
    request: HttpRequest,
    sha1: web::Path<String>,
    query: web::Query<FileQuery>,
) -> Result<HttpResponse, ApiError> {
    let base_url = site.base(&request)?;
    let sha1: Sha1 = sha1.parse()?;
    admit_asking_for(&site, &request, query.from.as_deref()).await?;
    let detail = site
        .catalog
        .detail(Viewer::Public, sha1)
        .await?
        .ok_or_else(|| ApiError::new(ProblemKind::NotFound, "no file with this SHA-1 is stored here"))?;
    let mut from =
        FromView { given: query.from.as_deref().unwrap_or_default().trim().to_owned(), error: None };
    let wish = Wish { from: Some(from.given.as_str()).filter(|given| !given.is_empty()), node: None };
    let choice = match site.links.choose(Viewer::Public, sha1, site.client(&request), wish).await {
        // The page says so beside the field, and counts from the reader's own place.
        Err(LinkError::InvalidFrom(_)) => {
            from.error = Some(
                "That is no place. Give latitude and longitude such as -33.87, 151.21, or an IP address \
                 such as 203.5.76.1."
                    .to_owned(),
            );
            site.links.choose(Viewer::Public, sha1, site.client(&request), Wish::default()).await?
        }
        choice => choice?,
    };
    let status = if from.error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let now = site.catalog.now();
    let record = &detail.blob.file;
    let node_bases: Vec<String> = detail
        .replicas
        .iter()
        .filter_map(|at| Some(site.address.node_base(&request, at.public_url.as_ref()?)))
        .collect();
    let nodes = NodeOrigins::new(node_bases.iter().cloned());
    // A node that the policy cannot name would be blocked: then nothing is asked of any.
    let preview = if node_bases.iter().all(|base| nodes.has(base)) {
        preview(record, &from)
    } else {
        PreviewView::None
    };
    page_with(
        status,
        &FilePage {
            shell: shell(),
            name: record.name.to_string(),
            media_type: record.media_type.as_str().to_owned(),
            size_bytes: record.blob.size,
            sha1: record.blob.sha1.to_string(),
            sha256: record.blob.sha256.to_string(),
            added: views::moment(record.created_at, now),
            url: file_url(&base_url, record),
            metalink_url: format!("{base_url}{}.meta4", blob_path(sha1)),
            preview,
            from,
            access: *site.access.rules(),
            names: detail
                .files
                .iter()
                .map(|file| NameView {
                    name: file.name.to_string(),
                    added: views::moment(file.created_at, now),
                })
                .collect(),
            reader: reader(&choice),
            replicas: replicas(&base_url, &detail, &choice, now),
            base_url,
        },
        &nodes,
    )
}

/// What is shown of a file. It is asked for at this site, which sends the reader to the nearest copy.
fn preview(file: &FileRecord, from: &FromView) -> PreviewView {
    let Some(inline) = InlineType::of(&file.name, &file.media_type) else {
        let refused = InlineType::refuses(&file.name, &file.media_type);
        return if refused { PreviewView::Refused } else { PreviewView::None };
    };
    let name = encode_segment(file.name.as_str());
    let mut url = format!("{}/{name}?inline=1", blob_path(file.blob.sha1));
    if from.error.is_none() && !from.given.is_empty() {
        url.push_str(&format!("&from={}", encode_segment(&from.given)));
    }
    PreviewView::Shown { kind: inline.kind(), url }
}

fn reader(choice: &Choice) -> ReaderView {
    let origin = &choice.origin;
    ReaderView {
        place: origin.name(),
        lat: origin.coordinates.lat(),
        lon: origin.coordinates.lon(),
        known_by: match origin.known_by {
            KnownBy::GeoIp => ReaderKnownBy::Address,
            KnownBy::Given => ReaderKnownBy::Given,
            KnownBy::Central => ReaderKnownBy::Central,
        },
    }
}

/// Every replica, the readable ones first and in order of distance.
fn replicas(base: &str, detail: &Detail, choice: &Choice, now: Timestamp) -> Vec<ReplicaView> {
    let distance =
        |at: &ReplicaAt| LinkService::distance_km(choice.origin.coordinates, at.node.node.place.coordinates);
    let is_readable = |at: &ReplicaAt| at.healthy && at.replica.state == ReplicaState::Stored;
    let nearest = detail.replicas.iter().filter(|at| is_readable(at)).map(distance).min_by(f64::total_cmp);
    let near = |at: &ReplicaAt| nearest.is_some_and(|nearest| is_near(nearest, distance(at)));
    let sharing = detail.replicas.iter().filter(|at| is_readable(at) && near(at)).count();
    let mut replicas: Vec<ReplicaView> = detail
        .replicas
        .iter()
        .map(|at| ReplicaView {
            node: at.replica.node.to_string(),
            place: at.node.node.place.name.to_string(),
            lat: at.node.node.place.coordinates.lat(),
            lon: at.node.node.place.coordinates.lon(),
            distance_km: distance(at),
            standing: match at.replica.state {
                ReplicaState::Bad => Standing::Damaged,
                ReplicaState::Pending => Standing::Pending,
                ReplicaState::Stored if !at.healthy => Standing::Away,
                ReplicaState::Stored if !near(at) => Standing::Farther,
                ReplicaState::Stored if sharing > 1 => Standing::Shared,
                ReplicaState::Stored => Standing::Nearest,
            },
            url: format!("{base}{}?node={}", blob_path(detail.blob.digests.sha1), at.replica.node),
            verified: views::moment(at.replica.verified_at, now),
        })
        .collect();
    let rank = |replica: &ReplicaView| match replica.standing {
        Standing::Nearest | Standing::Shared => 0,
        Standing::Farther => 1,
        Standing::Away | Standing::Pending => 2,
        Standing::Damaged => 3,
    };
    replicas.sort_by(|a, b| rank(a).cmp(&rank(b)).then(a.distance_km.total_cmp(&b.distance_km)));
    replicas
}
