//! `touchline serve`.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use touchline_ingest::kafka;

use super::{Exit, Failure, Given, tune};
use crate::running::{Appliance, Order};
use crate::signals::Attendant;
use crate::wiring::StartError;
use crate::{logging, notify, wiring};

/// What `touchline serve` can be told.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Say the addresses on standard output, and end when standard input ends: for a program that
    /// runs a node as a part of itself
    #[arg(long, hide = true)]
    attached: bool,
}

/// Starts the server and stays until a signal has ended it.
pub fn serve(given: &Given, args: &ServeArgs) -> Result<Exit, Failure> {
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
    if args.attached {
        attach(Arc::clone(&appliance))?;
    }
    attendant.attend(running);
    // Whoever minds the process starts it again then.
    Ok(if appliance.has_given_up() { Exit::Failed } else { Exit::Fine })
}

fn attach(appliance: Arc<Appliance>) -> Result<(), Failure> {
    let line = serde_json::to_string(&appliance.addresses).map_err(anyhow::Error::from)?;
    writeln!(std::io::stdout(), "{line}")?;
    // Ends with the process, if standard input outlives it.
    std::thread::Builder::new().name("attached".into()).spawn(move || {
        // An error is an end as well.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        appliance.order(Order::Interrupt);
    })?;
    Ok(())
}
