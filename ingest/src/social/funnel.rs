//! From a flood of posts to the few that are published, on one thread, cheapest question first.
//!
//! 1. Does it hold a part of any term? One pass over the bytes as they came ([`Terms::look`]).
//! 2. Has any team that it may concern a turn left? Some numbers ([`Pace`]).
//! 3. Only now it is parsed; id, text and terms are judged for good, then the turn is taken.
//!
//! Which teams a post names is for whoever writes it to choose, and each new set of them costs
//! every shard a window. So a source may use so many sets of several teams and no more (R23); a
//! team by itself always passes, there being no more of them than the configuration names.
//!
//! Of posts that hold no term a few each second are parsed all the same: a mapping that fits
//! nothing is told at once, not when the first match has come.
//!
//! No I/O and no clock: the caller brings the time, and takes the events.
//!
//! [`Terms::look`]: super::terms::Terms::look

use std::panic::{AssertUnwindSafe, catch_unwind};
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
use crate::routes::RouteTable;

/// When a post came.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the wall clock: what is written down.
    pub received_at: Timestamp,
    /// Since some moment, by the monotonic clock: what rates are measured by.
    pub now: Duration,
}

/// How much of a source passes.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Posts a second for each team.
    pub posts_per_s: u32,
    /// Different sets of several teams within half an hour to an hour (R23).
    pub routes: usize,
}

/// What all posts of one source go through.
pub struct Funnel {
    reader: Arc<PostReader>,
    stats: Arc<SocialStats>,
    dead: Arc<dyn DeadLetters>,
    pace: Pace,
    routes: RouteTable,
    routes_max: usize,
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
    /// Lets through what `caps` allow. With `keeps_last` it can tell the last post's id.
    pub fn new(
        reader: Arc<PostReader>,
        caps: Caps,
        keeps_last: bool,
        stats: Arc<SocialStats>,
        dead: Arc<dyn DeadLetters>,
        began: Timestamp,
    ) -> Self {
        Self {
            pace: Pace::new(caps.posts_per_s, reader.terms().teams_count()),
            routes: RouteTable::default(),
            routes_max: caps.routes,
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
        // A stream that goes on where it was brings the same post again: one that we can't bear
        // would end it for good. What it leaves half done are buffers that each post clears.
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge(raw, at)));
        let fate = judged.unwrap_or_else(|_| {
            // Read again for its id, it would fail again.
            self.last.clear();
            self.park(raw, Trouble::Panicked, "a bug of ours: reading it panics; report it", at);
            tracing::error!(source = self.stats.source(), "a post can't be read, which is a bug");
            Some(Fate::Unreadable)
        });
        if let Some(fate) = fate {
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

    /// Keeps what is told of a post that the log will never take, as much as may be kept.
    pub fn keep(&mut self, letter: DeadLetter, now: Duration) {
        if self.parks.take(&[0], now) {
            self.dead.park(letter);
        }
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
                self.park(raw, unreadable.trouble(), &unreadable.to_string(), at);
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
        if !self.exact.iter().all(|team| self.pace.is_open(*team, at.now)) {
            return Ok(Some(Fate::Thinned));
        }
        if self.batch.len() >= SOCIAL_BATCH_EVENTS_MAX || self.batch_bytes > SOCIAL_BATCH_BYTES_MAX
        {
            self.stats.count(Trouble::LogBehind, 1);
            return Ok(Some(Fate::Thinned));
        }
        if !self.admits(&event, at.received_at) {
            self.stats.count(Trouble::TooManyRoutes, 1);
            return Ok(Some(Fate::Thinned));
        }
        self.pace.take(&self.exact, at.now);
        self.recent.add(&draft.id);
        self.batch_bytes += event.size_bytes();
        self.batch.push(event);
        Ok(None)
    }

    /// A team by itself is the configuration's choice, not a stranger's.
    fn admits(&self, event: &Event, now: Timestamp) -> bool {
        let one = std::slice::from_ref(event);
        self.exact.len() < 2 || self.routes.admit(one, self.routes_max, now).is_ok()
    }

    fn correlation(&self) -> String {
        format!("{}-{}", self.run, self.count)
    }

    fn park(&mut self, raw: &[u8], trouble: Trouble, why: &str, at: Moment) {
        self.stats.count(trouble, 1);
        if !self.parks.take(&[0], at.now) {
            return;
        }
        let source = self.stats.source();
        tracing::debug!(source, why, "a post is dropped");
        self.dead.park(DeadLetter {
            desk: Desk::Social,
            stream: Stream::Social,
            source: source.into(),
            reason: trouble.as_str(),
            detail: why.into(),
            attempts: 1,
            correlation: self.correlation().into(),
            received_at: at.received_at,
            raw: Bytes::copy_from_slice(raw),
        });
    }
}

#[cfg(test)]
mod tests;
