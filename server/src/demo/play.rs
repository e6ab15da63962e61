//! Plays a match: from who may score when, to moments with minutes, players and score.
//!
//! Every second of a match belongs to a [`Period`]; goals, bookings, substitutions and corrections
//! are first put on the clock as [`Incident`]s, then played through in order, so that the running
//! score, the players on the pitch and the minutes can't contradict each other. Goals come from a
//! file (they are then facts) or from the dice.
//!
//! Rates are those of professional football, a team and match: 1.4 goals, 2 yellow cards, one
//! direct red card in 12, 3 to 5 substitutions; one goal in 16 is taken back.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore};

use super::day::{Moment, Side};
use super::names::player_name;
use crate::live::fact::{Kind, Score, Status};

/// Time between the announcement of a match and its kick-off isn't played: it is the caller's.
const BREAKS_MIN: [u32; 3] = [15, 5, 1];
const GOALS_PER_MINUTE: f64 = 1.4 / 93.0;
const YELLOWS_PER_MINUTE: f64 = 2.0 / 93.0;
const REDS_PER_MINUTE: f64 = 1.0 / 12.0 / 93.0;
const PENALTY: f64 = 0.09;
const OWN_GOAL: f64 = 0.03;
const OVERTURNED: f64 = 1.0 / 16.0;
const PLAYERS: usize = 11;
const BENCH: usize = 7;
/// A side with fewer players couldn't go on.
const PLAYERS_MIN: usize = 8;

/// A goal that is known to have been scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGoal {
    /// Who gets it.
    pub side: Side,
    /// 1 to 120.
    pub minute: u16,
    /// Minutes into stoppage time, zero before it.
    pub stoppage: u16,
    /// Who put it in.
    pub player: String,
    /// `penalty`, `own_goal`.
    pub note: Option<String>,
}

/// What is known of a match before it is played.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// All of its goals, or `None`: then the dice score.
    pub goals: Option<Vec<KnownGoal>>,
    /// Whether there was extra time.
    pub extra_time: bool,
    /// Said with the final whistle: `penalties 3-4`.
    pub note: Option<String>,
    /// How likely a goal of the dice is taken back.
    pub overturned: f64,
}

impl Default for Known {
    fn default() -> Self {
        Self { goals: None, extra_time: false, note: None, overturned: OVERTURNED }
    }
}

/// 45, 45, 15 and 15 minutes and what is added to them.
#[derive(Clone, Copy, Debug)]
struct Period {
    /// Minutes played before it.
    before: u16,
    /// Without stoppage time.
    minutes: u16,
    /// Added minutes.
    stoppage: u16,
    /// When it begins, in seconds since the kick-off.
    start_s: u32,
}

impl Period {
    fn end_s(&self) -> u32 {
        self.start_s + u32::from(self.minutes + self.stoppage) * 60
    }

    /// The minute being played, and minutes into stoppage time.
    fn minute_at(&self, second: u32) -> (u16, u16) {
        let minute = (second.saturating_sub(self.start_s) / 60 + 1) as u16;
        match minute.checked_sub(self.minutes) {
            Some(stoppage) if stoppage > 0 => (self.before + self.minutes, stoppage),
            _ => (self.before + minute, 0),
        }
    }
}

#[derive(Clone, Debug)]
enum What {
    Goal { known: Option<KnownGoal> },
    Yellow,
    Red,
    Substitution,
    Overturned { goal: usize },
}

/// Something that will happen, not yet played.
#[derive(Clone, Debug)]
struct Incident {
    second: u32,
    side: Side,
    what: What,
}

/// Who can still be named on one side.
struct Squad {
    pitch: Vec<String>,
    bench: Vec<String>,
    booked: Vec<String>,
}

/// Plays a match that kicks off at zero. Neither the announcement nor anything after the final
/// whistle is in it.
pub fn play(known: &Known, rng: &mut StdRng) -> Vec<Moment> {
    let periods = periods(known, rng);
    let mut incidents = known_goals(known, &periods, rng);
    for period in &periods {
        incidents.extend(chances(known.goals.is_none(), period, rng));
    }
    incidents.extend(substitutions(&periods[1], rng));
    incidents.sort_by_key(|incident| incident.second);
    let mut game = Game::new(known, rng);
    for (n, period) in periods.iter().enumerate() {
        game.begin(n, period);
        while incidents.first().is_some_and(|incident| incident.second < period.end_s()) {
            let incident = incidents.remove(0);
            if let Some(correction) = game.play(period, incident) {
                let later = |other: &Incident| other.second > correction.second;
                let place = incidents.iter().position(later).unwrap_or(incidents.len());
                incidents.insert(place, correction);
            }
        }
        game.end(n, period, n + 1 == periods.len());
    }
    game.moments
}

fn periods(known: &Known, rng: &mut StdRng) -> Vec<Period> {
    let lengths: &[(u16, u16)] = match known.extra_time {
        true => &[(0, 45), (45, 45), (90, 15), (105, 15)],
        false => &[(0, 45), (45, 45)],
    };
    let added = [1..=4, 2..=7, 0..=2, 1..=3];
    let mut start_s = 0;
    let mut periods = Vec::new();
    for (n, &(before, minutes)) in lengths.iter().enumerate() {
        let goals = known.goals.iter().flatten();
        let late = goals.filter(|goal| goal.minute == before + minutes).map(|goal| goal.stoppage);
        let stoppage = rng.random_range(added[n].clone()).max(late.max().unwrap_or(0));
        let period = Period { before, minutes, stoppage, start_s };
        start_s = period.end_s() + BREAKS_MIN.get(n).map_or(0, |minutes| minutes * 60);
        periods.push(period);
    }
    periods
}

fn known_goals(known: &Known, periods: &[Period], rng: &mut StdRng) -> Vec<Incident> {
    let mut incidents = Vec::new();
    for goal in known.goals.iter().flatten() {
        let within = |period: &&Period| goal.minute <= period.before + period.minutes;
        let Some(period) = periods.iter().find(within) else { continue };
        let minute = u32::from((goal.minute - period.before).max(1) - 1 + goal.stoppage);
        let second = period.start_s + minute * 60 + rng.random_range(5..50);
        incidents.push(Incident {
            second,
            side: goal.side,
            what: What::Goal { known: Some(goal.clone()) },
        });
    }
    // Two goals of one minute keep the file's order in time.
    incidents.sort_by_key(|incident| incident.second / 60);
    for n in 1..incidents.len() {
        if incidents[n].second <= incidents[n - 1].second {
            incidents[n].second = incidents[n - 1].second + 1;
        }
    }
    incidents
}

/// What the dice give in one period: goals, unless they are known, and cards.
fn chances(goals: bool, period: &Period, rng: &mut StdRng) -> Vec<Incident> {
    let mut incidents = Vec::new();
    for minute in 0..u32::from(period.minutes + period.stoppage) {
        for side in Side::BOTH {
            let second = period.start_s + minute * 60 + rng.random_range(0..60);
            let home = if side == Side::Home { 1.12 } else { 0.88 };
            let mut roll = |chance: f64, what: What| {
                if rng.random_bool(chance) {
                    incidents.push(Incident { second, side, what });
                }
            };
            if goals {
                roll(GOALS_PER_MINUTE * home, What::Goal { known: None });
            }
            roll(YELLOWS_PER_MINUTE, What::Yellow);
            roll(REDS_PER_MINUTE, What::Red);
        }
    }
    incidents
}

fn substitutions(second_half: &Period, rng: &mut StdRng) -> Vec<Incident> {
    let mut incidents = Vec::new();
    for side in Side::BOTH {
        for _ in 0..rng.random_range(3..=5) {
            let second = second_half.start_s + rng.random_range(60..43 * 60);
            incidents.push(Incident { second, side, what: What::Substitution });
        }
    }
    incidents
}

struct Game<'a> {
    known: &'a Known,
    rng: &'a mut StdRng,
    squads: [Squad; 2],
    score: Score,
    moments: Vec<Moment>,
}

impl<'a> Game<'a> {
    fn new(known: &'a Known, rng: &'a mut StdRng) -> Self {
        let squads = [Squad::new(rng), Squad::new(rng)];
        Self { known, rng, squads, score: Score::default(), moments: Vec::new() }
    }

    fn begin(&mut self, n: usize, period: &Period) {
        // The game knows two halves; extra time goes on without a word of its own.
        let kind = match n {
            0 => Kind::Kickoff,
            1 => Kind::SecondHalf,
            _ => return,
        };
        self.tell(kind, Status::Live, period.start_s, (period.before + 1, 0));
    }

    fn end(&mut self, n: usize, period: &Period, last: bool) {
        let (minute, second) = (period.before + period.minutes, period.end_s());
        if n == 0 {
            self.tell(Kind::HalfTime, Status::HalfTime, second, (minute, period.stoppage));
        }
        if last {
            let note = self.known.note.clone();
            let minute = (minute, period.stoppage);
            self.tell(Kind::FullTime, Status::FullTime, second, minute).note = note;
        }
    }

    fn tell(&mut self, kind: Kind, status: Status, second: u32, minute: (u16, u16)) -> &mut Moment {
        self.moments.push(Moment {
            at: Duration::from_secs(second.into()),
            kind,
            status,
            minute: minute.0,
            stoppage: minute.1,
            score: self.score,
            side: None,
            player: None,
            player_in: None,
            note: None,
            overturns: None,
            generated: true,
        });
        let last = self.moments.len() - 1;
        &mut self.moments[last]
    }

    /// Plays one incident; a goal may bring its own correction with it.
    fn play(&mut self, period: &Period, incident: Incident) -> Option<Incident> {
        let Incident { second, side, what } = incident;
        match what {
            What::Goal { known: Some(goal) } => self.known_goal(period, second, goal),
            What::Goal { known: None } => return self.goal(period, second, side),
            What::Yellow => self.yellow(period, second, side),
            What::Red => self.red(period, second, side, None),
            What::Substitution => self.substitution(period, second, side),
            What::Overturned { goal } => self.overturned(period, second, side, goal),
        }
        None
    }

    fn known_goal(&mut self, period: &Period, second: u32, goal: KnownGoal) {
        *self.goals(goal.side) += 1;
        // The file's minute stands, not the clock's.
        let minute = (goal.minute, goal.stoppage);
        let moment = self.tell(Kind::Goal, Status::Live, second.min(period.end_s()), minute);
        moment.side = Some(goal.side);
        moment.player = Some(goal.player);
        moment.note = goal.note;
        moment.generated = false;
    }

    fn goal(&mut self, period: &Period, second: u32, side: Side) -> Option<Incident> {
        let roll: f64 = self.rng.random();
        let (by, note) = match roll {
            roll if roll < OWN_GOAL => (side.other(), Some("own_goal")),
            roll if roll < OWN_GOAL + PENALTY => (side, Some("penalty")),
            _ => (side, None),
        };
        let player = self.squads[by as usize].anybody(self.rng);
        *self.goals(side) += 1;
        let goal = self.moments.len();
        let moment = self.tell(Kind::Goal, Status::Live, second, period.minute_at(second));
        moment.side = Some(side);
        moment.player = Some(player);
        moment.note = note.map(str::to_owned);
        let second = second + self.rng.random_range(50..110);
        let taken_back = self.rng.random_bool(self.known.overturned) && second < period.end_s();
        taken_back.then_some(Incident { second, side, what: What::Overturned { goal } })
    }

    fn overturned(&mut self, period: &Period, second: u32, side: Side, goal: usize) {
        *self.goals(side) -= 1;
        let player = self.moments[goal].player.clone();
        let reasons = ["offside", "handball", "foul in the build-up"];
        let note = reasons.choose(self.rng).map(|reason| (*reason).to_owned());
        let moment = self.tell(Kind::Overturned, Status::Live, second, period.minute_at(second));
        moment.side = Some(side);
        moment.player = player;
        moment.note = note;
        moment.overturns = Some(goal);
    }

    fn yellow(&mut self, period: &Period, second: u32, side: Side) {
        let player = self.squads[side as usize].anybody(self.rng);
        let booked = &mut self.squads[side as usize].booked;
        if booked.contains(&player) {
            return self.red(period, second, side, Some(player));
        }
        booked.push(player.clone());
        let moment = self.tell(Kind::Yellow, Status::Live, second, period.minute_at(second));
        moment.side = Some(side);
        moment.player = Some(player);
    }

    fn red(&mut self, period: &Period, second: u32, side: Side, booked: Option<String>) {
        let squad = &mut self.squads[side as usize];
        if squad.pitch.len() <= PLAYERS_MIN {
            return;
        }
        let note = booked.is_some().then(|| String::from("second_yellow"));
        let player = booked.unwrap_or_else(|| squad.anybody(self.rng));
        squad.pitch.retain(|name| *name != player);
        let moment = self.tell(Kind::Red, Status::Live, second, period.minute_at(second));
        moment.side = Some(side);
        moment.player = Some(player);
        moment.note = note;
    }

    fn substitution(&mut self, period: &Period, second: u32, side: Side) {
        let squad = &mut self.squads[side as usize];
        let (Some(player_in), off) = (squad.bench.pop(), squad.anybody(self.rng)) else { return };
        squad.pitch.retain(|name| *name != off);
        squad.pitch.push(player_in.clone());
        let moment = self.tell(Kind::Substitution, Status::Live, second, period.minute_at(second));
        moment.side = Some(side);
        moment.player = Some(off);
        moment.player_in = Some(player_in);
    }

    fn goals(&mut self, side: Side) -> &mut u16 {
        match side {
            Side::Home => &mut self.score.home,
            Side::Away => &mut self.score.away,
        }
    }
}

impl Squad {
    fn new(rng: &mut dyn RngCore) -> Self {
        let mut names: Vec<String> = Vec::new();
        while names.len() < PLAYERS + BENCH {
            let name = player_name(rng);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let bench = names.split_off(PLAYERS);
        Self { pitch: names, bench, booked: Vec::new() }
    }

    fn anybody(&self, rng: &mut StdRng) -> String {
        // The pitch is never empty: nobody is sent off below eight.
        self.pitch.choose(rng).cloned().unwrap_or_default()
    }
}
