//! What can be varied about a floor. The defaults are what Touchline does, but for a batch of half
//! its size, which the lab found to cost the same.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, FromArgMatches, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::limits::{VOLLEY_SENDS_DEFAULT, VOLLEY_SENDS_MAX};

/// Which system call carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One `send(2)` for each socket.
    Send,
    /// One io_uring entry for each socket, many in one call.
    Volley,
}

impl Kind {
    /// As it is written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Volley => "volley",
        }
    }
}

/// In which order the followers of a team are sent an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// As they came.
    Fixed,
    /// As they came, each round beginning with another one, so that nobody is always last.
    Rotating,
    /// All over the place, each round beginning somewhere else: what sockets that come and go make
    /// of any order.
    Shuffled,
}

/// How a floor works.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The system call that carries the bytes.
    #[arg(long, value_enum, default_value = "volley")]
    pub kind: Kind,
    /// Sends of one volley.
    #[arg(long, value_name = "COUNT", default_value_t = VOLLEY_SENDS_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..=VOLLEY_SENDS_MAX.into()))]
    pub batch: u32,
    /// The volley lends its bytes to the kernel (SEND_ZC) rather than have them copied.
    #[arg(long)]
    pub zero_copy: bool,
    /// The volley's ring knows its sockets by number, and looks no file up.
    #[arg(long)]
    pub registered_files: bool,
    /// The ring does deferred work when it is entered for it (DEFER_TASKRUN), rather than whenever
    /// the thread is in the kernel (COOP_TASKRUN).
    #[arg(long)]
    pub defer_taskrun: bool,
    /// SO_SNDBUF of its sockets; the kernel doubles it. Default: as large as the kernel likes.
    #[arg(long, value_name = "BYTES")]
    pub sndbuf: Option<i32>,
    /// TCP_NOTSENT_LOWAT of its sockets, the unsent bytes that the kernel may hold for one; 0: no
    /// bound.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 10)]
    pub lowat: i32,
    /// Congestion control of its sockets. Default: the host's.
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,
    /// The order of sends.
    #[arg(long, value_enum, default_value = "rotating")]
    pub order: Order,
    /// A record for each socket, as a server's session would be, of which every cache line is
    /// written at each send.
    #[arg(long, value_name = "BYTES", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=4_096))]
    pub record_bytes: u32,
    /// Records are fetched into the cache a few sockets ahead.
    #[arg(long)]
    pub prefetch: bool,
    /// Events' bytes lie in huge pages, if the host has any for those who ask.
    #[arg(long)]
    pub huge_pages: bool,
    /// How long a thread without work looks at the clock before it sleeps.
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    pub spin_us: u64,
}

impl Options {
    /// Options as they are written on the command line, separated by spaces.
    ///
    /// # Errors
    /// When there is no such option, or two contradict each other.
    pub fn parse_flags(flags: &str) -> Result<Self> {
        let words = std::iter::once("floor").chain(flags.split_whitespace());
        let command = Self::augment_args(clap::Command::new("floor"));
        let options = Self::from_arg_matches(&command.try_get_matches_from(words)?)?;
        options.check()?;
        Ok(options)
    }

    /// Refuses what would be ignored in silence.
    ///
    /// # Errors
    /// When two options contradict each other.
    pub fn check(&self) -> Result<()> {
        let of_ring = self.zero_copy || self.registered_files || self.defer_taskrun;
        if self.kind == Kind::Send && of_ring {
            bail!("a loop of sends has no ring: zero copy, files and taskrun are the volley's");
        }
        if self.prefetch && self.record_bytes == 0 {
            bail!("there is nothing to fetch without --record-bytes");
        }
        Ok(())
    }
}

/// The command line of a floor.
#[derive(Args, Clone, Debug)]
pub struct FloorArgs {
    #[command(flatten)]
    options: Options,
    /// Threads, each with its own listener and descriptor table.
    #[arg(long, default_value_t = 1)]
    pub shards: usize,
    /// Other options, with commas for spaces, for the followers of the second team; may be given
    /// again, for the third and so on.
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    beside: Vec<String>,
    /// Where what each round has cost is written: a line with the number of the options, CPU in
    /// nanoseconds, and the sends. For one thread.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

impl FloorArgs {
    /// The options of each team in turn; one at least.
    ///
    /// # Errors
    /// As [`Options::parse_flags`], and when two threads would write one ledger.
    pub fn all_options(&self) -> Result<Vec<Options>> {
        self.options.check()?;
        if self.ledger.is_some() && self.shards > 1 {
            bail!("a ledger is kept by one thread, and there are {}", self.shards);
        }
        let others = self.beside.iter().map(|flags| Options::parse_flags(&flags.replace(',', " ")));
        std::iter::once(Ok(self.options.clone())).chain(others).collect()
    }
}

/// A floor with options of its own, as the lab compares them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variant {
    /// Its options as they are written on the command line; none: the default.
    pub flags: String,
}

impl Variant {
    /// The variant that `flags` describe.
    ///
    /// # Errors
    /// As [`Options::parse_flags`].
    pub fn parse(flags: &str) -> Result<Self> {
        Options::parse_flags(flags)?;
        Ok(Self { flags: flags.split_whitespace().collect::<Vec<_>>().join(" ") })
    }

    /// A floor that has a team for each of `variants`, and writes a ledger.
    pub fn together(variants: &[Self], ledger: &Path) -> Self {
        let mut flags = variants.first().map_or(String::new(), |variant| variant.flags.clone());
        for variant in variants.iter().skip(1) {
            flags += &format!(" --beside={}", variant.flags.replace(' ', ","));
        }
        flags += &format!(" --ledger={}", ledger.display());
        Self { flags: flags.trim_start().to_owned() }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.flags.is_empty() { "default" } else { &self.flags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_flags_a_floor_does_what_touchline_does() {
        let options = Options::parse_flags("").unwrap();
        assert_eq!((options.kind, options.order), (Kind::Volley, Order::Rotating));
        assert_eq!((options.batch, options.lowat), (VOLLEY_SENDS_DEFAULT, 16 << 10));
        assert_eq!(Variant::parse("").unwrap().to_string(), "default");
    }

    #[test]
    fn flags_that_would_be_ignored_are_refused() {
        assert!(Options::parse_flags("--kind send --zero-copy").is_err());
        assert!(Options::parse_flags("--prefetch").is_err());
        assert!(Options::parse_flags("--batch 0").is_err());
        assert!(Options::parse_flags("--batch 100000").is_err());
        assert!(Options::parse_flags("--colour").is_err());
        assert_eq!(Variant::parse(" --batch  16 ").unwrap().to_string(), "--batch 16");
    }
}
