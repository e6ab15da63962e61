//! Who did best in what matters most, whoever that is, and where Touchline stands if it is somebody
//! else.

use super::entry::Entry;
use super::load;
use super::measure::{
    AWAY_P99, CONNECTS, CPU, CPU_EVENT, DURABLE, LAST, Measure, P99, POST_P99, PROCESS, floor_of,
};
use super::node::{Element, el};
use super::stretch;
use super::study::{Chapter, Kind};
use super::words::{number, rounded};
use crate::scenario::expect::{calm_windows, recovered_s};
use crate::stats::{ALIKE_SHARE, Figure};
use crate::target::Subject;

/// A question and who stands how, best first.
struct Step<'a> {
    what: String,
    unit: &'static str,
    show: fn(f64) -> String,
    ranking: Vec<(&'a Entry, Figure)>,
    /// Smaller shares than this are no difference.
    alike: f64,
    floor: Option<f64>,
}

/// The podium, if anybody competes.
pub fn draw(chapter: &Chapter) -> Option<Element> {
    let has_all = |step: &Step<'_>| step.ranking.len() == competitors(chapter).count();
    let measured = |(what, measure): &(&str, &'static Measure)| by(chapter, what, measure);
    let mut steps: Vec<Step<'_>> = Vec::new();
    if stretch::is_ramp(&chapter.stretches) {
        steps.push(farthest(chapter));
    }
    if chapter.has_returns() {
        // Who threw nobody out has no time of return, and is no worse for it.
        steps.extend(Some(by(chapter, "99 of 100 back soonest", &AWAY_P99)).filter(has_all));
    }
    steps.extend(calm_again(chapter));
    steps.extend(questions(chapter).iter().map(measured));
    steps.truncate(3);
    let drawn: Vec<Element> = steps.iter().filter_map(step).collect();
    (!drawn.is_empty()).then(|| el("div").class("podium").with_all(drawn))
}

fn questions(chapter: &Chapter) -> Vec<(&'static str, &'static Measure)> {
    match chapter.kind() {
        Kind::Idle => vec![
            ("Least memory in its process", &PROCESS),
            ("Fastest to let a crowd in", &CONNECTS),
        ],
        Kind::Flood => vec![
            ("Most events made durable", &DURABLE),
            ("Lowest p99 of a webhook", &POST_P99),
            ("Least CPU an event", &CPU_EVENT),
        ],
        Kind::FanOut => vec![
            ("Least CPU a delivery", &CPU),
            ("Lowest p99", &P99),
            ("First to reach all", &LAST),
        ],
    }
}

fn by<'a>(chapter: &'a Chapter, what: &str, measure: &'static Measure) -> Step<'a> {
    let floor = floor_of(measure, chapter).filter(|floor| *floor > 0.0 && chapter.is_loaded());
    let phase = chapter.window_name().filter(|_| measure.is_of_window());
    let what = match phase {
        Some(phase) => format!("{what}, phase \u{201c}{phase}\u{201d}"),
        None => what.to_owned(),
    };
    let (unit, show, alike) = (measure.unit, measure.show, measure.alike());
    Step { what, unit, show, ranking: measure.ranking(chapter), alike, floor }
}

/// Whoever competes where deliveries don't have to be complete.
fn competitors(chapter: &Chapter) -> impl Iterator<Item = &Entry> {
    chapter.entries.iter().filter(|entry| entry.competes())
}

/// By how soon p99 was that of the calm phase again, where a run has that, something else, and then
/// the same pace again. Who wasn't calm again in every run doesn't compete.
fn calm_again(chapter: &Chapter) -> Option<Step<'_>> {
    let setup = chapter.setup.as_ref()?;
    let crisis = calm_windows(setup);
    let (calm, after) = (chapter.stretches.first()?, chapter.stretches.get(crisis + 1)?);
    if calm.due == 0 || (calm.offered() - after.offered()).abs() > calm.offered() * 0.01 {
        return None;
    }
    let figure = |entry| {
        let back: Option<Vec<f64>> =
            Entry::counted(entry).iter().map(|run| recovered_s(setup, run)).collect();
        let back = back.filter(|back| !back.is_empty() && owes_nothing(entry));
        back.map(|back| (entry, Figure::of(back)))
    };
    let mut ranking: Vec<(&Entry, Figure)> = competitors(chapter).filter_map(figure).collect();
    ranking.sort_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
    let name = &chapter.stretches[crisis].name;
    let what = format!("Calm again soonest after phase \u{201c}{name}\u{201d}");
    Some(Step { what, unit: "s", show: number, ranking, alike: ALIKE_SHARE, floor: None })
}

/// Whether whatever didn't arrive was declared: a server that threw half of its clients out is calm
/// soon.
fn owes_nothing(entry: &Entry) -> bool {
    entry.counted().iter().all(|run| {
        let counts = &run.harvest.counts;
        counts.lost == 0 && counts.delivered + counts.declared >= run.expected
    })
}

/// By knees.
fn farthest(chapter: &Chapter) -> Step<'_> {
    let figure = |entry| Some((entry, load::knee_figure(entry, &chapter.stretches)?.0));
    let mut ranking: Vec<(&Entry, Figure)> = competitors(chapter).filter_map(figure).collect();
    ranking.sort_by(|(_, a), (_, b)| b.median.total_cmp(&a.median));
    let what = "Carries most before its knee".into();
    let (unit, alike) = ("deliveries/s", ALIKE_SHARE);
    Step { what, unit, show: rounded, ranking, alike, floor: None }
}

fn step(step: &Step<'_>) -> Option<Element> {
    let ((best, figure), others) = step.ranking.split_first()?;
    let name = |entry: &Entry| entry.title.clone();
    let is_ours = |entry: &Entry| entry.subject == Subject::Touchline;
    // Each of them is asked for itself whether it can be told from the first.
    let said = |is_told: bool, word: &str| {
        let next = others.iter().take(2);
        let next = next.filter(|(_, next)| figure.is_told_from(next, step.alike) == is_told);
        let said: Vec<String> =
            next.map(|(e, next)| format!("{} {}", name(e), (step.show)(next.median))).collect();
        (!said.is_empty()).then(|| format!("{word} {}.", said.join(", ")))
    };
    let mut then: Vec<String> =
        [said(false, "Not told from"), said(true, "Then")].into_iter().flatten().collect();
    let ours = others.iter().position(|(entry, _)| is_ours(entry));
    if let Some(place) = ours.filter(|place| *place >= 2) {
        let value = (step.show)(others[place].1.median);
        then.push(format!("Touchline is {} of {} with {value}.", place + 2, step.ranking.len()));
    }
    let against =
        step.floor.map(|floor| format!("{} \u{d7} the floor. ", number(figure.median / floor)));
    let unit = el("small").text(format!(" {}", step.unit));
    let look = if is_ours(best) { "touchline" } else { "peer" };
    let value = el("p").class(format!("value {look}")).text((step.show)(figure.median));
    let who = el("p").class("who").with(el("strong").text(name(best)));
    let note = el("p").class("note").text(against.unwrap_or_default() + &then.join(" "));
    let head = el("p").class("what").text(step.what.clone());
    Some(el("div").with(head).with(value.with(unit)).with(who).with(note))
}

#[cfg(test)]
mod tests {
    use super::super::entry::Build;
    use super::super::fixture;
    use super::*;

    fn said(lines: &str) -> String {
        let study = fixture::study_of(lines);
        let podium = draw(&study.chapters[0]).unwrap();
        fixture::parse(&format!("<!DOCTYPE html>{podium}")).unwrap()
    }

    #[test]
    fn each_kind_of_chapter_asks_its_own_questions() {
        let ramp = said(&fixture::ramp());
        assert!(ramp.contains("Carries most before its knee\n"), "{ramp}");
        assert!(ramp.contains("Lowest p99, phase \u{201c}20\u{201d}"), "{ramp}");
        let flood = said(&fixture::flood());
        assert!(flood.contains("Most events made durable\n"), "{flood}");
        let killed = said(&fixture::killed());
        assert!(killed.contains("99 of 100 back soonest\n"), "{killed}");
    }

    #[test]
    fn each_of_the_next_is_told_from_the_first_by_itself() {
        let entry = |title: &str| Entry {
            subject: Subject::Peer(title.into()),
            build: Build { commit: String::new(), version: String::new() },
            title: title.into(),
            look: String::new(),
            runs: Vec::new(),
            failures: Vec::new(),
        };
        let entries = ["first", "near", "far"].map(entry);
        let figures = [(25.2, 21.8, 25.4), (22.4, 16.1, 24.3), (18.8, 15.0, 19.0)];
        let figures = figures.map(|(median, low, high)| Figure { median, low, high });
        let ranking = entries.iter().zip(figures).collect();
        let what = "Fastest".into();
        let step = Step { what, unit: "", show: number, ranking, alike: ALIKE_SHARE, floor: None };
        let said = self::step(&step).unwrap().to_string();
        assert!(said.contains("Not told from near 22.4. Then far 18.8."), "{said}");
    }

    #[test]
    fn who_threw_nobody_out_is_not_beaten_by_who_let_them_back_in() {
        let mut study = fixture::study_of(&fixture::killed());
        let chapter = &mut study.chapters[0];
        for run in &mut chapter.entries[0].runs {
            run.harvest.away = crate::receive::harvest::Latency::default();
        }
        let podium = draw(chapter).map(|podium| podium.to_string()).unwrap_or_default();
        assert!(!podium.contains("back soonest"), "{podium}");
    }

    #[test]
    fn who_is_calm_again_soonest_is_said_where_calm_comes_twice() {
        let mut study = fixture::study_of(&fixture::killed());
        let chapter = &mut study.chapters[0];
        let setup = chapter.setup.as_mut().unwrap();
        setup.phases.push(setup.phases[1].clone());
        chapter.stretches = stretch::of(setup);
        for run in chapter.entries.iter_mut().flat_map(|entry| &mut entry.runs) {
            run.harvest.windows.push(run.harvest.windows[0].clone());
        }
        let step = calm_again(chapter).unwrap();
        assert_eq!(step.what, "Calm again soonest after phase \u{201c}crash\u{201d}");
        // axum has lost events without a word.
        assert_eq!((step.ranking.len(), step.ranking[0].1.median), (1, 0.0));
    }
}
