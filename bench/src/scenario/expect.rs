//! What must come of a run.

use serde::Deserialize;

use crate::limits::CALM_RATIO;
use crate::run::Run;
use crate::setup::{Deed, Setup};

/// Close codes that say why: going away, too much of something, service restart, try again later,
/// and those of our protocol.
const TOLD: [u16; 6] = [1001, 1008, 1012, 1013, 4008, 4012];

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
    /// Everything arrives, sooner or later: what was declared missing is missing.
    pub lossless: bool,
    /// Of a hundred clients, so many at most lose their connection without being asked to leave.
    pub closed_percent_max: Option<f64>,
    /// All of it is taken, and nothing is put off on its way in.
    pub taken: bool,
    /// 99th percentile of the last window, milliseconds.
    pub p99_ms_max: Option<f64>,
    /// 99 of 100 clients that lost their connection are back within so many seconds.
    pub away_s_max: Option<f64>,
    /// Within so many seconds after the second measured phase, p99 is that of the first again (a
    /// fifth more at most).
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
    /// A run of less than a minute isn't asked.
    pub fn unproven(&self, setup: &Setup, run: &Run) -> Option<String> {
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
            let missing = run.expected.saturating_sub(counts.delivered);
            demand(run.is_whole(), format!("{missing} deliveries are missing; {counts:?}"));
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
        if self.lossless {
            let missing = run.expected.saturating_sub(counts.delivered);
            demand(missing == 0, format!("{missing} deliveries are missing, declared or not"));
        }
        if let Some(most) = self.closed_percent_max {
            let closed = counts.closed.values().sum::<u64>() as f64;
            let percent = closed * 100.0 / run.sockets.max(1) as f64;
            demand(percent <= most, format!("{percent:.1} % of the clients were closed"));
        }
        if let Some((Verdict::Above, said)) = self.growth(setup, run) {
            demand(false, said);
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
        let p99_ms = |index: usize| windows.get(index).map_or(0.0, |w| w.latency.p99 as f64 / 1e3);
        let last = windows.len().saturating_sub(1);
        let retries = run.posted.as_ref().map_or(0, |posted| posted.retries);
        if self.taken && retries > 0 {
            failures.push(format!("{retries} posts were put off"));
        }
        if let Some(most) = self.p99_ms_max {
            let posted = run.posted.as_ref().filter(|_| setup.flood.is_some());
            let got = posted.map_or(p99_ms(last), |posted| posted.latency.p99 as f64 / 1e3);
            if got > most {
                failures.push(format!("p99 is {got:.1} ms, above {most}"));
            }
        }
        if let Some(most) = self.away_s_max {
            let got = run.harvest.away.p99 as f64 / 1e6;
            if got > most {
                failures.push(format!("99 % were back after {got:.1} s, later than {most}"));
            }
        }
        if let Some(most) = self.drain_s_max {
            match &run.marks[..] {
                [.., asked, left] if left.what.starts_with("0 clients") => {
                    let took_s = left.at_s - asked.at_s;
                    if took_s > most {
                        failures
                            .push(format!("everybody was gone after {took_s:.0} s, not {most}"));
                    }
                }
                marks => failures.push(format!("the drain did not end: {marks:?}")),
            }
        }
        if let Some(most) = self.p99_ratio_max {
            let got = p99_ms(last) / p99_ms(0).max(0.001);
            if got > most {
                failures.push(format!("p99 grew to {got:.2} of the calm one, above {most}"));
            }
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

/// Bytes a second as people count them.
pub fn mib_per_hour(bytes_per_s: f64) -> f64 {
    bytes_per_s * 3_600.0 / f64::from(1 << 20)
}

/// Seconds after the second measured phase until a window's p99 is that of the first again, a fifth
/// above it at most, and stays so in half of the windows from there on at least: in steps of a
/// window.
pub fn recovered_s(setup: &Setup, run: &Run) -> Option<f64> {
    let windows = &run.harvest.windows;
    let p99 = |index: usize| windows[index].latency.p99 as f64;
    let is_calm = |index: &usize| p99(*index) > 0.0 && p99(*index) <= p99(0) * CALM_RATIO;
    let stays_calm = |index: &usize| {
        let rest = *index..windows.len();
        is_calm(index) && rest.clone().filter(is_calm).count() * 2 >= rest.len()
    };
    let first = (2..windows.len()).find(stays_calm)?;
    // Windows are the phases after the first. (The sum of nothing would be -0.)
    Some(setup.phases[3..first + 1].iter().fold(0.0, |sum, phase| sum + phase.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::fixture;
    use crate::receive::harvest::Latency;
    use crate::run::{Beat, Mark};
    use crate::schedule::Phase;
    use crate::setup::Act;
    use crate::target::Subject;

    /// Of a run that has been changed: how many of `expect`'s demands it fails.
    fn failed(expect: &Expect, change: impl FnOnce(&mut Setup, &mut Run)) -> usize {
        let (mut setup, mut run) = (fixture::setup(), fixture::run(Subject::Touchline, 5));
        change(&mut setup, &mut run);
        let failures = expect.failures(&setup, &run, false);
        assert!(expect.failures(&setup, &run, true).len() <= failures.len());
        failures.len()
    }

    fn close(run: &mut Run, code: u16) {
        run.harvest.counts.closed.insert(code, 3);
    }

    #[test]
    fn a_whole_run_lacks_nothing() {
        let whole = Expect { whole: true, ..Expect::default() };
        assert_eq!(failed(&whole, |_, _| ()), 0);
        assert_eq!(failed(&whole, |_, run| run.harvest.counts.delivered -= 1), 1);
        assert_eq!(failed(&whole, |_, run| close(run, 1006)), 1);
    }

    #[test]
    fn what_is_declared_was_told_to_whoever_it_concerns() {
        let declared = Expect { declared: true, ..Expect::default() };
        let closed = |code| move |_: &mut Setup, run: &mut Run| close(run, code);
        assert_eq!(failed(&declared, |_, run| run.harvest.counts.declared = 9), 0);
        assert_eq!(failed(&declared, |_, run| run.harvest.counts.lost = 1), 1);
        assert_eq!(failed(&declared, |_, run| run.harvest.counts.repeated = 1), 1);
        assert_eq!(failed(&declared, closed(4008)), 0);
        assert_eq!(failed(&declared, closed(1006)), 1, "they were told nothing");
        let back = |returned| {
            failed(&declared, |setup, run| {
                setup.crowd.returns = true;
                run.harvest.counts.closed.insert(1006, 3);
                run.harvest.counts.returned = returned;
            })
        };
        assert_eq!((back(3), back(2)), (0, 1));
        let drained = |cut_off| {
            failed(&declared, |setup, run| {
                setup.acts = vec![Act { at_s: 1.0, deed: Deed::Drain }];
                run.harvest.counts.cut_off = cut_off;
            })
        };
        assert_eq!((drained(0), drained(1)), (0, 1));
    }

    #[test]
    fn what_was_declared_missing_is_missing_where_nothing_may_be() {
        let lossless = Expect { lossless: true, ..Expect::default() };
        assert_eq!(failed(&lossless, |_, _| ()), 0);
        let less = |_: &mut Setup, run: &mut Run| {
            run.harvest.counts.delivered -= 1;
            run.harvest.counts.declared += 1;
        };
        assert_eq!(failed(&lossless, less), 1);
        let few = Expect { closed_percent_max: Some(1.0), ..Expect::default() };
        let closed = |count| {
            failed(&few, |_, run| {
                run.sockets = 300;
                run.harvest.counts.closed.insert(4012, count);
            })
        };
        assert_eq!((closed(3), closed(4)), (0, 1));
    }

    #[test]
    fn times_are_judged_against_their_bounds() {
        let none = Expect::default();
        let bound = |expect: Expect| failed(&expect, |_, _| ());
        assert_eq!(bound(Expect { p99_ms_max: Some(51.0), ..none.clone() }), 0);
        assert_eq!(bound(Expect { p99_ms_max: Some(49.0), ..none.clone() }), 1);
        assert_eq!(bound(Expect { p99_ratio_max: Some(1.0), ..none.clone() }), 0);
        let away = |us| {
            let expect = Expect { away_s_max: Some(10.0), ..Expect::default() };
            let away = Latency { p99: us, ..Latency::default() };
            failed(&expect, |_, run| run.harvest.away = away)
        };
        assert_eq!((away(9_000_000), away(11_000_000)), (0, 1));
        let drain = |left: &str, at_s| {
            let expect = Expect { drain_s_max: Some(5.0), ..Expect::default() };
            let mark = |at_s, what: &str| Mark { at_s, what: what.into() };
            let marks = vec![mark(1.0, "asked to end"), mark(at_s, left)];
            failed(&expect, |_, run| run.marks = marks)
        };
        assert_eq!(drain("0 clients are left", 5.5), 0);
        assert_eq!(drain("0 clients are left", 7.0), 1);
        assert_eq!(drain("3 clients are left", 5.5), 1);
    }

    #[test]
    fn calm_comes_back_in_a_window_like_the_first() {
        let expect = Expect { back_within_s: Some(6.0), ..Expect::default() };
        let back = |ms: [u64; 4]| {
            failed(&expect, |setup, run| {
                setup.phases = (0..5).map(|_| Phase::even("x", 10.0, 5.0, 1)).collect();
                let window = run.harvest.windows[0].clone();
                run.harvest.windows = ms
                    .map(|ms| {
                        let mut window = window.clone();
                        window.latency.p99 = ms * 1_000;
                        window
                    })
                    .into();
            })
        };
        assert_eq!(back([10, 900, 11, 10]), 0, "at once");
        assert_eq!(back([10, 900, 50, 12]), 0, "after five seconds");
        assert_eq!(back([10, 900, 50, 13]), 1, "never");
        assert_eq!(back([10, 900, 11, 50]), 0, "one window of two is noise");
    }

    #[test]
    fn a_figure_whose_interval_holds_the_bound_proves_nothing() {
        for (got, error, verdict) in [
            (3.0, 2.0, Verdict::Within),
            (12.0, 0.0, Verdict::Within),
            (11.0, 1.1, Verdict::NotToldApart),
            (21.7, 53.5, Verdict::NotToldApart),
            (-40.0, 53.5, Verdict::NotToldApart),
            (13.0, 0.9, Verdict::Above),
            (f64::NAN, 1.0, Verdict::NotToldApart),
            (1.0, f64::INFINITY, Verdict::NotToldApart),
        ] {
            assert_eq!(Verdict::of(got, error, 12.0), verdict, "{got} \u{b1} {error}");
        }
    }

    #[test]
    fn memory_on_a_busy_host_is_neither_proven_nor_refuted_and_a_short_run_is_not_asked() {
        let expect = Expect { growth_mib_per_hour_max: Some(12.0), ..Expect::default() };
        let says = |seconds: f64, swing_mib: u64| {
            let (mut setup, mut run) = (fixture::setup(), fixture::run(Subject::Touchline, 5));
            setup.phases[1].seconds = seconds;
            // Up and down every two minutes: much noise, no growth.
            let beat = |at: u64| Beat {
                at_s: at as f64,
                rss_bytes: ((100 + at / 60 % 2 * swing_mib) << 20) + at * 1_024,
                cores: 0.0,
                generator: 0.0,
                present: 0,
                delivered: 0,
            };
            run.beats = (0..600).map(beat).collect();
            assert_eq!(expect.failures(&setup, &run, true), [""; 0], "it is not refuted");
            expect.unproven(&setup, &run)
        };
        assert_eq!(says(3_600.0, 0), None, "3.5 MiB an hour are within 12");
        let said = says(3_600.0, 40).expect("40 MiB up and down tell nothing");
        assert!(said.contains("12 may be"), "{said}");
        assert_eq!(says(30.0, 40), None, "nobody asks half a minute");
    }

    #[test]
    fn memory_that_grows_fails_whatever_the_host_can() {
        let expect = Expect { growth_mib_per_hour_max: Some(3.0), ..Expect::default() };
        let grows = |bytes_per_s: u64| {
            failed(&expect, |setup, run| {
                setup.phases[1].seconds = 3_600.0;
                let beat = |at: u64| Beat {
                    at_s: at as f64,
                    rss_bytes: at * bytes_per_s,
                    cores: 0.0,
                    generator: 0.0,
                    present: 0,
                    delivered: 0,
                };
                run.beats = (0..1_000).map(beat).collect();
            })
        };
        assert_eq!((grows(512), grows(1_024)), (0, 1), "1.8 and 3.5 MiB an hour");
    }
}
