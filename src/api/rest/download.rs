//! `GET /d/{sha1}`, `/d/{sha1}/{name}` and `/d/{sha1}.meta4`: the link that lasts, answered
//! with the nearest replica's.

use actix_web::http::header::{CACHE_CONTROL, LINK, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::metalink::metalink;
use crate::api::common::{ApiError, ProblemKind, Site, admit_asking_for, blob_path, digest_fields};
use crate::domain::{FileName, Sha1, Viewer};
use crate::service::central::link::{Choice, Disposition, LinkError, Wish};

/// The query of a link.
#[derive(Debug, Deserialize)]
pub(super) struct DownloadQuery {
    node: Option<String>,
    from: Option<String>,
    inline: Option<String>,
}

/// Sends the asker to the nearest replica.
#[utoipa::path(
    get, path = "/d/{sha1}/{name}", tag = "download",
    params(
        ("sha1" = String, Path, description = "SHA-1 in hex, in either case"),
        ("name" = String, Path, description = "Decoration; the content is saved under the name of a stored file. It may be left out"),
        ("node" = Option<String>, Query, description = "From this node alone: its id, or its place's name"),
        ("from" = Option<String>, Query, description = "Count from here: an IP address, or `lat,lon`. An address that is not the asker's own can take a token with the scope `admin`"),
        ("inline" = Option<String>, Query, description = "`1`: to a link that a browser shows instead of saving, where the file is a raster image, audio, video, plain text or a PDF document; its media type is pinned. Everything else is saved as ever, SVG, HTML and XML among it"),
    ),
    responses(
        (status = 302, description = "To the nearest healthy replica, with `Link` to the others, `Repr-Digest` and `Digest`"),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn download(
    site: web::Data<Site>,
    request: HttpRequest,
    query: web::Query<DownloadQuery>,
) -> Result<HttpResponse, ApiError> {
    let base = site.base(&request)?;
    admit_asking_for(&site, &request, query.from.as_deref()).await?;
    let path = request.uri().path().strip_prefix("/d/").unwrap_or_default();
    let (digest, name) = path.split_once('/').map_or((path, None), |(digest, name)| (digest, Some(name)));
    let wish = Wish { from: query.from.as_deref(), node: query.node.as_deref() };
    if let Some(digest) = digest.strip_suffix(".meta4")
        && name.is_none()
    {
        return document(&site, &request, &base, digest.parse()?, wish).await;
    }
    let sha1: Sha1 = digest.parse()?;
    let name = name.and_then(|name| FileName::parse(&percent_decode_str(name).decode_utf8().ok()?).ok());
    let choice = site.links.choose(Viewer::Public, sha1, site.client(&request), wish).await?;
    let (name, media_type) =
        site.links.saved_as(Viewer::Public, &choice.blob, name.as_ref()).await.map_err(LinkError::from)?;
    let disposition = match query.inline.as_deref() {
        None | Some("0") => Disposition::Attachment(media_type),
        Some("1") => Disposition::shown(&name, media_type),
        Some(_) => {
            return Err(ApiError::new(ProblemKind::BadRequest, "`inline` is 1, or is left out"));
        }
    };
    let link = site.links.link(&choice, name, disposition)?;
    let location = format!("{}{}", site.address.node_base(&request, &link.public_url), link.path);
    let mut response = HttpResponse::Found();
    response.insert_header((LOCATION, location)).insert_header((CACHE_CONTROL, "private, no-store"));
    for field in digest_fields(&choice.blob.digests) {
        response.insert_header(field);
    }
    for link in links(&base, sha1, &choice) {
        response.append_header((LINK, link));
    }
    Ok(response.finish())
}

/// The other replicas (RFC 6249 §3) under central's lasting URLs, one field line each and
/// unquoted, as clients read them; and the Metalink.
fn links(base: &str, sha1: Sha1, choice: &Choice) -> Vec<String> {
    let path = blob_path(sha1);
    let mut links: Vec<String> = choice
        .replicas
        .iter()
        .enumerate()
        .skip(1)
        .map(|(index, replica)| {
            let geo =
                replica.place.country.map(|country| format!("; geo={}", country.to_string().to_lowercase()));
            format!(
                "<{base}{path}?node={}>; rel=duplicate; pri={}{}",
                replica.node,
                index + 1,
                geo.unwrap_or_default()
            )
        })
        .collect();
    links.push(format!("<{base}{path}.meta4>; rel=describedby; type=\"application/metalink4+xml\""));
    links
}

/// The Metalink (RFC 5854) of a blob.
#[utoipa::path(
    get, path = "/d/{sha1}.meta4", tag = "download",
    params(("sha1" = String, Path, description = "SHA-1 in hex")),
    responses(
        (status = 200, description = "All replicas with digests and pieces", body = String, content_type = "application/metalink4+xml"),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn document(
    site: &Site,
    request: &HttpRequest,
    base: &str,
    sha1: Sha1,
    wish: Wish<'_>,
) -> Result<HttpResponse, ApiError> {
    let choice = site.links.choose(Viewer::Public, sha1, site.client(request), wish).await?;
    let pieces = site.catalog.pieces(Viewer::Public, sha1).await?.ok_or(LinkError::NotFound)?;
    let body = metalink(base, &choice, &pieces.sha256).map_err(|error| {
        ApiError::new(ProblemKind::Internal, format!("the Metalink cannot be written: {error}"))
    })?;
    Ok(HttpResponse::Ok()
        .content_type("application/metalink4+xml")
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header(("content-disposition", format!("attachment; filename=\"{sha1}.meta4\"")))
        .body(body))
}
