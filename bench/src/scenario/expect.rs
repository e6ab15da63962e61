//! What must come of a run.

use serde::Deserialize;

use crate::limits::CALM_RATIO;
use crate::receive::harvest::Latency;
use crate::report::telling;
use crate::run::Run;
use crate::setup::{Deed, Setup};

/// Close codes that say why: going away, too much of something, service restart, try again later,
/// and those of our protocol.
const TOLD: [u16; 6] = [1001, 1008, 1012, 1013, 4008, 4012];

/// Of fewer clients what the server takes for itself is most of it.
const CROWD_MIN: usize = 5_000;

/// What must come of a run; what isn't named is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Everything arrives once, nothing is declared missing, nobody is thrown out.
    pub whole: bool,
    /// Every loss is declared, nothing is repeated, and whoever lost its connection is back. Where
    /// clients don't come back, those that were closed were told why, and in a run that ends with a
    /// drain they had everything by then.
    pub declared: bool,
    /// Clients that read promptly keep their connection and get everything, whatever becomes of
    /// those that don't.
    pub prompt_whole: bool,
    /// Everything arrives, sooner or later: what was declared missing is missing.
    pub lossless: bool,
    /// Of a hundred clients, so many at most lose their connection without being asked to leave.
    pub closed_percent_max: Option<f64>,
    /// All of it is taken, and nothing is put off on its way in.
    pub taken: bool,
    /// 99th percentile of the last window, milliseconds.
    pub p99_ms_max: Option<f64>,
    /// The server's CPU for a delivery, microseconds.
    pub cpu_us_max: Option<f64>,
    /// What its processes take for a client, bytes. A crowd of less than [`CROWD_MIN`] isn't asked.
    pub bytes_per_socket_max: Option<f64>,
    /// 99 of 100 clients that lost their connection are back within so many seconds.
    pub away_s_max: Option<f64>,
    /// The p99 of the calm before is this at most, milliseconds: by it, what comes after is judged.
    pub calm_ms_max: Option<f64>,
    /// Within so many seconds after the phase that follows the calm, p99 is that of the calm again
    /// (a fifth more at most).
    pub back_within_s: Option<f64>,
    /// A server that was asked to end has sent everybody away within so many seconds.
    pub drain_s_max: Option<f64>,
    /// The server's resident memory grows by so many MiB an hour at most, by all of the interval of
    /// 95 %. A run whose interval holds the bound proves neither ([`Expect::unproven`]).
    pub growth_mib_per_hour_max: Option<f64>,
    /// The p99 of the last window against that of the first measured one.
    pub p99_ratio_max: Option<f64>,
}

/// What a figure with an error says about its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// All of its interval keeps the bound.
    Within,
    /// All of it is above.
    Above,
    /// The bound lies in it: the run was too short, or its host too busy.
    NotToldApart,
}

impl Verdict {
    fn of(got: f64, error: f64, most: f64) -> Self {
        if got + error <= most {
            Self::Within
        } else if got - error > most {
            Self::Above
        } else {
            Self::NotToldApart
        }
    }
}

impl Expect {
    /// What did not come of `run`, each in a sentence; none: all did. With `any_speed`, nothing
    /// that a slow host would be to blame for is looked at.
    pub fn failures(&self, setup: &Setup, run: &Run, any_speed: bool) -> Vec<String> {
        let mut failures = Vec::new();
        self.judge_completeness(setup, run, &mut failures);
        if !any_speed {
            self.judge_time(setup, run, &mut failures);
        }
        failures
    }

    /// What `run` could not tell, in a sentence: no proof that it holds, and none that it doesn't.
    /// A run of less than a minute isn't asked how memory grew.
    pub fn unproven(&self, setup: &Setup, run: &Run) -> Option<String> {
        let bounds = [self.cpu_us_max, self.bytes_per_socket_max, self.growth_mib_per_hour_max];
        let is_seen = run.knows_cpu() || run.memory[1].rss_bytes > 0;
        if bounds.iter().any(Option::is_some) && !is_seen {
            let why = "the server runs elsewhere: its CPU and memory, of which the scenario expects \
                       something, can't be seen from here";
            return Some(why.into());
        }
        let (verdict, said) = self.growth(setup, run)?;
        (verdict == Verdict::NotToldApart).then_some(said)
    }

    /// How memory grew, if it may not and the run is long enough to say.
    fn growth(&self, setup: &Setup, run: &Run) -> Option<(Verdict, String)> {
        let most = self.growth_mib_per_hour_max?;
        let slope = run.memory_slope(setup)?;
        let [got, error] = [slope.per_s, slope.error].map(mib_per_hour);
        let said = format!("memory grows by {got:.1} \u{b1} {error:.1} MiB an hour; {most} may be");
        Some((Verdict::of(got, error, most), said))
    }

    fn judge_completeness(&self, setup: &Setup, run: &Run, failures: &mut Vec<String>) {
        let counts = &run.harvest.counts;
        let mut demand = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        if self.whole {
            demand(run.is_whole(), telling::lacks(run));
        }
        if self.declared {
            let (lost, repeated) = (counts.lost, counts.repeated);
            demand(lost == 0, format!("{lost} events are missing and nobody was told"));
            demand(repeated == 0, format!("{repeated} events came twice"));
            let closed = &counts.closed;
            if setup.crowd.returns {
                let gone = counts.left + closed.values().sum::<u64>();
                let returned = counts.returned;
                demand(returned >= gone, format!("{returned} of {gone} clients are back"));
            } else {
                let told = closed.iter().all(|(code, _)| TOLD.contains(code));
                demand(told, format!("clients were closed and not told why: {closed:?}"));
                let drains = setup.acts.iter().any(|act| act.deed == Deed::Drain);
                let cut_off = if drains { counts.cut_off } else { 0 };
                demand(cut_off == 0, format!("{cut_off} events didn't arrive before the drain"));
            }
        }
        if self.prompt_whole {
            let (closed, missed) = (counts.prompt_closed, counts.prompt_missed);
            demand(closed == 0, format!("{closed} clients that read promptly were closed"));
            demand(missed == 0, format!("{missed} events didn't reach clients that read promptly"));
        }
        if self.lossless {
            let missing = run.expected.saturating_sub(counts.delivered);
            demand(missing == 0, format!("{missing} deliveries are missing, declared or not"));
        }
        if let Some(most) = self.closed_percent_max {
            let closed = counts.closed.values().sum::<u64>() as f64;
            let percent = closed * 100.0 / run.sockets.max(1) as f64;
            demand(percent <= most, format!("{percent:.1} % of the clients were closed"));
        }
        if let Some(most) = self.bytes_per_socket_max.filter(|_| run.sockets >= CROWD_MIN) {
            let got = run.user_bytes_per_socket();
            demand(got <= most, format!("a client takes {got:.0} bytes, more than {most}"));
        }
        if let Some((Verdict::Above, said)) = self.growth(setup, run) {
            demand(false, said);
        }
        if self.drain_s_max.is_some() && drained_s(run).is_none() {
            demand(false, format!("the drain did not end: {:?}", run.marks));
        }
        if self.taken {
            let posted = run.posted.clone().unwrap_or_default();
            let wanted = u64::from(setup.schedule(0).plan().events());
            let events = posted.events;
            demand(events == wanted, format!("{events} of {wanted} events were taken"));
        }
    }

    fn judge_time(&self, setup: &Setup, run: &Run, failures: &mut Vec<String>) {
        let windows = &run.harvest.windows;
        let last = windows.last().and_then(|window| p99_ms(&window.latency));
        let retries = run.posted.as_ref().map_or(0, |posted| posted.retries);
        if self.taken && retries > 0 {
            failures.push(format!("{retries} posts were put off"));
        }
        if let Some(most) = self.p99_ms_max {
            let posted = run.posted.as_ref().filter(|_| setup.flood.is_some());
            match posted.map_or(last, |posted| p99_ms(&posted.latency)) {
                Some(got) if got <= most => {}
                Some(got) => failures.push(format!("p99 is {got:.1} ms, above {most}")),
                None => {
                    failures.push(format!("nothing came in whose p99 could be below {most} ms"))
                }
            }
        }
        if let Some(most) = self.cpu_us_max.filter(|most| run.cpu_us > *most) {
            failures.push(format!("a delivery costs {:.1} us, more than {most}", run.cpu_us));
        }
        if let Some(most) = self.away_s_max {
            match p99_ms(&run.harvest.away).map(|got_ms| got_ms / 1e3) {
                Some(got) if got <= most => {}
                Some(got) => {
                    failures.push(format!("99 % were back after {got:.1} s, later than {most}"));
                }
                None => failures.push(format!("nobody came back, be it within {most} s or later")),
            }
        }
        if let (Some(most), Some(took_s)) = (self.drain_s_max, drained_s(run))
            && took_s > most
        {
            failures.push(format!("everybody was gone after {took_s:.0} s, not {most}"));
        }
        if let Some(most) = self.p99_ratio_max {
            let calm = windows.first().and_then(|window| p99_ms(&window.latency));
            match last.zip(calm).map(|(last, calm)| last / calm.max(0.001)) {
                Some(got) if got <= most => {}
                Some(got) => {
                    failures.push(format!("p99 grew to {got:.2} of the calm one, above {most}"));
                }
                None => failures.push("nothing came in the calm, or nothing at the end".into()),
            }
        }
        self.judge_return(setup, run, failures);
    }

    /// Whether it was calm, and is again.
    fn judge_return(&self, setup: &Setup, run: &Run, failures: &mut Vec<String>) {
        let calm_ms = calm_us(setup, run) as f64 / 1e3;
        if let Some(most) = self.calm_ms_max.filter(|most| calm_ms == 0.0 || calm_ms > *most) {
            failures.push(match calm_ms {
                0.0 => "nothing came in the calm before".into(),
                _ => format!(
                    "p99 of the calm before is {calm_ms:.1} ms, above {most}: by that nobody can \
                     tell what is calm again"
                ),
            });
            return;
        }
        if let Some(most) = self.back_within_s {
            match recovered_s(setup, run) {
                Some(got) if got <= most => {}
                Some(got) => failures.push(format!("p99 was back after {got:.0} s, not {most}")),
                None => failures.push(format!("p99 was not back within {most} s")),
            }
        }
    }
}

/// The 99th percentile, milliseconds; `None` of nothing, which is below every bound.
fn p99_ms(of: &Latency) -> Option<f64> {
    (of.count > 0).then(|| of.p99 as f64 / 1e3)
}

/// How long a server that was asked to end took to send everybody away; `None`: it didn't.
fn drained_s(run: &Run) -> Option<f64> {
    match &run.marks[..] {
        [.., asked, end] if end.left == Some(0) => Some(end.at_s - asked.at_s),
        _ => None,
    }
}

/// Bytes a second as people count them.
pub fn mib_per_hour(bytes_per_s: f64) -> f64 {
    bytes_per_s * 3_600.0 / f64::from(1 << 20)
}

/// How many windows the calm before has: measured phases that are alike, at the beginning.
pub fn calm_windows(setup: &Setup) -> usize {
    let measured = setup.phases.get(1..).unwrap_or_default();
    measured.iter().take_while(|phase| Some(*phase) == measured.first()).count()
}

/// The least p99 of the calm before, microseconds; 0 where nothing came. Just after a crowd has
/// connected the first of its windows may be anything but calm.
fn calm_us(setup: &Setup, run: &Run) -> u64 {
    let calm = run.harvest.windows.iter().take(calm_windows(setup));
    calm.map(|window| window.latency.p99).filter(|p99| *p99 > 0).min().unwrap_or(0)
}

/// Seconds after the phase that follows the calm until a window's p99 is that of the calm again, a
/// fifth above it at most, and stays so in half of the windows from there on at least: in steps of
/// a window.
pub fn recovered_s(setup: &Setup, run: &Run) -> Option<f64> {
    let windows = &run.harvest.windows;
    let (after, calm) = (calm_windows(setup) + 1, calm_us(setup, run) as f64 * CALM_RATIO);
    let p99 = |index: usize| windows[index].latency.p99;
    let is_calm = |index: &usize| p99(*index) > 0 && p99(*index) as f64 <= calm;
    let stays_calm = |index: &usize| {
        let rest = *index..windows.len();
        is_calm(index) && rest.clone().filter(is_calm).count() * 2 >= rest.len()
    };
    let first = (after..windows.len()).find(stays_calm)?;
    // Windows are the phases after the first. (The sum of nothing would be -0.)
    Some(setup.phases[after + 1..=first].iter().fold(0.0, |sum, phase| sum + phase.seconds))
}

#[cfg(test)]
mod tests;
