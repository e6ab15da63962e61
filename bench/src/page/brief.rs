//! A setup in words: who the clients are, what is published, what happens meanwhile.

use super::stretch;
use super::study::Chapter;
use super::words::{count, list, tick, whole};
use crate::receive::crowd::Crowd;
use crate::schedule::{Following, Phase};
use crate::setup::{Act, Deed, Setup};

/// So many phases are named one by one.
const PHASES_MAX: usize = 3;

/// The setup in a sentence without a verb.
pub fn described(setup: &Setup) -> String {
    let words = match setup.flood {
        Some(_) => flood(setup),
        None => [crowd(setup), vec![paces(setup)], acts(setup)].concat(),
    };
    words.join(", ")
}

/// How often it was done.
pub fn runs(chapter: &Chapter) -> String {
    let runs = count(chapter.pairs(), "run");
    if chapter.entries.len() > 1 { format!("{runs} of each") } else { runs }
}

fn crowd(setup: &Setup) -> Vec<String> {
    let Crowd { sockets, teams, following, stalled, slow, slow_bytes_per_s, .. } = &setup.crowd;
    let mut words = vec![count(*sockets, "socket")];
    words.push(match (teams, following) {
        (1, _) => "one team".into(),
        (_, Following::Even) => format!("{} teams of like size", whole((*teams).into())),
        (_, Following::Zipf) => format!("{} teams by Zipf\u{2019}s law", whole((*teams).into())),
        (_, Following::Hundredths) => format!(
            "{} teams: all but the first have one socket in a hundred each",
            whole((*teams).into())
        ),
    });
    if *stalled > 0 {
        words.push(format!("{} of them never read", whole(*stalled as u64)));
    }
    if *slow > 0 {
        let pace = f64::from(*slow_bytes_per_s) * 8.0 / 1e3;
        words.push(format!("{} read {} kbit/s", whole(*slow as u64), tick(pace)));
    }
    words.extend(setup.shards.map(|shards| count(shards, "shard")));
    words.extend(padding(setup));
    words
}

fn padding(setup: &Setup) -> Option<String> {
    let bytes = || format!("{} bytes more in each event", whole(setup.pad as u64));
    (setup.pad > 0).then(bytes)
}

fn flood(setup: &Setup) -> Vec<String> {
    let mut words = vec!["nobody listens".to_owned()];
    words.extend(padding(setup));
    words.extend(setup.phases.iter().map(|phase| pace(setup, phase)));
    let shape = setup.flood.map(|flood| {
        let (batch, flights) = (flood.batch.into(), flood.flights_max as u64);
        format!("in webhooks of {}, up to {} under way", whole(batch), whole(flights))
    });
    words.into_iter().chain(shape).collect()
}

fn pace(setup: &Setup, phase: &Phase) -> String {
    let seconds = tick((phase.seconds * 10.0).round() / 10.0);
    format!("{} events/s for {seconds} s", tick(phase.rate(setup.crowd.teams).round()))
}

fn paces(setup: &Setup) -> String {
    let measured = setup.phases.get(1..).unwrap_or_default();
    let stretches = stretch::of(setup);
    let order = stretch::by_load(&stretches);
    if let (true, [first, .., last]) = (stretch::is_ramp(&stretches), &order[..]) {
        let [least, most] = [first, last].map(|at| tick(stretches[*at].rate.round()));
        return format!("{least} to {most} events/s in {} steps", order.len());
    }
    match measured.len() {
        0 => "nothing published".into(),
        1..=PHASES_MAX => {
            let paces: Vec<String> = measured.iter().map(|phase| pace(setup, phase)).collect();
            format!("{} after a warm-up", list(&paces))
        }
        many => format!("{many} phases after a warm-up"),
    }
}

/// What happens to everybody.
fn acts(setup: &Setup) -> Vec<String> {
    let said = |act: &Act| {
        let at = tick((act.at_s * 10.0).round() / 10.0);
        match act.deed {
            Deed::Kill => format!("the server killed at {at} s"),
            Deed::Stop { seconds } => format!("stopped at {at} s for {} s", tick(seconds)),
            Deed::Drain => format!("asked to end at {at} s"),
            Deed::Leave { within_s } => {
                format!("everybody leaves at {at} s and is back within {} s", tick(within_s))
            }
        }
    };
    setup.acts.iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;

    #[test]
    fn setups_read_like_notes() {
        let described = |lines: String| {
            let study = fixture::study_of(&lines);
            super::described(study.chapters[0].setup.as_ref().unwrap())
        };
        assert_eq!(
            described(fixture::ramp()),
            "1,000 sockets, one team, 5 to 80 events/s in 5 steps"
        );
        assert_eq!(
            described(fixture::killed()),
            "1,000 sockets, one team, 10 events/s for 4 s and 10 events/s for 8 s after a \
             warm-up, the server killed at 7 s"
        );
        assert_eq!(
            described(fixture::flood()),
            "nobody listens, 100 bytes more in each event, 20,000 events/s for 10 s, in webhooks \
             of 100, up to 64 under way"
        );
    }
}
