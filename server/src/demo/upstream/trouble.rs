//! The usual trouble of sources, switched on by `--trouble`: what ails which of them when.
//!
//! Trouble comes and goes by the clock, so that whoever looks at the board for a minute sees each
//! kind begin and end. Venues take turns: at any time most are well.

use std::time::Duration;

use touchline_core::time::Timestamp;

/// What ails a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// Nothing.
    None,
    /// It answers later than anybody waits.
    Slow,
    /// It answers 503.
    Failing,
    /// Its sequence stands, while its values change.
    Frozen,
}

/// From one trouble of a venue to its next of the same kind.
const ROUND_S: i64 = 30;

/// What ails venue number `venue` of `venues` at `now`.
pub fn of_venue(venue: usize, venues: usize, now: Timestamp) -> Ailment {
    let turn = ROUND_S * venue as i64 / venues.max(1) as i64;
    match (now.0 / 1_000_000 + turn) % ROUND_S {
        0..=4 => Ailment::Slow,
        12..=15 => Ailment::Failing,
        22..=25 => Ailment::Frozen,
        _ => Ailment::None,
    }
}

/// How long a slow venue takes.
pub const SLOW: Duration = Duration::from_millis(1_500);

/// After so long a stream of posts is cut.
pub const STREAM_LIFE: Duration = Duration::from_secs(12);
/// Posts from before the place a client names that are repeated to it.
pub const REPEATED: usize = 5;
/// One post in so many is followed by a line that is none.
pub const JUNK_ONE_IN: u64 = 15;
/// What such lines are like: cut short, no JSON, no UTF-8, no post.
pub const JUNK: [&[u8]; 4] = [b"{\"id\":\"cut", b"<html>502</html>", b"\xff\xfe\xc3\x28", b"[17]"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_venue_has_each_trouble_in_turn_and_most_are_well() {
        for second in 0..ROUND_S {
            let now = Timestamp(second * 1_000_000);
            let ill = (0..10).filter(|venue| of_venue(*venue, 10, now) != Ailment::None).count();
            assert!((2..=6).contains(&ill), "{ill} of 10");
        }
        for venue in 0..10 {
            for wanted in [Ailment::Slow, Ailment::Failing, Ailment::Frozen] {
                let at = |s: &i64| of_venue(venue, 10, Timestamp(s * 1_000_000)) == wanted;
                assert!((0..ROUND_S).any(|s| at(&s)), "{venue} {wanted:?}");
            }
        }
    }
}
