//! The one thread that writes.
//!
//! Jobs that wait are run in one transaction, each in a savepoint of its own, so that one
//! sync to disk serves them all and a job that fails takes back only itself. Nobody is
//! answered before `COMMIT` has returned.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::super::{LedgerError, Result};
use super::{Call as Kind, Timer, schema, sql};

/// Jobs in one transaction at most: bounds how long the first of them waits for the last.
const GROUP: usize = 256;

/// Jobs that wait for the writer before callers wait for room.
const QUEUE: usize = 1024;

/// What is done behind every group, once its jobs are answered.
pub(super) type Afterwork = fn(&Connection) -> Result<()>;

/// Hands jobs to the thread.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    timer: Option<Timer>,
}

/// Something to do in a transaction, and someone who waits for it.
trait Job: Send {
    /// Does it; `false` when it is to be taken back.
    fn run(&mut self, conn: &Connection) -> bool;
    /// Answers: with the job's own result when the commit succeeded.
    fn answer(self: Box<Self>, commit: std::result::Result<(), &str>);
}

struct Call<T, F> {
    job: Option<F>,
    result: Result<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T> + Send> Job for Call<T, F> {
    fn run(&mut self, conn: &Connection) -> bool {
        if let Some(job) = self.job.take() {
            self.result = catch_unwind(AssertUnwindSafe(|| job(conn)))
                .unwrap_or_else(|_| Err(LedgerError::Unavailable("the call panicked".to_owned())));
        }
        self.result.is_ok()
    }

    fn answer(self: Box<Self>, commit: std::result::Result<(), &str>) {
        let result = match commit {
            // What a failed job found was true whether or not others were committed.
            Ok(()) => self.result,
            Err(cause) => self.result.and_then(|_| Err(LedgerError::Unavailable(cause.to_owned()))),
        };
        // Whoever no longer waits asks again; every method may be repeated.
        let _ = self.reply.send(result);
    }
}

fn closed() -> LedgerError {
    LedgerError::Unavailable("the ledger is closed".to_owned())
}

impl Writer {
    /// Starts the thread on its connection.
    pub(super) fn start(path: PathBuf, conn: Connection, afterwork: Afterwork) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let work = Work { path, conn: Some(conn), afterwork };
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || work.run(receiver))
            .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        Ok(Self { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), timer: None })
    }

    /// Has its calls timed from now on.
    pub(super) fn time(&mut self, timer: Timer) {
        self.timer = Some(timer);
    }

    /// How many jobs wait.
    pub(super) fn waiting(&self) -> u64 {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity()) as u64
    }

    /// Runs the job in a transaction and waits until it is committed.
    pub(super) async fn call<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let begun = Instant::now();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, answer) = oneshot::channel();
        let not_run = LedgerError::Unavailable("the writer did not come to it".to_owned());
        let call = Call { job: Some(job), result: Err(not_run), reply };
        queue.ok_or_else(closed)?.send(Box::new(call)).await.map_err(|_| closed())?;
        let result = answer.await.map_err(|_| closed())?;
        if let Some(timer) = &self.timer {
            timer(Kind::Write, begun.elapsed());
        }
        result
    }

    /// Takes no more jobs, runs those that wait, closes the connection. Blocks.
    pub(super) fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the ledger's writer ended in a panic");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread's side.
struct Work {
    path: PathBuf,
    /// None after a failed commit: the next group opens the file anew, as a sync that failed
    /// must not be tried again on the same descriptor.
    conn: Option<Connection>,
    afterwork: Afterwork,
}

impl Work {
    fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = Vec::new();
            match self.group(first, &mut queue, &mut group) {
                Ok(()) => group.into_iter().for_each(|job| job.answer(Ok(()))),
                Err(error) => {
                    tracing::error!(%error, jobs = group.len(), "the ledger could not commit");
                    let cause = match error {
                        LedgerError::Unavailable(cause) => cause,
                        other => other.to_string(),
                    };
                    group.into_iter().for_each(|job| job.answer(Err(&cause)));
                    self.conn = None;
                    continue;
                }
            }
            if let Some(conn) = &self.conn
                && let Err(error) = (self.afterwork)(conn)
            {
                // It only makes later calls faster, and is tried again behind the next group.
                tracing::warn!(%error, "the ledger's work behind a commit failed");
                if !conn.is_autocommit() {
                    self.conn = None;
                }
            }
        }
        if let Some(conn) = self.conn.take() {
            // Closing the last connection would do the same, but would not say that it failed.
            if let Err(error) = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
                tracing::warn!(%error, "the ledger's log was not copied into it; the next start does it");
            }
            if let Err((_, error)) = conn.close() {
                tracing::warn!(%error, "the ledger did not close cleanly");
            }
        }
    }

    /// Runs `first` and what waits behind it, and commits. Every job that ran, or was to run,
    /// stands in `group` then.
    fn group(
        &mut self,
        first: Box<dyn Job>,
        queue: &mut mpsc::Receiver<Box<dyn Job>>,
        group: &mut Vec<Box<dyn Job>>,
    ) -> Result<()> {
        group.push(first);
        let conn = match self.conn.take() {
            Some(conn) => conn,
            // Never makes a file: an empty ledger must not stand in for a lost one.
            None => schema::open_writer(&self.path, OpenFlags::empty())?,
        };
        let conn = self.conn.insert(conn);
        sql::run(conn, "BEGIN IMMEDIATE", [])?;
        loop {
            if let Some(job) = group.last_mut() {
                sql::run(conn, "SAVEPOINT job", [])?;
                let done = job.run(conn);
                // Some errors (a full disk) make SQLite take back the whole transaction.
                if conn.is_autocommit() {
                    return Err(LedgerError::Unavailable("the transaction was rolled back".to_owned()));
                }
                if !done {
                    sql::run(conn, "ROLLBACK TO job", [])?;
                }
                sql::run(conn, "RELEASE job", [])?;
            }
            if group.len() == GROUP {
                break;
            }
            match queue.try_recv() {
                Ok(next) => group.push(next),
                Err(_) => break,
            }
        }
        sql::run(conn, "COMMIT", [])?;
        Ok(())
    }
}
