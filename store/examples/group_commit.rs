//! How long an append takes at a given pace: `cargo run --release -p touchline-store --example
//! group_commit -- DIR [events_per_s] [batch] [seconds]`. Prints what the disk's own sync costs,
//! then the journal on both backends.
//!
//! Appends are sent when they are due, whether or not earlier ones were answered, and timed from
//! then.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use touchline_core::event::Event;
use touchline_core::log::EventLog;
use touchline_core::time::Timestamp;
use touchline_store::journal::{Backend, Journal, JournalOptions};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default| args.get(n).map_or(default, |arg| arg.parse().unwrap());
    let dir = args.first().expect("a folder to write in");
    let (pace, batch, seconds) = (number(1, 20_000), number(2, 100), number(3, 10));
    sync_times(Path::new(dir), 4096);
    sync_times(Path::new(dir), 32 << 10);
    for backend in [Backend::Glommio, Backend::Plain, Backend::Glommio, Backend::Plain] {
        run(Path::new(dir), backend, pace, batch, seconds);
    }
}

/// Writes and syncs `bytes` two hundred times at the end of a file.
fn sync_times(dir: &Path, bytes: usize) {
    let path = dir.join("sync.tmp");
    let mut file = std::fs::File::create(&path).unwrap();
    let block = vec![7; bytes];
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&block).unwrap();
        let started = Instant::now();
        file.sync_data().unwrap();
        times.push(started.elapsed());
    }
    std::fs::remove_file(path).unwrap();
    println!("fdatasync after {bytes} bytes: {}", quantiles(times));
}

fn run(dir: &Path, backend: Backend, pace: usize, batch: usize, seconds: usize) {
    let dir = dir.join("journal-bench");
    let _ = std::fs::remove_dir_all(&dir);
    let options = JournalOptions { dir: dir.clone(), backend, ..Default::default() };
    let (log, report) = Journal::open(options).unwrap();
    let times = Arc::new(Mutex::new(Vec::new()));
    let appends = pace * seconds / batch;
    let started = Instant::now();
    for n in 0..appends {
        let due = started + Duration::from_secs_f64((n * batch) as f64 / pace as f64);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = Timestamp(now.as_micros() as i64);
        let events = (0..batch).map(|i| event(n * batch + i, now)).collect();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let times = times.clone();
        let reply = move |result: Result<_, _>| {
            result.unwrap();
            times.lock().unwrap().push(due.elapsed());
        };
        log.append(events, now, Box::new(reply));
    }
    while times.lock().unwrap().len() < appends {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed();
    let stats = log.stats();
    println!(
        "{}: {:.0} events/s, {} appends in {} groups, {} MB written, {:.1} % padding: {}",
        report.backend,
        (appends * batch) as f64 / took.as_secs_f64(),
        appends,
        stats.groups,
        stats.written_bytes >> 20,
        100.0 - 100.0 * stats.record_bytes as f64 / stats.written_bytes as f64,
        quantiles(std::mem::take(&mut times.lock().unwrap())),
    );
    println!("  window: {} entries, {} bytes", stats.dedupe_entries, stats.dedupe_bytes);
    drop(log);
    let options = JournalOptions { dir: dir.clone(), backend, ..Default::default() };
    let (log, report) = Journal::open(options).unwrap();
    println!(
        "  opened again in {:?}: {} records read, {} entries",
        report.took, report.records_scanned, report.dedupe_entries
    );
    drop(log);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn event(n: usize, now: Timestamp) -> Event {
    let id = format!("2026-06-24-match-{}-event-{n}", n % 20);
    let data = format!(r#"{{"minute":{},"note":"{:0>150}"}}"#, n % 90, n).into();
    let correlation = "0af7651916cd43dd8448eb211c80319c".into();
    Event { occurred_at: now, data, correlation, ..Event::sample(&id, "ars+che") }
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!(
        "p50 {:.2?}, p99 {:.2?}, p99.9 {:.2?}, max {:.2?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}
