//! What kind of world a seed makes.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use touchline_core::config::{HubConfig, StreamLimits};

/// The fixed facts of one world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What made it.
    pub seed: u64,
    /// Lanes of the log.
    pub lanes: u16,
    /// Teams there are.
    pub teams: usize,
    /// Clients that come and go.
    pub clients: usize,
    /// Virtual ticks of 10 ms.
    pub ticks: u64,
    /// Events a tick, on average.
    pub events_per_tick: f64,
    /// Bytes a healthy socket takes in a tick.
    pub capacity_bytes: usize,
    /// Probabilities a tick: of a client that its socket stalls, breaks, or that it changes what it
    /// follows.
    pub stall: f64,
    /// See `stall`.
    pub reset: f64,
    /// See `stall`.
    pub change: f64,
    /// Probability of a batch that the mailbox has no room for it (R26).
    pub overflow: f64,
    /// Probability of a read that it fails, and ticks that one takes at most.
    pub read_failure: f64,
    /// See `read_failure`.
    pub read_ticks_max: u64,
    /// Probability a tick that the server dies and starts again.
    pub crash: f64,
    /// Events that retention leaves in a lane.
    pub retention: u64,
    /// Share of the log that can't be read back.
    pub damage: f64,
    /// Strangers a tick, on average: they connect, ask for something, and are gone.
    pub strangers: f64,
    /// Probability a tick that the log begins a new life under those who are connected (R8).
    pub new_life: f64,
    /// Bounds of the hub.
    pub config: HubConfig,
}

impl Scenario {
    /// The world of `seed`: mostly small and quick, now and then with thousands of clients.
    pub fn of(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let crowd = rng.random_bool(0.05);
        let calm = rng.random_bool(0.2);
        let trouble = if calm { 0.0 } else { rng.random_range(0.0..1.0) };
        // A source of its own: what came later must not change what older seeds mean.
        let mut later = SmallRng::seed_from_u64(seed ^ 0x1a7e);
        Self {
            seed,
            lanes: rng.random_range(1..=4),
            teams: rng.random_range(2..=12),
            clients: if crowd { rng.random_range(1_000..=3_000) } else { rng.random_range(2..=60) },
            ticks: if crowd { 60 } else { rng.random_range(100..=400) },
            events_per_tick: rng.random_range(0.1..4.0),
            capacity_bytes: rng.random_range(200..=20_000),
            stall: 0.03 * trouble,
            reset: 0.02 * trouble,
            change: rng.random_range(0.0..0.03),
            overflow: 0.1 * trouble,
            read_failure: 0.1 * trouble,
            read_ticks_max: rng.random_range(0..=8),
            crash: 0.004 * trouble,
            retention: if rng.random_bool(0.3) { rng.random_range(20..=200) } else { u64::MAX },
            damage: if rng.random_bool(0.2) { 0.02 } else { 0.0 },
            strangers: if later.random_bool(0.5) { later.random_range(0.0..2.0) } else { 0.0 },
            new_life: if later.random_bool(0.4) { 0.01 * trouble } else { 0.0 },
            config: config(&mut rng),
        }
    }
}

fn config(rng: &mut SmallRng) -> HubConfig {
    let tight = rng.random_bool(0.6);
    let mut bytes = |tight_max: usize, wide: usize| {
        if tight { rng.random_range(1_000..=tight_max) } else { wide }
    };
    let mut stream = || StreamLimits {
        window_bytes: bytes(20_000, 1 << 20),
        queue_bytes_max: bytes(10_000, 1 << 20),
        age_max: Duration::from_millis(500),
    };
    let streams = [stream(), stream(), stream(), stream()];
    HubConfig {
        streams,
        windows_bytes_max: bytes(100_000, 16 << 20),
        teams_max: 6,
        visit_bytes_max: bytes(8_000, 64 << 10),
        read_bytes_max: bytes(6_000, 64 << 10),
        chunks_max: 3,
        stall_max: Duration::from_secs(1),
        control_bytes_max: 64 << 10,
    }
}
