//! The bodies of downloads.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody, SizedStream};
use actix_web::web::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::domain::UploadId;
use crate::service::node::Content;

/// The body of an answer to `HEAD`: its length, and nothing is read.
pub(super) struct HeadBody(pub(super) u64);

impl MessageBody for HeadBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

/// One range. An error on the way breaks the connection: its length is announced, so nobody
/// takes less for the whole.
pub(super) fn one(content: &Content, range: Range<u64>) -> BoxBody {
    BoxBody::new(SizedStream::new(range.end - range.start, Box::pin(content.stream(range))))
}

/// Several ranges as `multipart/byteranges` (RFC 9110 §14.6): the media type and the body.
pub(super) fn many(content: &Content, parts: Vec<Range<u64>>, media_type: &str) -> (String, BoxBody) {
    // 128 random bits occur in no content by accident, and nobody knows them before.
    let boundary = UploadId::random();
    let size = content.size();
    let head = |index: usize, part: &Range<u64>| {
        format!(
            "{}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {}\r\n\r\n",
            if index == 0 { "" } else { "\r\n" },
            content_range(part, size),
        )
    };
    let parts: Vec<(String, Range<u64>)> =
        parts.into_iter().enumerate().map(|(index, part)| (head(index, &part), part)).collect();
    let end = format!("\r\n--{boundary}--\r\n");
    let length = parts.iter().map(|(head, part)| head.len() as u64 + (part.end - part.start)).sum::<u64>();
    let content = content.clone();
    let body = stream::iter(parts)
        .map(move |(head, part)| stream::iter([Ok(Bytes::from(head))]).chain(content.stream(part)))
        .flatten()
        .chain(stream::iter([Ok(Bytes::from(end.clone()))]));
    let body = SizedStream::new(length + end.len() as u64, Box::pin(body));
    (format!("multipart/byteranges; boundary={boundary}"), BoxBody::new(body))
}

/// A `Content-Range` of a part that is there.
pub(super) fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}
