//! The line between a client and central: it counts what is sent, and breaks where a test says.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::poll;

struct State {
    /// What came from the client and was passed on, in bytes.
    sent: u64,
    /// Where it breaks, counted in the bytes that were sent.
    cuts: VecDeque<u64>,
    /// Where nothing moves any more until the line is cut.
    hold: Option<u64>,
    is_down: bool,
}

/// A proxy to one address. Every connection carries any number of calls.
pub struct Line {
    pub url: String,
    state: Arc<Mutex<State>>,
    cut: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Line {
    pub async fn start(to: &str) -> Self {
        let to: SocketAddr = to.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State { sent: 0, cuts: VecDeque::new(), hold: None, is_down: false };
        let (state, cut) = (Arc::new(Mutex::new(state)), watch::Sender::new(()));
        let (shared, cuts) = (state.clone(), cut.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((client, _)) = listener.accept() => {
                        if shared.lock().unwrap().is_down {
                            continue;
                        }
                        let (state, mut cut) = (shared.clone(), cuts.subscribe());
                        connections.spawn(async move {
                            tokio::select! {
                                // A connection that breaks is what this is for.
                                _ = carry(client, to, &state) => {}
                                _ = cut.changed() => {}
                            }
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { url, state, cut, task }
    }

    /// What the client sent since the line was last asked, in bytes.
    pub fn take_sent(&self) -> u64 {
        std::mem::take(&mut self.state.lock().unwrap().sent)
    }

    /// Breaks each time so many bytes were sent in all.
    pub fn cut_at(&self, bytes: &[u64]) {
        self.state.lock().unwrap().cuts.extend(bytes);
    }

    /// Every break has happened.
    pub fn assert_spent(&self) {
        assert!(self.state.lock().unwrap().cuts.is_empty(), "it was not cut each time");
    }

    /// Lets so many bytes pass and no more, until the line is cut.
    pub fn hold_at(&self, bytes: u64) {
        self.state.lock().unwrap().hold = Some(bytes);
    }

    /// Waits until it holds.
    pub async fn held(&self) {
        poll("the line holds", || async {
            let state = self.state.lock().unwrap();
            state.hold.is_some_and(|hold| state.sent >= hold).then_some(())
        })
        .await;
    }

    /// Cuts every connection; new ones are carried, or refused.
    pub fn cut(&self, is_down: bool) {
        let mut state = self.state.lock().unwrap();
        state.hold = None;
        state.is_down = is_down;
        self.cut.send_replace(());
    }

    /// Carries again what comes.
    pub fn up(&self) {
        self.state.lock().unwrap().is_down = false;
    }

    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn carry(mut client: TcpStream, to: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(to).await?;
    let ((mut asks, mut hears), (mut answers, mut takes)) = (client.split(), server.split());
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = asks.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            takes.write_all(&buffer[..read]).await?;
            let is_held = {
                let mut state = state.lock().unwrap();
                state.sent += read as u64;
                if state.cuts.front().is_some_and(|at| *at <= state.sent) {
                    state.cuts.pop_front();
                    return Ok(());
                }
                state.hold.is_some_and(|at| at <= state.sent)
            };
            if is_held {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        sent = up => sent,
        heard = copy(&mut answers, &mut hears) => heard.map(drop),
    }
}
