//! What the system tells the process: SIGTERM, SIGINT, SIGHUP.
//!
//! SIGTERM drains, SIGINT leaves within two seconds, a second of either ends at once; SIGHUP
//! reloads. A part that doesn't end is left behind: the process ends without it. Signals that come
//! faster than they are handled are one signal, as Unix has it, so that a hundred SIGHUPs a second
//! cost a reload at a time and no queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::limits::{STOP_PARTS, STOP_REQUESTS};
use crate::reload::reload;
use crate::running::{Appliance, Order, Running, Stage};

/// After an order that leaves no time, the process ends by itself should a part be stuck. One that
/// asks slow brokers is not: a question may take 2 s, and the last note 1 s more.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// How often it is asked whether the stop has begun.
const LOOK: Duration = Duration::from_millis(100);

/// The signals, caught from now on: those that come during the start are handled after it, unless
/// the start [asks](Attendant::wants_end) and ends.
pub struct Attendant {
    signals: Signals,
    wants_end: Arc<AtomicBool>,
}

impl Attendant {
    /// Catches them.
    ///
    /// # Errors
    /// When the system doesn't let us.
    pub fn new() -> io::Result<Self> {
        let wants_end = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&wants_end))?;
        }
        let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        Ok(Self { signals, wants_end })
    }

    /// Set once a signal has asked for the end: a start that waits for others must not wait on.
    pub fn wants_end(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.wants_end)
    }

    /// Handles signals until `running` has come to its end.
    pub fn attend(mut self, running: Running) {
        let appliance = running.appliance();
        let handle = self.signals.handle();
        let waiter = std::thread::spawn(move || {
            running.wait();
            handle.close();
        });
        let watched = Arc::clone(&appliance);
        std::thread::spawn(move || end_if_stop_is_stuck(&watched));
        let mut last = None;
        for signal in self.signals.forever() {
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
                std::thread::spawn(|| end_if_stuck(STUCK_AFTER));
            }
            appliance.order(order);
        }
        // The waiter panics only if the keeper's join does, which it reports itself.
        let _ = waiter.join();
    }
}

/// A drain takes its minutes, but once the parts are being stopped it must come to an end, whoever
/// has asked for it.
fn end_if_stop_is_stuck(appliance: &Appliance) {
    while appliance.stage() < Stage::Stopping {
        std::thread::sleep(LOOK);
    }
    end_if_stuck(STOP_REQUESTS + STOP_PARTS);
}

/// The threads here that wait end with the process, which is what they wait for.
fn end_if_stuck(patience: Duration) {
    std::thread::sleep(patience);
    tracing::error!("a part didn't end; the process ends without it");
    std::process::exit(1);
}
