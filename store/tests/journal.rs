//! The journal, from outside: one suite over three disks, a simulation by seed, and the faults of
//! the disk.

#[path = "journal/support/mod.rs"]
mod support;

#[path = "journal/suite.rs"]
mod suite;

#[path = "journal/simulation.rs"]
mod simulation;

#[path = "journal/faults.rs"]
mod faults;

#[path = "journal/room.rs"]
mod room;
