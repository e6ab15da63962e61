//! Whether this node shows what brokers have, or has fallen behind them.
//!
//! A lane is behind once more than `records_max` of it have been unread for [`BEHIND_MIN`]: a burst
//! that is read within that time is none of a load balancer's business. It has caught up when half
//! of that is left, so that a lane about the limit doesn't come and go.

use std::time::{Duration, Instant};

use touchline_core::log::Lane;

/// For how long a lane must have been over the limit.
const BEHIND_MIN: Duration = Duration::from_secs(5);

/// A node that is behind: not by a fault of the brokers, who have the records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{topic}, partition {partition}, is {records} records ahead of what this node has read (more \
     than `log.kafka.lag_records_max`, {records_max}): it lacks processor or network, or the limit \
     is too low for its load"
)]
pub struct LagError {
    /// The topic of the lane that is furthest behind.
    pub topic: Box<str>,
    /// Its partition.
    pub partition: i32,
    /// Records that brokers have and this node has not read.
    pub records: u64,
    /// What is allowed.
    pub records_max: u64,
}

/// Which lanes are over the limit, and since when.
pub(super) struct Behind {
    records_max: u64,
    since: Vec<Option<Instant>>,
}

impl Behind {
    pub fn new(lanes: usize, records_max: u64) -> Self {
        Self { records_max, since: vec![None; lanes] }
    }

    /// Whether some lane is over the limit.
    pub fn is_suspected(&self) -> bool {
        self.since.iter().any(Option::is_some)
    }

    /// The lanes over the limit: their ends are worth asking for more often.
    pub fn suspected(&self) -> impl Iterator<Item = Lane> + '_ {
        let over = self.since.iter().enumerate().filter(|(_, since)| since.is_some());
        over.map(|(lane, _)| Lane(lane as u16))
    }

    /// What of each lane is unread now. Answers the lane that is furthest behind, if any has been
    /// for long enough, and by how many records.
    pub fn look(
        &mut self,
        lags: impl Iterator<Item = (Lane, u64)>,
        now: Instant,
    ) -> Option<(Lane, u64)> {
        let mut worst = None;
        for (lane, lag) in lags {
            let since = &mut self.since[usize::from(lane.0)];
            let limit = if since.is_some() { self.records_max / 2 } else { self.records_max };
            *since = (lag > limit).then(|| since.unwrap_or(now));
            let is_behind = since.is_some_and(|since| now - since >= BEHIND_MIN);
            if is_behind && worst.is_none_or(|(_, most)| lag > most) {
                worst = Some((lane, lag));
            }
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second at one lane that lags so, and answers what was said each time.
    fn told(lags: &[u64]) -> Vec<Option<u64>> {
        let (mut behind, start) = (Behind::new(2, 100), Instant::now());
        let look = |(second, lag): (u64, &u64)| {
            let lags = [(Lane(0), 0), (Lane(1), *lag)].into_iter();
            let told = behind.look(lags, start + Duration::from_secs(second))?;
            assert_eq!(told.0, Lane(1));
            Some(told.1)
        };
        (0..).zip(lags).map(look).collect()
    }

    #[test]
    fn a_burst_is_nothing_and_a_lag_that_stays_is_told_until_half_of_the_limit_is_left() {
        assert_eq!(told(&[900, 900, 900, 900, 900, 0, 900, 900]), [None; 8]);
        assert_eq!(told(&[100; 8]), [None; 8], "what is allowed");
        let told = told(&[101, 200, 90, 60, 51, 700, 51, 50, 101]);
        assert_eq!(told[4..], [None, Some(700), Some(51), None, None]);
    }

    #[test]
    fn the_lane_that_is_furthest_behind_is_named() {
        let (mut behind, start) = (Behind::new(3, 100), Instant::now());
        let lags = || [(Lane(0), 300), (Lane(1), 500), (Lane(2), 400)].into_iter();
        assert!(!behind.is_suspected());
        assert_eq!(behind.look(lags(), start), None);
        assert!(behind.is_suspected());
        assert_eq!(behind.look(lags(), start + BEHIND_MIN), Some((Lane(1), 500)));
    }
}
