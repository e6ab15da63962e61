//! `touchline serve`.

use touchline_ingest::kafka;

use super::{Exit, Failure, Given, tune};
use crate::signals::Attendant;
use crate::wiring::StartError;
use crate::{logging, notify, wiring};

/// Starts the server and stays until a signal has ended it.
pub fn serve(given: &Given) -> Result<Exit, Failure> {
    let loaded = given.load()?;
    logging::init(&loaded.options.logging);
    tune::tell_at_start(&loaded.options);
    let attendant = Attendant::new()?;
    let running = match wiring::start_unless(loaded, attendant.wants_end()) {
        Err(StartError::Kafka(kafka::OpenError::Stopped)) => {
            tracing::info!("told to end before it was ready");
            return Ok(Exit::Fine);
        }
        started => started?,
    };
    notify::ready("serving");
    let appliance = running.appliance();
    attendant.attend(running);
    // Whoever minds the process starts it again then.
    Ok(if appliance.has_given_up() { Exit::Failed } else { Exit::Fine })
}
