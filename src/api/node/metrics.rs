//! `GET /metrics`, for Prometheus.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};

use super::{ApiError, not_found};
use crate::service::node::NodeService;

/// Counters and gauges in Prometheus' text format; every family from the first scrape on.
pub(super) async fn metrics(
    service: web::Data<NodeService>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    if !peer.is_some_and(may_scrape) {
        return not_found().await;
    }
    let text = service.scrape().await?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

/// Whether a peer at this address is told: people's downloads come to the same listener, and to them there is
/// nothing here.
fn may_scrape(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn those_on_the_inside_are_told() {
        for (address, is_told) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("172.18.0.5", true),
            ("192.168.1.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("203.0.113.7", false),
            ("169.254.169.254", false),
            ("2001:db8::1", false),
            ("::ffff:203.0.113.7", false),
        ] {
            assert_eq!(may_scrape(address.parse().unwrap()), is_told, "{address}");
        }
    }
}
