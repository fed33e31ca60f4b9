//! One upload's bytes on their way to two nodes at once.
//!
//! Each node has a leg: a bounded queue and a call that streams it. If one fails or takes
//! nothing for too long, the stream goes on to the other alone; when that one is prepared,
//! a new node copies the whole from it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cluster::membership::{Member, Membership};
use crate::cluster::node_client::NodeError;
use crate::trace;

/// Chunks that may wait for one node. With the chunks of one network read (up to 64 KiB)
/// this bounds what an upload holds in memory.
const QUEUE: usize = 32;

/// What goes to a node. A queue that ends without `End` was cut, and its call with it.
enum Piece {
    Data(Bytes),
    End,
}

/// The body ends here because its sender did not finish it.
#[derive(Debug, thiserror::Error)]
#[error("the sender did not finish")]
pub(super) struct Cut;

/// What one node is sent.
pub(super) type Body = BoxStream<'static, Result<Bytes, Cut>>;

/// One node's side of an upload; the call answers with a `T`.
pub(super) struct Leg<T> {
    pub(super) member: Arc<Member>,
    queue: Option<mpsc::Sender<Piece>>,
    call: JoinHandle<Result<T, NodeError>>,
}

impl<T: Send + 'static> Leg<T> {
    /// Begins the call that sends the body to the node.
    pub(super) fn start<F>(member: Arc<Member>, call: impl FnOnce(Arc<Member>, Body) -> F) -> Self
    where
        F: Future<Output = Result<T, NodeError>> + Send + 'static,
    {
        let (queue, pieces) = mpsc::channel(QUEUE);
        let body = stream::unfold(Some(pieces), |pieces| async {
            let mut pieces: mpsc::Receiver<Piece> = pieces?;
            match pieces.recv().await {
                Some(Piece::Data(bytes)) => Some((Ok(bytes), Some(pieces))),
                Some(Piece::End) => None,
                None => Some((Err(Cut), None)),
            }
        })
        .fuse()
        .boxed();
        let call = tokio::spawn(trace::carried(call(Arc::clone(&member), body)));
        Self { member, queue: Some(queue), call }
    }

    /// Queues bytes; false when the node no longer takes them.
    async fn send(&mut self, bytes: Bytes, patience: Duration) -> bool {
        let Some(queue) = &self.queue else { return false };
        let sent = matches!(tokio::time::timeout(patience, queue.send(Piece::Data(bytes))).await, Ok(Ok(())));
        if !sent {
            self.queue = None;
        }
        sent
    }

    /// Says that the body is whole.
    async fn end(&mut self, patience: Duration) {
        if let Some(queue) = self.queue.take() {
            let _ = tokio::time::timeout(patience, queue.send(Piece::End)).await;
        }
    }

    /// Waits for the receipt.
    async fn receipt(mut self, within: Duration) -> (Arc<Member>, Result<T, NodeError>) {
        // A leg that was cut off earlier has nothing left to wait for but its error.
        let within = if self.call.is_finished() { Duration::from_secs(1) } else { within };
        let outcome = match tokio::time::timeout(within, &mut self.call).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(NodeError::BadAnswer("the call broke")),
            Err(_) => {
                self.call.abort();
                Err(NodeError::Unreachable("it took too long".to_owned()))
            }
        };
        (self.member, outcome)
    }
}

/// Both legs of an upload.
pub(super) struct Transfer<T> {
    legs: Vec<Leg<T>>,
    failed: Vec<(Arc<Member>, NodeError)>,
    patience: Duration,
}

impl<T: Send + 'static> Transfer<T> {
    /// `patience`: a node that takes nothing for so long is given up.
    pub(super) const fn new(legs: Vec<Leg<T>>, patience: Duration) -> Self {
        Self { legs, failed: Vec::new(), patience }
    }

    /// How many nodes still take bytes.
    pub(super) fn width(&self) -> u64 {
        self.legs.len() as u64
    }

    /// Sends bytes to every node that still takes them; false when none does.
    pub(super) async fn send(&mut self, bytes: &Bytes, membership: &Membership) -> bool {
        let patience = self.patience;
        let sends: Vec<Pin<Box<dyn Future<Output = bool> + Send + '_>>> = self
            .legs
            .iter_mut()
            .map(|leg| {
                Box::pin(leg.send(bytes.clone(), patience)) as Pin<Box<dyn Future<Output = bool> + Send>>
            })
            .collect();
        let taken = futures_util::future::join_all(sends).await;
        if taken.iter().any(|taken| !taken) {
            self.drop_failed(&taken, membership).await;
        }
        !self.legs.is_empty()
    }

    async fn drop_failed(&mut self, taken: &[bool], membership: &Membership) {
        let legs = std::mem::take(&mut self.legs);
        for (leg, taken) in legs.into_iter().zip(taken) {
            if *taken {
                self.legs.push(leg);
                continue;
            }
            let (member, outcome) = leg.receipt(Duration::from_secs(1)).await;
            let error = outcome.err().unwrap_or(NodeError::BadAnswer("it answered before the end"));
            self.fail(member, error, membership);
        }
    }

    fn fail(&mut self, member: Arc<Member>, error: NodeError, membership: &Membership) {
        // That one is the sender's.
        if !error.is("checksum-mismatch") {
            tracing::warn!(node = %member.id, place = %member.place.name, %error, "a node failed during an upload");
        }
        if error.is_nodes_fault() {
            membership.suspend(member.id);
        }
        self.failed.push((member, error));
    }

    /// Says that the body is whole and waits for the receipts.
    pub(super) async fn end(
        mut self,
        within: Duration,
        membership: &Membership,
    ) -> (Vec<(Arc<Member>, T)>, Vec<(Arc<Member>, NodeError)>) {
        for leg in &mut self.legs {
            leg.end(self.patience).await;
        }
        let mut prepared = Vec::with_capacity(2);
        let legs = std::mem::take(&mut self.legs);
        let outcomes = futures_util::future::join_all(legs.into_iter().map(|leg| leg.receipt(within))).await;
        for (member, outcome) in outcomes {
            match outcome {
                Ok(receipt) => prepared.push((member, receipt)),
                Err(error) => self.fail(member, error, membership),
            }
        }
        (prepared, self.failed)
    }

    /// Cuts every call, waits until it is over, and names the nodes that were involved.
    pub(super) async fn cut(mut self) -> (Vec<Arc<Member>>, Vec<(Arc<Member>, NodeError)>) {
        let mut members = Vec::with_capacity(2);
        for leg in std::mem::take(&mut self.legs) {
            let Leg { member, queue, call } = leg;
            drop(queue);
            call.abort();
            let _ = call.await;
            members.push(member);
        }
        members.extend(self.failed.iter().map(|(member, _)| Arc::clone(member)));
        (members, self.failed)
    }
}
