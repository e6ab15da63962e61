//! To be written.

pub mod clock;
pub mod hub;
pub mod limits;
pub mod plan;
mod sys;
pub mod volley;
pub mod wheel;
