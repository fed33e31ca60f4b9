//! A proxy between central and a node that loses or holds calls as a test scripts it.
//!
//! Central is told that the node is at [`PROXY`]; people download from the node itself. Each
//! connection carries one call, so no body has to be understood.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::DEADLINE;

/// Where the proxies listen, on the port that the node has on [`Ipv4Addr::LOCALHOST`].
pub const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A call of central to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Write,
    Copy,
    Append,
    Prepare,
    Finish,
    Abort,
    Other,
}

impl Call {
    fn of(head: &[u8]) -> Self {
        let head = String::from_utf8_lossy(head);
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match (method, path.rsplit('/').next().unwrap_or_default()) {
            ("POST", "copy") => Self::Copy,
            ("POST", "prepare") => Self::Prepare,
            ("POST", "finish") => Self::Finish,
            ("PATCH", _) if path.contains("/sessions/") => Self::Append,
            ("PUT", _) if path.contains("/sessions/") => Self::Write,
            ("DELETE", _) if path.contains("/sessions/") => Self::Abort,
            _ => Self::Other,
        }
    }
}

/// What becomes of one call.
enum Fault {
    /// The node never sees it.
    LoseRequest,
    /// The node does it; central does not hear so.
    LoseAnswer,
    /// The connection breaks when about so many bytes have gone to the node.
    BreakAfter(u64),
    /// Waits before the node sees it.
    HoldRequest(Gate),
    /// Waits when the node has done it.
    HoldAnswer(Gate),
}

struct Gate {
    reached: oneshot::Sender<&'static str>,
    open: oneshot::Receiver<()>,
}

impl Gate {
    /// Waits until the test lets it pass; false when it is to be cut instead.
    async fn wait(self, place: &'static str) -> bool {
        self.reached.send(place).is_ok() && self.open.await.is_ok()
    }
}

/// A call that is to be held. Dropping this cuts it.
pub struct Held {
    reached: Option<oneshot::Receiver<&'static str>>,
    open: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the call has come this far; says at which node.
    pub async fn reached(&mut self) -> &'static str {
        let reached = self.reached.take().expect("it is waited for once");
        tokio::time::timeout(DEADLINE, reached).await.expect("the call comes").expect("the proxy runs")
    }

    /// Lets it pass.
    pub fn release(self) {
        let _ = self.open.send(());
    }
}

/// The script of a cluster's proxies: each fault meets the next call of its kind, at whichever
/// node that is.
#[derive(Clone, Default)]
pub struct Cut(Arc<Mutex<VecDeque<(Call, Fault)>>>);

impl Cut {
    fn add(&self, call: Call, fault: Fault) {
        self.0.lock().unwrap().push_back((call, fault));
    }

    fn take(&self, call: Call) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap();
        let at = faults.iter().position(|(wanted, _)| *wanted == call)?;
        faults.remove(at).map(|(_, fault)| fault)
    }

    pub fn lose_requests(&self, call: Call, times: usize) {
        (0..times).for_each(|_| self.add(call, Fault::LoseRequest));
    }

    pub fn lose_answers(&self, call: Call, times: usize) {
        (0..times).for_each(|_| self.add(call, Fault::LoseAnswer));
    }

    pub fn break_after(&self, call: Call, bytes: u64) {
        self.add(call, Fault::BreakAfter(bytes));
    }

    pub fn hold_request(&self, call: Call) -> Held {
        self.hold(call, Fault::HoldRequest)
    }

    pub fn hold_answer(&self, call: Call) -> Held {
        self.hold(call, Fault::HoldAnswer)
    }

    fn hold(&self, call: Call, fault: impl FnOnce(Gate) -> Fault) -> Held {
        let ((reached, was_reached), (open, opened)) = (oneshot::channel(), oneshot::channel());
        self.add(call, fault(Gate { reached, open: opened }));
        Held { reached: Some(was_reached), open }
    }

    /// Every fault has met its call.
    pub fn assert_spent(&self) {
        let left: Vec<Call> = self.0.lock().unwrap().iter().map(|(call, _)| *call).collect();
        assert!(left.is_empty(), "calls that never came: {left:?}");
    }

    /// Listeners of a node and of its proxy on one port.
    pub fn listen() -> (StdListener, StdListener) {
        loop {
            let node = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            // Another test's proxy may have the port.
            if let Ok(proxy) = StdListener::bind((PROXY, node.local_addr().unwrap().port())) {
                return (node, proxy);
            }
        }
    }

    /// Runs a node's proxy until the task is aborted.
    pub fn run(&self, place: &'static str, listener: StdListener, node: SocketAddr) -> JoinHandle<()> {
        listener.set_nonblocking(true).unwrap();
        let (listener, script) = (TcpListener::from_std(listener).unwrap(), self.clone());
        tokio::spawn(async move {
            let mut calls = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((central, _)) = listener.accept() => {
                        let script = script.clone();
                        // A connection that breaks is what this is for.
                        calls.spawn(async move { drop(script.carry(place, central, node).await) });
                    }
                    Some(_) = calls.join_next() => {}
                }
            }
        })
    }

    async fn carry(
        &self,
        place: &'static str,
        mut central: TcpStream,
        node: SocketAddr,
    ) -> std::io::Result<()> {
        let mut head = Vec::new();
        let line = loop {
            if let Some(end) = head.windows(2).position(|end| end == b"\r\n") {
                break end + 2;
            }
            if central.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        };
        let fault = match self.take(Call::of(&head)) {
            Some(Fault::LoseRequest) => return Ok(()),
            Some(Fault::HoldRequest(gate)) => match gate.wait(place).await {
                true => None,
                false => return Ok(()),
            },
            fault => fault,
        };
        let mut to = TcpStream::connect(node).await?;
        to.write_all(&head[..line]).await?;
        to.write_all(b"connection: close\r\n").await?;
        to.write_all(&head[line..]).await?;
        if fault.is_none() {
            return copy_bidirectional(&mut central, &mut to).await.map(drop);
        }
        if let Some(Fault::BreakAfter(bytes)) = fault {
            return copy(&mut central.take(bytes), &mut to).await.map(drop);
        }
        let mut answer = Vec::new();
        {
            let ((mut asks, _), (mut answers, mut hears)) = (central.split(), to.split());
            tokio::select! {
                read = answers.read_to_end(&mut answer) => drop(read?),
                gone = copy(&mut asks, &mut hears) => return gone.map(drop),
            }
        }
        if let Some(Fault::HoldAnswer(gate)) = fault
            && gate.wait(place).await
        {
            central.write_all(&answer).await?;
        }
        Ok(())
    }
}
