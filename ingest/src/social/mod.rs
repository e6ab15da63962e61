//! Social posts: streams that stay open, followed for as long as the node lives.
//!
//! Each source is followed by a task of its own. It reads lines of JSON, server-sent events or
//! WebSocket messages, lets through what concerns a team (a [table of terms](terms)) at no more
//! than so many posts a second for each, and hands that to the log. Social is the stream that may
//! be thinned: whatever is too much (for a team, for the log) is dropped and counted, and nothing
//! is ever queued without bound.
//!
//! A stream that is lost is asked for again, ever more rarely ([`backoff`]), where it can from
//! where it was left ([`Rewind`]); what comes twice is swallowed. The place is kept on the
//! disk, never ahead of what the log has acknowledged, so that a restart goes on there as well.
//!
//! What people write is untrusted, and stays data: it is never a metric's label, a log line's
//! format or a field's name, and whoever shows it escapes it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`lines`], [`events`] | from chunks to posts |
//! | `websocket`, `as_binary` | from frames to posts, whatever their bytes |
//! | [`terms`] | which teams a post concerns |
//! | [`post`] | from a post's bytes to an event |
//! | [`pace`], [`recent`] | how many a second; which came before |
//! | [`funnel`] | all of these, cheapest first |
//! | [`backoff`], `connect` | when and how a stream is opened |
//! | `pieces` | what comes off a stream, and goes onto it |
//! | `follow`, `revive`, `publish` | the task, what becomes of it when it panics, and the log |
//! | `place`, `place_file` | how far the log has what came; where that is written down |
//! | [`stats`] | what is counted |

mod as_binary;
pub mod backoff;
mod connect;
pub mod events;
mod follow;
pub mod funnel;
pub mod lines;
pub mod pace;
mod pieces;
mod place;
mod place_file;
pub mod post;
mod publish;
pub mod recent;
mod revive;
pub mod stats;
pub mod terms;
mod websocket;

pub use backoff::BackoffRules;
pub use post::{PostMapping, PostReader, Unreadable};
pub use stats::{Fate, SocialStats, Trouble};

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::outbound::{self, Hidden, SourceError, Surroundings};
use connect::Connector;
use follow::{Follower, Keeps};
use funnel::{Caps, Funnel};
use place_file::PlaceFile;
use revive::revive;
use terms::Terms;

/// How posts come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocialKind {
    /// A JSON object a line.
    Lines,
    /// Server-sent events, each with a JSON object as its data.
    Events,
    /// WebSocket messages, each a JSON object.
    WebSocket,
}

impl SocialKind {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Events => "events",
            Self::WebSocket => "websocket",
        }
    }
}

/// How a stream is asked to go on from where it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewind {
    /// Not at all: what is missed meanwhile stays missed.
    None,
    /// By the header `Last-Event-ID`: a server-sent event's id, else the last post's.
    LastEventId,
    /// By the last post's id in the query.
    SinceId,
    /// By the minutes since anything came, in the query.
    BackfillMinutes,
}

/// One source of posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocialSource {
    /// Its name: the events' `source`.
    pub name: Box<str>,
    /// Where it streams.
    pub url: Hidden,
    /// How posts come.
    pub kind: SocialKind,
    /// Sent with each request; their values are secrets.
    pub headers: Vec<(Box<str>, Hidden)>,
    /// Of server-sent events, those that are posts; all of them without it.
    pub event: Option<Box<str>>,
    /// The first message to a WebSocket.
    pub subscribe: Option<Hidden>,
    /// Where a post's fields are.
    pub mapping: PostMapping,
    /// Lines such as `ars: arsenal, gunners`.
    pub terms: Vec<Box<str>>,
    /// Posts a second for each team.
    pub posts_per_s_max: u32,
    /// Different sets of several teams within half an hour to an hour (R23).
    pub routes_max: usize,
    /// Bytes of one post.
    pub post_bytes_max: usize,
    /// No byte for so long: it is opened again.
    pub stall: Duration,
    /// How it is asked to go on.
    pub rewind: Rewind,
    /// The query's name for that.
    pub rewind_parameter: Box<str>,
    /// How waits grow.
    pub backoff: BackoffRules,
}

impl SocialSource {
    /// Whether it can be followed.
    ///
    /// # Errors
    /// What of its address, headers or terms can't be used.
    pub fn check(&self) -> Result<(), SourceError> {
        connect::address(self)?;
        outbound::headers(&self.headers).map_err(|why| SourceError::new(&self.name, why))?;
        self.reader().map(drop)
    }

    /// What turns its posts into events: for the stream, and for posts that are tried again.
    ///
    /// # Errors
    /// Terms that can't be used.
    pub fn reader(&self) -> Result<PostReader, SourceError> {
        let terms = Terms::parse(&self.terms).map_err(|why| SourceError::new(&self.name, why))?;
        Ok(PostReader::new(&self.name, self.mapping.clone(), terms))
    }

    fn funnel(
        &self,
        reader: &Arc<PostReader>,
        stats: &Arc<SocialStats>,
        around: &Surroundings,
    ) -> Funnel {
        let keeps_last = match self.rewind {
            Rewind::None | Rewind::BackfillMinutes => false,
            Rewind::LastEventId => self.kind != SocialKind::Events,
            Rewind::SinceId => true,
        };
        Funnel::new(
            Arc::clone(reader),
            Caps { posts_per_s: self.posts_per_s_max, routes: self.routes_max },
            keeps_last,
            Arc::clone(stats),
            Arc::clone(&around.dead),
            (around.clock)(),
        )
    }
}

/// Sources that are followed. Dropping it ends their tasks.
pub struct Social {
    stats: Vec<Arc<SocialStats>>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Social {
    /// Follows `sources`, by tasks of the runtime it is called on.
    ///
    /// # Errors
    /// The first source that can't be followed.
    pub fn start(sources: Vec<SocialSource>, around: &Surroundings) -> Result<Self, SourceError> {
        let (stop, stopped) = watch::channel(false);
        let (mut stats, mut tasks) = (Vec::new(), JoinSet::new());
        if let Some(folder) = &around.places {
            place_file::tidy(folder, &sources);
        }
        for source in sources {
            let counted = Arc::new(SocialStats::new(&source.name));
            stats.push(Arc::clone(&counted));
            let file = around.places.as_ref().and_then(|it| PlaceFile::of(&source, it));
            let (marks, written) = watch::channel(None);
            let (rules, stop) = (source.backoff, &stopped);
            if let Some(file) = file.clone() {
                let keep = move || file.clone().keep(written.clone());
                tasks.spawn(revive(Arc::clone(&counted), rules, stop.clone(), keep));
            }
            let connector = Arc::new(Connector::new(&source, Arc::clone(&around.clock))?);
            let reader = Arc::new(source.reader()?);
            let (stats, around, of_run) = (Arc::clone(&counted), around.clone(), stop.clone());
            let follow = move || {
                let funnel = source.funnel(&reader, &stats, &around);
                let keeps = Keeps { file: file.clone(), marks: marks.clone() };
                let (source, connector) = (source.clone(), Arc::clone(&connector));
                let (stats, around) = (Arc::clone(&stats), around.clone());
                Follower::new(source, connector, funnel, stats, around, keeps).run(of_run.clone())
            };
            tasks.spawn(revive(counted, rules, stop.clone(), follow));
        }
        Ok(Self { stats, stop, tasks })
    }

    /// What each has done.
    pub fn stats(&self) -> &[Arc<SocialStats>] {
        &self.stats
    }

    /// Ends all tasks.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
