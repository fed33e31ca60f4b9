//! The API's description, for whoever serves it: as JSON, or as a page.

/// The OpenAPI document.
#[derive(Debug, Clone)]
pub struct ApiDescription {
    /// As it is served.
    pub json: String,
    /// The same, to be read.
    pub value: serde_json::Value,
}
