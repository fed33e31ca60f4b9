//! `/manifest.webmanifest`: what a browser needs to install the site as an app (W3C Web App Manifest),
//! and to offer it where files are shared.
//!
//! There is no service worker: browsers install without one, and a page from a cache would show links
//! and servers as they were.

use actix_web::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::assets;
use crate::api::common::Site;
use crate::domain::Scope;

/// The manifest. Files that are shared come as the form's own: `POST /upload`, in the field `file`. They can bring no
/// token, so a store that wants one is offered for nothing that is shared.
pub(super) async fn manifest(site: web::Data<Site>) -> HttpResponse {
    let icon = |name: &str| format!("/static/{}/{name}", *assets::VERSION);
    let png = |name: &str, sizes: &str, purpose: &str| json!({"src": icon(name), "sizes": sizes, "type": "image/png", "purpose": purpose});
    let mut manifest = json!({
        "id": "/",
        "name": "closeby",
        "short_name": "closeby",
        "description": "A file store that keeps two copies of everything and serves the nearest.",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#f4f7f8",
        "theme_color": "#0b6b5f",
        "icons": [
            {"src": icon("icon.svg"), "sizes": "any", "type": "image/svg+xml", "purpose": "any"},
            png("icon-192.png", "192x192", "any"),
            png("icon-512.png", "512x512", "any"),
            png("icon-maskable-512.png", "512x512", "maskable"),
        ],
        "share_target": {
            "action": "/upload",
            "method": "POST",
            "enctype": "multipart/form-data",
            "params": {"files": [{"name": "file", "accept": ["*/*"]}]},
        },
    });
    if let Some(keys) = manifest.as_object_mut().filter(|_| !site.access.is_open(&[Scope::Upload])) {
        keys.remove("share_target");
    }
    HttpResponse::Ok()
        .content_type("application/manifest+json")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(manifest.to_string())
}
