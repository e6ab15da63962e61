//! A run second by second: how late deliveries were, what happened to everybody, and below it, on
//! the same axis, who was there and what the server took.
//!
//! Latency stands at the second in which an event was due, not at the one in which it arrived: a
//! server that stands still for ten seconds shows a slope that falls from ten seconds to nothing.
//! Of each subject one run is drawn, the one whose p99 lies in the middle; lines of several runs
//! would tell noise from effect no better and hide what happened.

use super::axis::Axis;
use super::flags::{self, Flag, LANE};
use super::node::{Element, el};
use super::plot::{self, BELOW, End, LETTER, Plot, Room, depth};
use super::strips;
use super::study::Chapter;
use super::words::{shortened, tick};
use crate::limits::SLICES_MAX;
use crate::receive::timeline::Moment;
use crate::run::{Mark, Run};
use crate::schedule::Phase;
use crate::setup::{Deed, Setup};

/// A run that is told.
pub struct Story<'a> {
    /// Whose.
    pub title: String,
    /// Its classes.
    pub look: String,
    /// Which.
    pub run: &'a Run,
}

/// A chapter whose runs are longer than this has a timeline whatever happens in it.
const LONG_S: f64 = 15.0;
/// Of more subjects than these only the p99 is drawn, and only Touchline's own flags.
const FULL_MAX: usize = 3;
/// What is marked in several runs within so many seconds happened to all of them.
const TOGETHER_S: f64 = 1.5;
/// From here on time is counted in minutes.
const MINUTES_FROM_S: f64 = 600.0;
/// Height of the names of phases.
const NAMES: f64 = 19.0;
/// Width of a letter of a phase's name, which is smaller than others.
const PHASE_LETTER: f64 = 6.2;
/// Letters of a phase's name that say anything.
const NAME_LETTERS_MIN: usize = 3;

/// The figure; nothing where there is nothing to tell.
pub fn draw(chapter: &Chapter) -> Option<Element> {
    let setup = chapter.setup.as_ref()?;
    let length_s = length_s(setup);
    let is_told = !setup.acts.is_empty() || chapter.stretches.len() > 1 || length_s > LONG_S;
    let stories = stories(chapter);
    if !is_told || stories.is_empty() {
        return None;
    }
    let slice_s = slice_s(setup);
    let slices = if slice_s > 1.0 { format!("{slice_s:.0} s") } else { "second".into() };
    let lines = match stories.len() {
        many if many > FULL_MAX => "p99",
        _ => "p99 strong, p50 thin, the slowest dotted",
    };
    let which = match (chapter.pairs(), stories.len()) {
        (1, _) => "",
        (_, 1) => "; the run whose p99 lies in the middle",
        _ => "; of each subject the run whose p99 lies in the middle",
    };
    let note = format!("{lines}, of the events due in each {slices}{which}");
    let caption = el("figcaption")
        .with(el("strong").text("The run, second by second"))
        .with(el("span").text(note));
    let pictures = [Room::Wide, Room::Narrow].map(|room| picture(setup, &stories, room));
    Some(el("figure").class("latency").with(caption).with_all(pictures))
}

/// Seconds of its schedule.
fn length_s(setup: &Setup) -> f64 {
    seconds(&setup.phases)
}

fn seconds(phases: &[Phase]) -> f64 {
    phases.iter().map(|phase| phase.seconds).sum()
}

/// Seconds of a slice, as the receivers' timeline has them.
fn slice_s(setup: &Setup) -> f64 {
    (length_s(setup).ceil().max(1.0) / SLICES_MAX as f64).ceil()
}

fn stories<'a>(chapter: &'a Chapter) -> Vec<Story<'a>> {
    let window = chapter.window();
    let story = |entry: &'a super::entry::Entry| {
        let run = entry.typical(window).filter(|run| !run.harvest.timeline.is_empty())?;
        let muted = if entry.is_compared() { "" } else { " muted" };
        let look = format!("{}{muted}", entry.look);
        Some(Story { title: entry.title.clone(), look, run })
    };
    chapter.entries.iter().filter_map(story).collect()
}

fn picture(setup: &Setup, stories: &[Story<'_>], room: Room) -> Element {
    let field = if room.is_narrow() { 230.0 } else { 290.0 };
    let unit = if room.is_narrow() { "" } else { " ms" };
    let ends = ends(stories, slice_s(setup));
    let letters = plot::longest(ends.iter().map(|end| end.title.as_str()));
    let beats = stories.iter().filter_map(|story| Some(story.run.beats.last()?.at_s));
    let axes = [Axis::Even(beats.fold(length_s(setup), f64::max)), axis(stories)];
    let mut plot = Plot::new(room, [0.0, field], axes, unit, letters);
    // Ticks of the strips stand on the left, too.
    plot.left = plot.left.max(strips::letters(stories) as f64 * LETTER + 9.0);
    let bounds = [plot.left, plot.right];
    let flags = flags(stories, &plot);
    plot.top = NAMES + flags::lanes(&flags, bounds) as f64 * LANE + 4.0;
    plot.bottom = plot.top + field;
    let (below, bottom) = strips::draw(stories, &plot);
    let last = Plot { bottom, ..plot };
    let order = |story: &&Story<'_>| depth(&story.look);
    let mut sorted: Vec<&Story<'_>> = stories.iter().collect();
    sorted.sort_by_key(order);
    let is_full = stories.len() <= FULL_MAX;
    let lines = sorted.iter().flat_map(|story| lines(story, &plot, slice_s(setup), is_full));
    room.svg(bottom + BELOW, "Latency second by second, with what happened")
        .with_all(bands(setup, &plot, bottom))
        .with_all(spans(setup, &plot, bottom))
        .with_all(plot.rows(unit))
        .with_all(time(&last, room))
        .with_all(flags::draw(&flags, bounds, [NAMES, bottom]))
        .with(el("g").class("lines told").with_all(lines))
        .with_all(plot.names(&ends))
        .with_all(below)
}

/// All latencies, in decades.
fn axis(stories: &[Story<'_>]) -> Axis {
    let moments = stories.iter().flat_map(|story| &story.run.harvest.timeline);
    let is_full = stories.len() <= FULL_MAX;
    let shown = |moment: &Moment| match is_full {
        true => [moment.p50_us, moment.max_us],
        false => [moment.p99_us; 2],
    };
    Axis::decades(moments.flat_map(shown).map(|us| us as f64 / 1e3))
}

/// A kind of line: its class, its name, and what it shows.
type Kind = (&'static str, &'static str, fn(&Moment) -> u64);

const P99: Kind = ("p99", "p99", |moment| moment.p99_us);
const KINDS: [Kind; 3] =
    [("p50", "p50", |moment| moment.p50_us), ("max", "slowest", |moment| moment.max_us), P99];

fn lines(story: &Story<'_>, plot: &Plot, slice_s: f64, is_full: bool) -> Vec<Element> {
    let kinds = if is_full { &KINDS[..] } else { std::slice::from_ref(&KINDS[2]) };
    let line = |(class, _, of): &Kind| {
        let pieces = pieces(&story.run.harvest.timeline, slice_s, *of);
        let path: String = pieces.iter().map(|piece| plot.path(piece)).collect();
        el("path").class(format!("{} {class}", story.look)).set("d", path)
    };
    kinds.iter().map(line).collect()
}

/// Points of a line, milliseconds in the middle of each slice; another piece after a slice without
/// events.
fn pieces(moments: &[Moment], slice_s: f64, of: fn(&Moment) -> u64) -> Vec<Vec<(f64, f64)>> {
    let follows = |a: &Moment, b: &Moment| b.at_s - a.at_s < slice_s * 1.5;
    let point = |moment: &Moment| (moment.at_s + slice_s / 2.0, of(moment).max(1) as f64 / 1e3);
    let piece = |moments: &[Moment]| moments.iter().map(point).collect();
    moments.chunk_by(follows).map(piece).collect()
}

/// Names at the ends of lines: of the percentiles of one subject, of several subjects.
fn ends(stories: &[Story<'_>], slice_s: f64) -> Vec<End> {
    let end = |story: &Story<'_>, title: &str, of: fn(&Moment) -> u64| {
        let at = *pieces(&story.run.harvest.timeline, slice_s, of).last()?.last()?;
        Some(End { title: title.into(), look: story.look.clone(), at })
    };
    match stories {
        [one] => KINDS.iter().filter_map(|(_, name, of)| end(one, name, *of)).collect(),
        all => all.iter().filter_map(|story| end(story, &story.title, P99.2)).collect(),
    }
}

/// Phases as shaded bands with their names; neighbours of one name are one. Where too many names
/// don't fit, none is written: a few of them would look like all there are.
fn bands(setup: &Setup, plot: &Plot, bottom: f64) -> Vec<Element> {
    let groups: Vec<&[Phase]> = setup.phases.chunk_by(|a, b| a.name == b.name).collect();
    let width = |phases: &[Phase]| plot.x(seconds(phases)) - plot.left;
    let fits = |phases: &&&[Phase]| fitted(&phases[0].name, width(phases)).is_some();
    let is_named = groups.iter().filter(fits).count() * 4 >= groups.len() * 3;
    let mut from_s = 0.0;
    let bands = groups.iter().enumerate().map(|(index, phases)| {
        let to_s = from_s + seconds(phases);
        let (left, right) = (plot.x(from_s), plot.x(to_s));
        from_s = to_s;
        let class = if index % 2 == 0 { "band" } else { "band odd" };
        let rate = tick((phases[0].rate(setup.crowd.teams) * 10.0).round() / 10.0);
        let each = tick((phases[0].seconds * 10.0).round() / 10.0);
        let times = if phases.len() > 1 { format!("{} \u{d7} ", phases.len()) } else { "".into() };
        let name = &phases[0].name;
        let said = format!("{name}: {rate} events/s for {times}{each} s");
        let area = el("rect").class(class).at("x", left).at("y", 0.0).at("width", right - left);
        let area = area.at("height", bottom).with(el("title").text(said));
        let word = fitted(name, right - left).filter(|_| is_named).map(|name| {
            let word = el("text").class("phase").set("text-anchor", "middle");
            word.at("x", f64::midpoint(left, right)).at("y", 13.0).text(name)
        });
        el("g").with(area).with_all(word)
    });
    bands.collect()
}

/// As much of a name as there is room for, if that says anything.
fn fitted(name: &str, width: f64) -> Option<String> {
    let letters = (width / PHASE_LETTER).max(0.0) as usize;
    match name.chars().count() {
        all if all <= letters => Some(name.to_owned()),
        _ if letters > NAME_LETTERS_MIN => Some(shortened(name, letters - 1)),
        _ => None,
    }
}

/// While the server stands still, or everybody leaves.
fn spans(setup: &Setup, plot: &Plot, bottom: f64) -> Vec<Element> {
    let span = |act: &crate::setup::Act| {
        let seconds = match act.deed {
            Deed::Kill | Deed::Drain => return None,
            Deed::Stop { seconds } => seconds,
            Deed::Leave { within_s } => within_s,
        };
        let (left, right) = (plot.x(act.at_s), plot.x(act.at_s + seconds));
        let area = el("rect").class("span").at("x", left).at("y", plot.top);
        Some(area.at("width", right - left).at("height", bottom - plot.top))
    };
    setup.acts.iter().filter_map(span).collect()
}

/// Seconds, or minutes, below the last strip.
fn time(plot: &Plot, room: Room) -> Vec<Element> {
    let length_s = if let Axis::Even(top) = plot.across { top } else { 0.0 };
    let (unit_s, unit) =
        if length_s > MINUTES_FROM_S { (60.0, "minutes") } else { (1.0, "seconds") };
    let count = if room.is_narrow() { 4 } else { 10 };
    let ticks = Axis::Even(length_s / unit_s).ticks(count);
    let ticks: Vec<(f64, String)> = ticks.iter().map(|at| (at * unit_s, tick(*at))).collect();
    let columns = plot.columns(ticks.iter().map(|(at, text)| (*at, text.as_str())));
    columns.into_iter().chain([plot.unit(unit)]).collect()
}

/// What happened when, from the left. What happened to all subjects at once has one flag.
fn flags(stories: &[Story<'_>], plot: &Plot) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    let is_near = |a: &Mark, b: &Mark| a.what == b.what && (a.at_s - b.at_s).abs() < TOGETHER_S;
    for (index, story) in stories.iter().enumerate() {
        for mark in &story.run.marks {
            let has = |story: &Story<'_>| story.run.marks.iter().any(|other| is_near(mark, other));
            let (is_first, is_shared) =
                (!stories[..index].iter().any(has), stories.iter().all(has));
            let is_shown = stories.len() <= FULL_MAX || story.look.starts_with("touchline");
            let x = plot.x(mark.at_s);
            match (is_shared, is_first, stories.len()) {
                (true, false, _) => {}
                (true, true, _) => {
                    flags.push(Flag { x, text: mark.what.clone(), look: "all".into() });
                }
                _ if is_shown => {
                    let text = format!("{}: {}", story.title, mark.what);
                    flags.push(Flag { x, text, look: story.look.clone() });
                }
                _ => {}
            }
        }
    }
    flags.sort_by(|a, b| a.x.total_cmp(&b.x));
    flags
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_run_is_told_with_its_phases_and_what_happened() {
        let study = fixture::study_of(&fixture::killed());
        let page = draw(&study.chapters[0]).unwrap().to_string();
        for piece in [
            ">calm<",
            ">kill -9<",
            "Touchline: ready again after 0.40 s",
            "axum: ready again after 1.20 s",
            ">clients that follow their team<",
            ">seconds<",
        ] {
            assert!(page.contains(piece), "{piece}: {page}");
        }
        assert_eq!(page.matches(">kill -9<").count(), 2, "once in each of two pictures");
        assert!(!page.contains("NaN"), "{page}");
    }

    #[test]
    fn a_short_run_in_which_nothing_happens_is_not_told() {
        let study = fixture::study();
        assert!(draw(&study.chapters[0]).is_none());
    }

    #[test]
    fn a_second_without_events_breaks_the_line() {
        let moment = |at_s| Moment { at_s, delivered: 1, p50_us: 1, p99_us: 5_000, max_us: 9 };
        let pieces = pieces(&[0.0, 1.0, 4.0].map(moment), 1.0, |moment| moment.p99_us);
        assert_eq!(pieces, [vec![(0.5, 5.0), (1.5, 5.0)], vec![(4.5, 5.0)]]);
        assert_eq!(fitted("warm-up", 100.0).as_deref(), Some("warm-up"));
        assert_eq!(fitted("filling what", 40.0).as_deref(), Some("filli\u{2026}"));
        assert_eq!(fitted("warm-up", 20.0), None);
    }
}
