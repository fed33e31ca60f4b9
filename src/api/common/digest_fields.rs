//! The HTTP fields that carry digests: `Repr-Digest` (RFC 9530) and, for older clients,
//! `Digest` (RFC 3230).

use actix_web::HttpRequest;

use crate::domain::{BlobDigests, Sha1, Sha256};

use super::problem::{ApiError, ProblemKind};

/// The two fields of a blob: `Repr-Digest` and `Digest`.
#[must_use]
pub fn digest_fields(digests: &BlobDigests) -> [(&'static str, String); 2] {
    let (sha256, sha1) = (digests.sha256.to_base64(), digests.sha1.to_base64());
    [("repr-digest", format!("sha-256=:{sha256}:, sha=:{sha1}:")), ("digest", format!("SHA-256={sha256}"))]
}

/// Reads a `Repr-Digest` field: what it says of `sha` and `sha-256`; other algorithms are
/// passed over (RFC 9530 §3).
///
/// # Errors
/// When a digest of these two cannot be read.
pub fn parse_repr_digest(field: &str) -> Result<(Option<Sha1>, Option<Sha256>), ApiError> {
    let (mut sha1, mut sha256) = (None, None);
    for member in field.split(',') {
        let Some((algorithm, value)) = member.trim().split_once('=') else { return Err(unreadable()) };
        // Parameters say nothing that is known here (RFC 8941 §3.1.2).
        let value = value.split(';').next().unwrap_or_default().trim_end();
        let value =
            || value.strip_prefix(':').and_then(|value| value.strip_suffix(':')).ok_or_else(unreadable);
        match algorithm {
            "sha" => sha1 = Some(Sha1::from_base64(value()?).map_err(|_| unreadable())?),
            "sha-256" => sha256 = Some(Sha256::from_base64(value()?).map_err(|_| unreadable())?),
            _ => {}
        }
    }
    Ok((sha1, sha256))
}

/// What the `Repr-Digest` fields of a request say, all lines of them (RFC 9110 §5.3).
///
/// # Errors
/// When they cannot be read.
pub fn announced_digests(request: &HttpRequest) -> Result<(Option<Sha1>, Option<Sha256>), ApiError> {
    let lines: Vec<&str> =
        request.headers().get_all("repr-digest").map(|line| line.to_str().unwrap_or_default()).collect();
    if lines.is_empty() { Ok((None, None)) } else { parse_repr_digest(&lines.join(",")) }
}

fn unreadable() -> ApiError {
    ApiError::new(
        ProblemKind::BadRequest,
        "the Repr-Digest field cannot be read: write it as sha-256=:BASE64:, sha=:BASE64: (RFC 9530)",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let digests = BlobDigests { sha1: Sha1::new([1; 20]), sha256: Sha256::new([2; 32]), size: 3 };
        let [(_, field), _] = digest_fields(&digests);
        assert_eq!(parse_repr_digest(&field).unwrap(), (Some(digests.sha1), Some(digests.sha256)));
        let with_parameter = field.replacen(":,", ":;p=1,", 1);
        assert_eq!(parse_repr_digest(&with_parameter).unwrap(), (Some(digests.sha1), Some(digests.sha256)));
        assert_eq!(parse_repr_digest("md5=:AAAA:").unwrap(), (None, None));
        for wrong in
            ["", "sha", "sha=AAAA", "sha=::", "sha-256=:AAAA:", "sha=:AQEBAQEBAQEBAQEBAQEBAQEBAQE=", "x"]
        {
            assert!(parse_repr_digest(wrong).is_err(), "{wrong}");
        }
    }
}
