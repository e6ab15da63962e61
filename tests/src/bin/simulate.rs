//! Runs simulated worlds by seed: `simulate --seed N` one, `simulate --from N --count M` several,
//! `--seconds S` new ones for a while. `--trace C` prints what client C hears and does. Exits 1 at
//! the first failure, naming its seed.

use std::time::{Duration, Instant, SystemTime};

use touchline_tests::sim;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    let seconds = value("--seconds");
    let fresh = || SystemTime::UNIX_EPOCH.elapsed().map_or(1, |age| age.as_nanos() as u64 >> 10);
    let begin = value("--seed").or(value("--from"));
    let from = begin.unwrap_or_else(|| if seconds.is_some() { fresh() } else { 0 });
    let count = value("--count").unwrap_or(if seconds.is_some() { u64::MAX } else { 1 });
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let traced = value("--trace").and_then(|client| usize::try_from(client).ok());
    let mut worlds = 0;
    for seed in (from..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
        match sim::run_traced(seed, traced) {
            Ok(report) if count == 1 => println!("seed {seed}: {report:?}"),
            Ok(_) => {}
            Err(failure) => {
                eprintln!("{failure}");
                std::process::exit(1);
            }
        }
        worlds += 1;
    }
    println!("{worlds} worlds from seed {from}: every promise held");
}
