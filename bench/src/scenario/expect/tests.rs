//! What is expected of runs, and how it is judged.

use super::*;
use crate::page::fixture;
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
        let away = Latency { count: 1, p99: us, ..Latency::default() };
        failed(&expect, |_, run| run.harvest.away = away)
    };
    assert_eq!((away(9_000_000), away(11_000_000)), (0, 1));
    let drain = |left, at_s| {
        let expect = Expect { drain_s_max: Some(5.0), ..Expect::default() };
        let mark = |at_s, left| Mark { at_s, what: "of a drain".into(), left };
        let marks = vec![mark(1.0, None), mark(at_s, Some(left))];
        failed(&expect, |_, run| run.marks = marks)
    };
    assert_eq!((drain(0, 5.5), drain(0, 7.0), drain(3, 5.5)), (0, 1, 1));
}

#[test]
fn a_bound_on_the_time_of_nothing_is_not_kept() {
    let none = Expect::default();
    let p99 = Expect { p99_ms_max: Some(400.0), ..none.clone() };
    let ratio = Expect { p99_ratio_max: Some(2.0), ..none.clone() };
    let calm = Expect { calm_ms_max: Some(150.0), ..none.clone() };
    for expect in [&p99, &ratio, &calm] {
        assert_eq!(failed(expect, |_, _| ()), 0, "{expect:?}");
        let empty = |_: &mut Setup, run: &mut Run| {
            run.harvest.windows[0].latency = Latency::default();
        };
        assert_eq!(failed(expect, empty), 1, "{expect:?}");
        assert_eq!(failed(expect, |_, run| run.harvest.windows.clear()), 1, "{expect:?}");
    }
    let flood = |count| {
        failed(&p99, |setup, run| {
            let latency = Latency { count, ..Latency::default() };
            setup.flood = Some(crate::setup::Flood { batch: 1, flights_max: 1 });
            run.posted = Some(crate::publish::Posted { latency, ..Default::default() });
        })
    };
    assert_eq!((flood(9), flood(0)), (0, 1));
    let away = Expect { away_s_max: Some(10.0), ..none };
    assert_eq!(failed(&away, |_, _| ()), 1, "nobody came back");
}

#[test]
fn slow_readers_excuse_no_harm_to_those_that_read() {
    let scenario = crate::scenario::Scenario::load("slow-readers").unwrap();
    let fails = |change: fn(&mut Run)| failed(&scenario.expect, |_, run| change(run));
    assert_eq!(fails(|_| ()), 0);
    let bad_ones = |run: &mut Run| {
        run.harvest.counts.closed.insert(4008, 100);
        run.harvest.counts.cut_off = 9_000;
    };
    assert_eq!(fails(bad_ones), 0, "those that don't read were closed: 100 of 1,000");
    let everybody = |run: &mut Run| {
        run.harvest.counts.closed.insert(4008, 1_000);
        run.harvest.counts.prompt_closed = 900;
        run.harvest.counts.prompt_missed = 81_000;
        run.harvest.windows[0].latency = Latency::default();
    };
    assert_eq!(fails(everybody), 4, "more than a tenth, who read, missed all; no p99");
    assert_eq!(fails(|run| run.harvest.counts.prompt_closed = 1), 1);
    assert_eq!(fails(|run| run.harvest.counts.prompt_missed = 1), 1);
}

#[test]
fn calm_comes_back_in_a_window_like_the_first() {
    let expect = Expect { back_within_s: Some(6.0), ..Expect::default() };
    let back = |ms: [u64; 4]| {
        failed(&expect, |setup, run| {
            let names = ["warm-up", "calm", "crash", "after", "after"];
            setup.phases = names.map(|name| Phase::even(name, 10.0, 5.0, 1)).into();
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
            others: 0.0,
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
                others: 0.0,
                present: 0,
                delivered: 0,
            };
            run.beats = (0..1_000).map(beat).collect();
        })
    };
    assert_eq!((grows(512), grows(1_024)), (0, 1), "1.8 and 3.5 MiB an hour");
}

#[test]
fn a_baseline_is_the_calmest_window_before_and_one_that_is_not_calm_is_refused() {
    let judged = |ms: [u64; 6]| {
        let (mut setup, mut run) = (fixture::setup(), fixture::run(Subject::Touchline, 5));
        let names = ["warm-up", "calm", "calm", "calm", "crash", "after", "after"];
        setup.phases = names.map(|name| Phase::even(name, 10.0, 5.0, 1)).into();
        let window = run.harvest.windows[0].clone();
        run.harvest.windows = Vec::from(ms.map(|ms| {
            let mut window = window.clone();
            window.latency.p99 = ms * 1_000;
            window
        }));
        let (calm_ms_max, back_within_s) = (Some(100.0), Some(3.0));
        let expect = Expect { calm_ms_max, back_within_s, ..Expect::default() };
        expect.failures(&setup, &run, false).join(", ")
    };
    assert_eq!(judged([1_048, 20, 30, 5_000, 24, 24]), "", "after the crowd has connected");
    assert!(judged([1_048, 20, 30, 5_000, 25, 24]).contains("back after 5 s"));
    let never = judged([1_048, 900, 800, 5_000, 24, 24]);
    assert!(never.contains("calm before is 800.0 ms") && !never.contains("back"), "{never}");
}

#[test]
fn what_a_whole_run_lacks_is_said_in_words() {
    let whole = Expect { whole: true, ..Expect::default() };
    let says = |change: fn(&mut Run)| {
        let (setup, mut run) = (fixture::setup(), fixture::run(Subject::Touchline, 5));
        change(&mut run);
        whole.failures(&setup, &run, true).join("; ")
    };
    assert_eq!(says(|run| run.harvest.counts.repeated = 1_500), "1,500 came twice or out of order");
    let silent = says(|run| run.harvest.counts.delivered = 0);
    assert!(silent.starts_with("nothing arrived of 90,000 deliveries"), "{silent}");
    let lost = says(|run| {
        run.harvest.counts.delivered -= 2;
        run.harvest.counts.lost = 2;
        run.harvest.counts.closed.insert(1006, 3);
    });
    assert!(lost.starts_with("2 of 90,000 never came, and nobody was told"), "{lost}");
    assert!(lost.contains("3 sockets closed (1006)") && !lost.contains('{'), "{lost}");
}

#[test]
fn of_a_server_that_runs_elsewhere_nothing_is_proven_that_is_inside_of_it() {
    let (setup, mut run) = (fixture::setup(), fixture::run(Subject::Touchline, 5));
    run.cpu = crate::probe::CpuUse::default();
    run.memory[1].rss_bytes = 0;
    run.beats.clear();
    let unproven = |expect: Expect| expect.unproven(&setup, &run);
    for inside in [
        Expect { cpu_us_max: Some(10.0), ..Expect::default() },
        Expect { bytes_per_socket_max: Some(600.0), ..Expect::default() },
        Expect { growth_mib_per_hour_max: Some(3.0), ..Expect::default() },
    ] {
        assert!(unproven(inside).is_some_and(|said| said.contains("elsewhere")));
    }
    assert_eq!(unproven(Expect { whole: true, p99_ms_max: Some(1.0), ..Expect::default() }), None);
}

#[test]
fn a_drain_that_does_not_end_fails_whatever_the_host_can() {
    let drains = Expect { drain_s_max: Some(60.0), ..Expect::default() };
    let (setup, mut run) = (fixture::setup(), fixture::run(Subject::Touchline, 5));
    run.marks.clear();
    assert_eq!(drains.failures(&setup, &run, true).len(), 1);
}
