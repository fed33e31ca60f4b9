//! What central and nodes have in common where connections come in.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long a server keeps an idle connection of HTTP/1.1: longer than the cluster's own clients (20 s) and
/// common proxies (60 s) do, so that it is never closed just when a request comes over it. One of HTTP/2 is
/// asked so often whether it lives, and kept as long as it answers.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A request's head has so long to come.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// An early answer to a slow sender is lost to a reset when this is short.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// Sessions and connections have files open: as many as the system lets this process have, not as few as it
/// gives by itself.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "the number of open files stays limited");
    }
}
