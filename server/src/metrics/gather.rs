//! Asks everybody for their numbers and writes the page, in the order of the table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use touchline_core::event::Stream;
use touchline_core::log::HoleReason;
use touchline_core::metrics::{Counter, Snapshot};
use touchline_core::ws::{CloseCode, Refusal};
use touchline_fanout::{ShardStats, clock};
use touchline_ingest::kafka::KafkaLog;
use touchline_ingest::poll::PollStats;
use touchline_ingest::social::{Fate, SocialStats};
use touchline_store::journal::stats::bucket_bound;
use touchline_store::journal::{HistogramStats, JournalStats};

use super::page::{Buckets, Page};
use super::table::*;
use crate::node_log::NodeLog;
use crate::running::Appliance;
use crate::spool::Spool;

/// Values of the label `result` of resumes, in the order in which shards count them.
const RESUMES_BY: [&str; 3] = ["memory", "log", "not_recovered"];

/// The page of `/metrics`.
pub fn gather(appliance: &Appliance) -> String {
    let mut page = Page::default();
    process(&mut page, appliance);
    let shards: Vec<&ShardStats> = appliance.shards.iter().map(|shard| &***shard).collect();
    sessions(&mut page, &shards, appliance.gate.refused());
    deliveries(&mut page, &shards);
    troubles(&mut page, &shards);
    sources(&mut page, appliance);
    log(&mut page, appliance);
    dead_letters(&mut page, appliance);
    page.finish()
}

fn process(page: &mut Page, appliance: &Appliance) {
    page.family(&BUILD_INFO).sample(&[crate::VERSION], 1.0);
    page.single(&UP_SECONDS, appliance.started.elapsed().as_secs_f64());
    page.single(&READY, flag(appliance.reasons_not_ready().is_empty()));
    let backend = appliance.shards.first().map_or("none", |shard| shard.backend());
    page.family(&IO_BACKEND_INFO).sample(&[backend], 1.0);
    let memory = appliance.memory.read();
    page.single(&MEMORY_USED_BYTES, memory.map_or(0.0, |memory| count(memory.used_bytes)));
    page.single(&MEMORY_LIMIT_BYTES, memory.map_or(0.0, |memory| count(memory.limit_bytes)));
    let reloads = &appliance.reloads;
    page.single(&CONFIG_LAST_RELOAD_SUCCESSFUL, flag(reloads.last_taken.load(Relaxed)));
    page.family(&CONFIG_RELOADS)
        .sample(&["taken"], count(reloads.taken.load(Relaxed)))
        .sample(&["refused"], count(reloads.refused.load(Relaxed)));
}

/// `unnamed`: what the API port has closed for want of a PROXY header; shards count their own.
fn sessions(page: &mut Page, shards: &[&ShardStats], unnamed: u64) {
    by_shard(page, &CONNECTIONS, shards, |shard| shard.connections.get() as f64);
    page.single(&CONNECTIONS_OPENED, total(shards, |shard| &shard.opened));
    let mut family = page.family(&CONNECTIONS_CLOSED);
    for (n, row) in CloseCode::ALL.iter().enumerate() {
        family.sample(&[row.label], total(shards, |shard| &shard.closed[n]));
    }
    let mut family = page.family(&HANDSHAKE_FAILURES);
    for (n, row) in Refusal::ALL.iter().enumerate() {
        let api = if row.refusal == Refusal::BadProxyHeader { unnamed } else { 0 };
        family.sample(&[row.label], total(shards, |shard| &shard.refused[n]) + count(api));
    }
    family.sample(&["lost"], total(shards, |shard| &shard.handshakes_lost));
    by_shard(page, &SHARD_BUSY_RATIO, shards, |shard| shard.busy_permille.get() as f64 / 1e3);
    let now = clock::monotonic();
    by_shard(page, &SHARD_HEARTBEAT_AGE_SECONDS, shards, |shard| {
        now.since(shard.beat()).as_secs_f64()
    });
}

fn deliveries(page: &mut Page, shards: &[&ShardStats]) {
    page.single(&DELIVERIES, total(shards, |shard| &shard.deliveries));
    page.single(&SENDS, total(shards, |shard| &shard.sends));
    page.single(&SENDS_BLOCKED, total(shards, |shard| &shard.sends_blocked));
    page.single(&SENT_BYTES, total(shards, |shard| &shard.sent_bytes));
    let merge = |of: &dyn Fn(&ShardStats) -> Snapshot| {
        let mut all = Snapshot::default();
        shards.iter().for_each(|shard| all.merge(&of(shard)));
        buckets(&all)
    };
    let latency = merge(&|shard| shard.delivery_latency.snapshot());
    page.family(&DELIVERY_LATENCY_SECONDS).buckets(&[], &latency);
    let spread = merge(&|shard| shard.broadcast_spread.snapshot());
    page.family(&BROADCAST_SPREAD_SECONDS).buckets(&[], &spread);
    let mut family = page.family(&EVENT_AGE_SECONDS);
    for stream in Stream::ALL {
        let age = merge(&|shard| shard.event_age[stream as usize].snapshot());
        family.buckets(&[stream.as_str()], &age);
    }
}

fn troubles(page: &mut Page, shards: &[&ShardStats]) {
    let mut family = page.family(&GAPS);
    for (n, reason) in HoleReason::ALL.iter().enumerate() {
        family.sample(&[reason.as_str()], total(shards, |shard| &shard.gaps[n]));
    }
    page.single(&CONFLATED, total(shards, |shard| &shard.conflated));
    page.single(&SLOW_CLOSED, total(shards, |shard| &shard.slow_closed));
    let mut family = page.family(&RESUMES);
    for (n, result) in RESUMES_BY.iter().enumerate() {
        family.sample(&[result], total(shards, |shard| &shard.resumes[n]));
    }
    page.single(&CATCHING_UP, sum(shards, |shard| shard.catching_up.get()));
    page.single(&MAILBOX_OVERFLOWS, total(shards, |shard| &shard.mailbox_overflows));
    page.single(&LOG_REREADS, total(shards, |shard| &shard.rereads));
    page.single(&LOG_READS_FAILED, total(shards, |shard| &shard.reads_failed));
    page.single(&POISON, total(shards, |shard| &shard.poison));
    page.single(&TOPICS, sum(shards, |shard| shard.topics.get()));
    page.single(&WINDOW_BYTES, sum(shards, |shard| shard.windows_bytes.get()));
    page.single(&CLIENT_ERRORS, total(shards, |shard| &shard.soft_errors));
    page.single(&SESSION_PANICS, total(shards, |shard| &shard.session_panics));
    page.single(&ACCEPT_SHORTAGES, total(shards, |shard| &shard.accept_shortages));
    page.single(&PIN_FAILURES, total(shards, |shard| &shard.pin_failures));
    page.single(&RING_FAILURES, total(shards, |shard| &shard.ring_failures));
    page.single(&SENDS_RETRIED, total(shards, |shard| &shard.sends_retried));
}

fn sources(page: &mut Page, appliance: &Appliance) {
    let sources = appliance.webhooks.stats();
    let polled = appliance.followed.polled();
    // A partner may send and be polled: its numbers are added up.
    let mut sums: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for source in &sources {
        *sums.entry((source.source(), "")).or_default() += count(source.accepted());
    }
    for source in polled {
        *sums.entry((source.source(), "")).or_default() += count(source.published());
    }
    let mut family = page.family(&EVENTS_INGESTED);
    for ((source, _), events) in std::mem::take(&mut sums) {
        family.sample(&[source], events);
    }
    let social = appliance.followed.social();
    for source in social {
        family.sample(&[source.source()], count(source.posts(Fate::Published)));
    }
    let mut family = page.family(&EVENTS_DUPLICATE);
    for source in &sources {
        family.sample(&[source.source()], count(source.duplicates()));
    }
    for source in social {
        family.sample(&[source.source()], count(source.posts(Fate::Duplicate)));
    }
    let mut family = page.family(&EVENTS_TOO_OLD);
    for source in &sources {
        family.sample(&[source.source()], count(source.too_old()));
    }
    for source in social {
        family.sample(&[source.source()], count(source.posts(Fate::TooOld)));
    }
    for source in &sources {
        for (reason, errors) in source.errors() {
            *sums.entry((source.source(), reason)).or_default() += count(errors);
        }
    }
    for source in polled {
        for (reason, troubles) in source.troubles() {
            *sums.entry((source.source(), reason)).or_default() += count(troubles);
        }
    }
    for source in social {
        for (reason, troubles) in source.troubles() {
            *sums.entry((source.source(), reason)).or_default() += count(troubles);
        }
    }
    let mut family = page.family(&INGEST_ERRORS);
    for ((source, reason), errors) in sums {
        family.sample(&[source, reason], errors);
    }
    let mut family = page.family(&INGEST_LETTERS_KEPT_BACK);
    for source in &sources {
        family.sample(&[source.source()], count(source.kept_back()));
    }
    staleness(page, appliance);
    polls(page, polled);
    assigned(page, polled, social);
    posts(page, social);
    page.single(&INGEST_IN_FLIGHT_BYTES, appliance.webhooks.in_flight_bytes() as f64);
}

/// Whatever way a source's last event came.
fn staleness(page: &mut Page, appliance: &Appliance) {
    let (sources, polled) = (appliance.webhooks.stats(), appliance.followed.polled());
    let social = appliance.followed.social();
    let now = Instant::now();
    let mut ages: BTreeMap<&str, f64> = BTreeMap::new();
    let webhooks = sources.iter().map(|it| (it.source(), it.staleness(now)));
    for (source, age) in webhooks.chain(polled.iter().map(|it| (it.source(), it.staleness(now)))) {
        let age = age.as_secs_f64();
        ages.entry(source).and_modify(|least| *least = least.min(age)).or_insert(age);
    }
    let mut family = page.family(&SOURCE_STALENESS_SECONDS);
    for (source, age) in ages {
        family.sample(&[source], age);
    }
    for source in social {
        family.sample(&[source.source()], source.staleness().as_secs_f64());
    }
}

fn polls(page: &mut Page, polled: &[Arc<PollStats>]) {
    let mut each = |metric: &'static Metric, value: &dyn Fn(&PollStats) -> f64| {
        let mut family = page.family(metric);
        for it in polled {
            family.sample(&[it.source()], value(it));
        }
    };
    each(&SOURCE_POLLS, &|it| count(it.polls()));
    each(&SOURCE_TICKS_MISSED, &|it| count(it.ticks_missed()));
    each(&SOURCE_TICKS_SKIPPED, &|it| count(it.ticks_skipped()));
    each(&SOURCE_UNCHANGED, &|it| count(it.unchanged()));
    each(&SOURCE_SEQUENCE_RESTARTS, &|it| count(it.restarts()));
    each(&SOURCE_CLOCK_SKEW_SECONDS, &PollStats::skew_seconds);
    let now = Instant::now();
    each(&SOURCE_SEQUENCE_STILL_SECONDS, &|it| it.sequence_still(now).as_secs_f64());
    each(&BREAKER_STATE, &|it| f64::from(it.breaker()));
}

fn assigned(page: &mut Page, polled: &[Arc<PollStats>], social: &[Arc<SocialStats>]) {
    let mut family = page.family(&SOURCE_ASSIGNED);
    for it in polled {
        family.sample(&[it.source()], flag(it.is_assigned()));
    }
    for it in social {
        family.sample(&[it.source()], flag(it.is_assigned()));
    }
}

fn posts(page: &mut Page, sources: &[Arc<SocialStats>]) {
    let mut family = page.family(&SOURCE_CONNECTED);
    for it in sources {
        family.sample(&[it.source()], flag(it.is_connected()));
    }
    let mut family = page.family(&SOURCE_CONNECTS);
    for it in sources {
        family.sample(&[it.source()], count(it.connects()));
    }
    let mut family = page.family(&SOCIAL_POSTS);
    for it in sources {
        for (result, posts) in it.fates() {
            family.sample(&[it.source(), result], count(posts));
        }
    }
}

fn log(page: &mut Page, appliance: &Appliance) {
    page.single(&LOG_WRITABLE, flag(appliance.log.health().is_ok()));
    match &appliance.log {
        NodeLog::Journal(journal) => journal_log(page, &journal.stats()),
        NodeLog::Kafka(log) => kafka_log(page, log),
        NodeLog::Spooled(log, spool) => {
            kafka_log(page, log);
            spooled(page, spool);
        }
    }
}

fn kafka_log(page: &mut Page, log: &KafkaLog) {
    let stats = log.stats();
    page.single(&LOG_PENDING_BYTES, count(stats.pending_bytes));
    page.single(&DEDUPE_ENTRIES, count(stats.dedupe_entries));
    page.single(&KAFKA_READ, count(stats.read));
    page.single(&KAFKA_SUPPRESSED, count(stats.suppressed));
    page.single(&KAFKA_REUSED, count(stats.reused));
    page.single(&KAFKA_OWED_LOST, count(stats.owed_lost));
    page.single(&KAFKA_POISON, count(stats.poison));
    page.single(&KAFKA_UNACKNOWLEDGED, count(stats.failed));
    page.single(&KAFKA_REPLACED, count(stats.producers_replaced));
    page.single(&KAFKA_JUMPS, count(stats.jumps));
    page.single(&KAFKA_SCOUTED, count(stats.scouted));
    let mut family = page.family(&KAFKA_LAG);
    for (topic, partition, lag) in log.lags() {
        family.sample(&[&topic, &partition.to_string()], count(lag));
    }
}

fn spooled(page: &mut Page, spool: &Spool) {
    let stats = spool.stats();
    page.single(&SPOOL_EVENTS, count(stats.events));
    page.single(&SPOOL_BYTES, count(stats.bytes));
    page.single(&SPOOL_OLDEST, stats.oldest.as_secs_f64());
    page.single(&SPOOL_TAKEN, count(stats.spooled));
    page.single(&SPOOL_DRAINED, count(stats.drained));
    page.single(&SPOOL_DUPLICATES, count(stats.duplicates));
    page.single(&SPOOL_PARKED, count(stats.parked));
    page.single(&SPOOL_REFUSED, count(stats.refused));
}

fn journal_log(page: &mut Page, stats: &JournalStats) {
    page.family(&LOG_APPEND_SECONDS).buckets(&[], &journal_buckets(&stats.append));
    page.family(&LOG_FSYNC_SECONDS).buckets(&[], &journal_buckets(&stats.fsync));
    page.single(&LOG_SIZE_BYTES, count(stats.size_bytes));
    page.single(&LOG_SEGMENTS, count(stats.segments));
    page.single(&LOG_RECORDS, count(stats.records));
    page.single(&LOG_WRITTEN_BYTES, count(stats.written_bytes));
    page.single(&LOG_PENDING_BYTES, count(stats.pending_bytes));
    page.single(&LOG_PENDING_SECONDS, stats.pending_age.as_secs_f64());
    page.single(&DEDUPE_ENTRIES, count(stats.dedupe_entries));
    page.single(&DEDUPE_BYTES, count(stats.dedupe_bytes));
}

fn dead_letters(page: &mut Page, appliance: &Appliance) {
    let stats = appliance.dead.stats();
    let (depths, now) = (stats.depths(), appliance.webhooks.now());
    let mut family = page.family(&DLQ_MESSAGES);
    for stream in Stream::ALL {
        family.sample(&[stream.as_str()], count(depths.streams[stream as usize].letters));
    }
    let mut family = page.family(&DLQ_OLDEST_SECONDS);
    for stream in Stream::ALL {
        let oldest = depths.streams[stream as usize].oldest;
        let age_us = oldest.map_or(0, |oldest| (now.0 - oldest.0).max(0));
        family.sample(&[stream.as_str()], age_us as f64 / 1e6);
    }
    page.single(&DLQ_BYTES, count(depths.bytes));
    let mut family = page.family(&DLQ_PARKED);
    for (stream, reason, parked) in stats.parked() {
        family.sample(&[stream.as_str(), reason], count(parked));
    }
    if let Some(courier) = &appliance.courier {
        page.single(&DLQ_UNPUBLISHED, count(courier.untold()));
    }
    page.single(&DLQ_LOST, count(stats.lost()));
    page.single(&DLQ_DROPPED, count(stats.dropped()));
}

fn by_shard(
    page: &mut Page,
    metric: &'static Metric,
    shards: &[&ShardStats],
    value: impl Fn(&ShardStats) -> f64,
) {
    let mut family = page.family(metric);
    for (n, shard) in shards.iter().enumerate() {
        family.sample(&[&n.to_string()], value(shard));
    }
}

fn total(shards: &[&ShardStats], of: impl Fn(&ShardStats) -> &Counter) -> f64 {
    shards.iter().map(|shard| of(shard).get()).sum::<u64>() as f64
}

fn sum(shards: &[&ShardStats], of: impl Fn(&ShardStats) -> i64) -> f64 {
    shards.iter().map(|shard| of(shard)).sum::<i64>() as f64
}

fn count(number: u64) -> f64 {
    number as f64
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn buckets(snapshot: &Snapshot) -> Buckets {
    Buckets {
        bounds: snapshot.doublings().collect(),
        count: snapshot.count(),
        sum: snapshot.sum_seconds(),
    }
}

fn journal_buckets(stats: &HistogramStats) -> Buckets {
    let mut seen = 0;
    let bounded = &stats.buckets[..stats.buckets.len() - 1];
    let bounds = bounded.iter().enumerate().map(|(n, count)| {
        seen += count;
        (bucket_bound(n).as_secs_f64(), seen)
    });
    Buckets { bounds: bounds.collect(), count: stats.count(), sum: stats.sum.as_secs_f64() }
}
