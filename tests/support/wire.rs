//! A proxy between a browser and central that counts what the browser sends, slows it down and
//! can be cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::{Cluster, poll};

/// What a browser can have on its way here, about.
const WINDOW_BYTES: u32 = 64 << 10;

struct Counts {
    sent_bytes: AtomicU64,
    bytes_per_second: AtomicU64,
}

/// What a connection may still do.
#[derive(Clone, Copy, Default)]
struct State {
    is_cut: bool,
    /// How often it was cut: a connection ends with the first cut after its start, also one that is mended at once.
    cuts: u32,
}

/// Runs until it is dropped.
pub struct Wire {
    address: SocketAddr,
    central: SocketAddr,
    counts: Arc<Counts>,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Wire {
    /// A whole one to that cluster's central.
    pub async fn to(cluster: &Cluster) -> Self {
        let central: SocketAddr = cluster.base.strip_prefix("http://").unwrap().parse().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(WINDOW_BYTES).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(64).unwrap();
        let (state, seen) = watch::channel(State::default());
        let counts = Counts { sent_bytes: AtomicU64::new(0), bytes_per_second: AtomicU64::new(u64::MAX) };
        let counts = Arc::new(counts);
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(run(listener, central, seen, counts.clone()));
        Self { address, central, counts, state, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it leads.
    pub fn central(&self) -> SocketAddr {
        self.central
    }

    /// Bytes that the browser has sent so far, heads of requests and all.
    pub fn sent_bytes(&self) -> u64 {
        self.counts.sent_bytes.load(Ordering::SeqCst)
    }

    /// Waits until the browser has sent so many bytes in all.
    pub async fn reached(&self, bytes: u64) {
        poll("bytes from the browser", || async { (self.sent_bytes() >= bytes).then_some(()) }).await;
    }

    /// Takes so many bytes a second of each connection at most.
    pub fn slow(&self, bytes_per_second: u64) {
        self.counts.bytes_per_second.store(bytes_per_second, Ordering::SeqCst);
    }

    /// Breaks every connection, and each new one at once.
    pub fn cut(&self) {
        self.state.send_modify(|state| *state = State { is_cut: true, cuts: state.cuts + 1 });
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.state.send_modify(|state| state.is_cut = false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(listener: TcpListener, central: SocketAddr, state: watch::Receiver<State>, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((browser, _)) = listener.accept() => {
                let (mut state, counts) = (state.clone(), counts.clone());
                let began = state.borrow().cuts;
                connections.spawn(async move {
                    tokio::select! {
                        _ = state.wait_for(|state| state.is_cut || state.cuts > began) => {}
                        // A connection that breaks is what this is for.
                        _ = carry(browser, central, &counts) => {}
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut browser: TcpStream, central: SocketAddr, counts: &Counts) -> std::io::Result<()> {
    let mut to = TcpStream::connect(central).await?;
    let ((mut asks, mut hears), (mut answers, mut takes)) = (browser.split(), to.split());
    let count = async {
        let mut buffer = vec![0; WINDOW_BYTES as usize];
        loop {
            let length = asks.read(&mut buffer).await?;
            if length == 0 {
                return takes.shutdown().await;
            }
            counts.sent_bytes.fetch_add(length as u64, Ordering::SeqCst);
            takes.write_all(&buffer[..length]).await?;
            let seconds = length as f64 / counts.bytes_per_second.load(Ordering::SeqCst) as f64;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
    };
    let back = async {
        copy(&mut answers, &mut hears).await?;
        hears.shutdown().await
    };
    tokio::try_join!(count, back).map(drop)
}
