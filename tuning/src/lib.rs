//! What Touchline needs of its host: the host doctor.
//!
//! Knobs are data (`knobs.toml`): what each is, why fan-out cares, where it is read, what it should
//! be as a function of connections, memory, cores and NIC, what it costs to leave it, how it is
//! set. The rest of the crate reads a host, judges it, and changes it so that it can be changed
//! back.
//!
//! | module | what |
//! |---|---|
//! | [`host`] | what the plan of shards asks, and keeping the shards' cores free |
//! | [`memory`], [`groups`] | how much memory is left, of the host or of a control group |
//! | [`root`] | everything is read and written below one folder |
//! | [`machine`] | facts of a host, and what the configuration needs of it |
//! | [`knob`], [`wanted`], [`condition`] | the data: parsed, its arithmetic, when it counts |
//! | [`reading`], [`probe`] | what a value is now |
//! | [`mask`], [`interrupts`] | sets of cores as the kernel shows them; interrupts by name |
//! | [`netlink`], [`ethtool`], [`qdisc`] | what only the kernel itself tells |
//! | [`unit`], [`bounds`] | what systemd gives the service |
//! | [`check`] | a row for each knob: now, wanted, `ok`, `advice` or `problem` |
//! | [`table`], [`explain`] | rows and knobs for people; `docs/tuning.md` |
//! | [`plan`], [`settings`] | what would be changed; the files that keep it |
//! | [`script`], [`shell`] | the same as a plain shell script |
//! | [`record`], [`files`] | what was there before, on disk |
//! | [`apply`], [`revert`] | changing it, and changing it back |
//!
//! # Invariants
//! - A check changes nothing and needs no rights.
//! - Before anything is touched, what was there is on disk, synced. So a revert can follow an apply
//!   that ended anywhere.
//! - What is only told (mitigations, SMT) has no way to be set.
//!
//! # What it leaves out
//! Decisions. How many shards there are, and on which cores, is `touchline_fanout::plan`.
//! Arguments, questions and exit codes are `touchline tune`.

pub mod apply;
pub mod bounds;
pub mod check;
pub mod condition;
pub mod ethtool;
pub mod explain;
pub mod files;
pub mod groups;
pub mod host;
pub mod interrupts;
pub mod knob;
pub mod machine;
pub mod mask;
pub mod memory;
pub mod netlink;
pub mod plan;
pub mod probe;
pub mod qdisc;
pub mod reading;
pub mod record;
pub mod revert;
pub mod root;
pub mod script;
pub mod settings;
pub mod shell;
pub mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod trial;
pub mod unit;
pub mod wanted;
