//! What can be measured about this process, as Prometheus reads it.
//!
//! [`table`] names every metric once; [`page`] writes them; [`gather`] asks everybody. Gathering
//! takes no lock that the data path holds: it loads numbers that their owners keep anyway.

pub mod gather;
pub mod page;
pub mod table;
