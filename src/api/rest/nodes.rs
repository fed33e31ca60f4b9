//! `GET /api/v1/nodes`: the storage servers.

use actix_web::web;

use crate::api::common::{ApiError, Site, place_object};
use crate::wire::api::{Node, NodeActivity, Nodes};

/// Every node that ever joined.
#[utoipa::path(
    get, path = "/api/v1/nodes", tag = "nodes",
    responses(
        (status = 200, description = "The nodes", body = Nodes),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn nodes(site: web::Data<Site>) -> Result<web::Json<Nodes>, ApiError> {
    let nodes = site.catalog.nodes().await?;
    let nodes = nodes
        .into_iter()
        .map(|standing| {
            let (known, member) = (standing.known, standing.member);
            Node {
                id: known.node.id.to_string(),
                place: place_object(&known.node.place),
                failure_domain: known.node.failure_domain.to_string(),
                healthy: standing.healthy,
                out: known.node.out,
                public_url: known.node.public_url,
                version: known.node.version.to_string(),
                total_bytes: member.as_ref().map_or(0, |member| member.total_bytes),
                free_bytes: member.as_ref().map_or(0, |member| member.free_bytes),
                activity: member.as_ref().filter(|_| standing.healthy).map_or_else(
                    NodeActivity::default,
                    |member| NodeActivity {
                        receiving: member.activity.receiving,
                        sending: member.activity.sending,
                        unfinished: member.sessions,
                        received_bytes_per_second: member.activity.received_bytes_per_s,
                        sent_bytes_per_second: member.activity.sent_bytes_per_s,
                    },
                ),
                blobs: known.replicas,
                bytes: known.bytes,
                seen_at: member.as_ref().map_or(known.node.seen_at, |member| member.seen_at).to_string(),
            }
        })
        .collect();
    Ok(web::Json(Nodes { nodes }))
}
