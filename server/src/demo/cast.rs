//! Who and what the demo's appliance must know before it starts: clubs, grounds, and the sections
//! of its configuration that connect them.

use std::net::SocketAddr;

use super::league::mix;
use super::names::CLUBS;
use super::replay::replayed_day;
use super::upstream::fans::term;
use super::{DemoArgs, PARTNER};
use crate::limits::demo::{POSTS_PER_S, SENSOR_STEP, VENUES_MAX};

/// The stream of posts: its name among the sources.
pub const PLAZA: &str = "plaza";

/// The clubs of a day, and its grounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Id and name of each club.
    pub clubs: Vec<(String, String)>,
    /// Grounds with sensors.
    pub venues: usize,
}

impl Cast {
    /// Of the day that `args` ask for.
    ///
    /// # Errors
    /// When the file of matches can't be read; the text says what to do.
    pub fn of(args: &DemoArgs) -> anyhow::Result<Self> {
        let (Some(file), Some(date)) = (&args.matches, &args.date) else {
            let clubs = CLUBS.map(|(id, name, _)| (id.to_owned(), name.to_owned()));
            return Ok(Self { clubs: clubs.into(), venues: VENUES_MAX });
        };
        let day = replayed_day(file, date, mix(0, 0))?;
        let sides = day.fixtures.iter().flat_map(|fixture| [&fixture.home, &fixture.away]);
        let clubs = sides.map(|club| (club.id.to_string(), club.name.clone())).collect();
        Ok(Self { clubs, venues: day.fixtures.len().min(VENUES_MAX) })
    }

    /// Keys and texts that make the appliance follow all three kinds of sources: `secret` is the
    /// partner's, `upstream` where the others are served.
    pub fn sections(&self, secret: &str, upstream: SocketAddr) -> Vec<(String, String)> {
        let mut keys = vec![(format!("sources.broadcast.{PARTNER}.secrets"), secret.to_owned())];
        for venue in 1..=self.venues {
            let section = format!("sources.sensor.venue-{venue}");
            let step_s = SENSOR_STEP.as_secs_f64();
            keys.extend([
                (format!("{section}.url"), format!("http://{upstream}/sensors/{venue}")),
                (format!("{section}.interval_s"), step_s.to_string()),
                (format!("{section}.timeout_s"), (step_s * 0.8).to_string()),
            ]);
            let pointers = [
                ("items", "/readings"),
                ("team", "/teams"),
                ("type", "/kind"),
                ("key", "/key"),
                ("sequence", "/n"),
                ("time", "/at"),
                ("value", "/value"),
            ];
            keys.extend(pointers.map(|(key, text)| (format!("{section}.{key}"), text.to_owned())));
        }
        keys.extend(self.plaza(upstream));
        keys
    }

    /// The section of the plaza: its stream, and by which words a post is about which club.
    fn plaza(&self, upstream: SocketAddr) -> Vec<(String, String)> {
        let terms = self.clubs.iter().map(|(id, name)| format!("\"{id}: {}\"", term(name)));
        let terms = format!("[{}]", terms.collect::<Vec<_>>().join(", "));
        let texts = [
            ("url", format!("http://{upstream}/social/lines")),
            ("kind", "lines".to_owned()),
            ("id", "/id".to_owned()),
            ("text", "/text".to_owned()),
            ("time", "/created_at".to_owned()),
            ("author", "/author".to_owned()),
            ("type", "post".to_owned()),
            ("terms", terms),
            ("posts_per_s_max", POSTS_PER_S.to_string()),
            ("rewind", "since_id".to_owned()),
            ("rewind_parameter", "since_id".to_owned()),
        ];
        texts.map(|(key, text)| (format!("sources.social.{PLAZA}.{key}"), text)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadRequest, load};

    fn args(text: &str) -> DemoArgs {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            demo: DemoArgs,
        }
        let words = std::iter::once("demo").chain(text.split_whitespace());
        <Cli as clap::Parser>::parse_from(words).demo
    }

    #[test]
    fn a_league_has_ten_grounds_whose_sections_are_a_good_configuration() {
        let cast = Cast::of(&args("")).unwrap();
        assert_eq!((cast.clubs.len(), cast.venues), (20, 10));
        let upstream = "127.0.0.1:9".parse().unwrap();
        let request = LoadRequest {
            ignore_default_file: true,
            demo: cast.sections(&crate::demo::make_secret(), upstream),
            ..LoadRequest::default()
        };
        let loaded = load(request).unwrap();
        assert_eq!(loaded.options.sensors.len(), 10);
        assert_eq!(loaded.options.social.len(), 1);
        assert_eq!(loaded.options.social[0].terms.len(), 20);
        assert!(loaded.options.sensors[0].ask.url.starts_with("http://127.0.0.1:9/sensors/"));
    }

    #[test]
    fn a_real_day_has_its_own_clubs_and_no_more_grounds_than_matches() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("small.json");
        std::fs::write(&file, include_str!("small.matches.json")).unwrap();
        let cast =
            Cast::of(&args(&format!("--matches {} --date 2031-05-04", file.display()))).unwrap();
        assert_eq!(cast.clubs.len(), 2 * cast.venues);
        let terms = cast.plaza("127.0.0.1:9".parse().unwrap());
        let (_, terms) = terms.iter().find(|(key, _)| key.ends_with(".terms")).unwrap();
        assert!(terms.contains(": Åland\""), "{terms}");
    }
}
