//! A match day that plays itself: sources of all three kinds that tell it, a crowd that follows it,
//! a line that says how it goes.
//!
//! [`run`] is given the addresses of started nodes and treats them as strangers would: signed
//! webhooks over HTTP to the API port ([`simulator`]), WebSockets to the stream port
//! ([`followers`]). Sensors and the stream of posts are served to them ([`upstream`]). Nothing here
//! reaches into the server, so what the demo shows is what a partner and a follower get.
//!
//! # How it is laid out
//! | module | what it holds |
//! |---|---|
//! | [`day`] | a day as a script: fixtures and their moments |
//! | [`league`], `play`, `names` | a day made from a seed |
//! | [`replay`], [`openfootball`] | a real day from a file |
//! | [`clock`], [`day_file`] | the day's own time, and how a day that was killed goes on |
//! | [`simulator`], [`partner`] | tells the day, event by event |
//! | [`world`], [`upstream`] | what is going on, and the sources that the appliance asks for it |
//! | [`cast`] | the sections of the configuration that connect them |
//! | [`brokers`], [`second_node`] | what `--kafka` starts |
//! | [`outages`] | how it takes brokers away, with `--trouble` |
//! | [`followers`] | the crowd |
//! | [`meter`], [`ledger`], [`status`] | what they see, what they are owed, and one line of it |
//!
//! # Invariants
//! - All is settled by the seed but the wall clock: the same seed plays the same day.
//! - An event that is sent again is the same event, also after a restart.
//!
//! # What it leaves out
//! Starting and stopping the first node, signals, the board: `cli` and `http` have them.

pub mod brokers;
pub mod cast;
#[cfg(test)]
pub(crate) mod checks;
pub mod clock;
pub mod day;
pub mod day_file;
pub mod followers;
pub mod league;
pub mod ledger;
pub mod meter;
mod names;
pub mod openfootball;
pub mod outages;
pub mod partner;
mod play;
pub mod replay;
pub mod second_node;
pub mod simulator;
pub mod status;
mod stop;
pub mod upstream;
pub mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use touchline_core::time::Timestamp;
use touchline_ingest::broadcast::Secret;

pub use stop::{Stop, Stopper};

use crate::limits::demo::{FILES_RESERVED, FOLLOWERS_MAX, SPEED_MILLI_MAX, SPEED_MILLI_MIN};
use followers::{Followers, FollowersOptions};
use meter::Meter;
use partner::Partner;
use simulator::{Simulator, SimulatorOptions};
use world::World;

/// The partner the simulator is: the last part of its webhook's path.
pub const PARTNER: &str = "matchday";

/// What `touchline demo` can be told.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct DemoArgs {
    /// Same seed, same days [default: the day under way, else one of today's date]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// How many times faster than life the day runs, 0.1 to 10000
    #[arg(long, value_name = "TIMES", default_value = "60", value_parser = speed)]
    pub speed: f64,
    /// WebSocket clients that follow teams, up to 20000
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = follower_count)]
    pub followers: usize,
    /// Replay a real day from a file in the openfootball format
    #[arg(long, value_name = "FILE", requires = "date")]
    pub matches: Option<PathBuf>,
    /// Which day of the file, such as 2026-06-24
    #[arg(long, value_name = "DATE", requires = "matches")]
    pub date: Option<String>,
    /// Begin a new day instead of going on with the one under way
    #[arg(long)]
    pub fresh: bool,
    /// Let sources misbehave: slow, failing and frozen sensors, a partner that repeats itself and
    /// takes goals back, a stream that is cut, repeats and sends junk; with --kafka, let brokers be
    /// killed as well
    #[arg(long)]
    pub trouble: bool,
    /// Run two nodes on three Kafka brokers, all of them started here and ended with the demo; each
    /// time begins a new day
    #[arg(long)]
    pub kafka: bool,
}

/// A started node, from outside.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Where webhooks go and the board is.
    pub api: SocketAddr,
    /// Where followers connect.
    pub stream: SocketAddr,
}

/// The started appliance, from outside.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its nodes; the board is the first one's.
    pub nodes: Vec<Node>,
    /// Where `demo.json` is kept.
    pub data_dir: PathBuf,
    /// `whsec_<base64>` of [`PARTNER`], see [`make_secret`].
    pub secret: String,
    /// Told which day is under way.
    pub world: World,
    /// Brokers that are to be taken away by turns.
    pub brokers: Option<outages::Shared>,
}

/// A secret for [`PARTNER`], new at each start: nobody but this process needs it.
pub fn make_secret() -> String {
    format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 32]>()))
}

/// Plays day after day to `target` until `stop` resolves; ends within about a second then.
///
/// # Errors
/// When the matches or the day's file can't be read or written; the text says what to do.
pub async fn run(
    args: &DemoArgs,
    target: Target,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let meter = Meter::default();
    let secret = Secret::parse(&target.secret).context("read the demo's secret")?;
    let boards = target.nodes.iter().map(|node| format!("http://{}/", reachable(node.api)));
    let boards: Vec<_> = boards.collect();
    let doors = boards.iter().map(|board| format!("{board}v1/ingest/broadcast/{PARTNER}"));
    let partner = Partner::new(doors.collect(), secret, meter.clone())
        .context("make the partner's client")?;
    let options = SimulatorOptions {
        data_dir: target.data_dir,
        seed: args.seed,
        matches: args.matches.clone().zip(args.date.clone()),
        speed_milli: (args.speed * 1_000.0).round() as u64,
        fresh: args.fresh,
        trouble: args.trouble,
    };
    let simulator = Simulator::open(options, partner, meter.clone(), target.world)?;
    status::say(&format!("The board: {}", boards.first().map_or("", String::as_str)));
    status::say(&format!(
        "The simulator {},\n{} times as fast as life; Ctrl-C ends it.",
        simulator.describe(),
        args.speed
    ));
    let (stopper, stopped) = Stopper::new();
    let crowd = FollowersOptions {
        addresses: target.nodes.iter().map(|node| reachable(node.stream)).collect(),
        count: args.followers,
        teams: simulator.teams(),
        seed: args.seed.unwrap_or(0),
    };
    let crowd = Followers::start(crowd, meter.clone(), stopped.clone())
        .context("start the followers' thread")?;
    let status = tokio::spawn(status::show(meter.clone(), args.followers, stopped.clone()));
    let outages = target.brokers.map(|brokers| {
        status::say(&outages::describe());
        tokio::spawn(outages::play(brokers, meter.clone(), stopped.clone()))
    });
    let mut telling = std::pin::pin!(simulator.run(stopped));
    let early = tokio::select! {
        ended = &mut telling => Some(ended),
        () = stop => None,
    };
    stopper.stop();
    let ended = match early {
        Some(ended) => ended,
        // The day's file is a small write; a disk that takes longer isn't waited for.
        None => tokio::time::timeout(Duration::from_secs(1), telling).await.unwrap_or(Ok(())),
    };
    drop(status.await);
    if let Some(outages) = outages {
        drop(outages.await);
    }
    drop(tokio::task::spawn_blocking(move || crowd.join()).await);
    // Now that everybody has said what it lacks.
    status::say(&status::summary(&meter.read()));
    Ok(ended?)
}

/// Where a listener can be reached from its own host.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| String::from("must be a number such as 60"))?;
    let milli = speed * 1_000.0;
    let fits = (SPEED_MILLI_MIN as f64..=SPEED_MILLI_MAX as f64).contains(&milli);
    if fits { Ok(speed) } else { Err(String::from("must be 0.1 to 10000")) }
}

fn follower_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count <= FOLLOWERS_MAX => Ok(count),
        _ => Err(format!("must be a whole number up to {FOLLOWERS_MAX}")),
    }
}

/// Whether this host lets the process open a file for each of `count` followers, beside those that
/// the server needs; with `shared_table` it needs one more for its own end of each.
///
/// # Errors
/// When it doesn't: how many it can be, and what to raise.
pub fn check_followers(count: usize, nofile_hard: u64, shared_table: bool) -> anyhow::Result<()> {
    let ends = if shared_table { 2 } else { 1 };
    let room = nofile_hard.saturating_sub(FILES_RESERVED) / ends;
    anyhow::ensure!(
        count as u64 <= room,
        "{count} followers need more open files than the {nofile_hard} this host allows: ask for \
         --followers {room} at most, or raise its hard limit (`ulimit -Hn`) to {}",
        count as u64 * ends + FILES_RESERVED
    );
    Ok(())
}

/// The wall clock.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        demo: DemoArgs,
    }

    #[test]
    fn arguments_have_defaults_and_bounds() {
        let parse = |args: &str| {
            let args = std::iter::once("demo").chain(args.split_whitespace());
            Cli::try_parse_from(args).map(|cli| cli.demo).map_err(|error| error.to_string())
        };
        let args = parse("").unwrap();
        assert_eq!((args.seed, args.speed, args.followers, args.fresh), (None, 60.0, 1_000, false));
        let args =
            parse("--seed 7 --speed 0.5 --followers 0 --matches f --date d --fresh").unwrap();
        assert_eq!((args.seed, args.speed, args.followers, args.fresh), (Some(7), 0.5, 0, true));
        for (bad, why) in [
            ("--speed 0", "0.1 to 10000"),
            ("--speed NaN", "0.1 to 10000"),
            ("--speed fast", "a number"),
            ("--followers 20001", "up to 20000"),
            ("--matches f", "--date"),
            ("--date d", "--matches"),
        ] {
            assert!(parse(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn more_followers_than_files_are_refused_with_what_would_do() {
        assert!(check_followers(1_000, 20_000, false).is_ok());
        assert!(check_followers(19_500, 20_000, false).is_ok());
        let refusal = check_followers(20_000, 20_000, false).unwrap_err().to_string();
        assert!(refusal.contains("--followers 19500") && refusal.contains("20500"), "{refusal}");
        let refusal = check_followers(1_000, 1_024, true).unwrap_err().to_string();
        assert!(refusal.contains("--followers 262") && refusal.contains("2500"), "{refusal}");
        assert!(check_followers(0, 256, true).is_ok());
    }

    #[test]
    fn a_made_secret_is_one() {
        let (one, two) = (make_secret(), make_secret());
        assert!(Secret::parse(&one).is_ok());
        assert_ne!(one, two);
    }

    #[test]
    fn an_address_of_all_interfaces_is_reached_by_loopback() {
        for (bound, reached) in [
            ("0.0.0.0:8081", "127.0.0.1:8081"),
            ("[::]:8081", "[::1]:8081"),
            ("127.0.0.5:1", "127.0.0.5:1"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
