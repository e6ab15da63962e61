//! From a body to events: what a webhook's item must look like, and what is told of one that
//! doesn't.
//!
//! An item is `{"id","teams","type","occurred_at","data"}`, each exactly once and nothing else. A
//! body with one bad item is refused whole, and every bad item is named, so that a partner can mend
//! a batch in one go. Inside `data` anything goes that is an object of JSON, up to 64 KiB and 100
//! levels: nobody here interprets it.

use std::sync::Arc;

use bytes::Bytes;
use touchline_core::event::{Event, Route, RouteError, Stream, check_id, check_kind};
use touchline_core::limits::{BODY_EVENTS_MAX, DATA_BYTES_MAX, ROUTE_TEAMS_MAX};
use touchline_core::time::Timestamp;

use super::json::{self, Value};
use crate::limits::{
    DATA_DEPTH_MAX, FIELD_ECHO_BYTES_MAX, ITEM_ERRORS_MAX, OCCURRED_AHEAD_MAX,
    OCCURRED_AT_BYTES_MAX,
};
use crate::problem::{Code, ItemError, Problem};

/// What all events of one body have in common.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The partner's name: the events' `source`.
    pub source: &'a str,
    /// The request's correlation id.
    pub correlation: &'a str,
    /// The request's `traceparent`, where it came with a good one.
    pub trace: Option<&'a Arc<str>>,
    /// This host's clock.
    pub now: Timestamp,
}

/// Reads a body: one event or an array of up to 1,000. All of them, or the reason why none.
pub fn parse_body(raw: &[u8], context: Context<'_>) -> Result<Vec<Event>, Problem> {
    let mut copy = raw.to_vec();
    let tape = json::tape(&mut copy)?;
    let root = Value::of(&tape);
    let (items, array): (Vec<Value<'_, '_>>, bool) = match root.elements() {
        Some(elements) => (elements.take(BODY_EVENTS_MAX + 1).collect(), true),
        None => (vec![root], false),
    };
    if !(1..=BODY_EVENTS_MAX).contains(&items.len()) {
        let detail = format!("an array of events must hold 1 to {BODY_EVENTS_MAX}");
        return Err(Problem::new(Code::BadCount, detail));
    }
    let mut errors = Vec::new();
    let mut drafts = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let mut report = Report { index, errors: &mut errors, left: ITEM_ERRORS_MAX };
        drafts.extend(Draft::read(item, context.now, &mut report));
    }
    if !errors.is_empty() {
        return Err(refuse(errors));
    }
    let slices = json::data_slices(raw, array)?;
    finish(drafts, &slices, context)
}

/// Joins what was read with the bytes of `data`.
fn finish(drafts: Vec<Draft>, data: &[&[u8]], context: Context<'_>) -> Result<Vec<Event>, Problem> {
    if drafts.len() != data.len() {
        return Err(Problem::new(Code::BadJson, "the body is read differently by two parsers"));
    }
    let too_large = |(index, data): (usize, &&[u8])| {
        let mut errors = Vec::new();
        let mut report = Report { index, errors: &mut errors, left: 1 };
        if data.len() > DATA_BYTES_MAX {
            report.add("data", "too_large", "must be at most 64 KiB");
        }
        errors.pop()
    };
    let errors: Vec<ItemError> = data.iter().enumerate().filter_map(too_large).collect();
    if !errors.is_empty() {
        return Err(refuse(errors));
    }
    let event = |(draft, data): (Draft, &&[u8])| Event {
        stream: Stream::Broadcast,
        source: context.source.into(),
        id: draft.id,
        route: draft.route,
        kind: draft.kind,
        occurred_at: draft.occurred_at,
        // A copy, so that one event kept in memory doesn't keep its whole body there.
        data: Bytes::copy_from_slice(data),
        lang: None,
        supersedes: None,
        sensor: None,
        trace: context.trace.cloned(),
        correlation: context.correlation.into(),
    };
    Ok(drafts.into_iter().zip(data).map(event).collect())
}

/// The refusal of these items.
pub fn refuse(errors: Vec<ItemError>) -> Problem {
    let ahead = errors.iter().all(|error| error.reason == "in_future");
    Problem::of_items(if ahead { Code::InFuture } else { Code::InvalidEvents }, errors)
}

/// Where the errors of one item go: the first four of each.
struct Report<'a> {
    index: usize,
    errors: &'a mut Vec<ItemError>,
    left: usize,
}

impl Report<'_> {
    fn add(&mut self, field: &str, reason: &'static str, detail: &'static str) {
        if self.left > 0 {
            self.left -= 1;
            let end = field.floor_char_boundary(FIELD_ECHO_BYTES_MAX);
            let field = field[..end].to_owned();
            let detail = detail.into();
            self.errors.push(ItemError { index: self.index, field, reason, detail });
        }
    }
}

/// An item whose fields are sound; its `data` is still in the body.
struct Draft {
    id: Box<str>,
    route: Route,
    kind: Box<str>,
    occurred_at: Timestamp,
}

const FIELDS: [&str; 5] = ["id", "teams", "type", "occurred_at", "data"];

impl Draft {
    /// Reads an item, or reports all that is wrong with it.
    fn read(item: Value<'_, '_>, now: Timestamp, report: &mut Report<'_>) -> Option<Self> {
        let [id, teams, kind, occurred_at, data] = pick(item, report)?;
        let id = id.and_then(|value| read_id(value, report));
        let route = teams.and_then(|value| read_teams(value, report));
        let kind = kind.and_then(|value| read_kind(value, report));
        let occurred_at = occurred_at.and_then(|value| read_occurred_at(value, now, report));
        data.and_then(|value| check_data(value, report))?;
        Some(Self { id: id?, route: route?, kind: kind?, occurred_at: occurred_at? })
    }
}

/// The values of [`FIELDS`]; reports what is missing, unknown or there twice.
fn pick<'t, 'i>(
    item: Value<'t, 'i>,
    report: &mut Report<'_>,
) -> Option<[Option<Value<'t, 'i>>; 5]> {
    let Some(members) = item.members() else {
        report.add("", "wrong_type", "must be an object");
        return None;
    };
    let mut picked = [None; 5];
    for (key, value) in members {
        match FIELDS.iter().position(|field| *field == key) {
            None => report.add(key, "unknown_field", "is not a field of an event"),
            Some(n) if picked[n].is_some() => {
                report.add(key, "duplicate_field", "must stand there once");
            }
            Some(n) => picked[n] = Some(value),
        }
    }
    for (field, value) in FIELDS.iter().zip(&picked) {
        if value.is_none() {
            report.add(field, "missing", "is required");
        }
    }
    Some(picked)
}

fn text<'i>(value: Value<'_, 'i>, field: &str, report: &mut Report<'_>) -> Option<&'i str> {
    let text = value.as_str();
    if text.is_none() {
        report.add(field, "wrong_type", "must be a string");
    }
    text
}

fn read_id(value: Value<'_, '_>, report: &mut Report<'_>) -> Option<Box<str>> {
    let id = text(value, "id", report)?;
    if check_id(id).is_err() {
        report.add("id", "malformed", "must be 1 to 128 printable ASCII characters");
        return None;
    }
    Some(id.into())
}

fn read_kind(value: Value<'_, '_>, report: &mut Report<'_>) -> Option<Box<str>> {
    let kind = text(value, "type", report)?;
    if check_kind(kind).is_err() {
        report.add("type", "malformed", "must be 1 to 64 of a-z, 0-9, '_', '.' and '-'");
        return None;
    }
    Some(kind.into())
}

fn read_teams(value: Value<'_, '_>, report: &mut Report<'_>) -> Option<Route> {
    let Some(elements) = value.elements() else {
        report.add("teams", "wrong_type", "must be an array of team ids");
        return None;
    };
    let names: Option<Vec<&str>> =
        elements.take(ROUTE_TEAMS_MAX + 1).map(|element| element.as_str()).collect();
    let Some(names) = names else {
        report.add("teams", "wrong_type", "must be an array of team ids");
        return None;
    };
    let route =
        if names.len() > ROUTE_TEAMS_MAX { Err(RouteError::Count) } else { Route::new(&names) };
    match route {
        Ok(route) => return Some(route),
        Err(RouteError::Count) => report.add("teams", "malformed", "must name 1 to 8 teams"),
        Err(RouteError::Team(_)) => {
            report.add("teams", "malformed", "each must be 1 to 32 of a-z, 0-9, '_' and '-'");
        }
    }
    None
}

fn read_occurred_at(
    value: Value<'_, '_>,
    now: Timestamp,
    report: &mut Report<'_>,
) -> Option<Timestamp> {
    let text = text(value, "occurred_at", report)?;
    let Some(at) = parse_rfc3339(text) else {
        let detail = "must be RFC 3339 with an offset, such as 2026-06-24T18:03:11.5Z";
        report.add("occurred_at", "malformed", detail);
        return None;
    };
    if at > now.plus(OCCURRED_AHEAD_MAX) {
        report.add("occurred_at", "in_future", "must not lie more than 5 minutes ahead");
        return None;
    }
    Some(at)
}

fn check_data(value: Value<'_, '_>, report: &mut Report<'_>) -> Option<()> {
    if !value.is_object() {
        report.add("data", "wrong_type", "must be an object");
        return None;
    }
    if value.depth() > DATA_DEPTH_MAX {
        report.add("data", "too_deep", "must not be nested deeper than 100 levels");
        return None;
    }
    Some(())
}

/// RFC 3339 and nothing else; [`Timestamp::parse`] alone would also take other ISO 8601 forms.
fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    if text.len() > OCCURRED_AT_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    let shape = |text: &str, shape: &[u8]| {
        text.len() == shape.len()
            && text.bytes().zip(shape).all(|(byte, want)| match want {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't'),
                _ => byte == *want,
            })
    };
    let (date_time, rest) = text.split_at_checked(19)?;
    let rest = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (after.len() < fraction.len()).then_some(after)?
        }
    };
    let offset = matches!(rest, "Z" | "z") || shape(rest, b"+00:00") || shape(rest, b"-00:00");
    (shape(date_time, b"0000-00-00T00:00:00") && offset).then(|| Timestamp::parse(text))?
}

#[cfg(test)]
mod tests;
