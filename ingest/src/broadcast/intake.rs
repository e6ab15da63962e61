//! From what a partner sends to events, by what is agreed with it: shape and schema.
//!
//! A webhook's body is taken whole or not at all ([`Partner::events_of`]). What a polled partner
//! answers is a list that it keeps showing, so each item stands for itself there
//! ([`Partner::each_of`]).
//!
//! The schema is applied to each item as the partner sends it, before anything is mapped: in our
//! own shape that is the whole event, `id` and `teams` included.

use serde_json::Value;
use serde_json::value::RawValue;
use touchline_core::event::Event;
use touchline_core::limits::BODY_EVENTS_MAX;

use super::item::{Context, parse_body, refuse};
use super::json::bad_json;
use super::mapped::ItemMapping;
use super::sources::Partner;
use crate::problem::{Code, ItemError, Problem};

/// What became of one item of a list.
pub type Item = Result<Event, BadItem>;

/// An item that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadItem {
    /// All that is wrong with it.
    pub errors: Vec<ItemError>,
    /// A body that holds it alone, where [`Partner::events_of`] looks for items.
    pub body: Vec<u8>,
}

impl Partner {
    /// The events of a body: all of them, or the reason why none.
    pub fn events_of(&self, raw: &[u8], context: Context<'_>) -> Result<Vec<Event>, Problem> {
        let Some(mapping) = &self.mapping else {
            let events = parse_body(raw, context)?;
            self.check_own_shape(raw)?;
            return Ok(events);
        };
        let body = parse(raw)?;
        let items = items(mapping, &body)?;
        if items.is_empty() {
            return Err(bad_count());
        }
        let (mut events, mut errors) = (Vec::with_capacity(items.len()), Vec::new());
        for (index, item) in items.iter().enumerate() {
            match self.mapped(mapping, index, item, context) {
                Ok(event) => events.push(event),
                Err(more) => errors.extend(more),
            }
        }
        if errors.is_empty() { Ok(events) } else { Err(refuse(errors)) }
    }

    /// The events of a list, each by itself. An empty list is fine.
    pub fn each_of(&self, raw: &[u8], context: Context<'_>) -> Result<Vec<Item>, Problem> {
        if let Some(mapping) = &self.mapping {
            let body = parse(raw)?;
            let one = |(index, item): (usize, &Value)| {
                let alone = |errors| BadItem { errors, body: mapping.alone(item) };
                self.mapped(mapping, index, item, context).map_err(alone)
            };
            return Ok(items(mapping, &body)?.iter().enumerate().map(one).collect());
        }
        let read = |error: serde_json::Error| bad_json(&error.to_string());
        let items: Vec<&RawValue> = match raw.trim_ascii_start().starts_with(b"[") {
            true => serde_json::from_slice(raw).map_err(read)?,
            false => vec![serde_json::from_slice(raw).map_err(read)?],
        };
        if items.len() > BODY_EVENTS_MAX {
            return Err(bad_count());
        }
        let one = |(index, item): (usize, &&RawValue)| {
            let raw = item.get().as_bytes();
            let at_its_place =
                |problem| BadItem { errors: placed(index, problem), body: raw.into() };
            let mut events = parse_body(raw, context).map_err(at_its_place)?;
            self.check_own_shape(raw).map_err(at_its_place)?;
            events.pop().filter(|_| events.is_empty()).ok_or_else(|| at_its_place(bad_count()))
        };
        Ok(items.iter().enumerate().map(one).collect())
    }

    /// The event of one item, if schema and mapping fit it.
    fn mapped(
        &self,
        mapping: &ItemMapping,
        index: usize,
        item: &Value,
        context: Context<'_>,
    ) -> Result<Event, Vec<ItemError>> {
        let wrong = self.schema.as_ref().map(|schema| schema.check(index, item));
        match wrong.filter(|errors| !errors.is_empty()) {
            Some(errors) => Err(errors),
            None => mapping.event(index, item, context),
        }
    }

    /// Holds a body of our own shape, which is known to be sound, against the schema.
    fn check_own_shape(&self, raw: &[u8]) -> Result<(), Problem> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let body = parse(raw)?;
        let items = match &body {
            Value::Array(items) => items.as_slice(),
            item => std::slice::from_ref(item),
        };
        let check = |(index, item)| schema.check(index, item);
        let errors: Vec<ItemError> = items.iter().enumerate().flat_map(check).collect();
        if errors.is_empty() { Ok(()) } else { Err(refuse(errors)) }
    }
}

fn parse(raw: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(raw).map_err(|error| bad_json(&error.to_string()))
}

/// The items of a body, no more than it may have.
fn items<'v>(mapping: &ItemMapping, body: &'v Value) -> Result<&'v [Value], Problem> {
    let items = mapping.items(body)?;
    if items.len() > BODY_EVENTS_MAX { Err(bad_count()) } else { Ok(items) }
}

/// What is wrong with the item at `index`, by the problem that a body of it alone has.
fn placed(index: usize, problem: Problem) -> Vec<ItemError> {
    if problem.errors.is_empty() {
        let detail = problem.detail.into();
        return vec![ItemError { index, field: String::new(), reason: "malformed", detail }];
    }
    problem.errors.into_iter().map(|it| ItemError { index, ..it }).collect()
}

fn bad_count() -> Problem {
    let detail = format!("an array of events must hold 1 to {BODY_EVENTS_MAX}");
    Problem::new(Code::BadCount, detail)
}
