//! Choosing nodes for a blob: pure, same input, same answer.
//!
//! The caller gives the nodes that may be chosen (healthy, not draining) and the
//! randomness. Two choices of the same moment do not know of each other: nodes reserve
//! space when a session is made, so here a node's free space is only a good guess.

use rand::{Rng, RngExt as _};

use crate::domain::{Label, NodeId};

/// How many copies of a blob there are.
pub const COPIES: usize = 2;

/// A node that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRoom {
    /// The node.
    pub node: NodeId,
    /// What fails together with it.
    pub failure_domain: Label,
    /// Bytes that an upload can reserve there.
    pub free_bytes: u64,
}

impl NodeRoom {
    /// Whether a blob of this size fits, with what a node writes beside it.
    #[must_use]
    pub fn has_room(&self, need_bytes: u64) -> bool {
        self.free_bytes >= need_bytes.saturating_add(margin_bytes(need_bytes))
    }
}

/// What a node writes beside a blob, generously: a description with every piece's digest.
const fn margin_bytes(need_bytes: u64) -> u64 {
    (1 << 20) + need_bytes / 4096
}

/// Too few nodes have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too few nodes have room: {with_room}")]
pub struct NotEnough {
    /// How many have.
    pub with_room: usize,
}

/// Two different nodes with room for `need_bytes`, at random, weighted by free space, in
/// different failure domains where nodes with room are in two.
///
/// # Errors
/// When fewer than two nodes have room.
pub fn choose(
    candidates: &[NodeRoom],
    need_bytes: u64,
    rng: &mut impl Rng,
) -> Result<[NodeId; COPIES], NotEnough> {
    let with_room = with_room(candidates, need_bytes, &[]);
    let not_enough = NotEnough { with_room: distinct(&with_room) };
    let first = draw(&with_room, rng).ok_or(not_enough)?;
    let second = choose_one(candidates, need_bytes, &[first.node], Some(&first.failure_domain), rng)
        .map_err(|_| not_enough)?;
    Ok([first.node, second])
}

/// One more node with room for `need_bytes`, none of `exclude`, at random, weighted by free
/// space, outside `avoid_domain` where there is one outside it.
///
/// # Errors
/// When no such node has room.
pub fn choose_one(
    candidates: &[NodeRoom],
    need_bytes: u64,
    exclude: &[NodeId],
    avoid_domain: Option<&Label>,
    rng: &mut impl Rng,
) -> Result<NodeId, NotEnough> {
    let with_room = with_room(candidates, need_bytes, exclude);
    let elsewhere: Vec<&NodeRoom> =
        with_room.iter().copied().filter(|room| Some(&room.failure_domain) != avoid_domain).collect();
    let from = if elsewhere.is_empty() { &with_room } else { &elsewhere };
    draw(from, rng).map(|room| room.node).ok_or(NotEnough { with_room: 0 })
}

fn with_room<'a>(candidates: &'a [NodeRoom], need_bytes: u64, exclude: &[NodeId]) -> Vec<&'a NodeRoom> {
    candidates.iter().filter(|room| room.has_room(need_bytes) && !exclude.contains(&room.node)).collect()
}

fn distinct(rooms: &[&NodeRoom]) -> usize {
    rooms.iter().map(|room| room.node).collect::<std::collections::BTreeSet<_>>().len()
}

/// One at random, weighted by free space.
fn draw<'a>(rooms: &[&'a NodeRoom], rng: &mut impl Rng) -> Option<&'a NodeRoom> {
    let total: u128 = rooms.iter().map(|room| u128::from(room.free_bytes)).sum();
    if total == 0 {
        return None;
    }
    let mut at = rng.random_range(0..total);
    rooms.iter().copied().find(|room| {
        let free = u128::from(room.free_bytes);
        let is_it = at < free;
        at = at.saturating_sub(free);
        is_it
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};
    use std::collections::BTreeMap;

    const GIB: u64 = 1 << 30;

    fn id(node: u8) -> NodeId {
        NodeId::from_bytes([node; 16])
    }

    fn room(node: u8, domain: &str, free_bytes: u64) -> NodeRoom {
        NodeRoom { node: id(node), failure_domain: Label::parse(domain).unwrap(), free_bytes }
    }

    fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    /// Pearson's sum over (counted, expected).
    fn chi_square(pairs: impl Iterator<Item = (u32, f64)>) -> f64 {
        pairs.map(|(counted, expected)| (f64::from(counted) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn free_space_weighs() {
        let rooms = [room(1, "a", GIB), room(2, "b", 2 * GIB), room(3, "c", 3 * GIB), room(4, "d", 4 * GIB)];
        let mut rng = rng(1);
        let (mut ones, mut firsts) = (BTreeMap::<NodeId, u32>::new(), BTreeMap::<NodeId, u32>::new());
        let mut pairs = BTreeMap::<[NodeId; 2], u32>::new();
        for _ in 0..20_000 {
            *ones.entry(choose_one(&rooms, 1, &[], None, &mut rng).unwrap()).or_default() += 1;
            let pair = choose(&rooms, 1, &mut rng).unwrap();
            *firsts.entry(pair[0]).or_default() += 1;
            *pairs.entry(pair).or_default() += 1;
        }
        let weight = |node: NodeId| f64::from(node.as_bytes()[0]) / 10.0;
        for counts in [ones, firsts] {
            let chi = chi_square(counts.iter().map(|(node, count)| (*count, weight(*node) * 20_000.0)));
            // Three degrees of freedom: one run in a thousand would be above; the seed is fixed.
            assert!(counts.len() == 4 && chi < 16.27, "{chi} {counts:?}");
        }
        let chi = chi_square(pairs.iter().map(|([first, second], count)| {
            (*count, weight(*first) * weight(*second) / (1.0 - weight(*first)) * 20_000.0)
        }));
        assert!(pairs.len() == 12 && chi < 31.26, "{chi} {pairs:?}");
    }

    #[test]
    fn the_other_domain_is_taken_however_small_its_share() {
        let rooms = [room(1, "a", 900 * GIB), room(2, "a", 900 * GIB), room(3, "b", GIB)];
        for seed in 0..200 {
            assert!(choose(&rooms, 1, &mut rng(seed)).unwrap().contains(&id(3)));
        }
        // It has no room: then the two in one domain.
        for seed in 0..20 {
            assert!(!choose(&rooms, 2 * GIB, &mut rng(seed)).unwrap().contains(&id(3)));
        }
    }

    #[test]
    fn room_counts_up_to_the_margin() {
        let need = 4 * GIB;
        let exact = need + margin_bytes(need);
        assert!(room(1, "a", exact).has_room(need) && !room(1, "a", exact - 1).has_room(need));
        assert!(room(1, "a", 1 << 20).has_room(0) && !room(1, "a", 0).has_room(0));
        assert!(!room(1, "a", u64::MAX - 1).has_room(u64::MAX));
        let rooms = [room(1, "a", exact), room(2, "b", exact - 1), room(3, "c", exact)];
        for seed in 0..20 {
            let mut pair = choose(&rooms, need, &mut rng(seed)).unwrap();
            pair.sort();
            assert_eq!(pair, [id(1), id(3)]);
        }
        assert_eq!(choose(&rooms[..2], need, &mut rng(1)), Err(NotEnough { with_room: 1 }));
        assert_eq!(choose(&rooms[1..2], need, &mut rng(1)), Err(NotEnough { with_room: 0 }));
        assert_eq!(choose(&[], 0, &mut rng(1)), Err(NotEnough { with_room: 0 }));
    }

    #[test]
    fn one_node_named_twice_is_one_node() {
        let rooms = [room(1, "a", GIB), room(1, "b", GIB)];
        assert_eq!(choose(&rooms, 1, &mut rng(1)), Err(NotEnough { with_room: 1 }));
    }

    #[test]
    fn a_replacement_is_another_node_elsewhere_if_there_is_one() {
        let rooms = [room(1, "a", GIB), room(2, "a", GIB), room(3, "b", GIB), room(4, "c", 1)];
        let a = Label::parse("a").unwrap();
        for seed in 0..50 {
            assert_eq!(choose_one(&rooms, 1, &[id(1)], Some(&a), &mut rng(seed)), Ok(id(3)));
            assert_eq!(choose_one(&rooms, 1, &[id(1), id(3)], Some(&a), &mut rng(seed)), Ok(id(2)));
        }
        let all = [id(1), id(2), id(3)];
        assert_eq!(choose_one(&rooms, 1, &all, Some(&a), &mut rng(1)), Err(NotEnough { with_room: 0 }));
    }

    proptest! {
        #[test]
        fn two_nodes_with_room_in_two_domains_where_there_are_two(
            nodes in proptest::collection::vec((0..4_usize, prop_oneof![Just(0), 0..(4_u64 << 20), 0..u64::MAX]), 0..12),
            need in prop_oneof![Just(0), 0..(4_u64 << 20), any::<u64>()],
            seed in any::<u64>(),
        ) {
            let rooms: Vec<NodeRoom> = nodes.iter().zip(1..)
                .map(|((domain, free), node)| room(node, ["a", "b", "c", "d"][*domain], *free)).collect();
            let fitting: Vec<&NodeRoom> = rooms.iter().filter(|room| room.has_room(need)).collect();
            let chosen = choose(&rooms, need, &mut rng(seed));
            prop_assert_eq!(&chosen, &choose(&rooms, need, &mut rng(seed)));
            let Ok(pair) = chosen else {
                prop_assert_eq!(chosen, Err(NotEnough { with_room: fitting.len() }));
                prop_assert!(fitting.len() < 2);
                return Ok(());
            };
            prop_assert_ne!(pair[0], pair[1]);
            let domains = pair.map(|node| {
                fitting.iter().find(|room| room.node == node).map(|room| room.failure_domain.clone())
            });
            prop_assert!(domains.iter().all(Option::is_some), "a node without room");
            let has_two = fitting.iter().any(|room| room.failure_domain != fitting[0].failure_domain);
            prop_assert_eq!(domains[0] != domains[1], has_two);
            // Its replacement, when the second fails, keeps to the same rules.
            let replacement = choose_one(&rooms, need, &pair, domains[0].as_ref(), &mut rng(seed));
            prop_assert_eq!(replacement.is_ok(), fitting.len() > 2);
            if let Ok(node) = replacement {
                prop_assert!(!pair.contains(&node) && fitting.iter().any(|room| room.node == node));
            }
        }
    }
}
