//! `GET /api/openapi.json`: the description of this API, made from the code.

use actix_web::{HttpResponse, web};
use utoipa::OpenApi as _;
use utoipa::openapi::{OpenApi, RefOr};

use super::super::common::ApiDescription;
use super::{blobs, download, files, health, metrics, nodes, precheck, upload};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "closeby",
        description = "A file store that keeps each distinct content once, on two servers, and serves it from the nearest. Errors are RFC 9457 problem documents with stable types.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        upload::post,
        upload::put,
        precheck::precheck,
        files::list,
        files::file,
        blobs::blob,
        blobs::pieces,
        blobs::replicas,
        download::download,
        download::document,
        nodes::nodes,
        health::alive,
        health::ready,
        metrics::metrics,
        openapi,
    )
)]
struct Api;

/// The document of this API with the paths of others.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn document(others: OpenApi) -> Result<ApiDescription, serde_json::Error> {
    let mut api = Api::openapi();
    api.merge(others);
    // The link without a name, and `HEAD`, are answered as the link with one.
    if let Some(mut named) = api.paths.paths.get("/d/{sha1}/{name}").cloned() {
        named.head.clone_from(&named.get);
        if let Some(head) = &mut named.head {
            head.operation_id = Some("download_head".to_owned());
        }
        let mut bare = named.clone();
        for (operation, id) in [(&mut bare.get, "download_bare"), (&mut bare.head, "download_bare_head")] {
            if let Some(operation) = operation {
                operation.operation_id = Some(id.to_owned());
                if let Some(parameters) = &mut operation.parameters {
                    parameters.retain(
                        |parameter| !matches!(parameter, RefOr::T(parameter) if parameter.name == "name"),
                    );
                }
            }
        }
        api.paths.paths.insert("/d/{sha1}".to_owned(), bare);
        api.paths.paths.insert("/d/{sha1}/{name}".to_owned(), named);
    }
    let value = serde_json::to_value(&api)?;
    Ok(ApiDescription { json: api.to_json()?, value })
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "operation", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
pub(super) async fn openapi(document: web::Data<ApiDescription>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.json.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_row_is_described() {
        let document = document(OpenApi::default()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&document.json).unwrap();
        assert_eq!(json, document.value);
        assert!(json["openapi"].as_str().unwrap().starts_with("3.1"));
        for (path, method) in [
            ("/api/v1/files", "post"),
            ("/{name}", "put"),
            ("/api/v1/precheck", "post"),
            ("/api/v1/files", "get"),
            ("/api/v1/files/{id}", "get"),
            ("/api/v1/blobs/{sha1}", "get"),
            ("/api/v1/blobs/{sha1}/pieces", "get"),
            ("/api/v1/blobs/{sha1}/replicas", "get"),
            ("/d/{sha1}", "get"),
            ("/d/{sha1}", "head"),
            ("/d/{sha1}/{name}", "get"),
            ("/d/{sha1}/{name}", "head"),
            ("/d/{sha1}.meta4", "get"),
            ("/api/v1/nodes", "get"),
            ("/healthz", "get"),
            ("/readyz", "get"),
            ("/metrics", "get"),
            ("/api/openapi.json", "get"),
        ] {
            assert!(json["paths"][path][method].is_object(), "{method} {path}");
        }
        assert!(json["components"]["schemas"]["UploadedFile"].is_object());
    }
}
