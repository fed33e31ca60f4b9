//! Metalink 4 (RFC 5854): every replica of a blob, with digests and pieces, for clients
//! that download from several servers at once.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use crate::api::common::blob_path;
use crate::domain::{PIECE_BYTES, Sha256};
use crate::service::central::link::Choice;

/// Writes the document. The URLs are central's lasting ones, so that it can be kept.
pub(super) fn metalink(base: &str, choice: &Choice, pieces: &[Sha256]) -> io::Result<Vec<u8>> {
    let digests = choice.blob.digests;
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let root = writer.create_element("metalink").with_attribute(("xmlns", "urn:ietf:params:xml:ns:metalink"));
    root.write_inner_content(|writer| {
        text(writer, "generator", concat!("closeby/", env!("CARGO_PKG_VERSION")))?;
        let name = xml_name(choice.blob.file.name.as_str());
        writer.create_element("file").with_attribute(("name", name.as_str())).write_inner_content(
            |writer| {
                text(writer, "size", &digests.size.to_string())?;
                hash(writer, "sha-256", &digests.sha256.to_string())?;
                hash(writer, "sha-1", &digests.sha1.to_string())?;
                if !pieces.is_empty() {
                    let length = PIECE_BYTES.to_string();
                    let element = writer
                        .create_element("pieces")
                        .with_attribute(("length", length.as_str()))
                        .with_attribute(("type", "sha-256"));
                    element.write_inner_content(|writer| {
                        pieces.iter().try_for_each(|piece| text(writer, "hash", &piece.to_string()))
                    })?;
                }
                for (index, replica) in choice.replicas.iter().enumerate() {
                    let url = format!("{base}{}?node={}", blob_path(digests.sha1), replica.node);
                    let priority = (index + 1).to_string();
                    let location = replica.place.country.map(|country| country.to_string().to_lowercase());
                    let mut element =
                        writer.create_element("url").with_attribute(("priority", priority.as_str()));
                    if let Some(location) = &location {
                        element = element.with_attribute(("location", location.as_str()));
                    }
                    element.write_text_content(BytesText::new(&url))?;
                }
                Ok(())
            },
        )?;
        Ok(())
    })?;
    Ok(writer.into_inner())
}

fn text(writer: &mut Writer<Vec<u8>>, name: &str, content: &str) -> io::Result<()> {
    writer.create_element(name).write_text_content(BytesText::new(content)).map(drop)
}

fn hash(writer: &mut Writer<Vec<u8>>, kind: &str, content: &str) -> io::Result<()> {
    writer
        .create_element("hash")
        .with_attribute(("type", kind))
        .write_text_content(BytesText::new(content))
        .map(drop)
}

/// XML 1.0 has no place for two code points that a name may hold (§2.2, Char).
fn xml_name(name: &str) -> String {
    name.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
