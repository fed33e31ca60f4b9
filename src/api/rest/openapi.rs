//! `GET /api/openapi.json`: the description of this API, made from the code.

use actix_web::{HttpResponse, web};
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

use super::super::common::ApiDescription;
use super::{blobs, download, files, health, metrics, nodes, precheck, upload};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "closeby",
        description = "A file store that keeps each distinct content once, on two servers, and serves it from the nearest. Errors are RFC 9457 problem documents with stable types. Where a store takes a token, it is sent as `Authorization: Bearer TOKEN`.",
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
    say_who(&mut api);
    let value = serde_json::to_value(&api)?;
    Ok(ApiDescription { json: api.to_json()?, value })
}

/// What a token must be good for, where a store takes one for it: by path, and by method where they differ.
const NEEDS: [(&str, &[&str], &str); 20] = [
    ("/upload", &["post"], "upload"),
    ("/{name}", &["put"], "upload"),
    ("/api/v1/files", &["post"], "upload"),
    ("/api/v1/precheck", &["post"], "upload"),
    ("/api/v1/uploads", &["post"], "upload"),
    ("/api/v1/uploads/{id}", &["head", "get", "patch", "delete"], "upload"),
    ("/api/v1/files", &["get"], "list"),
    ("/api/v1/files/{id}", &["get"], "read"),
    ("/api/v1/blobs/{sha1}", &["get"], "read"),
    ("/api/v1/blobs/{sha1}/pieces", &["get"], "read"),
    ("/api/v1/blobs/{sha1}/replicas", &["get"], "read"),
    ("/d/{sha1}", &["get", "head"], "read"),
    ("/d/{sha1}/{name}", &["get", "head"], "read"),
    ("/d/{sha1}.meta4", &["get"], "read"),
    ("/metrics", &["get"], "admin"),
    ("/api/v1/uploads", &["options"], ""),
    ("/api/v1/nodes", &["get"], ""),
    ("/healthz", &["get"], ""),
    ("/readyz", &["get"], ""),
    ("/api/openapi.json", &["get"], ""),
];

/// The name of the scheme.
const TOKEN: &str = "token";

/// Says of every operation what a token must be good for.
fn say_who(api: &mut OpenApi) {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token, as `closeby token new` makes it, with the scope that the operation names, or `admin`. Whether one is \
         needed is the store's to say: each operation can be open to anyone. For `GET` and `HEAD` it may also be the \
         password of `Authorization: Basic`, with any user name.",
    ));
    let components = api.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(scheme.build()));
    for (path, methods, scope) in NEEDS {
        let Some(item) = api.paths.paths.get_mut(path).filter(|_| !scope.is_empty()) else { continue };
        for method in methods {
            let Some(operation) = operation(item, method) else { continue };
            operation.security =
                Some(vec![SecurityRequirement::default(), SecurityRequirement::new(TOKEN, [scope])]);
            let refusals = [
                (
                    "401",
                    format!(
                        "Where a token with the scope `{scope}` is needed: none was shown (`token-needed`), or none that counts (`invalid-token`)"
                    ),
                ),
                ("403", "The token is good for something else (`insufficient-scope`)".to_owned()),
            ];
            for (status, description) in refusals {
                let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
                let answer = ResponseBuilder::new()
                    .description(description)
                    .content("application/problem+json", problem);
                let answers = &mut operation.responses.responses;
                answers.entry(status.to_owned()).or_insert_with(|| answer.build().into());
            }
        }
    }
}

fn operation<'i>(item: &'i mut PathItem, method: &str) -> Option<&'i mut Operation> {
    match method {
        "get" => item.get.as_mut(),
        "head" => item.head.as_mut(),
        "post" => item.post.as_mut(),
        "put" => item.put.as_mut(),
        "patch" => item.patch.as_mut(),
        "delete" => item.delete.as_mut(),
        "options" => item.options.as_mut(),
        _ => None,
    }
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
        // Each says whether it takes a token, and which.
        for (path, item) in json["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let said =
                    NEEDS.iter().find(|(of, methods, _)| of == path && methods.contains(&method.as_str()));
                let (_, _, scope) = said.unwrap_or_else(|| panic!("{method} {path} has no line in NEEDS"));
                let security = &item[method]["security"];
                let expected = serde_json::json!([{}, { "token": [scope] }]);
                assert_eq!(*security, if scope.is_empty() { serde_json::Value::Null } else { expected });
                assert_eq!(
                    item[method]["responses"]["401"].is_object(),
                    !scope.is_empty(),
                    "{method} {path}"
                );
            }
        }
        assert_eq!(json["components"]["securitySchemes"]["token"]["scheme"], "bearer");
        assert!(json["components"]["schemas"]["UploadedFile"].is_object());
    }
}
