//! What a reader must know before believing a chapter.

use super::entry::Entry;
use super::measure::CPU;
use super::stretch::{self, Stretch};
use super::study::{Chapter, Kind};
use super::words::{count, list, number, tick};
use crate::limits::{FULL_CORE_SHARE, GENERATOR_SHARE_MAX};
use crate::publish::Posted;
use crate::run::{Beat, Run, generator_most};
use crate::stats::Figure;
use crate::target::Subject;

/// Runs of a floor that differ by more than this share of their median make smaller differences
/// between others meaningless.
const NOISE_SHARE_MAX: f64 = 0.05;
/// Fewer runs than these have a range that says little about the median.
const PAIRS_MIN: usize = 5;
/// A publisher that takes this many times as long as planned, and a second, is late.
const LATE: f64 = 1.1;
/// A clock that may be wrong by more than this share of a p99 says little about it.
const CLOCK_SHARE_MAX: f64 = 0.1;

/// Every doubt about `chapter`, in sentences.
pub fn of(chapter: &Chapter) -> Vec<String> {
    let mut doubts = Vec::new();
    for entry in &chapter.entries {
        let name = entry.title.clone();
        if let (limited @ 1.., all) = (entry.limited(), entry.runs.len()) {
            let used = entry.runs.iter().map(Run::generator_share).fold(0.0, f64::max);
            let result =
                if limited < all { "these runs don\u{2019}t count" } else { "not compared" };
            doubts.push(format!(
                "{name}: in {limited} of {} the generator\u{2019}s core was up to {:.0} % full and it \
                 may have been the limit: {result}.",
                count(all, "run"),
                used * 100.0
            ));
        }
        let noise = CPU.figure(entry, chapter.window()).map_or(0.0, |cpu| cpu.range_share());
        if matches!(entry.subject, Subject::Floor(_)) && noise > NOISE_SHARE_MAX {
            doubts.push(format!(
                "Runs of the {name} differ by {:.0} % in CPU: smaller differences between others \
                 mean nothing here.",
                noise * 100.0
            ));
        }
    }
    doubts.extend(both_full(chapter));
    doubts.extend(steps(chapter));
    doubts.extend(steps_of_two(chapter));
    doubts.extend(connecting(chapter));
    doubts.extend(waiting(chapter));
    doubts.extend(disturbed(chapter));
    doubts.extend(clocks(chapter));
    match chapter.pairs() {
        1 => doubts.push("One run of each: there is no range, and no median either.".into()),
        pairs if pairs < PAIRS_MIN => {
            doubts.push(format!(
                "{pairs} runs of each: with fewer than {PAIRS_MIN} a range says little."
            ));
        }
        _ => {}
    }
    doubts
}

/// From which step of a ramp on the generator was the limit, in a run that as a whole isn't limited
/// by it.
fn steps(chapter: &Chapter) -> Option<String> {
    if !stretch::is_ramp(&chapter.stretches) {
        return None;
    }
    let is_full = |stretch: &Stretch, entry: &Entry| {
        let stretch = (stretch.from_s, stretch.to_s());
        let used = |run: &&Run| generator_most(&run.beats, std::iter::once(stretch));
        Figure::of(entry.counted().iter().map(used)).median > GENERATOR_SHARE_MAX
    };
    let of_entry = |entry: &Entry| {
        let first = stretch::by_load(&chapter.stretches)
            .into_iter()
            .map(|index| &chapter.stretches[index])
            .find(|stretch| is_full(stretch, entry))?;
        Some(format!("{} (from {} events/s on)", entry.title, tick(first.rate)))
    };
    let names: Vec<String> = chapter.entries.iter().filter_map(of_entry).collect();
    (!names.is_empty()).then(|| {
        format!(
            "The generator\u{2019}s core was more than {:.0} % full and it may have been the limit: {}.",
            GENERATOR_SHARE_MAX * 100.0,
            list(&names)
        )
    })
}

/// From which step of a ramp on neither the server nor the generator had time left.
fn steps_of_two(chapter: &Chapter) -> Option<String> {
    if !stretch::is_ramp(&chapter.stretches) {
        return None;
    }
    let is_full = |stretch: &Stretch, entry: &Entry| {
        let within = |beat: &&Beat| beat.at_s > stretch.from_s + 1.0 && beat.at_s <= stretch.to_s();
        let beats = || entry.runs.iter().flat_map(|run| &run.beats).filter(within);
        beats().count() > 1
            && Figure::of(beats().map(Beat::clients_core)).median > GENERATOR_SHARE_MAX
            && Figure::of(beats().map(|beat| beat.cores)).median >= FULL_CORE_SHARE
    };
    let of_entry = |entry: &Entry| {
        let loads = stretch::by_load(&chapter.stretches).into_iter();
        let mut stretches = loads.map(|index| &chapter.stretches[index]);
        let first = stretches.find(|stretch| is_full(stretch, entry))?;
        Some(format!("{} (from {} events/s on)", entry.title, tick(first.rate)))
    };
    let names: Vec<String> = chapter.entries.iter().filter_map(of_entry).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Both cores were full, the server\u{2019}s and the generator\u{2019}s: {}. Latencies \
             may partly be the generator\u{2019}s there.",
            list(&names)
        )
    })
}

/// Crowds that came in as fast as their own core let them.
fn connecting(chapter: &Chapter) -> Option<String> {
    let limited = having(chapter, |run| run.is_connect_limited());
    (!limited.is_empty()).then(|| {
        format!(
            "While they connected the clients\u{2019} core was full and the server\u{2019}s wasn\u{2019}t, \
             in runs of {}: how fast they came in says nothing of those.",
            list(&limited)
        )
    })
}

/// Whoever has runs that are so, with how many of how many.
fn having(chapter: &Chapter, is_so: impl Fn(&&Run) -> bool) -> Vec<String> {
    let of_entry = |entry: &Entry| {
        let count = entry.runs.iter().filter(&is_so).count();
        (count > 0).then(|| format!("{} ({count} of {})", entry.title, entry.runs.len()))
    };
    chapter.entries.iter().filter_map(of_entry).collect()
}

/// Runs in which nobody had time left.
fn both_full(chapter: &Chapter) -> Option<String> {
    if stretch::is_ramp(&chapter.stretches) {
        return None;
    }
    let is_full = |run: &&Run| !run.is_limited() && run.generator_share() > GENERATOR_SHARE_MAX;
    let names = having(chapter, is_full);
    (!names.is_empty()).then(|| {
        format!(
            "The generator\u{2019}s core was full, and the server\u{2019}s was, too: {}. Latencies \
             may partly be the generator\u{2019}s there.",
            list(&names)
        )
    })
}

/// Subjects that were fed more slowly than planned while their core wasn't full: the way in was the
/// limit then, and what is measured of the way out says little.
fn waiting(chapter: &Chapter) -> Option<String> {
    if chapter.kind() == Kind::Flood {
        return None;
    }
    let phases = chapter.setup.as_ref().map_or(&[][..], |setup| &setup.phases);
    let planned_s: f64 = phases.iter().map(|phase| phase.seconds).sum();
    let waited = |run: &&Run| {
        let late = |posted: &Posted| posted.seconds > planned_s * LATE + 1.0;
        run.posted.as_ref().is_some_and(late) && run.cpu.of_a_core < FULL_CORE_SHARE
    };
    let names = having(chapter, waited);
    (!names.is_empty()).then(|| {
        format!(
            "Publishing took longer than the {planned_s:.0} s planned although the server\u{2019}s \
             core wasn\u{2019}t full, in runs of {}: there the way in was the limit, not the \
             fan-out.",
            list(&names)
        )
    })
}

/// Others on the two cores.
fn disturbed(chapter: &Chapter) -> Option<String> {
    let runs = || chapter.entries.iter().flat_map(|entry| &entry.runs);
    let disturbed: Vec<&Run> = runs().filter(|run| run.is_disturbed()).collect();
    let most =
        |core: usize| disturbed.iter().map(|run| run.foreign[core] * 100.0).fold(0.0, f64::max);
    (!disturbed.is_empty()).then(|| {
        format!(
            "In {} of {} others used the two cores: up to {:.0} % of the server\u{2019}s and \
             {:.0} % of the clients\u{2019}.",
            disturbed.len(),
            count(runs().count(), "run"),
            most(0),
            most(1)
        )
    })
}

/// Clocks of other hosts that may be wrong by more than what they measure can bear.
fn clocks(chapter: &Chapter) -> Option<String> {
    let window = chapter.window();
    let wrong = |run: &Run| {
        let p99_us = run.harvest.windows.get(window).map_or(0, |window| window.latency.p99) as f64;
        let clocks = run.clocks.iter().map(|clock| (clock.agent.clone(), clock.error_us));
        clocks.filter(|(_, error_us)| *error_us > p99_us * CLOCK_SHARE_MAX).collect::<Vec<_>>()
    };
    let runs = chapter.entries.iter().flat_map(|entry| &entry.runs);
    let wrong: Vec<(String, f64)> = runs.flat_map(wrong).collect();
    let worst_us = wrong.iter().map(|(_, error_us)| *error_us).fold(0.0, f64::max);
    let mut agents: Vec<String> = wrong.into_iter().map(|(agent, _)| agent).collect();
    agents.sort();
    agents.dedup();
    (!agents.is_empty()).then(|| {
        format!(
            "The clock of {} may be wrong by up to {} \u{b5}s, which is more than a tenth of a p99 \
             that it measured.",
            list(&agents),
            number(worst_us)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::crew::Clock;
    use crate::run::Shares;

    fn doubts(change: fn(&mut Run)) -> String {
        let mut study = fixture::study();
        let chapter = &mut study.chapters[0];
        chapter.entries.iter_mut().flat_map(|entry| &mut entry.runs).for_each(change);
        of(chapter).join("\n")
    }

    #[test]
    fn what_limits_or_disturbs_a_run_is_said() {
        let said = doubts(|_| ());
        assert!(
            said.contains("nats: in 3 of 3 runs the generator\u{2019}s core was up to 95 % full"),
            "{said}"
        );
        assert!(said.contains("not compared") && said.contains("fewer than 5"), "{said}");
        assert!(!said.contains("floor") && !said.contains("others used"), "{said}");
        let said = doubts(|run| run.foreign = [0.2, 0.05]);
        assert!(said.contains("In 15 of 15 runs others used the two cores: up to 20 %"), "{said}");
    }

    #[test]
    fn a_crowd_that_was_its_own_limit_is_said() {
        let said = doubts(|run| run.connecting = Shares { generator: 0.99, ..Shares::default() });
        assert!(
            said.contains("core was full and the server") && said.contains("axum (3 of 3)"),
            "{said}"
        );
        let said = doubts(|run| {
            run.connecting = Shares { server: 0.95, generator: 0.99, ..Shares::default() };
        });
        assert!(!said.contains("While they connected"), "{said}");
    }

    #[test]
    fn a_clock_that_may_be_far_off_is_said() {
        let said = doubts(|run| {
            let clock =
                |agent: &str, error_us| Clock { agent: agent.into(), error_us, ..Clock::default() };
            run.clocks = vec![clock("near:1", 10.0), clock("far:1", 90_000.0)];
        });
        assert!(said.contains("The clock of far:1 may be wrong by up to 90,000"), "{said}");
    }

    #[test]
    fn a_floor_that_differs_from_itself_is_said() {
        let mut study = fixture::study();
        let chapter = &mut study.chapters[0];
        chapter.entries[0].runs[0].cpu_us *= 1.2;
        let said = of(chapter).join("\n");
        assert!(said.contains("Runs of the floor (send) differ by 20 % in CPU"), "{said}");
    }

    #[test]
    fn a_way_in_that_was_slower_than_planned_is_said_unless_the_core_was_full() {
        let said = doubts(|run| {
            run.posted = Some(Posted { seconds: 60.0, ..Posted::default() });
            run.cpu.of_a_core = if run.subject == Subject::Touchline { 0.95 } else { 0.3 };
        });
        assert!(said.contains("longer than the 9 s planned") && said.contains("axum (3 of 3)"));
        assert!(!said.contains("Touchline (3 of 3)"), "{said}");
    }
}
