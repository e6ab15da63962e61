//! Which numbers of a row have come: of a match's events, or of the posts of a topic.
//!
//! A number may come late: while brokers are away each node keeps what it takes, and the node that
//! is first when they are back hands on first. So a number that is skipped is a hole until it
//! comes, and no number is ever counted as missing twice.

use crate::limits::demo::{HOLES_MAX, ROWS_MAX};

/// The rows of one topic: the one that is told now, and the one before it.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: Vec<Row>,
}

/// One row.
#[derive(Debug, Default)]
pub(crate) struct Row {
    name: String,
    /// First and last of each part that has come whole; ascending, with a hole between any two.
    parts: Vec<(u64, u64)>,
    /// The number that came first. What is below it may have come before anybody listened: it is
    /// known, and no hole.
    base: Option<u64>,
    /// In holes that were found and are no longer waited for.
    given_up: u64,
}

impl Rows {
    /// `number` of the row `name` has come: by how many more are missing now, which is less than
    /// none where it fills a hole. `None`: it had come before.
    pub(crate) fn take(&mut self, name: &str, number: u64) -> Option<i64> {
        let place = match self.rows.iter().position(|row| row.name == name) {
            Some(place) => place,
            None => {
                if self.rows.len() == ROWS_MAX {
                    self.rows.remove(0);
                }
                self.rows.push(Row { name: name.to_owned(), ..Row::default() });
                self.rows.len() - 1
            }
        };
        let row = &mut self.rows[place];
        let before = row.holes();
        row.take(number).then(|| row.holes() as i64 - before as i64)
    }

    /// The server has announced that something is missing: it may be any of the numbers to come.
    pub(crate) fn cut(&mut self) {
        for row in &mut self.rows {
            row.parts.clear();
            row.base = None;
        }
    }

    /// What is known of the row `name`.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

impl Row {
    /// Whether `number` is new.
    fn take(&mut self, number: u64) -> bool {
        let place = self.parts.partition_point(|(_, last)| *last < number);
        if self.parts.get(place).is_some_and(|(first, _)| *first <= number) {
            return false;
        }
        self.base.get_or_insert(number);
        self.parts.insert(place, (number, number));
        if self.parts.get(place + 1).is_some_and(|(first, _)| *first == number + 1) {
            self.parts[place].1 = self.parts.remove(place + 1).1;
        }
        if place > 0 && self.parts[place - 1].1 + 1 == number {
            self.parts[place - 1].1 = self.parts.remove(place).1;
        }
        if self.parts.len() > HOLES_MAX + 1 {
            self.given_up += self.counted(self.parts[0], self.parts[1]);
            self.parts[0].1 = self.parts.remove(1).1;
        }
        true
    }

    /// Numbers above the first that came, and below the highest, that have not come.
    fn holes(&self) -> u64 {
        let pairs = self.parts.windows(2);
        self.given_up + pairs.map(|pair| self.counted(pair[0], pair[1])).sum::<u64>()
    }

    /// What counts as missing between two parts.
    fn counted(&self, before: (u64, u64), after: (u64, u64)) -> u64 {
        let is_above = self.base.is_some_and(|base| base <= before.1);
        if is_above { after.0 - before.1 - 1 } else { 0 }
    }

    /// Numbers up to `last` that have not come and are no holes; from `first` on, for who was there
    /// then.
    pub(crate) fn owed(&self, first: Option<u64>, last: u64) -> u64 {
        let (Some((begin, _)), Some((_, end)), Some(base)) =
            (self.parts.first(), self.parts.last(), self.base)
        else {
            return 0;
        };
        let behind = last.saturating_sub(*end);
        let Some(first) = first else { return behind };
        let low = self.parts.windows(2).filter(|pair| pair[1].0 <= base);
        let below: u64 = low.map(|pair| pair[1].0 - pair[0].1 - 1).sum();
        behind + below + begin.saturating_sub(first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn missing(numbers: &[u64]) -> i64 {
        let mut rows = Rows::default();
        numbers.iter().filter_map(|number| rows.take("d.a-b", *number)).sum()
    }

    #[test]
    fn what_comes_late_was_a_hole_only_until_then_and_never_two() {
        for (numbers, wanted) in [
            (&[1, 2, 3][..], 0),
            (&[3, 4], 0),
            (&[1, 4], 2),
            (&[1, 4, 2], 1),
            (&[1, 4, 2, 3], 0),
            (&[1, 4, 2, 5], 1),
            (&[1, 4, 2, 5, 3, 6], 0),
            (&[3, 1, 4], 0),
            (&[1, 3, 3, 3], 1),
        ] {
            assert_eq!(missing(numbers), wanted, "{numbers:?}");
        }
    }

    #[test]
    fn what_comes_again_is_known_whatever_came_in_between() {
        let mut rows = Rows::default();
        assert!([1, 4, 2].iter().all(|number| rows.take("d.a-b", *number).is_some()));
        assert_eq!((rows.take("d.a-b", 2), rows.take("d.a-b", 4)), (None, None));
        assert_eq!(rows.take("d.a-b", 3), Some(-1));
    }

    #[test]
    fn rows_are_told_apart_and_a_gap_covers_what_it_may() {
        let mut rows = Rows::default();
        assert_eq!((rows.take("d.a-b", 1), rows.take("d.a-b", 3)), (Some(0), Some(1)));
        assert_eq!(rows.take("e.b-a", 1), Some(0), "another match");
        assert_eq!(rows.take("d.a-b", 2), Some(-1), "and the one before it is still known");
        rows.cut();
        assert_eq!(rows.take("e.b-a", 9), Some(0));
        assert_eq!(rows.take("e.b-a", 11), Some(1));
    }

    #[test]
    fn what_is_owed_lies_around_what_came_and_is_no_hole() {
        let mut rows = Rows::default();
        let counted: i64 = [5, 2, 6, 8].iter().filter_map(|it| rows.take("d.a-b", *it)).sum();
        let row = rows.row("d.a-b").unwrap();
        assert_eq!(counted, 1, "seven");
        assert_eq!(row.owed(Some(1), 8), 3, "one, three and four");
        assert_eq!(row.owed(Some(2), 9), 3, "three, four and nine");
        assert_eq!(row.owed(None, 9), 1, "who came late is owed what comes");
    }

    #[test]
    fn rows_and_holes_are_bounded() {
        let mut rows = Rows::default();
        let missing: i64 = (0..1_000).filter_map(|n| rows.take("d.a-b", 2 * n)).sum();
        assert_eq!(missing, 999);
        assert!(rows.rows[0].parts.len() <= HOLES_MAX + 1);
        assert!((0..100).all(|n| rows.take(&format!("d.a-{n}"), 1) == Some(0)));
        assert_eq!(rows.rows.len(), ROWS_MAX);
    }

    proptest! {
        #[test]
        fn in_any_order_nothing_is_missing_once_all_have_come(
            numbers in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            left_out in 1..=40_u64,
        ) {
            for left_out in [0, left_out] {
                let mut rows = Rows::default();
                let come = numbers.iter().filter(|it| **it != left_out);
                let missing: i64 = come.filter_map(|it| rows.take("d.a-b", *it)).sum();
                let owed = rows.row("d.a-b").unwrap().owed(Some(1), 40);
                prop_assert_eq!(missing + owed as i64, i64::from(left_out > 0));
            }
        }
    }
}
