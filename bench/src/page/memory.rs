//! Does memory stay where it is? Of runs that are long enough to say.

use super::entry::Entry;
use super::study::Chapter;
use super::words::{list, tick};
use crate::scenario::expect::mib_per_hour;

/// One sentence about `chapter`; nothing where no run took a minute.
pub fn line(chapter: &Chapter) -> Option<String> {
    let setup = chapter.setup.as_ref()?;
    let of_entry = |entry: &Entry| {
        let slopes: Vec<_> =
            entry.counted().iter().filter_map(|run| run.memory_slope(setup)).collect();
        let said = slopes.iter().map(|slope| {
            let [grows, error] = [slope.per_s, slope.error]
                .map(|bytes| tick((mib_per_hour(bytes) * 100.0).round() / 100.0));
            format!("{grows} \u{b1} {error}")
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| format!("{} {}", entry.title, said.join(", ")))
    };
    let said: Vec<String> = chapter.entries.iter().filter_map(of_entry).collect();
    (!said.is_empty()).then(|| {
        format!(
            "Resident memory grows by so many MiB an hour: {} (95 % confidence, by batch means \
             over what was measured).",
            list(&said)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::run::Beat;

    #[test]
    fn growth_is_said_with_its_confidence_where_a_run_is_long_enough() {
        let mut study = fixture::study_of(&fixture::killed());
        let chapter = &mut study.chapters[0];
        assert_eq!(line(chapter), None, "too short");
        let setup = chapter.setup.as_mut().unwrap();
        setup.acts.clear();
        setup.phases[1].seconds = 3_600.0;
        let beat = |at: u32| Beat {
            at_s: at.into(),
            rss_bytes: u64::from(at) << 10,
            cores: 0.0,
            generator: 0.0,
            others: 0.0,
            present: 0,
            delivered: 0,
        };
        for run in chapter.entries.iter_mut().flat_map(|entry| &mut entry.runs) {
            run.beats = (0..4_000).map(beat).collect();
        }
        let said = line(chapter).unwrap();
        assert!(said.contains("Touchline 3.52 \u{b1} 0"), "1 KiB a second: {said}");
    }
}
