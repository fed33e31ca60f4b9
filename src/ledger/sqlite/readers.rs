//! A few connections that only read, beside the writer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::super::{LedgerError, Result};
use super::{Call, Timer, schema};
use crate::trace;

/// Connections, each used by one call at a time.
pub(super) struct Readers {
    pool: Arc<Pool>,
    permits: Arc<Semaphore>,
    connections: u32,
    timer: Option<Timer>,
}

struct Pool(Mutex<Vec<Connection>>);

/// Brings its connection back, also when a call panics.
struct Lent {
    pool: Arc<Pool>,
    conn: Option<Connection>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}

fn closed() -> LedgerError {
    LedgerError::Unavailable("the ledger is closed".to_owned())
}

impl Readers {
    /// Opens a connection a core, from two to eight.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connections = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
        let pool = (0..connections).map(|_| schema::open_reader(path)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            pool: Arc::new(Pool(Mutex::new(pool))),
            permits: Arc::new(Semaphore::new(connections)),
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            timer: None,
        })
    }

    /// Has its calls timed from now on.
    pub(super) fn time(&mut self, timer: Timer) {
        self.timer = Some(timer);
    }

    /// Runs the call off the async threads; all it reads is of one moment.
    pub(super) async fn call<T, F>(&self, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let begun = Instant::now();
        // The permit goes with the work: a caller that no longer waits does not free it.
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let pool = Arc::clone(&self.pool);
        let work = move || {
            let _permit = permit;
            let conn = pool.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let lent = Lent { pool, conn };
            let conn = lent.conn.as_ref().ok_or_else(closed)?;
            let moment = conn.unchecked_transaction()?;
            let result = call(&moment);
            drop(moment);
            result
        };
        let result = tokio::task::spawn_blocking(trace::carried_job(work))
            .await
            .map_err(|error| LedgerError::Unavailable(format!("a read did not end: {error}")))?;
        if let Some(timer) = &self.timer {
            timer(Call::Read, begun.elapsed());
        }
        result
    }

    /// Waits for the reads that were begun and closes the connections.
    pub(super) async fn close(&self) {
        let _all = self.permits.acquire_many(self.connections).await;
        self.permits.close();
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
