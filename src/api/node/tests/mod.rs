//! A node's HTTP, on a port of its own, with real tickets.

#![allow(clippy::unwrap_used)]

mod calls;
mod downloads;
mod forbidden;
mod resumable;
mod vanished;

use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use reqwest::{Client, Method, RequestBuilder};

use super::configure;
use crate::domain::{BlobDigests, UploadId};
use crate::service::node::testing::TestNode;
use crate::tickets::{CallTicket, Operation};
use crate::wire::TICKET_HEADER;

/// A node that answers.
struct Served {
    node: TestNode,
    address: SocketAddr,
    http: Client,
    handle: ServerHandle,
}

impl Deref for Served {
    type Target = TestNode;

    fn deref(&self) -> &TestNode {
        &self.node
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn serve() -> Served {
    serve_node(TestNode::new().await)
}

fn serve_node(node: TestNode) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let service = Arc::clone(&node.service);
    let server = HttpServer::new(move || {
        let service = Arc::clone(&service);
        App::new().configure(move |config| configure(config, service))
    })
    .workers(1)
    .disable_signals()
    // Longer than any client here keeps a connection.
    .keep_alive(Duration::from_secs(75))
    .client_request_timeout(Duration::from_mins(1))
    .client_disconnect_timeout(Duration::from_mins(1))
    .listen(listener)
    .unwrap()
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Served { node, address, http: crate::cluster::http::http_client().unwrap(), handle }
}

impl Served {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path))
    }

    /// A call with a ticket.
    fn call(&self, method: Method, path: &str, ticket: &CallTicket) -> RequestBuilder {
        self.http.request(method, self.url(path)).header(TICKET_HEADER, ticket.sign(&self.key))
    }

    /// The upload call with a ticket that fits.
    fn write(&self, upload: UploadId, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let ticket = self.ticket(Operation::Write, Some(upload));
        self.call(Method::PUT, &session(upload), &ticket).body(body)
    }

    /// A link to a blob under a name.
    fn link_to(&self, blob: &BlobDigests, name: &str) -> String {
        self.link(blob.sha1, name).sign(&self.key)
    }
}

fn session(upload: UploadId) -> String {
    format!("/n/v1/sessions/{upload}")
}

/// The stable code of a problem document.
async fn code(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: crate::wire::api::Problem = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(problem.status, status);
    (status, problem.kind.trim_start_matches("/problems/").to_owned())
}
