//! From the bytes of one post to an event, by the mapping of its source.
//!
//! Pure: the same bytes, received at the same moment, give the same event, however often and on
//! whichever node. The rate of posts is not judged here.

use bytes::Bytes;
use serde_json::Value;
use touchline_core::event::{Event, Stream, check_id, check_kind};
use touchline_core::limits::DATA_BYTES_MAX;
use touchline_core::time::Timestamp;

use super::stats::Trouble;
use super::terms::{Look, Scratch, Terms};
use crate::limits::{DATA_DEPTH_MAX, OCCURRED_AHEAD_MAX};
use crate::mapping::From;

/// Where the fields of a post are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostMapping {
    /// Its id: what tells it from all others of its source.
    pub id: From,
    /// What it says; terms are looked for here.
    pub text: From,
    /// When it was written: RFC 3339, or seconds, milliseconds or microseconds since 1970. Without
    /// it, when it came.
    pub time: Option<From>,
    /// What the event is called.
    pub kind: From,
    /// Who wrote it.
    pub author: Option<From>,
    /// What clients get: an object, or anything that becomes `{"value":...}`. Without it,
    /// `{"text":...}`, with `"author"` where one is mapped and there.
    pub value: Option<From>,
}

/// Why a post can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It isn't a JSON object.
    #[error("it is no JSON object: {0}")]
    Json(Box<str>),
    /// A field is missing or out of its grammar.
    #[error("its {field} {what}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        what: Box<str>,
    },
    /// It was written more than five minutes from now.
    #[error("it was written at {0}, which is yet to come")]
    InFuture(Box<str>),
}

impl Unreadable {
    /// What it is counted as.
    pub const fn trouble(&self) -> Trouble {
        match self {
            Self::Json(_) => Trouble::BadJson,
            Self::Field { .. } => Trouble::BadPost,
            Self::InFuture(_) => Trouble::InFuture,
        }
    }

    fn field(field: &'static str, what: impl std::fmt::Display) -> Self {
        Self::Field { field, what: what.to_string().into() }
    }
}

/// Reads the posts of one source.
#[derive(Debug)]
pub struct PostReader {
    source: Box<str>,
    mapping: PostMapping,
    terms: Terms,
}

/// A post of which it is known who it is and what it says.
#[derive(Debug)]
pub(super) struct Draft {
    post: Value,
    pub id: String,
    pub text: String,
}

impl PostReader {
    /// Reads posts of `source`, for the teams of `terms`.
    pub fn new(source: &str, mapping: PostMapping, terms: Terms) -> Self {
        Self { source: source.into(), mapping, terms }
    }

    /// The events of one post as it came: one, or none if it concerns no team.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn events_of(
        &self,
        raw: &[u8],
        received_at: Timestamp,
        correlation: &str,
    ) -> Result<Vec<Event>, Unreadable> {
        let draft = self.draft(raw)?;
        let mut teams = Vec::new();
        self.teams(&draft, &mut Scratch::default(), &mut teams);
        let event = self.event(&draft, &teams, received_at, correlation)?;
        Ok(event.into_iter().collect())
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(super) fn look(&self, raw: &[u8], scratch: &mut Scratch, teams: &mut Vec<u32>) -> Look {
        self.terms.look(raw, scratch, teams)
    }

    pub(super) fn draft(&self, raw: &[u8]) -> Result<Draft, Unreadable> {
        let post: Value = serde_json::from_slice(raw)
            .map_err(|error| Unreadable::Json(error.to_string().into()))?;
        if !post.is_object() {
            return Err(Unreadable::Json("it is another JSON value".into()));
        }
        let missing = |field| Unreadable::field(field, "is missing, or is neither text nor number");
        let id = self.mapping.id.text(&post).ok_or_else(|| missing("id"))?;
        check_id(&id).map_err(|error| Unreadable::field("id", error))?;
        let text = self.mapping.text.text(&post).ok_or_else(|| missing("text"))?;
        Ok(Draft { post, id, text })
    }

    pub(super) fn teams(&self, draft: &Draft, scratch: &mut Scratch, teams: &mut Vec<u32>) {
        self.terms.teams(&draft.text, scratch, teams);
    }

    /// `None`: it concerns no team.
    pub(super) fn event(
        &self,
        draft: &Draft,
        teams: &[u32],
        received_at: Timestamp,
        correlation: &str,
    ) -> Result<Option<Event>, Unreadable> {
        let Some(route) = self.terms.route(teams) else { return Ok(None) };
        let post = &draft.post;
        let kind =
            self.mapping.kind.text(post).ok_or_else(|| Unreadable::field("type", "is missing"))?;
        check_kind(&kind).map_err(|error| Unreadable::field("type", error))?;
        let occurred_at = match &self.mapping.time {
            None => received_at,
            Some(from) => from.time(post).ok_or_else(|| {
                Unreadable::field("time", "must be RFC 3339, or a number since 1970")
            })?,
        };
        if occurred_at > received_at.plus(OCCURRED_AHEAD_MAX) {
            return Err(Unreadable::InFuture(occurred_at.to_rfc3339().into()));
        }
        Ok(Some(Event {
            stream: Stream::Social,
            source: self.source.clone(),
            id: draft.id.as_str().into(),
            route,
            kind: kind.into(),
            occurred_at,
            data: self.data(draft)?,
            lang: None,
            supersedes: None,
            sensor: None,
            trace: None,
            correlation: correlation.into(),
        }))
    }

    fn data(&self, draft: &Draft) -> Result<Bytes, Unreadable> {
        let data = match &self.mapping.value {
            Some(from) => {
                if from.depth(&draft.post) > DATA_DEPTH_MAX {
                    return Err(Unreadable::field("value", "is nested too deep"));
                }
                from.data(&draft.post).ok_or_else(|| Unreadable::field("value", "is missing"))?
            }
            None => self.plain(draft),
        };
        if data.len() > DATA_BYTES_MAX {
            return Err(Unreadable::field("value", format!("is above {DATA_BYTES_MAX} bytes")));
        }
        Ok(data.into())
    }

    /// Text and author, and nothing else of whoever wrote it.
    fn plain(&self, draft: &Draft) -> Vec<u8> {
        let author = self.mapping.author.as_ref();
        let author = author.and_then(|from| from.text(&draft.post));
        let mut data = serde_json::Map::new();
        data.insert("text".into(), draft.text.as_str().into());
        if let Some(author) = author {
            data.insert("author".into(), author.into());
        }
        Value::Object(data).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_782_324_000_000_000);

    fn mapping() -> PostMapping {
        PostMapping {
            id: From::parse("/id"),
            text: From::parse("/text"),
            time: Some(From::parse("/at")),
            kind: From::parse("post"),
            author: Some(From::parse("/user/name")),
            value: None,
        }
    }

    fn reader(mapping: PostMapping) -> PostReader {
        let terms = Terms::parse(&["ars: arsenal", "che: chelsea"]).unwrap();
        PostReader::new("plaza", mapping, terms)
    }

    fn one(mapping: PostMapping, post: &str) -> Result<Event, Unreadable> {
        Ok(reader(mapping).events_of(post.as_bytes(), NOW, "c-1")?.remove(0))
    }

    const POST: &str = r#"{"id":7,"text":"Arsenal v Chelsea <b>\u001b[31m","at":1782323999000,
        "user":{"name":"jo","home":"N5"}}"#;

    #[test]
    fn a_post_becomes_an_event_with_text_and_author_and_no_more() {
        let event = one(mapping(), POST).unwrap();
        assert_eq!((&*event.source, &*event.id, event.route.as_str()), ("plaza", "7", "ars+che"));
        assert_eq!((event.stream, &*event.kind), (Stream::Social, "post"));
        assert_eq!(event.occurred_at, Timestamp(NOW.0 - 1_000_000));
        let data = br#"{"author":"jo","text":"Arsenal v Chelsea <b>\u001b[31m"}"#;
        assert_eq!(&*event.data, data, "{:?}", event.data);
        assert_eq!(one(mapping(), POST).unwrap(), event, "the same bytes, the same event");
    }

    #[test]
    fn what_clients_get_may_be_the_whole_or_a_part_of_it() {
        let with = |value: &str| PostMapping { value: Some(From::parse(value)), ..mapping() };
        let whole = one(with(""), POST).unwrap();
        assert!(serde_json::from_slice::<Value>(&whole.data).unwrap()["user"]["home"] == "N5");
        assert_eq!(&*one(with("/user/name"), POST).unwrap().data, br#"{"value":"jo"}"#);
        assert!(one(with("/gone"), POST).unwrap_err().to_string().contains("its value is missing"));
        let deep = format!(
            r#"{{"id":1,"text":"arsenal","at":0,"v":{}{}}}"#,
            "[".repeat(DATA_DEPTH_MAX + 1),
            "]".repeat(DATA_DEPTH_MAX + 1)
        );
        assert!(one(with("/v"), &deep).unwrap_err().to_string().contains("too deep"));
        let long = format!(r#"{{"id":1,"text":"arsenal {}","at":0}}"#, "x".repeat(DATA_BYTES_MAX));
        assert!(one(mapping(), &long).unwrap_err().to_string().contains("bytes"));
    }

    #[test]
    fn what_cannot_be_read_says_why_and_what_concerns_nobody_is_nothing() {
        for (post, trouble, says) in [
            ("nonsense", Trouble::BadJson, "no JSON object"),
            ("[1]", Trouble::BadJson, "another JSON value"),
            (r#"{"id":1,"text":"arsenal","at":1e400}"#, Trouble::BadJson, "no JSON"),
            (r#"{"id":1,"text":"\ud800 arsenal","at":0}"#, Trouble::BadJson, "no JSON"),
            ("{\"id\":1,\"text\":\"arsenal \u{1}\",\"at\":0}", Trouble::BadJson, "no JSON"),
            (r#"{"text":"arsenal","at":0}"#, Trouble::BadPost, "its id is missing"),
            (r#"{"id":"ü","text":"arsenal","at":0}"#, Trouble::BadPost, "its id must"),
            (r#"{"id":1,"at":0}"#, Trouble::BadPost, "its text is missing"),
            (r#"{"id":1,"text":"arsenal"}"#, Trouble::BadPost, "its time must"),
            (r#"{"id":1,"text":"arsenal","at":1782325000}"#, Trouble::InFuture, "yet to come"),
        ] {
            let error = one(mapping(), post).unwrap_err();
            assert_eq!(error.trouble(), trouble, "{post}");
            assert!(error.to_string().contains(says), "{error}");
        }
        let none = reader(mapping()).events_of(br#"{"id":1,"text":"rain"}"#, NOW, "c");
        assert_eq!(none, Ok(vec![]));
    }

    #[test]
    fn a_post_without_a_time_happened_when_it_came() {
        let post = r#"{"id":1,"text":"arsenal"}"#;
        let event = one(PostMapping { time: None, ..mapping() }, post).unwrap();
        assert_eq!(event.occurred_at, NOW);
    }
}
