//! `GET /api/v1/files` and `/api/v1/files/{id}`: the list.

use actix_web::{HttpRequest, web};
use serde::Deserialize;

use crate::api::common::{ApiError, ProblemKind, Site, file_object};
use crate::domain::{FileId, FileOrder, Viewer};
use crate::service::central::Cursor;
use crate::wire::api::{File, Files};

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default)]
    query: String,
    sort: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

/// One page of the files.
#[utoipa::path(
    get, path = "/api/v1/files", tag = "files",
    params(
        ("query" = Option<String>, Query, description = "Any part of a name, ignoring case"),
        ("sort" = Option<String>, Query, description = "`newest` (when missing), `oldest`, `name`, `largest` or `smallest`"),
        ("after" = Option<String>, Query, description = "`next` of the page before, with the same `sort`"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; 50 when missing"),
    ),
    responses(
        (status = 200, description = "The page", body = Files),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn list(
    site: web::Data<Site>,
    request: HttpRequest,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Files>, ApiError> {
    let base = site.base(&request)?;
    let unreadable = |what: String| ApiError::new(ProblemKind::BadRequest, what);
    let most = site.limits.list_files_max;
    let limit = match query.limit.as_deref() {
        None => site.limits.list_files,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| unreadable(format!("`limit` is a number from 1 to {most}")))?,
    };
    let order = match query.sort.as_deref() {
        None => FileOrder::default(),
        Some(text) => text.parse().map_err(|error| unreadable(format!("`sort`: {error}")))?,
    };
    let after = match query.after.as_deref() {
        None => None,
        Some(text) => Some(
            text.parse::<Cursor>()
                .map_err(|_| unreadable("`after` is the `next` of the page before".to_owned()))?,
        ),
    };
    let page = site.catalog.list(Viewer::Public, &query.query, order, after, limit).await?;
    Ok(web::Json(Files {
        files: page.items.iter().map(|file| file_object(&base, file)).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
    }))
}

/// One file.
#[utoipa::path(
    get, path = "/api/v1/files/{id}", tag = "files",
    params(("id" = String, Path, description = "The file's id")),
    responses(
        (status = 200, description = "The file", body = File),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn file(
    site: web::Data<Site>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<web::Json<File>, ApiError> {
    let base = site.base(&request)?;
    let id: FileId =
        id.parse().map_err(|error| ApiError::new(ProblemKind::BadRequest, format!("{error}")))?;
    match site.catalog.file(Viewer::Public, id).await? {
        Some(file) => Ok(web::Json(file_object(&base, &file))),
        None => Err(ApiError::new(ProblemKind::NotFound, "there is no file with this id")),
    }
}
