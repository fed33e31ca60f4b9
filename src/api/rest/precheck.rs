//! `POST /api/v1/precheck`: is it here already?

use actix_web::{HttpRequest, web};

use crate::api::common::{ApiError, Document, ProblemKind, Site, file_url};
use crate::domain::Viewer;
use crate::service::central::catalog::{Precheck, Question};
use crate::wire::api::{PrecheckAnswer, PrecheckRequest, PrecheckResult, PrecheckState};

/// Says of each file whether to send it: sizes first, then digests.
#[utoipa::path(
    post, path = "/api/v1/precheck", tag = "files",
    request_body = PrecheckRequest,
    responses(
        (status = 200, description = "In the order of the question", body = PrecheckAnswer),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn precheck(
    site: web::Data<Site>,
    request: HttpRequest,
    Document(question): Document<PrecheckRequest>,
) -> Result<web::Json<PrecheckAnswer>, ApiError> {
    let base = site.base(&request)?;
    let most = site.limits.precheck_files;
    if question.files.len() > most {
        return Err(ApiError::new(
            ProblemKind::BadRequest,
            format!("ask about at most {most} files at once"),
        ));
    }
    let questions = question
        .files
        .iter()
        .map(|file| Ok(Question { size: file.size, sha1: file.sha1.as_deref().map(str::parse).transpose()? }))
        .collect::<Result<Vec<_>, ApiError>>()?;
    let answers = site.catalog.precheck(Viewer::Public, &questions).await?;
    let files = answers
        .into_iter()
        .map(|answer| match answer {
            Precheck::Send => PrecheckResult { state: PrecheckState::Send, url: None },
            Precheck::Hash => PrecheckResult { state: PrecheckState::Hash, url: None },
            Precheck::Exists(blob) => {
                PrecheckResult { state: PrecheckState::Exists, url: Some(file_url(&base, &blob.file)) }
            }
        })
        .collect();
    Ok(web::Json(PrecheckAnswer { files }))
}
