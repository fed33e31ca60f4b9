//! How many uploads run at once, and whose turn ends when they are too many.
//!
//! A sender that stalls keeps its slot only while nobody else needs it; one address can
//! hold only some of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a sender may be under the stalled rate before its slot can be taken.
const GRACE: Duration = Duration::from_secs(10);

/// The limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotLimits {
    pub all: usize,
    pub per_address: usize,
    /// Under this many bytes a second a sender counts as stalled.
    pub stalled_bytes_per_second: u64,
}

/// Every slot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSlot;

#[derive(Debug)]
struct Active {
    address: Option<IpAddr>,
    since: Instant,
    bytes: AtomicU64,
    cut: CancellationToken,
}

impl Active {
    fn is_stalled(&self, limits: SlotLimits) -> bool {
        let age = self.since.elapsed();
        let expected = age.as_secs().saturating_mul(limits.stalled_bytes_per_second);
        age >= GRACE && self.bytes.load(Ordering::Relaxed) < expected
    }
}

#[derive(Debug)]
pub(super) struct Slots {
    limits: SlotLimits,
    active: Mutex<(u64, HashMap<u64, Arc<Active>>)>,
}

/// One upload's slot; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    active: Arc<Active>,
}

/// Whose allowance an address counts toward: an IPv6 network of 64 bits is one sender's, who has as many
/// addresses in it as it likes (RFC 4291 §2.5.1, RFC 6177).
pub(super) fn sender(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

impl Slots {
    pub(super) fn new(limits: SlotLimits) -> Arc<Self> {
        Arc::new(Self { limits, active: Mutex::new((0, HashMap::new())) })
    }

    /// Takes a slot for a sender at this address (unknown ones count as one address).
    ///
    /// When all are taken, the slot of a stalled sender is: it is cut.
    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, NoSlot> {
        let address = address.map(sender);
        let mut guard = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, active) = &mut *guard;
        if active.values().filter(|one| one.address == address).count() >= self.limits.per_address {
            return Err(NoSlot);
        }
        if active.len() >= self.limits.all {
            let stalled = active
                .iter()
                .filter(|(_, one)| one.is_stalled(self.limits))
                .min_by_key(|(_, one)| one.since)
                .map(|(number, _)| *number)
                .ok_or(NoSlot)?;
            if let Some(one) = active.remove(&stalled) {
                one.cut.cancel();
            }
        }
        *next += 1;
        let one = Arc::new(Active {
            address,
            since: Instant::now(),
            bytes: AtomicU64::new(0),
            cut: CancellationToken::new(),
        });
        active.insert(*next, Arc::clone(&one));
        Ok(Slot { slots: Arc::clone(self), number: *next, active: one })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).1.len()
    }
}

impl Slot {
    /// Counts what arrived.
    pub(super) fn received(&self, bytes: usize) {
        self.active.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Resolves when the slot was taken away.
    pub(super) async fn cut(&self) {
        self.active.cut.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.active.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMITS: SlotLimits = SlotLimits { all: 4, per_address: 2, stalled_bytes_per_second: 1024 };

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([127, 0, 0, last]))
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_cannot_take_all() {
        let slots = Slots::new(LIMITS);
        let held = (slots.take(address(1)).unwrap(), slots.take(address(1)).unwrap());
        assert_eq!(slots.take(address(1)).unwrap_err(), NoSlot);
        let _other = slots.take(address(2)).unwrap();
        drop(held);
        assert_eq!(slots.taken(), 1);
        slots.take(address(1)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_senders_slot_is_taken_when_it_is_needed() {
        let slots = Slots::new(LIMITS);
        let stalled = slots.take(address(1)).unwrap();
        let busy: Vec<Slot> = [1, 2, 2].into_iter().map(|last| slots.take(address(last)).unwrap()).collect();
        assert_eq!(slots.take(address(3)).unwrap_err(), NoSlot, "nobody is stalled yet");
        tokio::time::advance(GRACE).await;
        for slot in &busy {
            slot.received(1 << 20);
        }
        let _new = slots.take(address(3)).unwrap();
        stalled.cut().await;
        drop(stalled);
        assert_eq!(slots.taken(), 4);
        assert_eq!(slots.take(address(4)).unwrap_err(), NoSlot, "the others are not stalled");
    }
}
