//! Counters by reason: one for each word of a fixed table, which is also the value of a metric's
//! label.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// A reason that is counted.
pub trait Counted: Copy + 'static {
    /// All of them, in the order of their numbers, each with its name.
    const ALL: &'static [(Self, &'static str)];

    /// Its number.
    fn index(self) -> usize;
}

/// How often each has come. A scrape may read it at any time.
#[derive(Debug)]
pub struct Counts<R> {
    counts: Box<[AtomicU64]>,
    of: PhantomData<R>,
}

impl<R: Counted> Default for Counts<R> {
    fn default() -> Self {
        Self { counts: R::ALL.iter().map(|_| AtomicU64::new(0)).collect(), of: PhantomData }
    }
}

impl<R: Counted> Counts<R> {
    /// It has come so often more.
    pub(crate) fn add(&self, reason: R, times: u64) {
        self.counts[reason.index()].fetch_add(times, Ordering::Relaxed);
    }

    /// How often it has come.
    pub fn of(&self, reason: R) -> u64 {
        self.counts[reason.index()].load(Ordering::Relaxed)
    }

    /// By name, also those that have not come.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = R::ALL.iter().zip(&self.counts);
        counts.map(|((_, name), count)| (*name, count.load(Ordering::Relaxed)))
    }
}

/// Fails where a table isn't in the order of its numbers.
#[cfg(test)]
pub(crate) fn check_order<R: Counted>() {
    for (n, (reason, name)) in R::ALL.iter().enumerate() {
        assert_eq!(reason.index(), n, "{name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Fruit {
        Apple,
        Pear,
    }

    impl Counted for Fruit {
        const ALL: &'static [(Self, &'static str)] =
            &[(Self::Apple, "apple"), (Self::Pear, "pear")];

        fn index(self) -> usize {
            self as usize
        }
    }

    #[test]
    fn each_counts_for_itself_and_what_has_not_come_is_there() {
        check_order::<Fruit>();
        let counts = Counts::default();
        counts.add(Fruit::Pear, 3);
        counts.add(Fruit::Pear, 1);
        assert_eq!((counts.of(Fruit::Pear), counts.of(Fruit::Apple)), (4, 0));
        assert_eq!(counts.all().collect::<Vec<_>>(), [("apple", 0), ("pear", 4)]);
    }
}
