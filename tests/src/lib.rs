//! What proves Touchline from the outside: simulation, conformance, faults, and the laws of the
//! house.

use std::io::Write;

pub mod e2e;
pub mod sim;
pub mod stream;
pub mod upstream;

/// Says that something couldn't be tested here, past the test harness, which swallows what tests
/// print: `scripts/test.sh` shows it in its summary.
pub fn note(what: &str) {
    // The harness may have begun a line.
    let _ = writeln!(std::io::stdout().lock(), "\nleft out: {what}");
}
