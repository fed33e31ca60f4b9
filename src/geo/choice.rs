//! Which replica is nearest.

use crate::domain::{Coordinates, NodeId};

use super::distance_km;

/// Replicas are as near as the nearest one when they are less than this farther away, in km...
pub const NEAR_KM: f64 = 50.0;

/// ...or less than this share of the nearest one's distance, whichever is more.
pub const NEAR_SHARE: f64 = 0.05;

/// A node that holds a replica.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Where it stands.
    pub coordinates: Coordinates,
    /// Whether it answers now.
    pub healthy: bool,
}

/// A node in the order of choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// The node.
    pub node: NodeId,
    /// How far away it is, in kilometres.
    pub distance_km: f64,
    /// Whether it answers now.
    pub healthy: bool,
}

/// Whether a replica shares the load with the nearest one; both distances in kilometres.
#[must_use]
pub fn is_near(nearest_km: f64, distance_km: f64) -> bool {
    distance_km < nearest_km + NEAR_KM.max(nearest_km * NEAR_SHARE)
}

/// Puts candidates in order of choice for somebody at `from`.
///
/// Healthy ones come first. Those among them that are as near as the nearest (farther by
/// less than the larger of [`NEAR_KM`] and [`NEAR_SHARE`] of the nearest one's distance)
/// stand in an order that `draw` decides, each order as likely as another over all draws;
/// the rest by distance. The unhealthy follow, by distance. The same input gives the same
/// answer, in whatever order the candidates come.
#[must_use]
pub fn rank(from: Coordinates, candidates: &[Candidate], draw: u64) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = candidates
        .iter()
        .map(|candidate| Ranked {
            node: candidate.node,
            distance_km: distance_km(from, candidate.coordinates),
            healthy: candidate.healthy,
        })
        .collect();
    ranked.sort_by(|a, b| {
        let by_health = b.healthy.cmp(&a.healthy);
        by_health.then(a.distance_km.total_cmp(&b.distance_km)).then(a.node.cmp(&b.node))
    });
    if let Some(nearest) = ranked.first().filter(|nearest| nearest.healthy) {
        let nearest_km = nearest.distance_km;
        let near =
            ranked.iter().take_while(|other| other.healthy && is_near(nearest_km, other.distance_km)).count();
        shuffle(&mut ranked[..near], draw);
    }
    ranked
}

/// Fisher and Yates' shuffle. Its randomness is `draw` alone, stretched by SplitMix64, so
/// that a caller can repeat a choice, and explain it, whatever `rand` does in its next version.
fn shuffle<T>(items: &mut [T], draw: u64) {
    let mut state = draw;
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The high bits of a product, instead of a remainder: no modulo bias worth a loop.
        let other = (u128::from(mixed) * (last as u128 + 1)) >> 64;
        items.swap(last, usize::try_from(other).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::distance::tests::{anywhere, vincenty_km};
    use super::*;
    use crate::domain::Place;
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    use std::collections::HashMap;

    fn node(id: u8) -> NodeId {
        NodeId::from_bytes([id; 16])
    }

    fn candidate(id: u8, coordinates: Coordinates) -> Candidate {
        Candidate { node: node(id), coordinates, healthy: true }
    }

    /// On the equator, this far east of 0°.
    fn east_km(km: f64) -> Coordinates {
        Coordinates::new(0.0, (km / 6_378.137).to_degrees()).unwrap()
    }

    fn first(from: Coordinates, candidates: &[Candidate], draw: u64) -> NodeId {
        rank(from, candidates, draw)[0].node
    }

    #[test]
    fn the_choice_agrees_with_an_independent_computation() {
        let mut rng = StdRng::seed_from_u64(2);
        let cities =
            ["toronto", "amsterdam", "bangalore", "singapore"].map(|name| Place::city(name).unwrap());
        let mut clear = 0;
        for round in 0..2000_u64 {
            let from = anywhere(&mut rng);
            // The demo's cities, then nodes anywhere.
            let candidates: Vec<Candidate> = if round % 2 == 0 {
                (0..4).map(|at| candidate(at, cities[usize::from(at)].coordinates)).collect()
            } else {
                (0..rng.random_range(2..9)).map(|at| candidate(at, anywhere(&mut rng))).collect()
            };
            let Some(mut expected) = candidates
                .iter()
                .map(|candidate| Some((vincenty_km(from, candidate.coordinates)?, candidate.node)))
                .collect::<Option<Vec<_>>>()
            else {
                continue;
            };
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (nearest_km, nearest) = expected[0];
            let slack_km = (nearest_km * 0.05).max(50.0);
            let ranked = rank(from, &candidates, round);
            assert!(ranked[0].distance_km < nearest_km + slack_km + 0.01, "{from}");
            if expected[1].0 > nearest_km + slack_km + 0.01 {
                clear += 1;
                let order: Vec<NodeId> = ranked.iter().map(|ranked| ranked.node).collect();
                assert_eq!(order, expected.iter().map(|(_, node)| *node).collect::<Vec<_>>(), "{from}");
                assert_eq!(ranked[0].node, nearest);
            }
        }
        assert!(clear > 1500, "{clear}");
    }

    #[test]
    fn replicas_share_the_load_just_below_the_threshold_and_not_at_it() {
        let from = east_km(0.0);
        // (nearest, other, whether they share): 50 km counts below 1000 km, 5 % above.
        for (near_km, other_km, share) in [
            (0.0, 49.9, true),
            (0.0, 50.1, false),
            (900.0, 949.9, true),
            (900.0, 950.1, false),
            (4000.0, 4199.0, true),
            (4000.0, 4201.0, false),
        ] {
            let candidates = [candidate(1, east_km(near_km)), candidate(2, east_km(other_km))];
            let chosen: Vec<NodeId> = (0..64).map(|draw| first(from, &candidates, draw)).collect();
            assert!(chosen.contains(&node(1)), "{near_km} {other_km}");
            assert_eq!(chosen.contains(&node(2)), share, "{near_km} {other_km}");
        }
        // The slack is counted from the nearest alone: no chain of near neighbours.
        let chain = [candidate(1, east_km(0.0)), candidate(2, east_km(40.0)), candidate(3, east_km(80.0))];
        assert!((0..200).all(|draw| rank(from, &chain, draw)[2].node == node(3)));
    }

    #[test]
    fn every_order_of_near_replicas_is_as_likely() {
        let from = east_km(0.0);
        let candidates = [10.0, 20.0, 30.0].map(|km| candidate(km as u8, east_km(km)));
        let mut rng = StdRng::seed_from_u64(3);
        // Draws that count up must serve as well as random ones.
        let draws: [Vec<u64>; 2] = [(0..6000).collect(), (0..6000).map(|_| rng.random()).collect()];
        for draws in draws {
            let mut orders: HashMap<Vec<NodeId>, u32> = HashMap::new();
            for draw in draws {
                let order = rank(from, &candidates, draw).iter().map(|ranked| ranked.node).collect();
                *orders.entry(order).or_default() += 1;
            }
            assert_eq!(orders.len(), 6);
            assert!(orders.values().all(|count| (850..1150).contains(count)), "{orders:?}");
        }
    }

    #[test]
    fn the_unhealthy_come_last_however_near() {
        let from = east_km(0.0);
        let mut candidates =
            [(1, 1.0), (2, 2.0), (3, 5000.0), (4, 9000.0)].map(|(id, km)| candidate(id, east_km(km)));
        candidates[0].healthy = false;
        candidates[1].healthy = false;
        let ranked = rank(from, &candidates, 7);
        let order: Vec<(i64, bool)> =
            ranked.iter().map(|ranked| (ranked.distance_km.round() as i64, ranked.healthy)).collect();
        assert_eq!(order, [(5000, true), (9000, true), (1, false), (2, false)]);
        // Without a healthy one the order is by distance: nobody is to be given the load.
        candidates.iter_mut().for_each(|candidate| candidate.healthy = false);
        assert!((0..20).all(|draw| rank(from, &candidates, draw)[0].node == candidates[0].node));
        assert!(rank(from, &[], 1).is_empty());
        // As near as the nearest, and yet no share of the load.
        let mut near = [candidate(1, east_km(5000.0)), candidate(2, east_km(4990.0))];
        near[1].healthy = false;
        assert!((0..64).all(|draw| first(from, &near, draw) == node(1)));
    }

    #[test]
    fn the_order_of_the_candidates_does_not_matter() {
        let mut rng = StdRng::seed_from_u64(4);
        for draw in 0..200 {
            let from = anywhere(&mut rng);
            let mut candidates: Vec<Candidate> = (0..5).map(|at| candidate(at, anywhere(&mut rng))).collect();
            // Two in one place, as in one data centre.
            candidates[1].coordinates = candidates[0].coordinates;
            candidates[3].healthy = rng.random();
            let ranked = rank(from, &candidates, draw);
            candidates.reverse();
            assert_eq!(ranked, rank(from, &candidates, draw));
        }
    }
}
