//! A session ends with its sender.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::blobs::BlobStore;
use crate::domain::UploadId;
use crate::trace;

/// Ends a session when it is dropped, unless it was kept. The server drops a call's future
/// when its connection is gone, and nothing else would run then.
pub(super) struct SessionGuard {
    store: Arc<dyn BlobStore>,
    upload: UploadId,
    cleanup: TaskTracker,
    runtime: Handle,
    is_armed: bool,
}

impl SessionGuard {
    pub(super) fn new(
        store: Arc<dyn BlobStore>,
        upload: UploadId,
        cleanup: TaskTracker,
        runtime: Handle,
    ) -> Self {
        Self { store, upload, cleanup, runtime, is_armed: true }
    }

    /// The session stays.
    pub(super) fn keep(mut self) {
        self.is_armed = false;
    }

    /// Ends the session now, and waits for it: the answer that follows is true then.
    pub(super) async fn abort(mut self) {
        let (store, upload) = (Arc::clone(&self.store), self.upload);
        // In a task of its own, so that a caller who leaves meanwhile changes nothing.
        let ending = self.cleanup.spawn_on(trace::carried(end(store, upload)), &self.runtime);
        self.is_armed = false;
        ending.await.ok();
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        if self.is_armed {
            let ending = trace::carried(end(Arc::clone(&self.store), self.upload));
            self.cleanup.spawn_on(ending, &self.runtime);
        }
    }
}

async fn end(store: Arc<dyn BlobStore>, upload: UploadId) {
    if let Err(error) = store.abort(upload).await {
        tracing::warn!(upload = upload.short(), %error, "a session cannot be ended; it is left to its idle time");
    }
}
