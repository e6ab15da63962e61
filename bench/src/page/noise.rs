//! How far runs of one and the same subject lie apart: what a difference must exceed to mean
//! anything.

use super::entry::Entry;
use super::measure::{CONNECTS, CPU, DURABLE, Measure, P99, POST_P99, PROCESS};
use super::study::{Chapter, Kind};
use super::words::{list, tick};
use crate::stats::Figure;

/// One sentence about `chapter`; nothing where nobody ran twice.
pub fn line(chapter: &Chapter) -> Option<String> {
    let measures: [(&str, &Measure); 2] = match chapter.kind() {
        Kind::Idle => [("memory of the process", &PROCESS), ("connects a second", &CONNECTS)],
        Kind::Flood => [("durable events a second", &DURABLE), ("p99 of webhooks", &POST_P99)],
        Kind::FanOut => [("CPU a delivery", &CPU), ("p99", &P99)],
    };
    let said = measures.iter().filter_map(|(what, measure)| apart(chapter, what, measure));
    let said: Vec<String> = said.collect();
    let repeated = chapter.entries.iter().filter(|entry| is_repeated(entry)).count();
    let (who, means) = match repeated {
        1 => ("Runs of the same subject differ", "a change that is smaller is no news"),
        _ => {
            ("Runs of the same subject differ, in the middle,", "smaller differences mean nothing")
        }
    };
    (!said.is_empty()).then(|| format!("{who} by {}: {means}.", list(&said)))
}

/// Whether it ran more than once.
fn is_repeated(entry: &Entry) -> bool {
    entry.counted().len() > 1
}

/// From the least run to the greatest, against the median: of the subject in the middle and of the
/// one that differs most from itself.
fn apart(chapter: &Chapter, what: &str, measure: &Measure) -> Option<String> {
    let window = chapter.window();
    let mut shares: Vec<(f64, &Entry)> = Vec::new();
    for entry in chapter.entries.iter().filter(|entry| is_repeated(entry)) {
        let figure = measure.figure(entry, window);
        shares.extend(figure.map(|figure| (figure.range_share(), entry)));
    }
    let (most, widest) = shares.iter().max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let middle = Figure::of(shares.iter().map(|(share, _)| *share)).median;
    let [middle, most] = [middle, *most].map(|share| tick((share * 1e3).round() / 10.0));
    let at_most = match shares.len() {
        1 => String::new(),
        _ => format!(" (at most {most} %, {})", widest.title),
    };
    Some(format!("{middle} % in {what}{at_most}"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn noise_is_the_range_of_who_ran_twice() {
        let mut study = fixture::study();
        let said = line(&study.chapters[0]).unwrap();
        assert!(said.contains("0 % in CPU a delivery (at most 28.6 %, Touchline)"), "{said}");
        for entry in &mut study.chapters[0].entries {
            entry.runs.truncate(1);
        }
        assert_eq!(line(&study.chapters[0]), None, "one run has no range");
    }
}
