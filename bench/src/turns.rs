//! Who goes when: the order of the subjects in each round of a comparison.
//!
//! If everybody always followed the same neighbour, what that one leaves behind (memory that the
//! kernel has yet to give back, connections in `TIME_WAIT`, a warm cache) would always meet the
//! same successor, and a median of five would keep it. So each round has an order of its own; the
//! same round has the same order everywhere, so that a run can be repeated.

/// The order of round `round` of `count` subjects: Fisher and Yates' shuffle.
pub fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = round as u64;
    for end in (1..count).rev() {
        // Steele, Lea and Flood's SplitMix64 (OOPSLA 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = state;
        random = (random ^ random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ random >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        random ^= random >> 31;
        order.swap(end, (random % (end as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_has_a_turn_and_neighbours_change() {
        let mut successors = BTreeSet::new();
        for round in 0..5 {
            let order = order(round, 9);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..9).collect::<Vec<_>>());
            let at = order.iter().position(|index| *index == 4).unwrap();
            successors.insert(order.get(at + 1).copied());
        }
        assert!(successors.len() > 1, "{successors:?}");
        assert_eq!(order(0, 1), [0]);
        assert!((0..5).any(|round| order(round, 2) != order(0, 2)), "of two, too");
    }
}
