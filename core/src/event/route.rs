//! Routes and topics: which teams an event concerns, in which stream and language.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::{Lang, NameError, Stream, Team};
use crate::limits::ROUTE_TEAMS_MAX;

/// The sorted, unique set of 1 to 8 teams an event concerns, written `ars+che`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route(Arc<str>);

/// Why a set of teams is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No team, or more than eight different ones.
    #[error("must name 1 to 8 teams")]
    Count,
    /// One of them is no team id.
    #[error("{0}")]
    Team(#[from] NameError),
}

impl Route {
    /// The route of `teams`, in whatever order and however often they are named.
    pub fn new<S: AsRef<str>>(teams: &[S]) -> Result<Self, RouteError> {
        let mut names: Vec<&str> = teams.iter().map(AsRef::as_ref).collect();
        for name in &names {
            super::check_source(name)?;
        }
        names.sort_unstable();
        names.dedup();
        if !(1..=ROUTE_TEAMS_MAX).contains(&names.len()) {
            return Err(RouteError::Count);
        }
        Ok(Self(names.join("+").into()))
    }

    /// Reads `ars+che`. Only the canonical form is a route: sorted, no repeats.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        let names: Vec<&str> = text.split('+').collect();
        let route = Self::new(&names)?;
        if route.as_str() == text { Ok(route) } else { Err(RouteError::Count) }
    }

    /// `ars+che`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names of its teams, sorted.
    pub fn teams(&self) -> impl Iterator<Item = &str> {
        self.0.split('+')
    }

    /// Whether it concerns `team`.
    pub fn contains(&self, team: &Team) -> bool {
        self.teams().any(|name| name == team.as_str())
    }

    /// Which of `count` partitions holds this route (R1). Part of the log's format: never change it
    /// within an epoch.
    pub fn partition(&self, count: u16) -> u16 {
        let hash = xxh3_64(self.0.as_bytes());
        u16::try_from(hash % u64::from(count.max(1))).unwrap_or(0)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One route of one stream, of an update in one language: the unit of order, of history and of
/// resume. Written `broadcast:ars+che` or `update:ars+che:es`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    /// Its stream.
    pub stream: Stream,
    /// Its teams.
    pub route: Route,
    /// Its language; only updates have one.
    pub lang: Option<Lang>,
}

/// Why a text is no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no topic; topics look like broadcast:ars+che or update:ars+che:es")]
pub struct TopicError;

impl Topic {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let mut parts = text.split(':');
        let stream = parts.next().and_then(Stream::parse).ok_or(TopicError)?;
        let route = parts.next().ok_or(TopicError)?;
        let route = Route::parse(route).map_err(|_| TopicError)?;
        let lang = match parts.next() {
            None => None,
            Some(tag) if stream == Stream::Update => Some(Lang::new(tag).map_err(|_| TopicError)?),
            Some(_) => return Err(TopicError),
        };
        if parts.next().is_some() {
            return Err(TopicError);
        }
        Ok(Self { stream, route, lang })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.route)?;
        match self.lang {
            Some(lang) => write!(f, ":{lang}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_set_of_teams() {
        let route = Route::new(&["che", "ars", "che"]).unwrap();
        assert_eq!(route.as_str(), "ars+che");
        assert_eq!(Route::parse("ars+che").unwrap(), route);
        assert!(Route::parse("che+ars").is_err(), "only the canonical form");
        assert_eq!(Route::new::<&str>(&[]), Err(RouteError::Count));
        let nine: Vec<String> = (0..9).map(|n| format!("t{n}")).collect();
        assert_eq!(Route::new(&nine), Err(RouteError::Count));
    }

    #[test]
    fn a_topic_survives_its_text() {
        for text in ["broadcast:ars", "update:ars+che:es", "sensor:ars+che"] {
            assert_eq!(Topic::parse(text).unwrap().to_string(), text);
        }
        for bad in
            ["", "goal:ars", "broadcast", "broadcast:ars:es", "update:ars:es:x", "update:b+a"]
        {
            assert!(Topic::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_partition_of_a_route_never_changes() {
        // Figures that an existing log depends on (R1).
        let of = |name: &str| Route::parse(name).unwrap().partition(64);
        assert_eq!([of("ars"), of("ars+che"), of("bra")], [61, 62, 40]);
        assert_eq!(Route::parse("ars").unwrap().partition(1), 0);
    }
}
