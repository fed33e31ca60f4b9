//! What several protocols over HTTP share: one shape of error, whose request it is and
//! under which address, bodies on their way in, and the objects on their way out.

mod access;
mod address;
mod description;
mod digest_fields;
mod document;
mod errors;
mod form;
mod guard;
mod intake;
mod observe;
mod present;
mod problem;
mod routes;
mod secure;
mod site;

pub use access::{admit, admit_asking_for, admit_operator, admit_with, guarded, require, shows_nothing};
pub use address::PublicAddress;
pub use description::ApiDescription;
pub use digest_fields::{announced_digests, digest_fields, parse_repr_digest};
pub use document::{Document, read_document};
pub use form::{FormEntry, FormFile, read_form};
pub use guard::{guard, is_for_people};
pub use intake::{media_type_of, pump, store};
pub use observe::{Observer, observe};
pub use present::{
    blob_path, encode_segment, failed_file, file_object, file_url, form_status, place_object,
    place_of_origin, receiving_file, stored_file,
};
pub use problem::{ApiError, ProblemKind};
pub use routes::{only, read, read_for};
pub use secure::{Secure, secure};
pub use site::{Site, SiteLimits};
