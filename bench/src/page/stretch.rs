//! The stretches of a run that are measured on their own, and what is due in each of them.
//!
//! What a server is offered is counted in deliveries to those clients that are timed: an event
//! costs as many sends as its team has followers, so a rate of events alone says nothing about
//! load.
//! Clients that read slowly or never aren't timed, and neither are followers of teams below
//! `timed_team_first`.

use crate::receive::crowd::Reading;
use crate::schedule::Phase;
use crate::setup::{RAMP_LOADS_MIN, Setup};

/// A phase after the warm-up.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// The phase's name, with a number where several are called so.
    pub name: String,
    /// When it begins, in seconds after the first phase began.
    pub from_s: f64,
    /// How long it is.
    pub seconds: f64,
    /// Events a second for teams that somebody follows.
    pub rate: f64,
    /// Deliveries that a perfect server makes of its events to clients that are timed.
    pub due: u64,
}

impl Stretch {
    /// Deliveries a second.
    pub fn offered(&self) -> f64 {
        self.due as f64 / self.seconds.max(1e-9)
    }

    /// When it ends.
    pub fn to_s(&self) -> f64 {
        self.from_s + self.seconds
    }
}

/// Every stretch of a run of `setup`, in the order of its windows.
pub fn of(setup: &Setup) -> Vec<Stretch> {
    let mut begun_s = 0.0;
    let measured = setup.phases.iter().enumerate().map(|(index, phase)| {
        let from_s = begun_s;
        begun_s += phase.seconds;
        let name = name(setup, index);
        let rate = phase.rate(setup.crowd.teams);
        Stretch { name, from_s, seconds: phase.seconds, rate, due: 0 }
    });
    let mut stretches: Vec<Stretch> = measured.skip(1).collect();
    let (followers, plan) = (followers(setup), setup.schedule(0).plan());
    let windows = setup.windows(&plan.schedule);
    for n in 0..plan.events() {
        let due_ns = plan.due_ns(n);
        let inside = windows
            .iter()
            .position(|w| (w.from_ns..w.to_ns).contains(&due_ns) && w.stream == plan.stream(n));
        if let Some(index) = inside {
            let followed = followers.get(plan.team(n) as usize);
            stretches[index].due += followed.copied().unwrap_or(0);
        }
    }
    stretches
}

/// Clients of each team that are timed.
fn followers(setup: &Setup) -> Vec<u64> {
    let mut followers = vec![0; setup.crowd.teams as usize];
    if setup.phases.len() < 2 {
        return followers;
    }
    for client in setup.crowd.clients() {
        let is_timed = client.team >= setup.timed_team_first;
        if is_timed && client.reading == Reading::Prompt {
            followers[client.team as usize] += 1;
        }
    }
    followers
}

/// What phase `index` is called: `after 2` where several are called `after`.
fn name(setup: &Setup, index: usize) -> String {
    let name = &setup.phases[index].name;
    let alike = |phases: &[Phase]| phases.iter().filter(|phase| phase.name == *name).count();
    match alike(&setup.phases) {
        1 => name.clone(),
        _ => format!("{name} {}", alike(&setup.phases[..=index])),
    }
}

/// Whether the load grows step by step: then there is a knee to look for.
pub fn is_ramp(stretches: &[Stretch]) -> bool {
    by_load(stretches).len() >= RAMP_LOADS_MIN
}

/// Indices of stretches with different loads, the calmest first. Of several with the same load the
/// first counts: what comes later may suffer from what was before.
pub fn by_load(stretches: &[Stretch]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..stretches.len()).filter(|at| stretches[*at].due > 0).collect();
    order.sort_by(|a, b| stretches[*a].offered().total_cmp(&stretches[*b].offered()));
    let alike = |a: &mut usize, b: &mut usize| {
        let [a, b] = [*a, *b].map(|index| stretches[index].offered());
        (a - b).abs() < b.abs() * 0.01
    };
    order.dedup_by(alike);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(phases: &[(&str, f64)]) -> Setup {
        let phase = |(name, rate): &(&str, f64)| Phase::even(name, *rate, 2.0, 2);
        Setup::even(10, 2, phases.iter().map(phase).collect())
    }

    #[test]
    fn what_is_due_is_counted_in_deliveries_to_those_who_are_timed() {
        let mut setup = setup(&[("warm-up", 1.0), ("calm", 10.0), ("calm", 20.0)]);
        let due = |setup: &Setup| of(setup).iter().map(|stretch| stretch.due).collect::<Vec<_>>();
        assert_eq!(due(&setup), [100, 200], "20 and 40 events, 5 followers each");
        let names: Vec<String> = of(&setup).into_iter().map(|stretch| stretch.name).collect();
        assert_eq!(names, ["calm 1", "calm 2"]);
        assert_eq!((of(&setup)[1].from_s, of(&setup)[1].offered()), (4.0, 100.0));
        setup.timed_team_first = 1;
        assert_eq!(due(&setup), [50, 100]);
        setup.timed_team_first = 0;
        setup.crowd.stalled = 5;
        assert!(due(&setup)[0] < 100, "who never reads isn't timed");
    }

    #[test]
    fn a_ramp_has_four_loads() {
        let flat = [("w", 1.0), ("calm", 10.0), ("flood", 50.0), ("after", 10.0), ("after", 10.0)];
        assert!(!is_ramp(&of(&setup(&flat))));
        let ramp = [("w", 1.0), ("20", 20.0), ("5", 5.0), ("40", 40.0), ("80", 80.0)];
        let stretches = of(&setup(&ramp));
        assert!(is_ramp(&stretches));
        assert_eq!(by_load(&stretches), [1, 0, 2, 3], "the calmest first");
        assert!(of(&setup(&[])).is_empty());
    }
}
