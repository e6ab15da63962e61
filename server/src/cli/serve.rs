//! `touchline serve`.

use super::{Exit, Failure, Given, tune};
use crate::signals::Attendant;
use crate::{logging, notify, wiring};

/// Starts the server and stays until a signal has ended it.
pub fn serve(given: &Given) -> Result<Exit, Failure> {
    let loaded = given.load()?;
    logging::init(&loaded.options.logging);
    tune::tell_at_start(&loaded.options);
    let attendant = Attendant::new()?;
    let running = wiring::start(loaded)?;
    notify::ready("serving");
    attendant.attend(running);
    Ok(Exit::Fine)
}
