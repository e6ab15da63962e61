//! How many shards, on which cores, with whose descriptors (DESIGN section 4).
//!
//! A host bounds the descriptors of one table, often to 20,000. A shard that takes a private table
//! has that many for itself, so the number of shards follows from the number of connections as well
//! as from the cores. The arithmetic stands in [`Plan::make`] alone; whoever asks for what can't be
//! gets it in words.

use crate::limits::{DESCRIPTORS_PERCENT, DESCRIPTORS_RESERVED, SHARDS_MAX};

/// How many shards the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// As many as cores and connections ask for.
    Auto,
    /// Exactly so many.
    Count(usize),
}

/// What a plan is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanInput {
    /// Connections of the whole process.
    pub connections_max: usize,
    /// How many shards.
    pub shards: Shards,
    /// Cores the process may run on, ascending.
    pub cores: Vec<usize>,
    /// Whether the last core is left to journal, API and cold tier. Default true.
    pub last_core_is_left: bool,
    /// The hard limit on open files.
    pub nofile_hard: u64,
}

/// Shards, cores and tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The core of each shard; as many as there are shards. `None`: not pinned.
    pub cores: Vec<Option<usize>>,
    /// Connections of the whole process.
    pub connections_max: usize,
    /// Sessions one shard may hold.
    pub sessions_max: usize,
    /// Whether each shard takes a table of descriptors of its own.
    pub private_tables: bool,
}

/// A plan that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too few shards for the connections.
    #[error(
        "{shards} shard(s) hold {holds} connections, not {connections_max}: each has a table of \
         {nofile} open files, of which {reserved} are kept and {percent} % of the rest ({each}) \
         can be sockets; \
         set `shards` to {needed} or \"auto\", or raise the hard limit on open files"
    )]
    TooFewShards {
        /// As configured.
        shards: usize,
        /// What they hold together.
        holds: u64,
        /// As configured.
        connections_max: usize,
        /// The hard limit.
        nofile: u64,
        /// [`DESCRIPTORS_RESERVED`].
        reserved: u64,
        /// [`DESCRIPTORS_PERCENT`].
        percent: u64,
        /// Sockets of one table.
        each: u64,
        /// Shards that would do.
        needed: u64,
    },
    /// The host's limit leaves no room for a single socket.
    #[error("the hard limit of {0} open files leaves none for sockets: raise it to 1024 at least")]
    NoDescriptors(u64),
    /// No shard, or more than make sense.
    #[error("`shards` must be 1 to {SHARDS_MAX} or \"auto\", not {0}")]
    Count(usize),
    /// Nobody could connect.
    #[error("`connections_max` must be at least 1")]
    NoConnections,
}

/// Sockets that fit one table.
fn sockets_max(nofile_hard: u64) -> u64 {
    nofile_hard.saturating_sub(DESCRIPTORS_RESERVED) * DESCRIPTORS_PERCENT / 100
}

impl Plan {
    /// The plan for `input`, with the arithmetic when there is none.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn make(input: &PlanInput) -> Result<Self, PlanError> {
        let each = sockets_max(input.nofile_hard);
        if input.connections_max == 0 {
            return Err(PlanError::NoConnections);
        }
        if each == 0 {
            return Err(PlanError::NoDescriptors(input.nofile_hard));
        }
        let needed = (input.connections_max as u64).div_ceil(each);
        let cores = usable_cores(input);
        let shards = match input.shards {
            Shards::Auto => cores.len().max(1).max(usize::try_from(needed).unwrap_or(usize::MAX)),
            Shards::Count(count) => count,
        };
        if !(1..=SHARDS_MAX).contains(&shards) {
            return Err(PlanError::Count(shards));
        }
        if (shards as u64) < needed {
            return Err(too_few(input, shards, each, needed));
        }
        let private_tables = needed > 1;
        // Planned for its share, a shard takes what the kernel's hash gives it beyond that: with
        // 20,000 descriptors four standard deviations of a full one, and more.
        let most = if private_tables { input.nofile_hard - DESCRIPTORS_RESERVED } else { each };
        let sessions_max = usize::try_from(most).unwrap_or(usize::MAX).min(input.connections_max);
        let core_of = |n: usize| cores.get(n % cores.len().max(1)).copied();
        Ok(Self {
            cores: (0..shards).map(core_of).collect(),
            connections_max: input.connections_max,
            sessions_max,
            private_tables,
        })
    }

    /// How many shards.
    pub fn shards(&self) -> usize {
        self.cores.len()
    }
}

fn usable_cores(input: &PlanInput) -> &[usize] {
    match input.cores.as_slice() {
        [most @ .., _] if input.last_core_is_left && !most.is_empty() => most,
        all => all,
    }
}

fn too_few(input: &PlanInput, shards: usize, each: u64, needed: u64) -> PlanError {
    PlanError::TooFewShards {
        shards,
        holds: each * shards as u64,
        connections_max: input.connections_max,
        nofile: input.nofile_hard,
        reserved: DESCRIPTORS_RESERVED,
        percent: DESCRIPTORS_PERCENT,
        each,
        needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(connections_max: usize, shards: Shards, cores: usize) -> PlanInput {
        PlanInput {
            connections_max,
            shards,
            cores: (0..cores).collect(),
            last_core_is_left: true,
            nofile_hard: 20_000,
        }
    }

    #[test]
    fn the_figures_of_the_design_hold() {
        for (connections_max, cores, shards, private) in [
            (19_200, 2, 1, false),
            (50_000, 2, 3, true),
            (250_000, 2, 14, true),
            (10_000, 9, 8, false),
            (10_000, 1, 1, false),
        ] {
            let plan = Plan::make(&input(connections_max, Shards::Auto, cores)).unwrap();
            assert_eq!(
                (plan.shards(), plan.private_tables),
                (shards, private),
                "{connections_max}"
            );
            assert!(plan.sessions_max <= if private { 19_800 } else { 19_206 });
            assert!(plan.sessions_max * plan.shards() >= connections_max);
        }
    }

    #[test]
    fn a_shard_takes_four_standard_deviations_more_than_its_share() {
        for connections_max in [38_412, 50_000, 250_000, 1_000_000] {
            let plan = Plan::make(&input(connections_max, Shards::Auto, 2)).unwrap();
            let share = connections_max as f64 / plan.shards() as f64;
            let deviation = (share * (1.0 - 1.0 / plan.shards() as f64)).sqrt();
            assert!(plan.sessions_max as f64 >= share + 4.0 * deviation, "{connections_max}");
        }
    }

    #[test]
    fn shards_go_round_the_cores_and_leave_the_last() {
        let plan = Plan::make(&input(100, Shards::Count(5), 3)).unwrap();
        assert_eq!(plan.cores, [0, 1, 0, 1, 0].map(Some));
        let mut all = input(100, Shards::Auto, 3);
        all.last_core_is_left = false;
        assert_eq!(Plan::make(&all).unwrap().cores, [0, 1, 2].map(Some));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_arithmetic() {
        let error = Plan::make(&input(50_000, Shards::Count(2), 2)).unwrap_err().to_string();
        for part in ["2 shard(s) hold 38412", "not 50000", "20000 open files", "to 3 or"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let mut tight = input(10, Shards::Auto, 2);
        tight.nofile_hard = 200;
        assert_eq!(Plan::make(&tight), Err(PlanError::NoDescriptors(200)));
        assert_eq!(Plan::make(&input(10, Shards::Count(0), 2)), Err(PlanError::Count(0)));
        assert_eq!(Plan::make(&input(0, Shards::Auto, 2)), Err(PlanError::NoConnections));
    }
}
