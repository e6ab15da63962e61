//! The list of what is measured.

use super::measure::Measure;
use super::words::{percent, rounded};
use crate::publish::Posted;
use crate::receive::harvest::WindowHarvest;
use crate::run::Run;

/// A latency of a window, milliseconds; nothing where nothing arrived.
const fn latency(
    head: &'static str,
    note: &'static str,
    of: fn(&Run, usize) -> Option<f64>,
) -> Measure {
    Measure::less_is_better(head, "ms", note, of).of_deliveries().of_window()
}

/// Of a window in which something arrived, a figure in microseconds as milliseconds.
fn arrived_ms(run: &Run, at: usize, us: fn(&WindowHarvest) -> u64) -> Option<f64> {
    let window = run.harvest.windows.get(at).filter(|window| window.latency.count > 0)?;
    Some(us(window) as f64 / 1e3)
}

/// Half of the deliveries were quicker.
pub const P50: Measure =
    latency("p50", "from the time an event was due to the client's read returning", |run, at| {
        arrived_ms(run, at, |window| window.latency.p50)
    });
/// 99 of 100 were.
pub const P99: Measure =
    latency("p99", "likewise; 99 of 100 deliveries were quicker", |run, at| {
        arrived_ms(run, at, |window| window.latency.p99)
    });
/// 9,999 of 10,000 were.
pub const P9999: Measure =
    latency("p99.99", "likewise; 9,999 of 10,000 deliveries were quicker", |run, at| {
        arrived_ms(run, at, |window| window.latency.p9999)
    });
/// The slowest delivery.
pub const MAX: Measure = latency("max", "the slowest delivery of a run", |run, at| {
    arrived_ms(run, at, |window| window.latency.max)
});
/// When everybody has it.
pub const LAST: Measure = latency(
    "last socket",
    "from the time an event was due until every socket had it; median of a run's events",
    |run, at| arrived_ms(run, at, |window| window.last_us[1]),
);
/// How long some know it and others don't.
pub const SPREAD: Measure =
    latency("first to last", "from an event's first receipt to its last", |run, at| {
        arrived_ms(run, at, |window| window.spread_us[1])
    });
/// Pace.
pub const RATE: Measure = Measure::more_is_better(
    "deliveries",
    "1,000/s",
    "what arrived, over the time from the first event to the last receipt",
    |run, at| {
        let seen = run.harvest.windows.get(at)?;
        Some(seen.latency.count as f64 / seen.took_s.max(1e-9) / 1e3)
    },
)
.of_window();
/// Completeness.
pub const ARRIVED: Measure = Measure::more_is_better(
    "arrived",
    "%",
    "deliveries, against those of a perfect server, warm-up included",
    |run, _| (run.expected > 0).then(|| run.harvest.counts.delivered as f64 / run.expected as f64),
)
.shown(percent)
.exact();
/// How long the queues took to empty.
pub const DRAINED: Measure = Measure::less_is_better(
    "drained",
    "s",
    "from the last event's due time until everything had arrived, or was no longer waited for",
    |run, _| (run.drained_s > 0.0).then_some(run.drained_s),
)
.of_deliveries();
/// Price of a delivery.
pub const CPU: Measure = Measure::less_is_better(
    "CPU a delivery",
    "\u{b5}s",
    "the server's processes and the kernel's thread of their core, user and kernel",
    |run, _| cpu_us(run),
)
.of_deliveries();
/// The part of it outside of the kernel.
pub const CPU_USER: Measure = Measure::less_is_better(
    CPU.head,
    CPU.unit,
    "the part of it outside of the kernel",
    |run, _| Some(cpu_us(run).or_else(|| event_us(run))? * run.cpu.user_share),
)
.of_deliveries();
/// How far off that part may be: ticks are coarse.
pub const CPU_USER_ERROR: Measure = Measure::less_is_better(
    CPU.head,
    CPU.unit,
    "a tick of 10 ms, over the deliveries",
    |run, _| Some(cpu_us(run).or_else(|| event_us(run))? * run.cpu.user_share_error()),
)
.of_deliveries();
/// Price of a connection, to the process.
pub const PROCESS: Measure = Measure::less_is_better(
    "process",
    "B/socket",
    "resident memory that came with the clients, all of them idle",
    // Of a server elsewhere nothing is known.
    |run, _| (run.memory[1].rss_bytes > 0).then(|| run.user_bytes_per_socket()),
);
/// Price of a connection, to the kernel.
pub const KERNEL: Measure = Measure::less_is_better(
    "kernel",
    "B/socket",
    "slab memory that came with the clients, both ends of each connection",
    |run, _| Some(run.kernel_bytes_per_socket()),
);
/// How fast a crowd comes in.
pub const CONNECTS: Measure = Measure::more_is_better(
    "connects",
    "1/s",
    "sockets, over the time from the first connect to the last subscription; a dash where the \
     clients\u{2019} core was the limit",
    |run, _| (!run.is_connect_limited()).then(|| run.connects_per_s()),
);
/// Half of those who lost their connection are back.
pub const AWAY_P50: Measure = Measure::less_is_better(
    "back, p50",
    "s",
    "from the loss of a connection to the subscription on the next; half were sooner",
    |run, _| away_s(run, run.harvest.away.p50),
);
/// 99 of 100 are.
pub const AWAY_P99: Measure =
    Measure::less_is_better("back, p99", "s", "likewise; 99 of 100 were sooner", |run, _| {
        away_s(run, run.harvest.away.p99)
    });
/// How many came back.
pub const RETURNED: Measure = Measure::more_is_better(
    "returned",
    "%",
    "clients that were back, against connections that ended",
    |run, _| {
        let counts = &run.harvest.counts;
        let gone = counts.left + counts.closed.values().sum::<u64>();
        (gone > 0).then(|| counts.returned as f64 / gone as f64)
    },
)
.shown(percent)
.exact();
/// Pace of the way in.
pub const DURABLE: Measure = Measure::more_is_better(
    "durable",
    "events/s",
    "events of webhooks that were answered 202, over the time from the first due time to the last \
     answer",
    |run, _| posted(run, |posted| posted.events as f64 / posted.seconds.max(1e-9)),
)
.shown(rounded);
/// Half of the webhooks were answered sooner.
pub const POST_P50: Measure = Measure::less_is_better(
    "p50",
    "ms",
    "from the time a webhook\u{2019}s first event was due to its 202; half were quicker",
    |run, _| posted(run, |posted| posted.latency.p50 as f64 / 1e3),
);
/// 99 of 100 were.
pub const POST_P99: Measure = Measure::less_is_better(
    "p99",
    "ms",
    "likewise; 99 of 100 webhooks were answered sooner",
    |run, _| posted(run, |posted| posted.latency.p99 as f64 / 1e3),
);
/// The last to be answered.
pub const POST_SLOWEST: Measure =
    Measure::less_is_better("max", "ms", "the webhook of a run that waited longest", |run, _| {
        posted(run, |posted| posted.latency.max as f64 / 1e3)
    });
/// How often the server said later.
pub const PUT_OFF: Measure = Measure::less_is_better(
    "put off",
    "attempts",
    "answers 429 and 503 and lost connections, each followed by another attempt",
    |run, _| posted(run, |posted| posted.retries as f64),
);
/// Price of an event on its way in.
pub const CPU_EVENT: Measure =
    Measure::less_is_better("CPU an event", CPU.unit, CPU.note, |run, _| event_us(run));

/// CPU for a delivery, where there was one.
fn cpu_us(run: &Run) -> Option<f64> {
    (run.cpu_us > 0.0 && run.harvest.counts.delivered > 0).then_some(run.cpu_us)
}

/// CPU for an event that was posted and nobody followed.
fn event_us(run: &Run) -> Option<f64> {
    (run.cpu_us > 0.0 && run.sockets == 0).then_some(run.cpu_us)
}

fn posted(run: &Run, of: fn(&Posted) -> f64) -> Option<f64> {
    run.posted.as_ref().filter(|posted| posted.events > 0).map(of)
}

fn away_s(run: &Run, us: u64) -> Option<f64> {
    // Whoever lets few back in has a short queue: it counts where all are back.
    let counts = &run.harvest.counts;
    let are_back = counts.returned >= counts.left + counts.closed.values().sum::<u64>();
    (run.harvest.away.count > 0 && are_back).then_some(us as f64 / 1e6)
}
