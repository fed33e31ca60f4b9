//! A small tus client that can be cut anywhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Cluster, DEADLINE, poll};

pub const PART: &str = "application/offset+octet-stream";

/// One upload, as its sender knows it.
#[derive(Clone)]
pub struct Tus {
    http: reqwest::Client,
    pub url: String,
}

/// `Upload-Metadata` of these pairs.
pub fn metadata(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
    pairs.join(",")
}

/// A number in an answer's field.
pub fn number(answer: &Response, field: &str) -> Option<u64> {
    answer.headers().get(field).map(|value| value.to_str().unwrap().parse().unwrap())
}

impl Tus {
    /// Asks for an upload.
    pub fn creation(cluster: &Cluster, size: usize, metadata: &str) -> RequestBuilder {
        let request = cluster.post("/api/v1/uploads").header("tus-resumable", "1.0.0");
        request.header("upload-length", size).header("upload-metadata", metadata)
    }

    /// Makes an upload.
    pub async fn create(cluster: &Cluster, size: usize, metadata: &str) -> Self {
        let answer = Self::creation(cluster, size, metadata).send().await.unwrap();
        Self::made(cluster, answer).await
    }

    pub async fn made(cluster: &Cluster, answer: Response) -> Self {
        assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
        let url = super::location(&answer);
        assert!(url.starts_with(&format!("{}/api/v1/uploads/", cluster.base)), "{url}");
        Self { http: cluster.http.clone(), url }
    }

    pub fn request(&self, method: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, &self.url).header("tus-resumable", "1.0.0")
    }

    pub fn part(&self, offset: usize, bytes: &[u8]) -> RequestBuilder {
        self.request("PATCH")
            .header("upload-offset", offset)
            .header("content-type", PART)
            .body(bytes.to_vec())
    }

    /// Sends a part that must be taken.
    pub async fn send(&self, offset: usize, bytes: &[u8]) {
        let answer = self.part(offset, bytes).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{}", answer.text().await.unwrap());
        assert_eq!(number(&answer, "upload-offset"), Some((offset + bytes.len()) as u64));
    }

    /// Sends the first bytes of a part and leaves the connection open.
    pub async fn send_some(&self, offset: usize, part: &[u8], sent: usize, fields: &str) -> TcpStream {
        let url: reqwest::Url = self.url.parse().unwrap();
        let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let head = format!(
            "PATCH {} HTTP/1.1\r\nhost: {host}\r\ntus-resumable: 1.0.0\r\nupload-offset: {offset}\r\n\
             content-type: {PART}\r\n{fields}content-length: {}\r\n\r\n",
            url.path(),
            part.len()
        );
        let mut central = TcpStream::connect(&host).await.unwrap();
        // An early answer is one, too: then these fail.
        let _ = central.write_all(head.as_bytes()).await;
        let _ = central.write_all(&part[..sent]).await;
        central
    }

    /// Sends the first bytes of a part, then the connection breaks: closed half and seen to its
    /// end, or dropped at once.
    pub async fn send_cut(&self, offset: usize, part: &[u8], sent: usize, drop_at_once: bool) {
        let mut central = self.send_some(offset, part, sent, "").await;
        if drop_at_once {
            return;
        }
        let _ = central.shutdown().await;
        let ended = tokio::time::timeout(DEADLINE, central.read_to_end(&mut Vec::new())).await;
        let _ = ended.expect("central ends what was cut");
    }

    /// Sends everything that is missing, and goes on for as long as it takes.
    pub async fn finish(&self, bytes: &[u8]) {
        poll("the upload's end", || async {
            let offset = self.offset().await;
            let answer = self.part(offset, &bytes[offset..]).send().await.ok()?;
            (answer.status() == StatusCode::NO_CONTENT).then_some(())
        })
        .await;
    }

    /// Where to go on: asked until there is an answer.
    pub async fn offset(&self) -> usize {
        poll("the upload's offset", || async {
            let answer = self.request("HEAD").send().await.ok()?;
            let status = answer.status();
            assert!(
                status == StatusCode::OK || status == StatusCode::CONFLICT || status.is_server_error(),
                "{status}"
            );
            number(&answer, "upload-offset").filter(|_| status == StatusCode::OK)
        })
        .await as usize
    }

    /// What `GET` says.
    pub async fn look(&self) -> Value {
        let answer = self.http.get(&self.url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }
}
