//! Judges a host: one row for each knob.
//!
//! A check reads files, makes one ring and asks the kernel about its NICs; it needs no rights,
//! changes nothing, and takes some milliseconds. What a row wants it also says as targets, place by
//! place, which is all that a plan needs.

use serde_json::{Value, json};

use crate::condition::{self, Scene};
use crate::ethtool::Field;
use crate::knob::{self, Knob};
use crate::machine::{Machine, Need};
use crate::reading::{self, Place, Reading, Spot};
use crate::root::Root;
use crate::wanted::{Terms, Unit, Wanted, show};

/// How a knob stands. The worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// This host has no such thing.
    Absent,
    /// As it should be, or only told.
    Ok,
    /// It can't be read.
    Unknown,
    /// It could be better.
    Advice,
    /// `connections_max` can't be held.
    Problem,
}

impl State {
    /// As it stands in the table and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Advice => "advice",
            Self::Problem => "problem",
        }
    }
}

/// A place whose value should be another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub spot: Option<Spot>,
    /// What was read there, exactly.
    pub raw: String,
    /// What it should be.
    pub value: String,
}

/// How one knob stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub knob: &'static Knob,
    /// The verdict.
    pub state: State,
    /// Its value, for people.
    pub now: String,
    /// What is wanted, for people.
    pub wanted: String,
    /// A word on it.
    pub note: Option<String>,
    /// What would have to change.
    pub targets: Vec<Target>,
}

/// How a host stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it is.
    pub machine: Machine,
    /// What is asked of it.
    pub need: Need,
    /// A row for each knob, in the order of the file.
    pub rows: Vec<Row>,
}

/// Judges all knobs on a machine whose facts are known.
pub fn check(root: &Root, machine: Machine, need: &Need) -> Report {
    let scene = Scene { root, machine: &machine, need };
    let rows = knob::all().iter().map(|knob| judge(knob, &scene)).collect();
    Report { rows, need: need.clone(), machine }
}

impl Report {
    /// The row of a knob.
    pub fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.knob.id == id)
    }

    /// How many rows are in a state.
    pub fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }

    /// Rows in a state.
    pub fn all(&self, state: State) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.state == state)
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let Machine { cores, memory_bytes, kernel, ec2, .. } = &self.machine;
        let nics: Vec<&str> = self.machine.nics.iter().map(|nic| nic.name.as_str()).collect();
        let states = [State::Ok, State::Advice, State::Problem, State::Unknown, State::Absent];
        let counts = states.map(|state| (state.word().to_owned(), self.count(state).into()));
        json!({
            "connections_max": self.need.connections_max,
            "host": {
                "cores": cores, "memory_bytes": memory_bytes, "kernel": kernel, "nics": nics,
                "ec2": ec2,
            },
            "summary": counts.into_iter().collect::<serde_json::Map<_, _>>(),
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    fn to_json(&self) -> Value {
        let Self { knob, state, now, wanted, note, .. } = self;
        let cost = (*state >= State::Advice).then_some(&knob.cost);
        json!({
            "knob": knob.id, "group": knob.group, "title": knob.title, "state": state.word(),
            "now": now, "wanted": wanted, "cost": cost, "note": note,
        })
    }
}

fn judge(knob: &'static Knob, scene: &Scene) -> Row {
    let row = |state, note: Option<String>| Row {
        knob,
        state,
        now: "-".into(),
        wanted: "-".into(),
        note,
        targets: Vec::new(),
    };
    if let Some(condition) = knob.when.as_deref().and_then(condition::find)
        && !(condition.holds)(scene)
    {
        return row(State::Absent, Some((condition.otherwise)(scene)));
    }
    match reading::read(knob, scene) {
        Reading::Absent(why) => row(State::Absent, Some(why)),
        Reading::Unknown(why) => row(State::Unknown, Some(why)),
        Reading::Here(places, note) => judge_places(knob, scene, &places, note),
    }
}

/// What is to be said of one place, or of all places together.
#[derive(Debug)]
struct Verdict<'a> {
    state: State,
    targets: Vec<Target>,
    notes: Vec<String>,
    /// The first place that isn't good.
    shown: Option<&'a Place>,
}

impl<'a> Verdict<'a> {
    fn good() -> Self {
        Self { state: State::Ok, targets: Vec::new(), notes: Vec::new(), shown: None }
    }

    /// Of both the worse, and all that is to be done and said.
    fn and(mut self, other: Self) -> Self {
        self.state = self.state.max(other.state);
        self.targets.extend(other.targets);
        self.notes.extend(other.notes);
        self.shown = self.shown.or(other.shown);
        self
    }

    fn noting(mut self, note: Option<String>) -> Self {
        self.notes.extend(note);
        self
    }
}

fn terms<'a>(knob: &Knob, scene: &Scene<'a>, place: &Place) -> Terms<'a> {
    Terms { machine: scene.machine, need: scene.need, unit: knob.unit, max: place.max }
}

fn judge_places(knob: &'static Knob, scene: &Scene, places: &[Place], note: Option<String>) -> Row {
    let each = places.iter().map(|place| judge_place(knob, scene, place));
    let verdict = each.fold(Verdict::good().noting(note), Verdict::and);
    let verdict = apply_condition(knob, scene, verdict);
    let verdict = limit_to_choices(knob, scene, verdict);
    let need = note_on_need(knob, scene, &verdict);
    let wanted = wanted_text(knob, scene, places, &verdict);
    let Verdict { state, targets, notes, .. } = verdict.noting(need);
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Row { knob, state, now: now_text(places, knob.unit), wanted, note, targets }
}

fn judge_place<'a>(knob: &Knob, scene: &Scene, place: &'a Place) -> Verdict<'a> {
    let terms = terms(knob, scene, place);
    let judged = |wanted: &Wanted| wanted.judge(&place.fields, place.want.as_deref(), &terms);
    let needed = knob.needed.as_ref().map_or(Ok(None), judged);
    let (Ok(better), Ok(must)) = (judged(&knob.wanted), needed) else {
        let note = format!("`{}` can't be judged", place.raw.trim());
        return Verdict { state: State::Unknown, notes: vec![note], ..Verdict::good() };
    };
    let is_real = must.is_some() && condition::holds(knob.needed_when.as_deref(), scene);
    let Some(value) = better.or(must) else { return Verdict::good() };
    let target = Target {
        spot: place.spot.clone(),
        raw: place.raw.clone(),
        value: written(place.spot.as_ref(), value.join(" ")),
    };
    Verdict {
        state: if is_real { State::Problem } else { State::Advice },
        targets: vec![target],
        shown: Some(place),
        ..Verdict::good()
    }
}

/// Advice that isn't worth giving here says why that is, and asks for nothing.
fn apply_condition<'a>(knob: &Knob, scene: &Scene, verdict: Verdict<'a>) -> Verdict<'a> {
    match knob.advise_when.as_deref().and_then(condition::find) {
        Some(condition) if verdict.state == State::Advice && !(condition.holds)(scene) => {
            let why = (condition.otherwise)(scene);
            Verdict { state: State::Ok, targets: Vec::new(), ..verdict }.noting(Some(why))
        }
        _ => verdict,
    }
}

/// Of what is wanted, what the kernel offers; nothing to do where it offers none of it.
fn limit_to_choices<'a>(knob: &Knob, scene: &Scene, mut verdict: Verdict<'a>) -> Verdict<'a> {
    let (Some(file), Wanted::OneOf(words)) = (&knob.choices, &knob.wanted) else { return verdict };
    let offered = scene.root.text(file).unwrap_or_default();
    let choice = words.iter().find(|word| offered.split_whitespace().any(|other| other == **word));
    match choice {
        Some(word) => {
            verdict.targets.iter_mut().for_each(|target| target.value.clone_from(word));
            verdict
        }
        None if verdict.targets.is_empty() => verdict,
        None => Verdict { targets: Vec::new(), ..verdict }
            .noting(Some(format!("the kernel offers only {offered}"))),
    }
}

/// What would do, where that is less than what is wanted.
fn note_on_need(knob: &Knob, scene: &Scene, verdict: &Verdict) -> Option<String> {
    let (needed, place) = (knob.needed.as_ref()?, verdict.shown?);
    let terms = terms(knob, scene, place);
    let short = |wanted: &Wanted| wanted.short(place.want.as_deref(), &terms);
    let is_less = verdict.state == State::Problem && short(needed) != short(&knob.wanted);
    is_less.then(|| format!("needed: {}", needed.short(None, &terms)))
}

/// What is wanted of the first place that isn't good; the rule, where places differ or all are good
/// (what a probe wants of a good place is what is there).
fn wanted_text(knob: &Knob, scene: &Scene, places: &[Place], verdict: &Verdict) -> String {
    let rule = |place: &Place| knob.wanted.short(None, &terms(knob, scene, place));
    match (verdict.shown, places.first()) {
        (Some(_), _) if several_wants(&verdict.targets) => rule(&Place::default()),
        (Some(place), _) => knob.wanted.short(place.want.as_deref(), &terms(knob, scene, place)),
        (None, Some(place)) => rule(place),
        (None, None) => "-".into(),
    }
}

/// What is written for a value: a word of ours may be a flag of the kernel's.
fn written(spot: Option<&Spot>, value: String) -> String {
    match spot {
        Some(Spot::Nic { field: Field::AdaptiveRx, .. }) => "1".into(),
        _ => value,
    }
}

fn several_wants(targets: &[Target]) -> bool {
    targets.iter().any(|target| target.value != targets[0].value)
}

/// Values of all places: one, or each with how often it stands there, or with whose it is.
fn now_text(places: &[Place], unit: Unit) -> String {
    let text = |place: &Place| {
        let fields = place.fields.iter().map(|field| show(field, unit));
        fields.collect::<Vec<_>>().join(" ")
    };
    let mut counts: Vec<(String, usize)> = Vec::new();
    for place in places {
        let text = text(place);
        match counts.iter_mut().find(|(other, _)| *other == text) {
            Some((_, count)) => *count += 1,
            None => counts.push((text, 1)),
        }
    }
    let named = places.len() <= 3 && places.iter().all(|place| !place.label.is_empty());
    match &counts[..] {
        [(only, 1)] => only.clone(),
        [_, _, ..] if named => {
            let each = places.iter().map(|place| format!("{} {}", place.label, text(place)));
            each.collect::<Vec<_>>().join(", ")
        }
        several => {
            let each = several.iter().map(|(text, count)| match count {
                1 => text.clone(),
                count => format!("{text} x{count}"),
            });
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests;
