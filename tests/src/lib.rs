//! What proves Touchline from the outside: simulation, conformance, faults, and the laws of the
//! house.

pub mod e2e;
pub mod sim;
pub mod stream;
pub mod upstream;
