//! Counts every request.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::site::Site;

/// The middleware.
///
/// # Errors
/// What comes from further in.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let site = request.app_data::<web::Data<Site>>().cloned();
    let result = next.call(request).await;
    if let Some(site) = site {
        let status = match &result {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        site.metrics.answered(status.as_u16(), started.elapsed().as_secs_f64());
    }
    result
}
