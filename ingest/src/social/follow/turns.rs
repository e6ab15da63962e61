//! Whose turn it is, and what becomes of a stream's place meanwhile.
//!
//! A node whose turn ends isn't told why: another one may go on with the stream, or nobody does,
//! because the brokers that share sources out are silent. So it keeps its place for a while. If it
//! is given the stream back by then it goes on from what the log has acknowledged, and the log
//! swallows what another node has published in between. Later than that it could not, or would ask
//! for hours of posts that are too old: the place is forgotten, in memory and on the disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Follower;
use crate::roster::Roster;
use crate::social::place::Place;
use crate::social::stats::SocialStats;

/// How often it is looked whether it is this node's turn.
const TURN_LOOK: Duration = Duration::from_millis(200);

/// Returns once it is our turn, or no longer. While it isn't, the stream is nobody's worry here.
async fn turn(roster: &dyn Roster, source: &str, awaited: bool, stats: &SocialStats) {
    while roster.is_mine(source) != awaited {
        if awaited {
            stats.set_assigned(false);
            stats.note_post();
        }
        sleep(TURN_LOOK).await;
    }
}

impl Follower {
    /// Follows it until it is told to stop, while it is this node's.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (roster, source) = (Arc::clone(&self.around.roster), self.source.name.clone());
        let stats = Arc::clone(&self.stats);
        // Whoever takes over from another node is told nothing of where that was.
        self.asks_all_minutes = !roster.is_mine(&source);
        self.go_on_where_it_was();
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                () = self.stand_by(&*roster) => self.take_up(),
            }
            let goes_on = tokio::select! {
                _ = stop.changed() => false,
                () = turn(&*roster, &source, false, &stats) => true,
                () = self.follow() => true,
            };
            stats.set_connected(false);
            if !goes_on {
                return self.keep();
            }
            tracing::info!(source = &*source, "it isn't this node any more that follows a stream");
            self.leave();
        }
    }

    /// Takes up the place that was kept before a restart.
    fn go_on_where_it_was(&mut self) {
        let now = (self.around.clock)();
        let Some(mark) = self.keeps.file.as_ref().and_then(|file| file.read(now)) else { return };
        let away = Duration::from_micros(u64::try_from(now.0 - mark.at.0).unwrap_or(0));
        let (source, away_s) = (&*self.source.name, away.as_secs());
        tracing::info!(source, away_s, "a stream goes on where it was left");
        self.heard_at = Instant::now().checked_sub(away);
        self.asks_all_minutes |= self.heard_at.is_none();
        self.go_back_to(&mark.id);
        self.place = Place::new(Some(mark), Instant::now());
    }

    /// Waits until it is our turn. What the log has yet to answer is settled meanwhile, so that
    /// what it refuses isn't taken for a repeat later.
    async fn stand_by(&mut self, roster: &dyn Roster) {
        let (source, stats) = (self.source.name.clone(), Arc::clone(&self.stats));
        let turn = turn(roster, &source, true, &stats);
        tokio::pin!(turn);
        loop {
            let left_until = self.place.left_until();
            tokio::select! {
                biased;
                () = &mut turn => return,
                Some(settled) = self.appends.join_next() => {
                    self.settle(settled);
                    self.append();
                }
                () = sleep_until(left_until.unwrap_or(self.began)), if left_until.is_some() => {
                    self.forget();
                }
            }
        }
    }

    /// The turn begins.
    fn take_up(&mut self) {
        self.stats.set_assigned(true);
        let has_times = self.source.mapping.time.is_some();
        if !self.place.take_up(Instant::now(), (self.around.clock)(), has_times) {
            self.forget();
        }
    }

    /// The turn ends.
    fn leave(&mut self) {
        self.append();
        self.asks_all_minutes = true;
        if !self.place.leave(Instant::now()) {
            self.forget();
        }
    }

    /// The place is none any more.
    fn forget(&mut self) {
        self.go_back_to("");
        (self.heard_at, self.asks_all_minutes) = (None, true);
        self.place.forget();
        self.keeps.marks.send_replace(None);
    }
}
