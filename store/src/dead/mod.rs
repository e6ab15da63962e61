//! Dead letters on this node's disk: what no adapter and no consumer could accept, kept until
//! somebody has looked at it.
//!
//! [`DeadKeeper`] is where letters are parked: a bounded queue, and a thread of its own behind it
//! that writes them to the file in batches. [`Book`] is the file, for the keeper, for replays and
//! for commands; several may have it open at once, one of them writes at a time.
//!
//! # Bounds
//! Letters are bounded by bytes, count and age. What goes first was replayed, then comes the oldest
//! of the source that holds the most. The same letter again is counted at the first one: neither a
//! partner in a loop nor a noisy source can flush the others out. A disk that is full costs whoever
//! parks nothing: letters wait in the queue while there is room, then they are counted as lost.
//!
//! # What a replay may rely on
//! [`Book::claim`] marks a letter durably before the log is asked, [`Book::settle`] after. A crash
//! in between leaves the mark, and the next start asks the log again: within its dedupe window it
//! knows what it has.
//!
//! # What it leaves out
//! How a letter is read and where it goes: its adapter knows, and the server joins them.

mod ask;
mod book;
mod keeper;
mod letter;
mod news;
mod trim;

pub use ask::{Claim, Settled};
pub use book::{Book, DeadError, DeadOptions, Depth, Depths};
pub use keeper::{DeadKeeper, DeadStats};
pub use letter::{Filter, Letter, State, Step};
pub use news::News;
