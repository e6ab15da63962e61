//! A client's JSON and URL, read strictly.
//!
//! [`parse_message`] reads one text message, [`parse_query`] what stands behind the `?` of the URL.
//! Both let through exactly the grammar of DESIGN section 5: a field that isn't known, a field that
//! is named twice and a value of the wrong type are errors, so that a typo never looks like a
//! subscription that nothing comes from.
//!
//! # How a message is read
//! 1. The object is split into its fields; values stay raw text. Nothing is interpreted, so depth
//!    costs no stack.
//! 2. `id` is read first: whatever is wrong with the rest, the error carries it.
//! 3. `op` decides which fields there may be; then each value is read as its own type.
//!
//! # What it leaves out
//! Whether the session may: how many teams, which language, whether a mark comes too late, whether
//! a position exists. The hub knows.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{ClientMessage, ErrorCode, RequestError, RequestId, Resume, Subscribe};
use crate::event::{Lang, Stream, StreamSet, Team, Topic};
use crate::limits::{AFTER_TOPICS_MAX, SUBSCRIBE_TEAMS_MAX};
use crate::log::{Epoch, Position, token};

/// What is wrong, before it is known whose request it is.
type Fault = (ErrorCode, String);

/// Reads one text message of a client.
///
/// # Errors
/// The first fault, with the request's id where that could be read. The session lives on.
pub fn parse_message(text: &[u8]) -> Result<ClientMessage, RequestError> {
    let fields: Fields<'_> = serde_json::from_slice(text).map_err(|_| {
        fail(None, (ErrorCode::BadJson, "the message must be one JSON object".into()))
    })?;
    let id = fields.get("id").map(read_id).transpose();
    let known_id = id.as_ref().ok().copied().flatten();
    let message = fields.check_unique().and_then(|()| fields.message(id?));
    message.map_err(|fault| fail(known_id, fault))
}

/// Reads the query of a stream URL, without its `?`. `None` if it asks for nothing.
///
/// # Errors
/// The first fault. There is no id in a URL.
pub fn parse_query(query: &str) -> Result<Option<Subscribe>, RequestError> {
    query_fields(query).and_then(|fields| subscribe_of_query(&fields)).map_err(|it| fail(None, it))
}

fn fail(id: Option<RequestId>, (code, message): Fault) -> RequestError {
    RequestError { id, code, message }
}

fn bad_field(name: &str, what: impl fmt::Display) -> Fault {
    (ErrorCode::BadField, format!("`{name}` {what}"))
}

// ------------------------------------------------------------------
// JSON

/// An object's fields as they came: order, repetitions and all, with raw values.
struct Fields<'m>(Vec<(Cow<'m, str>, &'m RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor).map(Self)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            fields.push((name, value));
        }
        Ok(fields)
    }
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize, PartialEq, Eq, Hash)]
struct Text<'m>(#[serde(borrow)] Cow<'m, str>);

impl<'m> Fields<'m> {
    fn get(&self, name: &str) -> Option<&'m RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    fn check_unique(&self) -> Result<(), Fault> {
        let mut seen = HashSet::with_capacity(self.0.len());
        match self.0.iter().find(|(name, _)| !seen.insert(&**name)) {
            Some((name, _)) => Err(bad_field(&shown(name), "is named twice")),
            None => Ok(()),
        }
    }

    fn message(&self, id: Option<RequestId>) -> Result<ClientMessage, Fault> {
        let unknown = || {
            (ErrorCode::UnknownOp, "`op` must be one of subscribe, unsubscribe, auth, ping".into())
        };
        let op = self
            .get("op")
            .and_then(|raw| read::<Text<'_>>("op", raw, "").ok())
            .ok_or_else(unknown)?;
        match &*op.0 {
            "subscribe" => {
                self.check_known(&["op", "id", "teams", "streams", "lang", "mark", "after"])?;
                self.subscribe(id).map(ClientMessage::Subscribe)
            }
            "unsubscribe" => {
                self.check_known(&["op", "id", "teams"])?;
                Ok(ClientMessage::Unsubscribe { id, teams: self.teams()? })
            }
            "auth" => {
                self.check_known(&["op", "id", "token"])?;
                let raw = self.get("token").ok_or_else(|| bad_field("token", "is missing"))?;
                read::<Text<'_>>("token", raw, "must be a string")?;
                Ok(ClientMessage::Auth { id })
            }
            "ping" => {
                self.check_known(&["op", "id"])?;
                Ok(ClientMessage::Ping { id })
            }
            _ => Err(unknown()),
        }
    }

    fn check_known(&self, known: &[&str]) -> Result<(), Fault> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            Some((name, _)) => {
                let known = known.join(", ");
                let message = format!("there is no field `{}`; there are {known}", shown(name));
                Err((ErrorCode::UnknownField, message))
            }
            None => Ok(()),
        }
    }

    fn subscribe(&self, id: Option<RequestId>) -> Result<Subscribe, Fault> {
        let teams = self.teams()?;
        let streams = match self.get("streams") {
            Some(raw) => streams(&texts("streams", raw)?)?,
            None => StreamSet::DEFAULT,
        };
        let text = |name| self.get(name).map(|raw| read::<Text<'_>>(name, raw, "must be a string"));
        let lang = text("lang").transpose()?.map(|tag| lang(&tag.0)).transpose()?;
        let mark = text("mark").transpose()?;
        let after = match self.get("after") {
            Some(raw) => read::<Fields<'_>>("after", raw, "must be an object")?.after()?,
            None => Vec::new(),
        };
        let resume = resume(mark.as_ref().map(|mark| &*mark.0), after)?;
        Ok(Subscribe { id, teams, streams, lang, resume })
    }

    fn teams(&self) -> Result<Vec<Team>, Fault> {
        let raw = self.get("teams").ok_or_else(|| bad_field("teams", "is missing"))?;
        teams(&texts("teams", raw)?)
    }

    fn after(&self) -> Result<Vec<(Topic, Epoch, Position)>, Fault> {
        let mut pairs = Vec::with_capacity(self.0.len().min(AFTER_TOPICS_MAX));
        for (topic, raw) in &self.0 {
            let pos = read::<Text<'_>>("after", raw, "must hold positions as strings")?;
            pairs.push((topic.clone(), pos.0));
        }
        after(&pairs)
    }
}

/// Safe integers only: a client in JavaScript gets back what it sent.
fn read_id(raw: &RawValue) -> Result<RequestId, Fault> {
    let what = "must be a whole number from 0 to 9007199254740991";
    let id = read::<RequestId>("id", raw, what)?;
    if id < 1 << 53 { Ok(id) } else { Err(bad_field("id", what)) }
}

fn texts<'m>(name: &str, raw: &'m RawValue) -> Result<Vec<Cow<'m, str>>, Fault> {
    let texts: Vec<Text<'m>> = read(name, raw, "must be an array of strings")?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

fn read<'m, T: serde::Deserialize<'m>>(
    name: &str,
    raw: &'m RawValue,
    what: &str,
) -> Result<T, Fault> {
    serde_json::from_str(raw.get()).map_err(|_| bad_field(name, what))
}

/// A name from outside, short enough to be sent back.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(32).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}

// ------------------------------------------------------------------
// URL

const QUERY_FIELDS: [&str; 6] = ["teams", "streams", "lang", "mark", "after", "token"];

/// Values by the order of [`QUERY_FIELDS`], decoded.
type QueryFields = [Option<String>; QUERY_FIELDS.len()];

fn query_fields(query: &str) -> Result<QueryFields, Fault> {
    let mut fields = QueryFields::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(index) = QUERY_FIELDS.iter().position(|known| *known == name) else {
            let known = QUERY_FIELDS.join(", ");
            let message = format!("there is no parameter `{}`; there are {known}", shown(name));
            return Err((ErrorCode::UnknownField, message));
        };
        let value =
            percent_decode(value).ok_or_else(|| bad_field(name, "has a broken % escape"))?;
        if fields[index].replace(value).is_some() {
            return Err(bad_field(name, "is named twice"));
        }
    }
    Ok(fields)
}

fn subscribe_of_query(fields: &QueryFields) -> Result<Option<Subscribe>, Fault> {
    let [teams_text, streams_text, lang_text, mark_text, after_text, token_text] = fields;
    if token_text.as_ref().is_some_and(|token| !token.is_empty()) {
        let message = "this server has no access tokens; connect without `token`".into();
        return Err((ErrorCode::AuthUnavailable, message));
    }
    let Some(teams_text) = teams_text else {
        let rest = [streams_text, lang_text, mark_text, after_text];
        return match rest.iter().all(|field| field.is_none()) {
            true => Ok(None),
            false => Err(bad_field("teams", "is missing")),
        };
    };
    let after = match after_text {
        Some(text) => {
            let pairs: Option<Vec<_>> = text.split(',').map(|pair| pair.split_once('~')).collect();
            let pairs = pairs.ok_or_else(|| bad_field("after", "must be <topic>~<pos>,..."))?;
            after(&pairs)?
        }
        None => Vec::new(),
    };
    Ok(Some(Subscribe {
        id: None,
        teams: teams(&list(teams_text))?,
        streams: streams_text
            .as_ref()
            .map_or(Ok(StreamSet::DEFAULT), |text| streams(&list(text)))?,
        lang: lang_text.as_ref().map(|text| lang(text)).transpose()?,
        resume: resume(mark_text.as_deref(), after)?,
    }))
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').collect()
}

/// RFC 3986, 2.1; `+` stays `+`, for topics have it in their names. `None` for a broken escape or
/// what isn't UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        decoded.push(u8::try_from(high? * 16 + low?).ok()?);
        rest = tail;
    }
    String::from_utf8(decoded).ok()
}

// ------------------------------------------------------------------
// Values, the same in both

/// At least one; one named twice counts once.
fn teams<S: AsRef<str>>(names: &[S]) -> Result<Vec<Team>, Fault> {
    if names.is_empty() {
        return Err(bad_field("teams", "must name at least one team"));
    }
    let mut seen = HashSet::new();
    let mut teams = Vec::new();
    for name in names.iter().map(AsRef::as_ref) {
        let team = Team::new(name).map_err(|error| bad_field("teams", error))?;
        if !seen.insert(name) {
            continue;
        }
        if seen.len() > SUBSCRIBE_TEAMS_MAX {
            let message = format!("`teams` names more than {SUBSCRIBE_TEAMS_MAX} teams");
            return Err((ErrorCode::TooManyTeams, message));
        }
        teams.push(team);
    }
    Ok(teams)
}

fn streams<S: AsRef<str>>(names: &[S]) -> Result<StreamSet, Fault> {
    let what = "must name at least one of broadcast, update, social, sensor";
    let streams: Option<StreamSet> =
        names.iter().map(|name| Stream::parse(name.as_ref())).collect();
    streams.filter(|_| !names.is_empty()).ok_or_else(|| bad_field("streams", what))
}

fn lang(tag: &str) -> Result<Lang, Fault> {
    Lang::new(tag).map_err(|error| bad_field("lang", error))
}

fn after<T: AsRef<str>, P: AsRef<str>>(
    pairs: &[(T, P)],
) -> Result<Vec<(Topic, Epoch, Position)>, Fault> {
    if pairs.len() > AFTER_TOPICS_MAX {
        return Err(bad_field("after", format_args!("names more than {AFTER_TOPICS_MAX} topics")));
    }
    let mut seen = HashSet::with_capacity(pairs.len());
    let mut after = Vec::with_capacity(pairs.len());
    for (topic, pos) in pairs {
        let topic = Topic::parse(topic.as_ref())
            .map_err(|error| bad_field("after", format_args!("names what {error}")))?;
        if !seen.insert(topic.clone()) {
            return Err(bad_field("after", "names a topic twice"));
        }
        let (epoch, position) =
            token::decode_position(pos.as_ref()).map_err(|error| bad_token("after", error))?;
        after.push((topic, epoch, position));
    }
    Ok(after)
}

fn resume(
    mark: Option<&str>,
    after: Vec<(Topic, Epoch, Position)>,
) -> Result<Option<Resume>, Fault> {
    let mark = mark.map(token::decode_mark).transpose().map_err(|it| bad_token("mark", it))?;
    Ok((mark.is_some() || !after.is_empty()).then_some(Resume { mark, after }))
}

fn bad_token(name: &str, error: token::TokenError) -> Fault {
    (ErrorCode::BadToken, format!("`{name}` {error}; start without it"))
}

#[cfg(test)]
mod tests;
