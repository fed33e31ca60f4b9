//! How far an upload is, and what is left of it for the next run, in words.

use std::sync::{Mutex, PoisonError};

use indicatif::HumanBytes;

use super::Local;

/// How far the upload that runs now is, for whoever interrupts it.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<Option<Standing>>);

/// One upload, as whoever ends the command finds it.
pub(super) struct Standing {
    pub local: Local,
    pub offset: u64,
    pub is_remembered: bool,
}

impl UnderWay {
    pub fn set(&self, standing: Option<Standing>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// What is left of it, in words.
    pub fn remains(&self) -> String {
        let standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        standing.as_ref().map_or_else(
            || "the files whose links were printed are stored".to_owned(),
            |Standing { local, offset, is_remembered }| {
                format!("{}: {}", local.path.display(), goes_on(local, *offset, *is_remembered))
            },
        )
    }
}

/// What the same command would do.
pub(super) fn goes_on(local: &Local, offset: u64, is_remembered: bool) -> String {
    if is_remembered {
        let at = of(offset, local.size);
        format!("{at} are on the server, and the same command goes on from there")
    } else {
        "nothing could be remembered of it here, so the same command begins anew".to_owned()
    }
}

/// How far it is, in words.
pub(super) fn of(offset: u64, size: u64) -> String {
    format!("{} of {}", HumanBytes(offset), HumanBytes(size))
}
