//! SIGHUP: the configuration is read again, and taken whole or not at all.
//!
//! What can be reloaded is marked in the table of keys. A file that can't be read, a mistake in it,
//! or a change of any other key refuses the whole: the old configuration stays in force, one line
//! of the log says why, and `config_last_reload_successful` is 0 until a reload succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use touchline_fanout::{Rules, ShardCommand};

use crate::config::Loaded;
use crate::logging;
use crate::running::Appliance;

/// What reloads have come to.
#[derive(Debug)]
pub struct Reloads {
    /// Whether the last one was taken; true before the first.
    pub last_taken: AtomicBool,
    /// Taken.
    pub taken: AtomicU64,
    /// Refused.
    pub refused: AtomicU64,
}

impl Default for Reloads {
    fn default() -> Self {
        Self {
            last_taken: AtomicBool::new(true),
            taken: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }
}

/// Reads the configuration again and puts it in force. `false`: it was refused, and nothing has
/// changed. Called from one thread at a time.
pub fn reload(appliance: &Appliance) -> bool {
    let old = appliance.loaded.load_full();
    match old.reread() {
        Ok(fresh) => {
            let changed = fresh.changed(&old);
            apply(appliance, fresh);
            appliance.reloads.last_taken.store(true, Relaxed);
            appliance.reloads.taken.fetch_add(1, Relaxed);
            tracing::info!(changed = changed.join(","), "the configuration was read again");
            true
        }
        Err(error) => {
            appliance.reloads.last_taken.store(false, Relaxed);
            appliance.reloads.refused.fetch_add(1, Relaxed);
            tracing::error!(%error, "the configuration was not reloaded; the old one stays in \
             force");
            false
        }
    }
}

fn apply(appliance: &Appliance, fresh: Loaded) {
    let options = &fresh.options;
    logging::set_level(&options.logging.level);
    appliance.webhooks.replace_sources(options.sources.clone());
    let rules = rules_with_board(&options.rules, appliance.addresses.api.port());
    appliance.command(ShardCommand::Reload(Arc::new(rules)));
    appliance.loaded.store(Arc::new(fresh));
}

/// The board's page may connect from the port it is served on.
pub fn rules_with_board(rules: &Rules, api_port: u16) -> Rules {
    let mut rules = rules.clone();
    rules.sessions.origins.board_port = Some(api_port);
    rules
}
