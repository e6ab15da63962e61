//! All clients of a run, as the controller sees them: one process here, or agents on other hosts.
//!
//! # Clocks
//! An event's stamp is on the controller's clock, so each agent must know how far that is ahead of
//! its own. The estimate is Cristian's (Distributed Computing 3, 1989): ask for the time often,
//! take the answer that came back soonest, and assume that it was given halfway. The error is half
//! of that round trip at most. Asked before a run and after it; how far the two answers differ is
//! added to the error. On one host there is one clock and nothing to estimate.

use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::child::Servant;
use crate::dialogue::Dialogue;
use crate::limits::{AGENTS_MAX, ANSWER_S_MAX};
use crate::receive::crowd::{Crowd, Part};
use crate::receive::harvest::Harvest;
use crate::receive::tally::Tally;
use crate::receive::{Answer, Command, Connect, Standing, connect_within};
use crate::schedule::{Schedule, Window};
use crate::sys;

/// Questions for the time; the best answer counts.
const CLOCK_ROUNDS: usize = 64;
/// How long an agent may take to answer a connection.
const DIAL_S_MAX: u64 = 10;

/// How an agent's clock stands to the controller's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// The agent, as it was named.
    pub agent: String,
    /// How far the controller's clock is ahead of the agent's, microseconds.
    pub ahead_us: f64,
    /// How wrong that may be, microseconds: a latency measured there is no truer than this.
    pub error_us: f64,
}

struct Member {
    name: String,
    servant: Servant,
    /// Controller's time minus the member's, nanoseconds, and half the round trip.
    clock: (i64, u64),
    /// When it last said what it had used, what that was, and how many threads it has.
    used: (u64, u64, u64),
    /// The same when we were last asked.
    asked: (u64, u64),
}

impl Member {
    fn new(name: &str, servant: Servant) -> Self {
        Self { name: name.into(), servant, clock: (0, 0), used: (0, 0, 1), asked: (0, 0) }
    }
}

/// Refuses agents that can't be meant, before anything starts.
pub fn check(agents: &[String]) -> Result<()> {
    ensure!(agents.len() <= AGENTS_MAX, "more than {AGENTS_MAX} agents");
    let twice = |(index, name): &(usize, &String)| agents[..*index].contains(name);
    if let Some((_, name)) = agents.iter().enumerate().find(twice) {
        bail!("agent {name} is named twice: it serves one controller at a time");
    }
    Ok(())
}

/// The clients' processes.
pub struct Crew {
    members: Vec<Member>,
}

impl Crew {
    /// One process on this host's `core`.
    pub fn here(core: usize) -> Result<Self> {
        let servant = Servant::start(&["receive"], core)?;
        Ok(Self { members: vec![Member::new("here", servant)] })
    }

    /// The agents at these addresses, each with an even share of the clients.
    pub fn at(agents: &[String]) -> Result<Self> {
        let dial = |name: &String| {
            let address = std::net::ToSocketAddrs::to_socket_addrs(name)
                .with_context(|| format!("{name} is no address of an agent (host:port)"))?;
            let first = address.into_iter().next().context("a name without an address")?;
            let timeout = Duration::from_secs(DIAL_S_MAX);
            let stream = TcpStream::connect_timeout(&first, timeout).with_context(|| {
                format!("reach agent {name}; start it with `touchline-bench agent`")
            })?;
            let servant = Servant::remote(&format!("agent {name}"), stream)?;
            anyhow::Ok(Member::new(name, servant))
        };
        let members = agents.iter().map(dial).collect::<Result<_>>()?;
        let mut crew = Self { members };
        crew.read_clocks()?;
        Ok(crew)
    }

    fn is_remote(&self) -> bool {
        self.members.iter().any(|member| member.servant.pid().is_none())
    }

    fn read_clocks(&mut self) -> Result<()> {
        for member in &mut self.members {
            let clock = read_clock(&mut member.servant);
            member.clock = clock.with_context(|| format!("agent {}", member.name))?;
        }
        Ok(())
    }

    /// Process ids of those on this host.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.servant.pid()).collect()
    }

    /// Opens all clients; says how long that took, in seconds, and how many attempts failed on the
    /// way.
    pub fn connect(
        &mut self,
        target: SocketAddrV4,
        dialogue: &Dialogue,
        crowd: &Crowd,
    ) -> Result<(f64, u64)> {
        let of = self.members.len();
        for (index, member) in self.members.iter_mut().enumerate() {
            let (dialogue, crowd) = (dialogue.clone(), crowd.clone());
            let connect = Connect { target, dialogue, crowd, part: Part { index, of } };
            member.servant.tell(&Command::Connect(Box::new(connect)))?;
        }
        let (mut longest, mut all) = (0.0_f64, 0);
        for member in &mut self.members {
            let wait = connect_within(crowd.sockets) + Duration::from_secs(ANSWER_S_MAX);
            match member.servant.hear_within(wait)? {
                Answer::Connected { seconds, retried } => {
                    longest = longest.max(seconds);
                    all += retried;
                }
                Answer::Failed(why) => bail!("{why}"),
                other => bail!("asked to connect, {} said {other:?}", member.name),
            }
        }
        Ok((longest, all))
    }

    /// Lets them record what comes in from now on.
    pub fn record(&mut self, schedule: &Schedule, windows: &[Window]) -> Result<()> {
        for member in &mut self.members {
            let (schedule, windows) = (schedule.clone(), windows.to_vec());
            let clock_ahead_ns = member.clock.0;
            let record = Command::Record { schedule, windows, clock_ahead_ns };
            match member.servant.ask(&record)? {
                Answer::Recording => {}
                Answer::Failed(why) => bail!("{why}"),
                other => bail!("asked to record, {} said {other:?}", member.name),
            }
        }
        Ok(())
    }

    /// Lets everybody leave, and come back within so many seconds.
    pub fn leave(&mut self, within_s: f64) -> Result<()> {
        for member in &mut self.members {
            let _: Answer = member.servant.ask(&Command::Leave { within_s })?;
        }
        Ok(())
    }

    /// How far they are.
    pub fn standing(&mut self) -> Result<Standing> {
        let mut sum = Standing::default();
        for member in &mut self.members {
            match member.servant.ask(&Command::Progress)? {
                Answer::Progress(part) => {
                    sum.delivered += part.delivered;
                    sum.closed += part.closed;
                    sum.present += part.present;
                    sum.p50_us = sum.p50_us.max(part.p50_us);
                    sum.p99_us = sum.p99_us.max(part.p99_us);
                    member.used = (sys::now_ns(), part.cpu_ns, part.threads.max(1));
                }
                other => bail!("asked for progress, {} said {other:?}", member.name),
            }
        }
        Ok(sum)
    }

    /// How much of their threads' cores those on other hosts have used since this was last asked:
    /// of the busiest.
    pub fn busiest_agent(&mut self) -> f64 {
        let share = |member: &mut Member| {
            let (at_ns, cpu_ns, threads) = member.used;
            let before = std::mem::replace(&mut member.asked, (at_ns, cpu_ns));
            let passed_ns = at_ns.saturating_sub(before.0).max(1) * threads;
            cpu_ns.saturating_sub(before.1) as f64 / passed_ns as f64
        };
        let remote = self.members.iter_mut().filter(|member| member.servant.pid().is_none());
        remote.map(share).fold(0.0, f64::max)
    }

    /// What they saw of events whose publisher was told at `told_ns` (by number, 0 where it wasn't)
    /// that they are durable; and how their clocks stood.
    pub fn finish(&mut self, told_ns: &[u64]) -> Result<(Harvest, Vec<Clock>)> {
        let mut whole: Option<Tally> = None;
        for member in &mut self.members {
            let part = match member.servant.ask(&Command::Finish)? {
                Answer::Recorded(record) => Tally::from_record(*record),
                Answer::Failed(why) => bail!("{why}"),
                other => bail!("asked for the harvest, {} said {other:?}", member.name),
            };
            match &mut whole {
                Some(whole) => whole.merge(&part),
                None => whole = Some(part),
            }
        }
        let clocks = if self.is_remote() { self.compare_clocks()? } else { Vec::new() };
        Ok((whole.context("there are no clients")?.harvest(told_ns), clocks))
    }

    fn compare_clocks(&mut self) -> Result<Vec<Clock>> {
        let compare = |member: &mut Member| {
            let (before, error_before) = member.clock;
            let (after, error_after) = read_clock(&mut member.servant)?;
            let error_ns = error_before.max(error_after) + before.abs_diff(after);
            Ok(Clock {
                agent: member.name.clone(),
                ahead_us: before as f64 / 1e3,
                error_us: error_ns as f64 / 1e3,
            })
        };
        self.members.iter_mut().map(compare).collect()
    }
}

/// How far our clock is ahead of the servant's, and half the round trip that told it, nanoseconds.
fn read_clock(servant: &mut Servant) -> Result<(i64, u64)> {
    let mut best = (0, u64::MAX);
    for _ in 0..CLOCK_ROUNDS {
        let asked = sys::now_ns();
        let there = match servant.ask(&Command::Clock)? {
            Answer::Clock(there) => there,
            Answer::Failed(why) => bail!("{why}"),
            _ => bail!("asked for the time, it said something else; is it of this version?"),
        };
        let half = (sys::now_ns() - asked) / 2;
        if half < best.1 {
            best = ((asked + half).wrapping_sub(there) as i64, half);
        }
    }
    Ok(best)
}
