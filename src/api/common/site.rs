//! What the handlers of people's requests work with: the services, and whose request it is.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use tokio_util::sync::CancellationToken;

use super::address::PublicAddress;
use super::problem::ApiError;
use crate::metrics::Metrics;
use crate::service::central::access::AccessService;
use crate::service::central::catalog::Catalog;
use crate::service::central::link::LinkService;
use crate::service::central::resumable::ResumableService;
use crate::service::central::upload::UploadService;
use crate::service::central::{ClientAddress, ClientAddresses};

/// The services behind a central's pages and API.
#[derive(Clone)]
pub struct Site {
    /// Decides who may do what.
    pub access: AccessService,
    /// Takes uploads.
    pub uploads: UploadService,
    /// Takes uploads in parts.
    pub resumable: ResumableService,
    /// Answers what is stored.
    pub catalog: Catalog,
    /// Makes links.
    pub links: LinkService,
    /// Whose word about a client's address is believed.
    pub addresses: ClientAddresses,
    /// Where links point.
    pub address: PublicAddress,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when this central is about to stop.
    pub leaving: CancellationToken,
    /// How much one request may hold.
    pub limits: SiteLimits,
}

/// How many files one request may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteLimits {
    /// Of one form.
    pub form_files: usize,
    /// Of one precheck.
    pub precheck_files: usize,
    /// Of one page of the list, when none are asked for.
    pub list_files: usize,
    /// Of one page of the list.
    pub list_files_max: usize,
}

impl Site {
    /// What links in the answer to this request begin with.
    ///
    /// # Errors
    /// When the request is for another host.
    pub fn base(&self, request: &HttpRequest) -> Result<String, ApiError> {
        self.address.base(request)
    }

    /// Whose request it is.
    #[must_use]
    pub fn client(&self, request: &HttpRequest) -> ClientAddress {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        self.addresses.resolve(peer, |kind| {
            request
                .headers()
                .get_all(kind.name())
                .map(actix_web::http::header::HeaderValue::as_bytes)
                .collect()
        })
    }
}
