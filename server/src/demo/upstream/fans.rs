//! What fans write: a flood at a goal, groans when it is taken back, and talk in between.
//!
//! Posts name clubs as people do, by the first word of their name; some name both sides, some
//! nobody. A few are what the world's feeds are full of: markup, emoji, letters of other scripts.
//! Ids count within the set of clubs that a post names, because that is its topic: a follower of it
//! can tell a hole.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;
use touchline_core::time::Timestamp;

use crate::demo::day::{Fixture, Moment};
use crate::demo::world::Scene;
use crate::limits::demo::{POSTS_PER_TURN_MAX, TOPICS_MAX};
use crate::live::fact::Kind;

/// One post, as the stream says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Post {
    /// Unique, and ascending within its topic.
    pub id: String,
    /// RFC 3339.
    pub created_at: String,
    /// A made-up name.
    pub author: String,
    /// What they wrote.
    pub text: String,
}

const GOAL: [&str; 8] = [
    "GOOOOAL {}!!! {player}, what a finish ⚽",
    "{player}!!! {} fans going mad in here 🎉",
    "told you {player} would score. {} all day",
    "{}: that stand is SHAKING right now",
    "watching {} through my fingers and it's in the net",
    "{} v {other}: {player} has done it again",
    "Tor für {}! Unfassbar, {player} 🙌",
    "ゴール！{} の {player} すごい",
];
const TAKEN_BACK: [&str; 5] = [
    "VAR has robbed {}. ROBBED.",
    "{}: offside by a toenail, they say. Draw your own lines",
    "two minutes of celebrating for nothing, {} 😭",
    "{} v {other}: goal off the board, and rightly so",
    "justice for once, {} never had that one",
];
const CARD: [&str; 3] = [
    "{player} walks a tightrope for {}",
    "never a card that, {}",
    "ref has lost it in {} v {other}",
];
const TALK: [&str; 8] = [
    "anyone have a spare ticket for {} next week?",
    "{} pressing high, I like it",
    "pie queue at {} is longer than the half",
    "long way to see {} but worth it",
    "{} v {other} is better than it has any right to be",
    "<img src=x onerror=\"document.title='pwned'\"> come on {}",
    "{} <script>alert('var')</script> </li> & so on",
    "عاش {} 💚",
];
const NOBODY: [&str; 4] = [
    "what a day of football this is",
    "is it just me or is the coffee here made of mud",
    "scores are coming in faster than I can read",
    "🎶 we're not really here 🎶",
];
const NAMES: [&str; 12] = [
    "terrace_poet",
    "row_z",
    "halfwayline",
    "the_kop_cat",
    "extra.time",
    "nutmeg99",
    "touchline_tam",
    "pie_and_bovril",
    "keeper4life",
    "öppet_mål",
    "sunday.league",
    "var_watch",
];

/// The crowd's keyboard: asked now and then, it writes what has come up since.
pub struct Fans {
    rng: StdRng,
    /// Stands in all ids, so that another run of the demo never writes the same ones.
    run: String,
    counts: HashMap<String, u64>,
    seen: Duration,
    day: String,
    /// What is still to be said of a goal, and when.
    waiting: Vec<(Timestamp, String, String)>,
}

impl Fans {
    /// Who have written nothing by `started`.
    pub fn begin(started: Timestamp) -> Self {
        Self {
            rng: StdRng::seed_from_u64(started.0 as u64),
            run: format!("{:x}", started.0 / 1_000),
            counts: HashMap::new(),
            seen: Duration::MAX,
            day: String::new(),
            waiting: Vec::new(),
        }
    }

    /// What they write about what has happened until `now`, [`POSTS_PER_TURN_MAX`] at most.
    pub fn write(&mut self, scene: &Scene, now: Timestamp) -> Vec<Post> {
        let (at, print) = (scene.day_at(now), scene.day.fixtures[0].moments.len());
        let day = format!("{}.{print}", scene.day.date);
        if self.day != day || self.seen > at {
            (self.day, self.seen) = (day, at);
        }
        for fixture in &scene.day.fixtures {
            let fresh = |moment: &&Moment| moment.at > self.seen && moment.at <= at;
            for moment in fixture.moments.iter().filter(fresh).collect::<Vec<_>>() {
                self.react(fixture, moment, now);
            }
        }
        self.seen = at;
        self.chat(scene, now);
        self.waiting.sort_by_key(|(due, ..)| *due);
        let due = self.waiting.iter().take_while(|(due, ..)| *due <= now).count();
        let said: Vec<_> = self.waiting.drain(..due.min(POSTS_PER_TURN_MAX)).collect();
        said.into_iter().map(|(_, topic, text)| self.post(&topic, text, now)).collect()
    }

    fn react(&mut self, fixture: &Fixture, moment: &Moment, now: Timestamp) {
        let (texts, many): (&[&str], usize) = match moment.kind {
            Kind::Goal => (&GOAL, 6),
            Kind::Overturned => (&TAKEN_BACK, 4),
            Kind::Red | Kind::Yellow => (&CARD, 1),
            _ => return,
        };
        for _ in 0..many {
            let text = *texts.choose(&mut self.rng).unwrap_or(&"{}");
            // Whoever types takes a moment; a flood lasts some seconds.
            let after = Duration::from_millis(self.rng.random_range(300..5_000));
            self.say(fixture, Some(moment), text, now.plus(after));
        }
    }

    fn chat(&mut self, scene: &Scene, now: Timestamp) {
        if self.rng.random_bool(0.12) {
            let text = *NOBODY.choose(&mut self.rng).unwrap_or(&"");
            self.waiting.push((now, String::new(), text.to_owned()));
        }
        if self.rng.random_bool(0.35)
            && let Some(fixture) = scene.day.fixtures.choose(&mut self.rng)
        {
            let text = *TALK.choose(&mut self.rng).unwrap_or(&"{}");
            self.say(fixture, None, text, now);
        }
    }

    /// Puts names into `text`, and remembers whom it names.
    fn say(&mut self, fixture: &Fixture, moment: Option<&Moment>, text: &str, due: Timestamp) {
        if self.waiting.len() >= 10 * POSTS_PER_TURN_MAX {
            return;
        }
        let side = moment.and_then(|moment| moment.side);
        let home = side.map_or(self.rng.random(), |side| side == crate::demo::day::Side::Home);
        let (club, other) = match home {
            true => (&fixture.home, &fixture.away),
            false => (&fixture.away, &fixture.home),
        };
        let mut teams = vec![club.id.as_str()];
        if text.contains("{other}") {
            teams.push(other.id.as_str());
            teams.sort_unstable();
        }
        let player = moment.and_then(|moment| moment.player.as_deref()).unwrap_or("he");
        let text = text
            .replace("{other}", term(&other.name))
            .replace("{player}", player)
            .replace("{}", term(&club.name));
        self.waiting.push((due, teams.join("+"), text));
    }

    fn post(&mut self, topic: &str, text: String, now: Timestamp) -> Post {
        // Of every pair of a league there would be hundreds; days go on with fresh numbers.
        if self.counts.len() > 16 * TOPICS_MAX {
            self.counts.clear();
            self.run = format!("{:x}", now.0 / 1_000);
        }
        let count = self.counts.entry(topic.to_owned()).or_default();
        *count += 1;
        let author = *NAMES.choose(&mut self.rng).unwrap_or(&NAMES[0]);
        Post {
            id: format!("{}-{topic}.{count}", self.run),
            created_at: now.to_rfc3339(),
            author: author.to_owned(),
            text,
        }
    }
}

/// How fans name a club: by the first word of its name, which no other club of a league has.
pub fn term(name: &str) -> &str {
    name.split([' ', ',', '\'']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::demo::clock::DayClock;
    use crate::demo::league::league_day;
    use crate::demo::names::CLUBS;

    #[test]
    fn no_two_clubs_go_by_the_same_word() {
        let mut terms: Vec<_> = CLUBS.iter().map(|(_, name, _)| term(name)).collect();
        terms.sort_unstable();
        terms.dedup();
        assert_eq!(terms.len(), CLUBS.len());
    }

    #[test]
    fn a_goal_is_written_about_and_ids_count_within_their_topic() {
        let day = Arc::new(league_day(5, 0, "2026-06-24").unwrap());
        let start = Timestamp(1_800_000_000_000_000);
        let scene = Scene { day, clock: DayClock::start(start, 60_000) };
        let mut fans = Fans::begin(start);
        let mut posts = Vec::new();
        for n in 0..1_000 {
            posts.extend(fans.write(&scene, start.plus(Duration::from_millis(100 * n))));
        }
        assert!((200..2_000).contains(&posts.len()), "{}", posts.len());
        let goals = posts.iter().filter(|post| post.text.contains("GOOOOAL")).count();
        assert!(goals > 2, "{goals}");
        assert!(posts.iter().any(|post| post.text.contains("<img src=x")));
        let mut last: HashMap<&str, u64> = HashMap::new();
        for post in &posts {
            let (topic, number) = crate::demo::day::split_event_id(&post.id).unwrap();
            let before = last.insert(topic, number).unwrap_or(0);
            assert_eq!(number, before + 1, "{}", post.id);
            assert!(!post.text.contains('{'), "{}", post.text);
        }
    }
}
