//! Which posts were handed on lately, so that what a stream repeats after a reconnect costs
//! nothing. The log judges duplicates for good; this only spares it the work.

use std::collections::VecDeque;

use hashbrown::HashSet;
use xxhash_rust::xxh3::xxh3_64;

/// The last so many ids, by hash.
#[derive(Debug)]
pub struct Recent {
    max: usize,
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    /// Room for `max` ids.
    pub fn new(max: usize) -> Self {
        Self { max, known: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether it is one of them.
    pub fn holds(&self, id: &str) -> bool {
        self.known.contains(&xxh3_64(id.as_bytes()))
    }

    /// Remembers an id; the oldest gives way.
    pub fn add(&mut self, id: &str) {
        let hash = xxh3_64(id.as_bytes());
        if !self.known.insert(hash) {
            return;
        }
        if self.order.len() == self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
    }

    /// Forgets an id: the log has not taken it.
    pub fn forget(&mut self, id: &str) {
        let hash = xxh3_64(id.as_bytes());
        if self.known.remove(&hash) {
            // Refusals are rare, and what was refused is young.
            let found = self.order.iter().rposition(|known| *known == hash);
            found.map(|at| self.order.remove(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_the_refused_are_forgotten() {
        let mut recent = Recent::new(3);
        ["a", "b", "a", "c", "d"].iter().for_each(|id| recent.add(id));
        assert_eq!(["a", "b", "c", "d"].map(|id| recent.holds(id)), [false, true, true, true]);
        recent.forget("c");
        recent.forget("never seen");
        recent.add("e");
        assert_eq!(["b", "c", "d", "e"].map(|id| recent.holds(id)), [true, false, true, true]);
        assert_eq!((recent.known.len(), recent.order.len()), (3, 3));
    }
}
