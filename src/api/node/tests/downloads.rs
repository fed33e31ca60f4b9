//! `/b/{sha1}/{name}`: every header, and ranges against the bytes.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Response;

use super::{Served, code, serve, serve_node};
use crate::domain::{BlobDigests, InlineType, Sha1, Timestamp, UploadId};
use crate::service::node::testing::{
    BlobReader, BlobStore, Capacity, DescribedFile, Expected, InventoryPage, Prepared, PreparedSession,
    SessionOptions, StoreResult, StoredBlob, TestNode, content,
};
use crate::service::node::{READ_BYTES, ServiceLimits};
use crate::tickets::{Disposition, LinkTicket};

const CACHE: &str = "public, max-age=31536000, immutable";

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn ask(node: &Served, link: &str, fields: &[(&str, &str)]) -> Response {
    let mut request = node.get(link);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn check_always(answer: &Response) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("referrer-policy", "no-referrer"),
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "Content-Range, ETag, Repr-Digest, Content-Length, Accept-Ranges"),
        ("set-cookie", ""),
    ] {
        assert_eq!(header(answer, name), value, "{name}");
    }
}

fn check_description(answer: &Response, blob: &BlobDigests) {
    check_always(answer);
    let (sha1, sha256) = (blob.sha1.to_base64(), blob.sha256.to_base64());
    for (name, value) in [
        ("etag", format!("\"{}\"", blob.sha256)),
        ("accept-ranges", "bytes".to_owned()),
        ("cache-control", CACHE.to_owned()),
        ("repr-digest", format!("sha-256=:{sha256}:, sha=:{sha1}:")),
        ("digest", format!("SHA-256={sha256}")),
        (
            "content-disposition",
            "attachment; filename=\"n_me; x.txt\"; filename*=UTF-8''n%C3%A4me%3B%20x.txt".to_owned(),
        ),
    ] {
        assert_eq!(header(answer, name), value, "{name}");
    }
}

#[tokio::test]
async fn an_answer_says_all_that_clients_need() {
    let node = serve().await;
    let bytes = content(1000);
    let blob = node.store(&bytes).await;
    let link = node.link_to(&blob, "näme; x.txt");
    let etag = format!("\"{}\"", blob.sha256);

    let answer = ask(&node, &link, &[]).await;
    assert_eq!(answer.status(), 200);
    check_description(&answer, &blob);
    assert_eq!((header(&answer, "content-type"), header(&answer, "content-length")), ("text/plain", "1000"));
    assert_eq!(answer.bytes().await.unwrap(), bytes);

    let answer = node.http.head(node.url(&link)).header("range", "bytes=0-0").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    check_description(&answer, &blob);
    assert_eq!((header(&answer, "content-type"), header(&answer, "content-length")), ("text/plain", "1000"));
    assert!(answer.bytes().await.unwrap().is_empty());

    let answer = ask(&node, &link, &[("range", "bytes=10-19")]).await;
    assert_eq!(answer.status(), 206);
    check_description(&answer, &blob);
    assert_eq!(header(&answer, "content-range"), "bytes 10-19/1000");
    assert_eq!((header(&answer, "content-type"), header(&answer, "content-length")), ("text/plain", "10"));
    assert_eq!(answer.bytes().await.unwrap(), bytes[10..20]);

    let answer = ask(&node, &link, &[("if-none-match", &etag), ("range", "bytes=0-0")]).await;
    assert_eq!(answer.status(), 304);
    check_description(&answer, &blob);
    assert!(answer.bytes().await.unwrap().is_empty());

    let answer = ask(&node, &link, &[("range", "bytes=1000-")]).await;
    check_always(&answer);
    assert_eq!(header(&answer, "content-range"), "bytes */1000");
    assert_eq!(code(answer).await, (416, "range-not-satisfiable".into()));

    let answer = ask(&node, &link, &[("if-match", "\"x\"")]).await;
    check_always(&answer);
    assert_eq!(code(answer).await, (412, "precondition-failed".into()));

    for (validator, status) in [(&*etag, 206), ("\"x\"", 200), ("Sat, 29 Oct 1994 19:43:31 GMT", 200)] {
        let answer = ask(&node, &link, &[("if-range", validator), ("range", "bytes=0-0")]).await;
        assert_eq!(answer.status(), status, "{validator}");
    }

    let answer = node.http.request(reqwest::Method::OPTIONS, node.url("/b/any/thing")).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    check_always(&answer);
    assert_eq!(header(&answer, "access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert_eq!(header(&answer, "access-control-allow-headers"), "Range, If-Range, If-None-Match, If-Match");
}

#[tokio::test]
async fn a_link_for_showing_pins_the_type_and_nothing_is_run() {
    let node = serve().await;
    let blob = node.store(b"<script>alert(1)</script>").await;
    let shown = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox";
    for (media_type, policy) in [
        ("image/png", shown),
        ("video/mp4", shown),
        ("text/plain; charset=utf-8", shown),
        ("application/pdf", "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'"),
    ] {
        let disposition = Disposition::Inline(InlineType::parse(media_type).unwrap());
        let link = LinkTicket { disposition, ..node.link(blob.sha1, "a b.png") }.sign(&node.key);
        for (range, status) in [("", 200), ("bytes=0-3", 206)] {
            let fields: &[(&str, &str)] = if range.is_empty() { &[] } else { &[("range", range)] };
            let answer = ask(&node, &link, fields).await;
            assert_eq!(answer.status(), status);
            for (name, value) in [
                ("content-type", media_type),
                ("content-disposition", "inline; filename=\"a b.png\"; filename*=UTF-8''a%20b.png"),
                ("content-security-policy", policy),
                ("x-content-type-options", "nosniff"),
                ("access-control-allow-origin", "*"),
            ] {
                assert_eq!(header(&answer, name), value, "{media_type}: {name}");
            }
        }
        let escaped =
            media_type.replace('/', "%2F").replace(';', "%3B").replace(' ', "%20").replace('=', "%3D");
        for other in [
            link.replace(&format!("&m={escaped}&"), "&m=text%2Fhtml&"),
            link.replace(&format!("&m={escaped}&"), "&m=image%2Fwebp&"),
            link.replace("&d=inline&", "&d=attachment&"),
            node.link_to(&blob, "a b.png").replace("&d=attachment&", "&d=inline&"),
        ] {
            assert_ne!(other, link);
            let answer = ask(&node, &other, &[]).await;
            assert_eq!(header(&answer, "content-security-policy"), "sandbox");
            assert_eq!(code(answer).await, (403, "forbidden".into()), "{other}");
        }
    }
}

#[tokio::test]
async fn a_file_of_no_bytes_is_a_file() {
    let node = serve().await;
    let blob = node.store(b"").await;
    let link = node.link_to(&blob, "empty");
    for fields in [&[][..], &[("range", "bytes=-5")]] {
        let answer = ask(&node, &link, fields).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "content-length")), (200, "0"));
    }
    let answer = ask(&node, &link, &[("range", "bytes=0-")]).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (416, "bytes */0"));
    let answer = node.http.head(node.url(&link)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "content-length")), (200, "0"));
}

/// The parts of a `multipart/byteranges` body: what each says it is, and its bytes.
fn parts(answer_type: &str, body: &[u8], size: usize) -> Vec<(Range<usize>, Vec<u8>)> {
    let boundary = answer_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut rest = body.strip_prefix(format!("--{boundary}").as_bytes()).unwrap();
    let mut found = vec![];
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let head_end = part.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&part[..head_end]).unwrap();
        let range = head.strip_prefix("Content-Type: text/plain\r\nContent-Range: bytes ").unwrap();
        let range = range.strip_suffix(&format!("/{size}")).unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let range = first.parse::<usize>().unwrap()..last.parse::<usize>().unwrap() + 1;
        let bytes = &part[head_end + 4..];
        found.push((range.clone(), bytes[..range.len()].to_vec()));
        rest = bytes[range.len()..].strip_prefix(format!("\r\n--{boundary}").as_bytes()).unwrap();
    }
    assert_eq!(rest, b"--\r\n");
    found
}

#[tokio::test]
async fn ranges_are_the_bytes_that_were_asked_for() {
    let node = serve().await;
    let read = usize::try_from(READ_BYTES).unwrap();
    let size = 3 * read + 7;
    let bytes = content(size);
    let blob = node.store(&bytes).await;
    let link = node.link_to(&blob, "f");
    let edges = [0, 1, read - 1, read, read + 1, 2 * read, 3 * read, 3 * read + 6];
    for first in edges {
        for last in edges.into_iter().filter(|last| *last >= first) {
            let answer = ask(&node, &link, &[("range", &format!("bytes={first}-{last}"))]).await;
            assert_eq!(answer.status(), 206);
            assert_eq!(header(&answer, "content-range"), format!("bytes {first}-{last}/{size}"));
            assert!(answer.bytes().await.unwrap() == bytes[first..=last], "{first}-{last}");
        }
    }
    for (field, expected) in [
        ("bytes=0-0,1000-1009,-7", vec![0..1, 1000..1010, size - 7..size]),
        ("bytes=500000-500000,0-300000", vec![500_000..500_001, 0..300_001]),
        ("bytes=0-9,2000-2009,5-700,99999999-", vec![0..701, 2000..2010]),
    ] {
        let answer = ask(&node, &link, &[("range", field)]).await;
        assert_eq!(answer.status(), 206, "{field}");
        assert_eq!(header(&answer, "content-range"), "");
        let length: usize = header(&answer, "content-length").parse().unwrap();
        let media_type = header(&answer, "content-type").to_owned();
        let body = answer.bytes().await.unwrap();
        assert_eq!(body.len(), length);
        let found = parts(&media_type, &body, size);
        assert_eq!(found.iter().map(|(range, _)| range.clone()).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|(range, part)| bytes[range.clone()] == part[..]), "{field}");
    }
    let many: Vec<String> = (0..100).map(|i| format!("{}-{}", i * 1000, i * 1000 + 1)).collect();
    let answer = ask(&node, &link, &[("range", &format!("bytes={}", many.join(",")))]).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap() == bytes);
}

/// A store whose disk fails at a place in every blob.
struct Failing {
    store: Arc<dyn BlobStore>,
    at: u64,
}

struct FailingReader {
    reader: Box<dyn BlobReader>,
    at: u64,
}

#[async_trait]
impl BlobReader for FailingReader {
    fn size(&self) -> u64 {
        self.reader.size()
    }

    async fn read(&self, range: Range<u64>) -> StoreResult<Bytes> {
        if range.contains(&self.at) {
            return Err(std::io::Error::other("on purpose").into());
        }
        self.reader.read(range).await
    }
}

#[async_trait]
impl BlobStore for Failing {
    async fn create_session(&self, upload: UploadId, options: SessionOptions) -> StoreResult<()> {
        self.store.create_session(upload, options).await
    }
    async fn append(&self, upload: UploadId, offset: u64, bytes: Bytes) -> StoreResult<u64> {
        self.store.append(upload, offset, bytes).await
    }
    async fn acknowledge(&self, upload: UploadId) -> StoreResult<u64> {
        self.store.acknowledge(upload).await
    }
    async fn acknowledged(&self, upload: UploadId) -> StoreResult<u64> {
        self.store.acknowledged(upload).await
    }
    async fn hold(&self, upload: UploadId) -> StoreResult<()> {
        self.store.hold(upload).await
    }
    async fn rewind(&self, upload: UploadId, offset: u64) -> StoreResult<()> {
        self.store.rewind(upload, offset).await
    }
    async fn prepare(&self, upload: UploadId, expected: Expected, by: Timestamp) -> StoreResult<Prepared> {
        self.store.prepare(upload, expected, by).await
    }
    async fn finish(
        &self,
        upload: UploadId,
        sha1: Sha1,
        generation: crate::domain::Generation,
        files: Vec<DescribedFile>,
    ) -> StoreResult<()> {
        self.store.finish(upload, sha1, generation, files).await
    }
    async fn abort(&self, upload: UploadId) -> StoreResult<()> {
        self.store.abort(upload).await
    }
    async fn open_session(&self, upload: UploadId) -> StoreResult<Box<dyn BlobReader>> {
        self.store.open_session(upload).await
    }
    async fn open_blob(&self, sha1: Sha1) -> StoreResult<(StoredBlob, Box<dyn BlobReader>)> {
        let (blob, reader) = self.store.open_blob(sha1).await?;
        Ok((blob, Box::new(FailingReader { reader, at: self.at })))
    }
    async fn inventory(&self, after: Option<Sha1>, limit: usize) -> StoreResult<InventoryPage> {
        self.store.inventory(after, limit).await
    }
    async fn prepared_sessions(&self) -> StoreResult<Vec<PreparedSession>> {
        self.store.prepared_sessions().await
    }
    async fn expire_sessions(&self) -> StoreResult<usize> {
        self.store.expire_sessions().await
    }
    async fn capacity(&self) -> StoreResult<Capacity> {
        self.store.capacity().await
    }
}

#[tokio::test]
async fn a_disk_that_fails_on_the_way_breaks_the_answer_off() {
    let at = 2 * READ_BYTES + 1;
    let wrap = |store| Arc::new(Failing { store, at }) as Arc<dyn BlobStore>;
    let node = serve_node(TestNode::with(ServiceLimits::default(), wrap).await);
    let bytes = content(usize::try_from(4 * READ_BYTES).unwrap());
    let blob = node.store(&bytes).await;
    let link = node.link_to(&blob, "f");
    for range in ["bytes=0-", "bytes=0-0,1000-900000"] {
        let answer = ask(&node, &link, &[("range", range)]).await;
        assert_eq!(answer.status(), 206);
        assert!(answer.bytes().await.is_err(), "{range}");
    }
    // HEAD reads nothing.
    let answer = node.http.head(node.url(&link)).send().await.unwrap();
    assert_eq!(header(&answer, "content-length"), bytes.len().to_string());
}
