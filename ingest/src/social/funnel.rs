//! From a flood of posts to the few that are published, on one thread, cheapest question first.
//!
//! 1. Does it hold a part of any term? One pass over the bytes as they came ([`Terms::look`]).
//! 2. Has any team that it may concern a turn left? Some numbers ([`Pace`]).
//! 3. Only now it is parsed; id, text and terms are judged for good, then the turn is taken.
//!
//! Of posts that hold no term a few each second are parsed all the same: a mapping that fits
//! nothing is told at once, not when the first match has come.
//!
//! No I/O and no clock: the caller brings the time, and takes the events.
//!
//! [`Terms::look`]: super::terms::Terms::look

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use touchline_core::dead::{DeadLetter, DeadLetters, Desk};
use touchline_core::event::{Event, Stream};
use touchline_core::time::Timestamp;

use super::pace::Pace;
use super::post::{PostReader, Unreadable};
use super::recent::Recent;
use super::stats::{Fate, SocialStats, Trouble};
use super::terms::{Look, Scratch};
use crate::limits::{
    PARKED_POSTS_PER_S, PROBED_POSTS_PER_S, RECENT_POSTS_MAX, SOCIAL_BATCH_BYTES_MAX,
    SOCIAL_BATCH_EVENTS_MAX,
};

/// When a post came.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the wall clock: what is written down.
    pub received_at: Timestamp,
    /// Since some moment, by the monotonic clock: what rates are measured by.
    pub now: Duration,
}

/// What all posts of one source go through.
pub struct Funnel {
    reader: PostReader,
    stats: Arc<SocialStats>,
    dead: Arc<dyn DeadLetters>,
    pace: Pace,
    probes: Pace,
    parks: Pace,
    recent: Recent,
    scratch: Scratch,
    rough: Vec<u32>,
    exact: Vec<u32>,
    batch: Vec<Event>,
    batch_bytes: usize,
    keeps_last: bool,
    last: Vec<u8>,
    last_id: String,
    /// Names this run of the source in correlation ids.
    run: Box<str>,
    count: u64,
}

impl Funnel {
    /// Lets `posts_per_s_max` of each team through. With `keeps_last` it can tell the last post's
    /// id.
    pub fn new(
        reader: PostReader,
        posts_per_s_max: u32,
        keeps_last: bool,
        stats: Arc<SocialStats>,
        dead: Arc<dyn DeadLetters>,
        began: Timestamp,
    ) -> Self {
        Self {
            pace: Pace::new(posts_per_s_max, reader.terms().teams_count()),
            probes: Pace::new(PROBED_POSTS_PER_S, 1),
            parks: Pace::new(PARKED_POSTS_PER_S, 1),
            recent: Recent::new(RECENT_POSTS_MAX),
            scratch: Scratch::default(),
            rough: Vec::new(),
            exact: Vec::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            keeps_last,
            last: Vec::new(),
            last_id: String::new(),
            run: format!("{}-{:x}", stats.source(), began.0 / 1_000).into(),
            count: 0,
            reader,
            stats,
            dead,
        }
    }

    /// Takes one post as it came. Nothing but white space is a keep-alive.
    pub fn take(&mut self, raw: &[u8], at: Moment) {
        let raw = raw.trim_ascii();
        if raw.is_empty() {
            return;
        }
        self.count += 1;
        if let Some(fate) = self.judge(raw, at) {
            self.stats.count_fate(fate, 1);
        }
    }

    /// A post was longer than it may be, and is gone.
    pub fn skip(&mut self) {
        self.stats.count(Trouble::TooLarge, 1);
        self.stats.count_fate(Fate::Unreadable, 1);
    }

    /// How many have come.
    pub fn posts(&self) -> u64 {
        self.count
    }

    /// What is to be published.
    pub fn batch(&mut self) -> Vec<Event> {
        self.batch_bytes = 0;
        std::mem::take(&mut self.batch)
    }

    /// Whether there is nothing to be published.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Posts that the log has not taken: if they come again they are news.
    pub fn forget<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        ids.into_iter().for_each(|id| self.recent.forget(id));
    }

    /// The id of the last post that has one; empty if none came.
    pub fn last_id(&mut self) -> &str {
        if let Ok(draft) = self.reader.draft(&self.last) {
            self.last_id = draft.id;
        }
        self.last.clear();
        &self.last_id
    }

    /// The stream goes on behind the post of this id, whatever has come.
    pub fn set_last_id(&mut self, id: &str) {
        self.last.clear();
        id.clone_into(&mut self.last_id);
    }

    /// `None`: it is in the batch, and the log decides.
    fn judge(&mut self, raw: &[u8], at: Moment) -> Option<Fate> {
        let is_object = raw.starts_with(b"{") && raw.ends_with(b"}");
        if is_object {
            if self.keeps_last {
                self.last.clear();
                self.last.extend_from_slice(raw);
            }
            match self.reader.look(raw, &mut self.scratch, &mut self.rough) {
                Look::Nothing if !self.probes.take(&[0], at.now) => return Some(Fate::NoTeam),
                Look::Perhaps if !self.is_open(at.now) => return Some(Fate::Thinned),
                _ => {}
            }
        }
        match self.read(raw, at) {
            Ok(fate) => fate,
            Err(unreadable) => {
                self.park(raw, &unreadable, at);
                Some(Fate::Unreadable)
            }
        }
    }

    /// Whether posts should go on before there is no room for more.
    pub fn is_half_full(&self) -> bool {
        self.batch.len() >= SOCIAL_BATCH_EVENTS_MAX / 2
            || self.batch_bytes > SOCIAL_BATCH_BYTES_MAX / 2
    }

    fn is_open(&self, now: Duration) -> bool {
        self.rough.iter().any(|team| self.pace.is_open(*team, now))
    }

    fn read(&mut self, raw: &[u8], at: Moment) -> Result<Option<Fate>, Unreadable> {
        let draft = self.reader.draft(raw)?;
        if self.recent.holds(&draft.id) {
            return Ok(Some(Fate::Duplicate));
        }
        self.reader.teams(&draft, &mut self.scratch, &mut self.exact);
        let correlation = self.correlation();
        let event = self.reader.event(&draft, &self.exact, at.received_at, &correlation)?;
        let Some(event) = event else { return Ok(Some(Fate::NoTeam)) };
        if !self.pace.take(&self.exact, at.now) {
            return Ok(Some(Fate::Thinned));
        }
        if self.batch.len() >= SOCIAL_BATCH_EVENTS_MAX || self.batch_bytes > SOCIAL_BATCH_BYTES_MAX
        {
            self.stats.count(Trouble::LogBehind, 1);
            return Ok(Some(Fate::Thinned));
        }
        self.recent.add(&draft.id);
        self.batch_bytes += event.size_bytes();
        self.batch.push(event);
        Ok(None)
    }

    fn correlation(&self) -> String {
        format!("{}-{}", self.run, self.count)
    }

    fn park(&mut self, raw: &[u8], unreadable: &Unreadable, at: Moment) {
        let trouble = unreadable.trouble();
        self.stats.count(trouble, 1);
        if !self.parks.take(&[0], at.now) {
            return;
        }
        let source = self.stats.source();
        tracing::debug!(source, why = %unreadable, "a post is dropped");
        self.dead.park(DeadLetter {
            desk: Desk::Social,
            stream: Stream::Social,
            source: source.into(),
            reason: trouble.as_str(),
            detail: unreadable.to_string().into(),
            attempts: 1,
            correlation: self.correlation().into(),
            received_at: at.received_at,
            raw: Bytes::copy_from_slice(raw),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::From;
    use crate::social::post::PostMapping;
    use crate::social::terms::Terms;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kept(Mutex<Vec<DeadLetter>>);

    impl DeadLetters for Kept {
        fn park(&self, letter: DeadLetter) {
            self.0.lock().unwrap().push(letter);
        }
    }

    fn funnel(lines: &[String], per_s: u32) -> (Funnel, Arc<SocialStats>, Arc<Kept>) {
        let mapping = PostMapping {
            id: From::parse("/id"),
            text: From::parse("/text"),
            time: None,
            kind: From::parse("post"),
            author: None,
            value: None,
        };
        let reader = PostReader::new("plaza", mapping, Terms::parse(lines).unwrap());
        let (stats, kept) = (Arc::new(SocialStats::new("plaza")), Arc::new(Kept::default()));
        let funnel = Funnel::new(
            reader,
            per_s,
            true,
            Arc::clone(&stats),
            Arc::clone(&kept) as Arc<dyn DeadLetters>,
            Timestamp(0),
        );
        (funnel, stats, kept)
    }

    fn two_teams(per_s: u32) -> (Funnel, Arc<SocialStats>, Arc<Kept>) {
        funnel(&["ars: arsenal, #afc".into(), "che: chelsea".into()], per_s)
    }

    fn at(ms: u64) -> Moment {
        Moment { received_at: Timestamp(0), now: Duration::from_millis(ms) }
    }

    fn post(id: u32, text: &str) -> Vec<u8> {
        format!(r#"{{"id":"{id}","text":"{text}"}}"#).into_bytes()
    }

    #[test]
    fn each_team_gets_its_rate_and_every_post_one_fate() {
        let (mut funnel, stats, _) = two_teams(5);
        for id in 0..100 {
            funnel.take(&post(id, "Arsenal!"), at(0));
        }
        funnel.take(&post(200, "Chelsea!"), at(0));
        funnel.take(&post(201, "Chelsea beat #AFC"), at(0));
        funnel.take(&post(202, "rain"), at(0));
        funnel.take(b"  \r", at(0));
        let batch = funnel.batch();
        let routes: Vec<&str> = batch.iter().map(|event| event.route.as_str()).collect();
        assert_eq!(routes, ["ars", "ars", "ars", "ars", "ars", "che"]);
        assert_eq!((stats.posts(Fate::Thinned), stats.posts(Fate::NoTeam)), (96, 1));
        funnel.take(&post(300, "Chelsea beat #AFC"), at(1_000));
        assert_eq!(funnel.batch()[0].route.as_str(), "ars+che");
    }

    #[test]
    fn what_comes_again_is_swallowed_unless_the_log_refused_it() {
        let (mut funnel, stats, _) = two_teams(100);
        funnel.take(&post(1, "arsenal"), at(0));
        funnel.take(&post(1, "arsenal"), at(0));
        assert_eq!((funnel.batch().len(), stats.posts(Fate::Duplicate)), (1, 1));
        funnel.forget(["1"]);
        funnel.take(&post(1, "arsenal"), at(0));
        assert_eq!(funnel.batch().len(), 1);
        assert_eq!(funnel.last_id(), "1");
        funnel.take(&post(2, "rain"), at(0));
        funnel.take(b"junk", at(0));
        assert_eq!(funnel.last_id(), "2", "posts for nobody are passed by too");
    }

    #[test]
    fn what_cannot_be_read_is_parked_as_it_came_so_many_a_second() {
        let (mut funnel, stats, kept) = two_teams(100);
        for _ in 0..1_000 {
            funnel.take(b"no json \xff", at(0));
            funnel.take(br#"{"id":"1","body":"no text"}"#, at(0));
        }
        let kept = kept.0.lock().unwrap();
        assert_eq!(kept.len(), PARKED_POSTS_PER_S as usize);
        assert_eq!((kept[0].desk, kept[0].reason), (Desk::Social, "bad_json"));
        assert_eq!((&*kept[0].raw, kept[0].attempts), (&b"no json \xff"[..], 1));
        assert_eq!(
            (kept[1].reason, &*kept[1].raw),
            ("bad_post", &br#"{"id":"1","body":"no text"}"#[..])
        );
        let unreadable = 1_000 + u64::from(PROBED_POSTS_PER_S);
        assert_eq!(stats.posts(Fate::Unreadable), unreadable, "some without a term are looked at");
        assert_eq!(stats.posts(Fate::NoTeam), 2_000 - unreadable);
    }

    /// A post as such streams have them: a kilobyte, most of it beside the text.
    fn wide(n: u64, text: &str) -> Vec<u8> {
        let field = |k| {
            let url = format!("https://example.org/{n}/{k}");
            format!(
                r#""field_{k}":{{"url":"{url}","n":[{k},{n},true,null],"name":"caf\u00e9 {k}"}}"#
            )
        };
        let noise: Vec<String> = (0..12).map(field).collect();
        format!(r#"{{"id":"{n}","text":"{text} \ud83d\ude00","at":{n},{}}}"#, noise.join(","))
            .into_bytes()
    }

    #[test]
    fn ten_thousand_posts_a_second_for_a_thousand_teams_leave_a_thread_idle() {
        let terms = |n| format!("team{n}: club number{n}, #club{n}, striker{n} of{n}, münchen{n}");
        let lines: Vec<String> = (0..1_000).map(terms).collect();
        let posts: Vec<Vec<u8>> = (0..10_000)
            .map(|n| match n % 10 {
                0..6 => wide(n, "nothing of interest to anybody here, but a lot of words of it"),
                6..9 => wide(n, "what a goal by #club7 tonight, unbelievable scenes"),
                _ => wide(n, &format!("club number{} it is, and of late", n % 1_000)),
            })
            .collect();
        // The best of three: others of this host want it too.
        let runs = (0..3).map(|_| {
            let (mut funnel, stats, _) = funnel(&lines, 10);
            let (mut events, began) = (0, std::time::Instant::now());
            for (n, post) in posts.iter().enumerate() {
                funnel.take(post, at(n as u64 / 10));
                if n % 100 == 99 {
                    events += funnel.batch().len();
                }
            }
            let took = began.elapsed();
            println!("10,000 posts of {} bytes: {took:?}, {events} published", posts[0].len());
            assert_eq!(stats.posts(Fate::Unreadable), 0);
            assert!(events < 10_000 && stats.posts(Fate::Thinned) > 2_900);
            took
        });
        let took = runs.min().unwrap_or_default();
        assert!(took < Duration::from_secs(1), "{took:?} for what comes in one second");
    }
}
