//! What the system tells the process: SIGTERM, SIGINT, SIGHUP.
//!
//! SIGTERM drains, SIGINT leaves within two seconds, a second of either ends at once; SIGHUP
//! reloads. Signals that come faster than they are handled are one signal, as Unix has it, so that
//! a hundred SIGHUPs a second cost a reload at a time and no queue.

use std::io;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::reload::reload;
use crate::running::{Order, Running};

/// After an order that leaves no time, the process ends by itself should a part be stuck.
const STUCK_AFTER: Duration = Duration::from_secs(3);

/// The signals, caught from now on: those that come during the start are handled after it.
pub struct Attendant(Signals);

impl Attendant {
    /// Catches them.
    ///
    /// # Errors
    /// When the system doesn't let us.
    pub fn new() -> io::Result<Self> {
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map(Self)
    }

    /// Handles signals until `running` has come to its end.
    pub fn attend(mut self, running: Running) {
        let appliance = running.appliance();
        let handle = self.0.handle();
        let waiter = std::thread::spawn(move || {
            running.wait();
            handle.close();
        });
        let mut last = None;
        for signal in self.0.forever() {
            if signal == SIGHUP {
                reload(&appliance);
                continue;
            }
            let order = match signal {
                _ if last == Some(signal) => Order::Now,
                SIGINT => Order::Interrupt,
                _ if last.is_some() => Order::Now,
                _ => Order::Drain,
            };
            last = Some(signal);
            tracing::info!(signal, ?order, "a signal asks us to end");
            if order > Order::Drain {
                std::thread::spawn(end_if_stuck);
            }
            appliance.order(order);
        }
        // The waiter panics only if the keeper's join does, which it reports itself.
        let _ = waiter.join();
    }
}

fn end_if_stuck() {
    std::thread::sleep(STUCK_AFTER);
    tracing::error!("a part didn't end; the process ends without it");
    std::process::exit(1);
}
