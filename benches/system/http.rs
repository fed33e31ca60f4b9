//! A client that costs as little as can be: HTTP/1.1 over one blocking connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Room for a head, and for what is read of a body at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A connection that is kept.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; its name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.lines().skip(1).filter_map(|line| line.split_once(": "))
    }

    /// A text of the JSON object that the body is.
    pub fn text(&self, key: &str) -> String {
        let object: serde_json::Value = serde_json::from_slice(&self.body).expect("the answer is JSON");
        object[key].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// Connects to `host:port`.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server takes connections");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        stream.set_read_timeout(Some(Duration::from_secs(300))).expect("a timeout can be set");
        Self { stream, buffer: vec![0; BUFFER_BYTES] }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes the request");
    }

    /// Reads an answer whole.
    pub fn answer(&mut self) -> Answer {
        let mut body = Vec::new();
        let (status, head) = self.read(|part| body.extend_from_slice(part));
        Answer { status, head, body }
    }

    /// Reads an answer; `take` gets its body part by part. Gives the status and the head.
    pub fn read(&mut self, mut take: impl FnMut(&[u8])) -> (u16, String) {
        let (filled, ends) = self.head();
        let head = String::from_utf8_lossy(&self.buffer[..ends]).into_owned();
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("the answer has a status");
        let mut left = body_length(&head) - (filled - ends) as u64;
        take(&self.buffer[ends..filled]);
        while left > 0 {
            let part = self.stream.read(&mut self.buffer).expect("the server goes on");
            assert!(part > 0, "the connection ended inside a body");
            take(&self.buffer[..part]);
            left -= part as u64;
        }
        (status, head)
    }

    /// Reads an answer that has no body and looks at nothing but its status.
    pub fn status(&mut self) -> u16 {
        let (filled, ends) = self.head();
        assert_eq!(filled, ends, "no body was expected");
        std::str::from_utf8(&self.buffer[9..12]).ok().and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Reads up to the end of a head; says how much is in the buffer and where the head ends.
    fn head(&mut self) -> (usize, usize) {
        let mut filled = 0;
        loop {
            let part = self.stream.read(&mut self.buffer[filled..]).expect("the server answers");
            assert!(part > 0, "the connection ended before an answer");
            filled += part;
            let head = &self.buffer[..filled];
            if head.ends_with(b"\r\n\r\n") {
                return (filled, filled);
            }
            if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                return (filled, at + 4);
            }
        }
    }
}

fn body_length(head: &str) -> u64 {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(key, _)| key.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

/// Splits `http://host:port/path` into the address and the path.
pub fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").expect("a plain http URL");
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

/// The head of an upload. Each client says another address, as one address alone gets only a
/// share of the slots.
pub fn upload_head(host: &str, name: &str, client: usize, bytes: u64) -> Vec<u8> {
    format!(
        "POST /api/v1/files?name={name} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 203.5.76.{}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n",
        client + 1
    )
    .into_bytes()
}

/// An answer is to have this status.
#[track_caller]
pub fn expect_status(answer: &Answer, status: u16) {
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "the server answered\n{}{body}", answer.head);
}
