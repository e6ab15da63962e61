//! What all webhook requests share: the log, the partners of the moment, their counters, and the
//! bounds.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Semaphore;
use touchline_core::dead::DeadLetters;
use touchline_core::event::Event;
use touchline_core::limits::{BODY_BYTES_MAX, BODY_EVENTS_MAX};
use touchline_core::log::EventLog;
use touchline_core::time::Timestamp;

use super::body::Budget;
use super::item::Context;
use super::letters::LetterGate;
use super::quiet::LineGate;
use super::sources::{Partner, Sources};
use super::stats::SourceStats;
use crate::clock::{Clock, system_clock};
use crate::limits::{APPEND_TIMEOUT, BODY_TIMEOUT, IN_FLIGHT_BYTES_MAX, REFUSAL_LINES_PER_S};
use crate::problem::{Code, Problem};
use crate::routes::RouteTable;

/// How the webhook behaves. The defaults are those of [`limits`](crate::limits).
#[derive(Clone)]
pub struct BroadcastOptions {
    /// A body's size. Default 1 MiB.
    pub body_bytes_max: usize,
    /// How long a body may take to arrive. Default 10 s.
    pub body_timeout: Duration,
    /// How long the log may take to answer. Default 5 s.
    pub append_timeout: Duration,
    /// Bytes of all bodies in flight. Default 64 MiB.
    pub in_flight_bytes_max: usize,
    /// Where the time comes from. Default: the system's clock.
    pub clock: Clock,
}

impl Default for BroadcastOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            body_timeout: BODY_TIMEOUT,
            append_timeout: APPEND_TIMEOUT,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            clock: Arc::new(system_clock),
        }
    }
}

impl fmt::Debug for BroadcastOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastOptions")
            .field("body_bytes_max", &self.body_bytes_max)
            .field("body_timeout", &self.body_timeout)
            .field("append_timeout", &self.append_timeout)
            .field("in_flight_bytes_max", &self.in_flight_bytes_max)
            .finish_non_exhaustive()
    }
}

/// One partner with what is counted about it.
pub(super) struct Desk {
    pub partner: Partner,
    pub stats: Arc<SourceStats>,
    pub rate: Arc<DefaultDirectRateLimiter>,
    pub routes: Arc<RouteTable>,
    /// A place for each request that may be under way.
    pub places: Arc<Semaphore>,
    pub letters: Arc<LetterGate>,
}

type Desks = BTreeMap<Box<str>, Arc<Desk>>;

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct BroadcastState {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub log: Arc<dyn EventLog>,
    pub dead: Arc<dyn DeadLetters>,
    pub options: BroadcastOptions,
    pub budget: Budget,
    pub unknown: Arc<SourceStats>,
    pub refusal_lines: LineGate,
    desks: ArcSwap<Desks>,
}

impl BroadcastState {
    /// Takes webhooks of `sources` into `log`; what of them is refused goes to `dead`.
    pub fn new(
        log: Arc<dyn EventLog>,
        sources: Sources,
        options: BroadcastOptions,
        dead: Arc<dyn DeadLetters>,
    ) -> Self {
        let state = Self {
            inner: Arc::new(Inner {
                log,
                dead,
                budget: Budget::new(options.in_flight_bytes_max),
                unknown: Arc::new(SourceStats::new("(unknown)", Instant::now())),
                refusal_lines: LineGate::new(REFUSAL_LINES_PER_S),
                desks: ArcSwap::default(),
                options,
            }),
        };
        state.replace_sources(sources);
        state
    }

    /// Puts `sources` in place of those before. Requests under way finish with the set they began
    /// with; a partner that stays keeps its counters and routes, and its rate as long as its limits
    /// are the same.
    pub fn replace_sources(&self, sources: Sources) {
        let old = self.inner.desks.load();
        let desk = |partner: &Partner| {
            let before = old.get(partner.name());
            if before.is_none_or(|before| before.partner.scheme != partner.scheme) {
                warn_of_age(partner);
            }
            (partner.name().into(), Arc::new(Desk::new(partner, before.map(|it| &**it))))
        };
        let desks: Desks = sources.iter().map(desk).collect();
        self.inner.desks.store(Arc::new(desks));
    }

    /// The events of a body that `source` sent at `received_at` and that was kept as a dead letter:
    /// read again by what is agreed with it today. Whoever sent it has been verified then; its
    /// rate was charged then. What lay ahead of our clock may lie behind it by now; the log judges
    /// the age by `received_at` (R16), which belongs into its `append`.
    ///
    /// # Errors
    /// What the partner would be answered.
    pub fn events_of(
        &self,
        source: &str,
        raw: &[u8],
        received_at: Timestamp,
        correlation: &str,
    ) -> Result<Vec<Event>, Problem> {
        let desk = self.inner.desk(source).ok_or_else(unknown_partner)?;
        let context =
            Context { source, correlation, trace: None, now: self.inner.now().max(received_at) };
        desk.partner.events_of(raw, context)
    }

    /// Counters of each partner by name, then those of requests to partners that don't exist.
    pub fn stats(&self) -> Vec<Arc<SourceStats>> {
        let desks = self.inner.desks.load();
        let known = desks.values().map(|desk| Arc::clone(&desk.stats));
        known.chain([Arc::clone(&self.inner.unknown)]).collect()
    }

    /// Bytes of bodies in flight: arriving or waiting for the log.
    pub fn in_flight_bytes(&self) -> usize {
        self.inner.budget.taken_bytes()
    }

    /// What the clock says.
    pub fn now(&self) -> Timestamp {
        self.inner.now()
    }
}

impl Desk {
    /// Takes over from `before` what isn't changed by a reload.
    fn new(partner: &Partner, before: Option<&Self>) -> Self {
        let stats = before.map(|before| Arc::clone(&before.stats));
        let same_rate = before.filter(|before| same_rate(&before.partner, partner));
        let same_places =
            before.filter(|before| before.partner.requests_max == partner.requests_max);
        Self {
            stats: stats
                .unwrap_or_else(|| Arc::new(SourceStats::new(partner.name(), Instant::now()))),
            rate: same_rate.map_or_else(|| rate(partner), |before| Arc::clone(&before.rate)),
            routes: before.map(|before| Arc::clone(&before.routes)).unwrap_or_default(),
            places: same_places.map_or_else(
                || Arc::new(Semaphore::new(partner.requests_max)),
                |before| Arc::clone(&before.places),
            ),
            letters: before.map(|before| Arc::clone(&before.letters)).unwrap_or_default(),
            partner: partner.clone(),
        }
    }
}

/// What says when it was sent can't be sent again later; where nothing does, its owner should know.
fn warn_of_age(partner: &Partner) {
    if partner.scheme.time.is_none() && !partner.secrets().is_empty() {
        tracing::warn!(
            source = partner.name(),
            "this partner signs no time: a delivery that somebody has copied can be sent again at \
             any time; events that are known or too old are not shown again"
        );
    }
}

/// The refusal of a name that nobody has.
pub(super) fn unknown_partner() -> Problem {
    let detail = "no partner of that name is configured under sources.broadcast";
    Problem::new(Code::UnknownPartner, detail)
}

impl Inner {
    pub fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    pub fn desk(&self, partner: &str) -> Option<Arc<Desk>> {
        self.desks.load().get(partner).cloned()
    }
}

fn same_rate(a: &Partner, b: &Partner) -> bool {
    (a.events_per_s, a.events_burst) == (b.events_per_s, b.events_burst)
}

fn rate(partner: &Partner) -> Arc<DefaultDirectRateLimiter> {
    // A burst below a full body would refuse that body for ever.
    let body =
        NonZeroU32::new(u32::try_from(BODY_EVENTS_MAX).unwrap_or(1)).unwrap_or(NonZeroU32::MIN);
    let burst = NonZeroU32::new(partner.events_burst).unwrap_or(body).max(body);
    let per_s = NonZeroU32::new(partner.events_per_s).unwrap_or(NonZeroU32::MIN);
    Arc::new(RateLimiter::direct(Quota::per_second(per_s).allow_burst(burst)))
}
