//! Topics and teams of one shard: who exists, what belongs together, what has been idle longest.
//!
//! A topic lives in the registry from its first event until its window has been evicted and no
//! cursor points at it. A team lives while somebody follows it or a topic names it. Both are
//! reached by a small index ([`TopicIx`], [`TeamIx`]); an index is given out again only when
//! nothing holds it any more.

use std::collections::{BTreeMap, HashMap};

use slab::Slab;
use smallvec::SmallVec;
use touchline_core::event::{Lang, Route, Stream, Team, Topic};
use touchline_core::log::Lane;

use super::window::Window;
use crate::limits::LANGS_MAX;

/// Index of a topic in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TopicIx(pub(super) u32);

/// Index of a team in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TeamIx(pub(super) u32);

pub(super) struct TopicState {
    pub(super) key: Topic,
    pub(super) lane: Lane,
    pub(super) teams: SmallVec<[TeamIx; 2]>,
    pub(super) window: Window,
    /// Sessions that hold a cursor here.
    pub(super) cursors: u32,
    /// The batch that touched it last, and the first sequence it brought.
    pub(super) batch: u64,
    pub(super) batch_from: u64,
    /// Place in the order of idleness.
    touch: u64,
}

/// Followers of a team. Sessions know their slot in each list, so leaving is a swap with the last.
#[derive(Default)]
pub(super) struct TeamState {
    name: Option<Team>,
    pub(super) topics: Vec<TopicIx>,
    plain: [Vec<u32>; 4],
    /// Followers of updates, ascending by language (R23). None of the lists is empty: clients
    /// invent languages, and one that nobody follows any more must cost nothing.
    updates: Vec<(Option<Lang>, Vec<u32>)>,
}

impl TeamState {
    /// Enters `follower` into the list of `stream`, of updates into that of `lang`. Returns its
    /// slot.
    pub(super) fn enter(&mut self, stream: Stream, lang: Option<Lang>, follower: u32) -> u32 {
        let list = match stream {
            Stream::Update => {
                let at = self.find_updates(lang).unwrap_or_else(|at| {
                    self.updates.insert(at, (lang, Vec::new()));
                    at
                });
                &mut self.updates[at].1
            }
            plain => &mut self.plain[plain as usize],
        };
        list.push(follower);
        (list.len() - 1) as u32
    }

    /// Takes `follower` out of its slot; a swap with the last, who is returned if he has a new
    /// slot now.
    pub(super) fn leave(
        &mut self,
        stream: Stream,
        lang: Option<Lang>,
        slot: u32,
        follower: u32,
    ) -> Option<u32> {
        let take = |list: &mut Vec<u32>| {
            let left = list.swap_remove(slot as usize);
            debug_assert_eq!(left, follower, "sessions know their slots");
            list.get(slot as usize).copied()
        };
        if stream != Stream::Update {
            return take(&mut self.plain[stream as usize]);
        }
        let at = self.find_updates(lang).ok()?;
        let moved = take(&mut self.updates[at].1);
        if self.updates[at].1.is_empty() {
            self.updates.remove(at);
        }
        moved
    }

    /// Whether another follower in `lang` keeps the team's languages within [`LANGS_MAX`].
    pub(super) fn has_room_for(&self, lang: Lang) -> bool {
        let without = self.updates.first().is_some_and(|(of, _)| of.is_none());
        let langs = self.updates.len() - usize::from(without);
        langs < LANGS_MAX || self.find_updates(Some(lang)).is_ok()
    }

    fn find_updates(&self, lang: Option<Lang>) -> Result<usize, usize> {
        self.updates.binary_search_by_key(&lang, |(of, _)| *of)
    }

    /// Lists of updates, and entries in all lists.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let updates = self.updates.iter().map(|(_, list)| list.len()).sum::<usize>();
        let plain = self.plain.iter().map(Vec::len).sum::<usize>();
        (self.updates.len(), plain + updates)
    }

    /// The lists that an event of `topic` concerns. An update without a language concerns everybody
    /// who wants updates, one with a language those who want it.
    pub(super) fn lists(&self, topic: &Topic) -> impl Iterator<Item = &[u32]> {
        let plain = (topic.stream != Stream::Update).then(|| &*self.plain[topic.stream as usize]);
        let lang = topic.lang;
        let updates = self.updates.iter().filter(move |(of, _)| lang.is_none() || *of == lang);
        let is_update = topic.stream == Stream::Update;
        plain.into_iter().chain(updates.map(|(_, list)| &**list).filter(move |_| is_update))
    }

    fn is_unused(&self) -> bool {
        self.topics.is_empty() && self.plain.iter().all(Vec::is_empty) && self.updates.is_empty()
    }
}

#[derive(Default)]
pub(super) struct Topics {
    topics: Slab<TopicState>,
    by_key: HashMap<Topic, TopicIx>,
    teams: Slab<TeamState>,
    by_name: HashMap<Team, TeamIx>,
    /// By the last touch: the longest idle first.
    idle: BTreeMap<u64, TopicIx>,
    touches: u64,
    /// Memory of all windows.
    pub(super) bytes: usize,
}

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Every topic.
    pub(super) fn all(&self) -> impl Iterator<Item = &TopicState> {
        self.topics.iter().map(|(_, topic)| topic)
    }

    /// Every team.
    pub(super) fn teams(&self) -> impl Iterator<Item = &TeamState> {
        self.teams.iter().map(|(_, team)| team)
    }

    pub(super) fn get(&self, index: TopicIx) -> &TopicState {
        &self.topics[index.0 as usize]
    }

    pub(super) fn get_mut(&mut self, index: TopicIx) -> &mut TopicState {
        &mut self.topics[index.0 as usize]
    }

    pub(super) fn team(&self, index: TeamIx) -> &TeamState {
        &self.teams[index.0 as usize]
    }

    pub(super) fn team_mut(&mut self, index: TeamIx) -> &mut TeamState {
        &mut self.teams[index.0 as usize]
    }

    /// The name of a team that somebody follows or a topic names.
    pub(super) fn team_name(&self, index: TeamIx) -> Option<&Team> {
        self.team(index).name.as_ref()
    }

    pub(super) fn find_team(&self, name: &Team) -> Option<TeamIx> {
        self.by_name.get(name).copied()
    }

    /// The team of that name, made if nobody knew it.
    pub(super) fn intern_team(&mut self, name: &Team) -> TeamIx {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        let state = TeamState { name: Some(name.clone()), ..TeamState::default() };
        let index = TeamIx(self.teams.insert(state) as u32);
        self.by_name.insert(name.clone(), index);
        index
    }

    /// Forgets the team if nobody follows it and no topic names it.
    pub(super) fn release_team(&mut self, index: TeamIx) {
        if self.team(index).is_unused()
            && let Some(name) = self.teams.remove(index.0 as usize).name
        {
            self.by_name.remove(&name);
        }
    }

    /// The topic of that name, made if it is new: costs its teams, nothing else.
    pub(super) fn intern(&mut self, key: &Topic, lane: Lane) -> TopicIx {
        if let Some(index) = self.by_key.get(key) {
            return *index;
        }
        let teams: SmallVec<[TeamIx; 2]> = self.intern_route(&key.route);
        let state = TopicState {
            key: key.clone(),
            lane,
            teams: teams.clone(),
            window: Window::default(),
            cursors: 0,
            batch: 0,
            batch_from: 0,
            touch: 0,
        };
        let index = TopicIx(self.topics.insert(state) as u32);
        self.by_key.insert(key.clone(), index);
        for team in teams {
            self.team_mut(team).topics.push(index);
        }
        index
    }

    fn intern_route(&mut self, route: &Route) -> SmallVec<[TeamIx; 2]> {
        let names = route.teams().filter_map(|name| Team::new(name).ok());
        let names: SmallVec<[Team; 2]> = names.collect();
        names.iter().map(|name| self.intern_team(name)).collect()
    }

    /// Makes the topic the least idle.
    pub(super) fn touch(&mut self, index: TopicIx) {
        self.touches += 1;
        let touches = self.touches;
        let before = std::mem::replace(&mut self.get_mut(index).touch, touches);
        self.idle.remove(&before);
        self.idle.insert(touches, index);
    }

    /// The topic that has been idle longest, if there is more than one.
    pub(super) fn longest_idle(&self) -> Option<TopicIx> {
        (self.idle.len() > 1).then(|| self.idle.values().next().copied()).flatten()
    }

    /// Empties the window of `index`, and forgets the topic unless a cursor still points at it.
    /// Returns one above the last sequence that is no longer in memory.
    pub(super) fn evict(&mut self, index: TopicIx) -> u64 {
        let topic = &mut self.topics[index.0 as usize];
        self.bytes -= topic.window.bytes();
        topic.window.clear();
        let floor = topic.window.last_seq() + 1;
        self.idle.remove(&topic.touch);
        self.release(index);
        floor
    }

    /// Forgets every topic; no cursor may point at one.
    pub(super) fn forget_all(&mut self) {
        let all: Vec<TopicIx> =
            self.topics.iter().map(|(index, _)| TopicIx(index as u32)).collect();
        for index in all {
            self.evict(index);
        }
    }

    /// Forgets the topic if its window is empty and nobody holds a cursor.
    pub(super) fn release(&mut self, index: TopicIx) {
        let topic = &self.topics[index.0 as usize];
        let listed = self.idle.get(&topic.touch) == Some(&index);
        if topic.cursors > 0 || topic.window.bytes() > 0 || listed {
            return;
        }
        let topic = self.topics.remove(index.0 as usize);
        self.by_key.remove(&topic.key);
        for team in topic.teams {
            self.team_mut(team).topics.retain(|of| *of != index);
            self.release_team(team);
        }
    }
}
