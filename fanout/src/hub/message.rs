//! What clients ask for: following, unfollowing, pings.

use bytes::Bytes;
use touchline_core::event::{Lang, Stream, Team};
use touchline_core::frame;
use touchline_core::log::LogBounds;
use touchline_core::protocol::{
    ClientMessage, ErrorCode, RequestError, RequestId, Subscribe, answer,
};
use touchline_core::time::Monotonic;

use super::session::{Flags, Follow, Session};
use super::topics::{TeamIx, TopicIx};
use super::{Hub, SessionId};
use crate::limits::{LANGS_MAX, SNAPSHOT_BYTES_MAX};

impl Hub {
    /// Carries out what a client asks for and queues the answer. `bounds` is what the log holds
    /// now: a resume is judged by it (R4). An error changes nothing; the caller counts it and sends
    /// it.
    pub fn handle_message(
        &mut self,
        id: SessionId,
        message: ClientMessage,
        bounds: &LogBounds,
        now: Monotonic,
    ) -> Result<(), RequestError> {
        let Some(session) = self.session(id) else { return Ok(()) };
        if session.flags.has(Flags::CLOSING) || session.flags.has(Flags::CONDEMNED) {
            return Ok(());
        }
        match message {
            ClientMessage::Subscribe(subscribe) => self.subscribe(id.index, subscribe, bounds, now),
            ClientMessage::Unsubscribe { id: request, teams } => {
                self.unsubscribe(id.index, request, &teams);
                Ok(())
            }
            ClientMessage::Ping { id: request } => {
                self.tell(id.index, answer::pong(request));
                Ok(())
            }
            ClientMessage::Auth { id } => Err(RequestError {
                id,
                code: ErrorCode::AuthUnavailable,
                message: "this server doesn't use access tokens: leave `auth` out".into(),
            }),
        }
    }

    fn subscribe(
        &mut self,
        index: u32,
        subscribe: Subscribe,
        bounds: &LogBounds,
        now: Monotonic,
    ) -> Result<(), RequestError> {
        self.check_subscribe(index, &subscribe)?;
        if let Some(lang) = subscribe.lang {
            self.fix_lang(index, lang);
        }
        let new = self.follow(index, &subscribe);
        let progress = self.progress();
        let ready = self.is_ready();
        let session = &mut self.sessions[index as usize];
        let first = !session.flags.has(Flags::SUBSCRIBED);
        session.flags.set(Flags::SUBSCRIBED);
        if let Some(catchup) = &mut session.catchup {
            catchup
                .late
                .extend(new.iter().map(|(team, stream)| (*team, *stream, progress.clone())));
        }
        match subscribe.resume {
            Some(resume) => {
                let verdict = self.resume(index, resume, bounds);
                let recovered = Some(verdict.recovered);
                let teams = &subscribe.teams;
                self.tell(
                    index,
                    answer::subscribed(subscribe.id, teams, &verdict.mark, recovered, &[]),
                );
                for (from, to, reason) in verdict.gaps {
                    self.push_gap_of_teams(index, &from, &to, reason);
                }
            }
            None if first && !ready => {
                // This shard has yet to read what is older than the client: that isn't its head.
                let mark = self.stand_at_end(index, bounds);
                let teams = &subscribe.teams;
                self.tell(index, answer::subscribed(subscribe.id, teams, &mark, None, &[]));
            }
            None => {
                let frame = self.subscribed_at_head(index, &subscribe, &new, now);
                self.tell(index, frame);
            }
        }
        Ok(())
    }

    fn check_subscribe(&self, index: u32, subscribe: &Subscribe) -> Result<(), RequestError> {
        let session = &self.sessions[index as usize];
        let refuse = |code, message: String| Err(RequestError { id: subscribe.id, code, message });
        if subscribe.resume.is_some() && session.flags.has(Flags::SUBSCRIBED) {
            let message =
                "`mark` and `after` count in the first subscribe only: reconnect to resume";
            return refuse(ErrorCode::ResumeTooLate, message.into());
        }
        if subscribe.resume.as_ref().is_some_and(|resume| resume.mark.is_none()) {
            let message = "`after` says nothing without the `mark` it belongs to: send both";
            return refuse(ErrorCode::BadField, message.into());
        }
        if let (Some(now), Some(wanted)) = (session.lang, subscribe.lang)
            && now != wanted
        {
            return refuse(
                ErrorCode::LangFixed,
                format!("this session's language is {now}: reconnect"),
            );
        }
        let is_new = |team: &&Team| {
            let known = self.topics.find_team(team);
            known.is_none_or(|known| !session.follows.iter().any(|follow| follow.team == known))
        };
        let new: std::collections::HashSet<&Team> = subscribe.teams.iter().filter(is_new).collect();
        let (now, teams_max) = (session.follows.len(), self.config.teams_max);
        if now + new.len() > teams_max {
            let message =
                format!("{teams_max} teams at most; {now} are followed, {} are new", new.len());
            return refuse(ErrorCode::TooManyTeams, message);
        }
        if let Some(team) = self.full_of_langs(session, subscribe) {
            let message =
                format!("{team} is followed in {LANGS_MAX} languages now: leave `lang` out");
            return refuse(ErrorCode::TooManyLangs, message);
        }
        Ok(())
    }

    /// The first team that would be followed in more languages than it may be: of those that are
    /// new, or, if the session only now says its language, of all it follows.
    fn full_of_langs(&self, session: &Session, subscribe: &Subscribe) -> Option<&Team> {
        let lang = session.lang.or(subscribe.lang)?;
        let named = subscribe.streams.contains(Stream::Update).then_some(&subscribe.teams);
        let named = named.into_iter().flatten().filter_map(|name| self.topics.find_team(name));
        let follows = session.follows.iter().filter(|_| session.lang.is_none());
        let moved = follows.filter(|follow| follow.streams.contains(Stream::Update));
        let mut teams = named.chain(moved.map(|follow| follow.team));
        let full = teams.find(|team| !self.topics.team(*team).has_room_for(lang))?;
        self.topics.team_name(full)
    }

    /// Enters the session into the lists of its new teams and streams. Returns (team, stream) pairs
    /// that are new.
    fn follow(&mut self, index: u32, subscribe: &Subscribe) -> Vec<(TeamIx, Stream)> {
        let mut new = Vec::new();
        for name in &subscribe.teams {
            let team = self.topics.intern_team(name);
            let Self { sessions, topics, .. } = self;
            let session = &mut sessions[index as usize];
            let at = session.follows.iter().position(|follow| follow.team == team);
            let at = at.unwrap_or_else(|| {
                session.follows.reserve_exact(1);
                session.follows.push(Follow { team, streams: Default::default(), slots: [0; 4] });
                session.follows.len() - 1
            });
            let follow = &mut session.follows[at];
            for stream in subscribe.streams.minus(follow.streams).iter() {
                let slot = topics.team_mut(team).enter(stream, session.lang, index);
                follow.slots[stream as usize] = slot;
                follow.streams = follow.streams.with(stream);
                new.push((team, stream));
            }
        }
        new
    }

    /// `subscribed` for what starts at the head, with the latest sensor values of what is new
    /// (R20): the newest first, as many as fit. Any other comes with its next republish.
    fn subscribed_at_head(
        &mut self,
        index: u32,
        subscribe: &Subscribe,
        new: &[(TeamIx, Stream)],
        now: Monotonic,
    ) -> Bytes {
        let mark = self.mark_of(index);
        let stale = self.stale_before(now);
        let topics = self.new_sensors(index, new);
        let windows = topics.iter().map(|topic| &self.topics.get(*topic).window);
        let mut values: Vec<_> = windows.flat_map(|window| window.live_from(0)).collect();
        values.retain(|entry| entry.durable_at >= stale);
        values.sort_by_key(|entry| std::cmp::Reverse(entry.seq));
        let mut left = SNAPSHOT_BYTES_MAX;
        let fitting = values.iter().take_while(|entry| {
            left = left.saturating_sub(entry.frame.len());
            left > 0
        });
        let mut snapshot: Vec<&[u8]> = fitting.map(|entry| frame::payload(&entry.frame)).collect();
        snapshot.reverse();
        answer::subscribed(subscribe.id, &subscribe.teams, &mark, None, &snapshot)
    }

    /// Sensor topics that `new` brings. What another team brought before is known to the client, or
    /// on its way.
    fn new_sensors(&self, index: u32, new: &[(TeamIx, Stream)]) -> Vec<TopicIx> {
        let teams = new.iter().filter(|(_, stream)| *stream == Stream::Sensor);
        let topics = teams.flat_map(|(team, _)| self.topics.team(*team).topics.iter().copied());
        let is_sensor = |topic: &TopicIx| self.topics.get(*topic).key.stream == Stream::Sensor;
        let mut topics: Vec<TopicIx> = topics.filter(is_sensor).collect();
        topics.sort_unstable();
        topics.dedup();
        let follows = &self.sessions[index as usize].follows;
        topics.retain(|topic| {
            let teams = &self.topics.get(*topic).teams;
            !follows.iter().any(|of| {
                of.streams.contains(Stream::Sensor)
                    && teams.contains(&of.team)
                    && !new.contains(&(of.team, Stream::Sensor))
            })
        });
        topics
    }

    /// Moves what the session follows of updates from the list of those without a language to that
    /// of `lang`.
    fn fix_lang(&mut self, index: u32, lang: Lang) {
        if self.sessions[index as usize].lang == Some(lang) {
            return;
        }
        for at in 0..self.sessions[index as usize].follows.len() {
            if self.sessions[index as usize].follows[at].streams.contains(Stream::Update) {
                self.leave_list(index, at, Stream::Update);
                let Self { sessions, topics, .. } = self;
                let follow = &mut sessions[index as usize].follows[at];
                let slot = topics.team_mut(follow.team).enter(Stream::Update, Some(lang), index);
                follow.slots[Stream::Update as usize] = slot;
            }
        }
        self.sessions[index as usize].lang = Some(lang);
    }

    fn unsubscribe(&mut self, index: u32, request: Option<RequestId>, teams: &[Team]) {
        for name in teams {
            let Some(team) = self.topics.find_team(name) else { continue };
            let follows = &self.sessions[index as usize].follows;
            if let Some(at) = follows.iter().position(|follow| follow.team == team) {
                self.unfollow(index, at);
            }
        }
        self.drop_unwanted_cursors(index);
        self.tell(index, answer::unsubscribed(request, teams));
    }

    /// Leaves one team altogether.
    fn unfollow(&mut self, index: u32, at: usize) {
        let streams = self.sessions[index as usize].follows[at].streams;
        for stream in streams.iter() {
            self.leave_list(index, at, stream);
        }
        let session = &mut self.sessions[index as usize];
        let follow = session.follows.swap_remove(at);
        if let Some(catchup) = &mut session.catchup {
            catchup.late.retain(|(team, ..)| *team != follow.team);
        }
        self.topics.release_team(follow.team);
    }

    /// A swap with the last of the list, whose own slot is put right: nothing is scanned.
    fn leave_list(&mut self, index: u32, at: usize, stream: Stream) {
        let Self { sessions, topics, .. } = self;
        let session = &sessions[index as usize];
        let Follow { team, slots, .. } = &session.follows[at];
        let (team, slot) = (*team, slots[stream as usize]);
        let moved = topics.team_mut(team).leave(stream, session.lang, slot, index);
        if let Some(moved) = moved {
            let moved: &mut Session = &mut sessions[moved as usize];
            let follow = moved.follows.iter_mut().find(|follow| follow.team == team);
            if let Some(follow) = follow {
                follow.slots[stream as usize] = slot;
            }
        }
    }

    /// Forgets cursors of topics that no followed team wants any more (R5).
    fn drop_unwanted_cursors(&mut self, index: u32) {
        let Self { sessions, topics, .. } = self;
        let session = &mut sessions[index as usize];
        let mut cursors = std::mem::take(&mut session.cursors);
        let mut unwanted = Vec::new();
        cursors.retain(|cursor| {
            let topic = topics.get(cursor.topic);
            let wanted = session.wants(topic.key.stream, topic.key.lang, &topic.teams);
            if !wanted {
                unwanted.push(cursor.topic);
            }
            wanted
        });
        session.cursors = cursors;
        unwanted.into_iter().for_each(|topic| self.release_cursor(topic));
    }

    /// Leaves everything: the session is being closed.
    pub(super) fn forget_follows(&mut self, index: u32) {
        let session = &mut self.sessions[index as usize];
        let cursors = std::mem::take(&mut session.cursors);
        self.end_catchup(index);
        cursors.iter().for_each(|cursor| self.release_cursor(cursor.topic));
        while !self.sessions[index as usize].follows.is_empty() {
            let last = self.sessions[index as usize].follows.len() - 1;
            self.unfollow(index, last);
        }
    }
}
