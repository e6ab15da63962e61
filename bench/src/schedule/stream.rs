//! By which way events come in, and how that is told from an event's number.

use serde::{Deserialize, Serialize};

/// Above an event's number within its team and stream stands the stream.
const NUMBER_BITS: u32 = 30;

/// A way in: a partner's webhooks, a stream of posts, sensors that are polled. What the server
/// makes of earlier events (`update`) is nothing that a bench can send.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Signed webhooks.
    #[default]
    Broadcast,
    /// Posts.
    Social,
    /// Values.
    Sensor,
}

impl Stream {
    /// All of them. Where a run has several, the first is the one that is timed.
    pub const ALL: [Self; Self::COUNT] = [Self::Broadcast, Self::Social, Self::Sensor];
    /// How many there are.
    pub const COUNT: usize = 3;

    /// As it stands in addresses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Social => "social",
            Self::Sensor => "sensor",
        }
    }

    /// What an event carries that is number `number` of its team in this stream.
    pub const fn seq(self, number: u32) -> u32 {
        (self as u32) << NUMBER_BITS | number
    }

    /// The place of an event's stream in [`Stream::ALL`] (or one above them, for what no bench has
    /// sent), and its number there.
    #[inline]
    pub const fn place(seq: u32) -> (usize, u32) {
        ((seq >> NUMBER_BITS) as usize, seq & ((1 << NUMBER_BITS) - 1))
    }
}

const _: () = assert!(crate::limits::EVENTS_MAX < 1 << NUMBER_BITS);
