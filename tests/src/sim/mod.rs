//! The hub, simulated by seed.
//!
//! [`run`] builds a world out of one number: a log of some lanes, a hub with tight or generous
//! bounds, clients with sockets of random capacity that stall, lose what the kernel held, come back
//! and resume, subscribe and leave. Time is a counter. Nothing here knows how the hub works: the
//! [`oracle`] is the naive thing, a list of what each client is owed, and after every frame it asks
//! the questions of RULES.md:
//!
//! | question | rules |
//! |---|---|
//! | is this event followed, new to the client, and byte for byte what the log holds? | R4, R5 |
//! | does it come in the order of its topic, with nothing left out before it that no gap declares? | R9, R25 |
//! | is everything below a mark received, declared or replaced? does the mark only grow? | R3, R20, R21 |
//! | was a session that was closed as slow really past its bounds? | R24 |
//! | has each gap a cause: retention, damage, a new life, or more unsent than the bounds allow? | R8, R9 |
//! | does everything that could grow stay within its limits? | DESIGN section 4 |
//!
//! At the end every socket takes everything, everybody comes back, and each client must be owed
//! nothing.
//!
//! A failure names its seed; `cargo run -p touchline-tests --bin simulate -- --seed N` repeats it
//! to the letter.

mod causes;
mod client;
mod log;
mod oracle;
mod people;
mod questions;
mod scenario;
mod troubles;
mod world;

pub use scenario::Scenario;
pub use world::Report;

/// A broken promise, and when.
#[derive(Debug)]
pub struct Failure {
    /// What made the world.
    pub seed: u64,
    /// Virtual milliseconds since its start.
    pub at_ms: u64,
    /// Which promise, to whom, and how.
    pub promise: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\n  seed {}, after {} virtual ms; repeat it with:\n  \
             cargo run -p touchline-tests --bin simulate -- --seed {}",
            self.promise, self.seed, self.at_ms, self.seed
        )
    }
}

impl std::error::Error for Failure {}

/// Runs the world of `seed` to its end.
pub fn run(seed: u64) -> Result<Report, Failure> {
    run_traced(seed, None)
}

/// The same, printing what one client hears and does.
pub fn run_traced(seed: u64, client: Option<usize>) -> Result<Report, Failure> {
    world::World::new(Scenario::of(seed), client).run()
}
