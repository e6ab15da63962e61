//! What a fan-out is told at its start, and what may change later.
//!
//! Plain values, built once by whoever read the configuration. [`Rules`] can be replaced while
//! shards run; the rest can't.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use touchline_core::config::HubConfig;
use touchline_core::event::StreamSet;
use touchline_core::proxy::TrustedProxies;
use touchline_core::ws::{FrameLimits, OriginPolicy};

use crate::plan::Plan;

/// What a fan-out is started with.
#[derive(Clone, Debug)]
pub struct FanoutOptions {
    /// Where clients connect. With port 0 the system chooses one: see `Fanout::local_addr`.
    pub listen: SocketAddr,
    /// Shards, cores and tables.
    pub plan: Plan,
    /// What may change while it runs.
    pub rules: Rules,
    /// Options of the listening sockets, inherited by each connection.
    pub sockets: SocketOptions,
    /// Whose connections begin with a PROXY header: the address in it is the client's. Default
    /// none.
    pub proxies: TrustedProxies,
    /// Names the node in `hello`.
    pub node: String,
    /// How to talk to the kernel.
    pub backend: Backend,
    /// Events of each lane that are read from the log before a shard is ready, so that clients
    /// which come back after a restart are answered from memory (FAULTS 43). Default 10,000: at 300
    /// bytes 3 MB a shard.
    pub warm_events: u64,
    /// Trouble on demand, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub faults: crate::testing::Faults,
}

impl FanoutOptions {
    /// Defaults for a fan-out on `listen` by `plan`.
    pub fn new(listen: SocketAddr, plan: Plan) -> Self {
        Self {
            listen,
            plan,
            rules: Rules::default(),
            sockets: SocketOptions::default(),
            proxies: TrustedProxies::default(),
            node: "a".into(),
            backend: Backend::Auto,
            warm_events: 10_000,
            #[cfg(any(test, feature = "testing"))]
            faults: crate::testing::Faults::default(),
        }
    }
}

/// How a shard talks to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// io_uring where it is allowed, else epoll and `send`.
    #[default]
    Auto,
    /// io_uring, or no start.
    IoUring,
    /// epoll and `send`.
    Epoll,
}

/// What may change while shards run. A replacement holds for sessions that are open too, from their
/// next step on.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Windows, queues and policies.
    pub hub: HubConfig,
    /// What a session may do, and how long it may take.
    pub sessions: SessionRules,
    /// What one address may do.
    pub addresses: AddressRules,
}

/// What a session may do, and how long it may take.
#[derive(Clone, Debug)]
pub struct SessionRules {
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// Bounds of a message.
    pub frames: FrameLimits,
    /// Messages, pings and pongs a second, over a while. Default 20.
    pub messages_per_s: u32,
    /// How many of them at once. Default 60.
    pub messages_burst: u32,
    /// How long a request's head may take (FAULTS 6). Default 5 s.
    pub handshake_max: Duration,
    /// How long a message may take from its first byte to its last (FAULTS 19): who sends half of
    /// one holds its memory. Default 10 s.
    pub message_max: Duration,
    /// How often a ping and a mark are sent. Default 25 s.
    pub heartbeat: Duration,
    /// How long a peer may take to show that it lives after a ping (FAULTS 22). Default 8 s.
    pub pong_max: Duration,
    /// How long a peer may take over a close before its connection is reset. Default 5 s.
    pub close_max: Duration,
    /// What `Retry-After` says to whoever is refused. Default 5.
    pub retry_after_s: u32,
}

impl Default for SessionRules {
    fn default() -> Self {
        Self {
            origins: OriginPolicy::default(),
            frames: FrameLimits::default(),
            messages_per_s: 20,
            messages_burst: 60,
            handshake_max: Duration::from_secs(5),
            message_max: Duration::from_secs(10),
            heartbeat: Duration::from_secs(25),
            pong_max: Duration::from_secs(8),
            close_max: Duration::from_secs(5),
            retry_after_s: 5,
        }
    }
}

/// What one address may do, counted over all shards. For IPv6 an address is its /64: whoever has
/// one has them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRules {
    /// Connections open at once. Default 1,000: a large office or campus behind one address.
    pub connections_max: u32,
    /// Connections opened a second, over a while. Default 100.
    pub connects_per_s: u32,
    /// How many of them at once. Default 1,000.
    pub connects_burst: u32,
    /// Whether the loopback addresses are exempt: the demo, load tests. Of a client behind a
    /// trusted proxy its own address counts, not the proxy's. Default true.
    pub loopback_is_exempt: bool,
}

impl Default for AddressRules {
    fn default() -> Self {
        Self {
            connections_max: 1_000,
            connects_per_s: 100,
            connects_burst: 1_000,
            loopback_is_exempt: true,
        }
    }
}

/// Options of the listening sockets, inherited by each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// TCP_NOTSENT_LOWAT: bytes the kernel takes beyond what is on its way. Default 16 KiB: enough
    /// for a volley's usual share, and a client that stops reading hides 37 KB rather than 4 MB.
    pub notsent_lowat_bytes: u32,
    /// TCP_USER_TIMEOUT: how long sent bytes may go unacknowledged. Default 60 s, past every stall
    /// that a policy judges.
    pub user_timeout: Duration,
    /// SO_KEEPALIVE's idle time. Default 60 s; then three probes, 15 s apart.
    pub keepalive: Duration,
    /// SO_SNDBUF. Default none: the kernel sizes it, which LOWAT bounds already.
    pub send_buffer_bytes: Option<usize>,
    /// Connections that may wait to be accepted. Default 4096; `net.core.somaxconn` caps it.
    pub backlog: i32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            notsent_lowat_bytes: 16 * 1024,
            user_timeout: Duration::from_secs(60),
            keepalive: Duration::from_secs(60),
            send_buffer_bytes: None,
            backlog: 4096,
        }
    }
}

/// What running shards can be told.
#[derive(Clone, Debug)]
pub enum ShardCommand {
    /// Answer load balancers that ask for `/healthz` 503 from now on, so that they send nobody;
    /// whoever comes all the same is served.
    Retire,
    /// Accept nobody any more, and send the sessions away: each gets `reconnect` with a hint, then
    /// close 1012.
    Drain {
        /// Sessions a second, over all shards; slower where receivers accept less.
        sessions_per_s: u32,
        /// What `reconnect` gives as its reason.
        reason: Arc<str>,
        /// The hints are spread evenly between these.
        reconnect_after: (Duration, Duration),
    },
    /// New rules.
    Reload(Arc<Rules>),
    /// Tell every session, and every later one in its `hello`, how the sources are. `live` is the
    /// state of rest.
    Status {
        /// `degraded` or `live`.
        state: Arc<str>,
        /// Streams it is about.
        streams: StreamSet,
    },
    /// Let newcomers in, or refuse them for want of memory. Who is inside stays.
    Door {
        /// Whether they come in.
        is_open: bool,
    },
    /// End now: sockets are closed as they are.
    Stop,
}
