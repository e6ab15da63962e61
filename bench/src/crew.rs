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
use crate::probe::Host;
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
    /// Its host, as it told; nothing in older results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<Host>>,
}

/// How far a member's clock is from ours.
#[derive(Clone, Copy, Debug, Default)]
struct ClockOffset {
    /// The controller's time minus the member's.
    ahead_ns: i64,
    /// How wrong that may be: half of the round trip that told it.
    error_ns: u64,
}

/// What a member had used of CPU, as it last said.
#[derive(Clone, Copy, Debug, Default)]
struct CpuSample {
    at_ns: u64,
    cpu_ns: u64,
    /// Threads it has, 0 before it has said anything.
    threads: u64,
    /// How long its host's cores have been busy.
    busy_ns: u64,
}

struct Member {
    name: String,
    servant: Servant,
    clock: ClockOffset,
    used: CpuSample,
    /// What `used` was when we were last asked for the busiest.
    told: CpuSample,
    /// What it was when its clients began to record.
    began: CpuSample,
    /// Where it runs, if that isn't here.
    host: Option<Box<Host>>,
}

impl Member {
    fn new(name: &str, servant: Servant) -> Self {
        let (clock, used) = (ClockOffset::default(), CpuSample::default());
        Self { name: name.into(), servant, clock, used, told: used, began: used, host: None }
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
            let mut servant = Servant::remote(&format!("agent {name}"), stream)?;
            let host = describe(&mut servant).with_context(|| format!("agent {name}"))?;
            anyhow::Ok(Member { host: Some(host), ..Member::new(name, servant) })
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
            let clock_ahead_ns = member.clock.ahead_ns;
            let record = Command::Record { schedule, windows, clock_ahead_ns };
            match member.servant.ask(&record)? {
                Answer::Recording => member.began = member.used,
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
                    let (cpu_ns, threads, busy_ns) = (part.cpu_ns, part.threads, part.busy_ns);
                    let at_ns = sys::now_ns();
                    member.used = CpuSample { at_ns, cpu_ns, threads, busy_ns };
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
            let before = std::mem::replace(&mut member.told, member.used);
            let CpuSample { at_ns, cpu_ns, threads, .. } = member.used;
            let passed_ns = at_ns.saturating_sub(before.at_ns).max(1) * threads.max(1);
            cpu_ns.saturating_sub(before.cpu_ns) as f64 / passed_ns as f64
        };
        let remote = self.members.iter_mut().filter(|member| member.servant.pid().is_none());
        remote.map(share).fold(0.0, f64::max)
    }

    /// The same, asked of them just now; `None` where the clients run on this host.
    pub fn ask_busiest_agent(&mut self) -> Result<Option<f64>> {
        if !self.is_remote() {
            return Ok(None);
        }
        self.standing()?;
        Ok(Some(self.busiest_agent()))
    }

    /// How many cores others used beside the clients on other hosts since they began to record: of
    /// the busiest.
    pub fn others_at_agents(&self) -> f64 {
        let others = |member: &Member| {
            let (after, before) = (member.used, member.began);
            let passed_ns = after.at_ns.saturating_sub(before.at_ns).max(1) as f64;
            let busy_ns = after.busy_ns.saturating_sub(before.busy_ns) as f64;
            (busy_ns - after.cpu_ns.saturating_sub(before.cpu_ns) as f64) / passed_ns
        };
        let asked = self.members.iter().filter(|member| member.began.at_ns > 0);
        asked.filter(|member| member.host.is_some()).map(others).fold(0.0, f64::max)
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
            let before = member.clock;
            let after = read_clock(&mut member.servant)?;
            let drift_ns = before.ahead_ns.abs_diff(after.ahead_ns);
            let error_ns = before.error_ns.max(after.error_ns) + drift_ns;
            Ok(Clock {
                agent: member.name.clone(),
                ahead_us: before.ahead_ns as f64 / 1e3,
                error_us: error_ns as f64 / 1e3,
                host: member.host.clone(),
            })
        };
        self.members.iter_mut().map(compare).collect()
    }
}

/// What host the servant runs on, if it is of our version.
fn describe(servant: &mut Servant) -> Result<Box<Host>> {
    let host = match servant.ask(&Command::Describe)? {
        Answer::Host(host) => host,
        Answer::Failed(why) => bail!("{why}"),
        _ => bail!("asked for its host, it said something else; is it of this version?"),
    };
    let (its, ours) = (host.versions.first(), Host::version());
    ensure!(its == Some(&ours), "it is {its:?}, and this is {ours}: they must be of one version");
    Ok(host)
}

/// How far our clock is ahead of the servant's, by the answer that came soonest.
fn read_clock(servant: &mut Servant) -> Result<ClockOffset> {
    let mut best = ClockOffset { ahead_ns: 0, error_ns: u64::MAX };
    for _ in 0..CLOCK_ROUNDS {
        let asked = sys::now_ns();
        let there = match servant.ask(&Command::Clock)? {
            Answer::Clock(there) => there,
            Answer::Failed(why) => bail!("{why}"),
            _ => bail!("asked for the time, it said something else; is it of this version?"),
        };
        let half_ns = (sys::now_ns() - asked) / 2;
        if half_ns < best.error_ns {
            let ahead_ns = (asked + half_ns).wrapping_sub(there) as i64;
            best = ClockOffset { ahead_ns, error_ns: half_ns };
        }
    }
    Ok(best)
}
