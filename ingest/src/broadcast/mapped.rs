//! Partners that send in a shape of their own: where the fields of an event stand in their items.
//!
//! Types and teams are taken in lower case, as ours are written. What clients get as `data` is the
//! mapped value as JSON; where a partner sends our own shape, nothing is mapped and `data` stays
//! byte for byte.

use serde_json::Value;
use touchline_core::event::{Event, Route, Stream, check_id, check_kind};
use touchline_core::limits::DATA_BYTES_MAX;

use super::item::Context;
use crate::limits::{DATA_DEPTH_MAX, OCCURRED_AHEAD_MAX};
use crate::mapping::From;
use crate::problem::{Code, ItemError, Problem};

/// How the events of one partner are found in what it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemMapping {
    /// Pointer to the array of items, or to the one item.
    pub items: Box<str>,
    /// The team, or an array of teams; a constant may join several by `+`.
    pub team: From,
    /// What the event is called.
    pub kind: From,
    /// What tells it from all others of this partner, once and for ever.
    pub id: From,
    /// When it happened: RFC 3339, or seconds, milliseconds or microseconds since 1970.
    pub time: From,
    /// What clients get: an object, or anything that becomes `{"value":...}`.
    pub value: From,
}

/// What is wrong with a field: the reason's word, and a sentence.
type Wrong = (&'static str, &'static str, String);

impl ItemMapping {
    /// The items of a body.
    pub(super) fn items<'v>(&self, body: &'v Value) -> Result<&'v [Value], Problem> {
        match body.pointer(&self.items) {
            Some(Value::Array(items)) => Ok(items.as_slice()),
            Some(item) => Ok(std::slice::from_ref(item)),
            None => {
                let detail =
                    format!("there is nothing at `{}`, where the items should be", self.items);
                Err(Problem::new(Code::InvalidEvents, detail))
            }
        }
    }

    /// A body that holds `item` and nothing else, where [`items`](Self::items) finds it.
    pub(super) fn alone(&self, item: &Value) -> Vec<u8> {
        let pointer = self.items.strip_prefix('/');
        let names = pointer.into_iter().flat_map(|names| names.split('/').rev());
        let body = names.fold(serde_json::json!([item]), |inner, name| {
            // RFC 6901, section 4.
            let name = name.replace("~1", "/").replace("~0", "~");
            Value::Object([(name, inner)].into_iter().collect())
        });
        body.to_string().into_bytes()
    }

    /// An item's event.
    pub(super) fn event(
        &self,
        index: usize,
        item: &Value,
        context: Context<'_>,
    ) -> Result<Event, Vec<ItemError>> {
        let mut errors = Vec::new();
        let mut note = |(field, reason, detail): Wrong| {
            errors.push(ItemError { index, field: field.into(), reason, detail: detail.into() });
        };
        let id = self.id(item).map_err(&mut note).ok();
        let route = self.route(item).map_err(&mut note).ok();
        let kind = self.kind(item).map_err(&mut note).ok();
        let occurred_at = self.occurred_at(item, context).map_err(&mut note).ok();
        let data = self.data(item).map_err(&mut note).ok();
        let (Some(id), Some(route), Some(kind), Some(occurred_at), Some(data)) =
            (id, route, kind, occurred_at, data)
        else {
            return Err(errors);
        };
        Ok(Event {
            stream: Stream::Broadcast,
            source: context.source.into(),
            id: id.into(),
            route,
            kind: kind.into(),
            occurred_at,
            data: data.into(),
            lang: None,
            supersedes: None,
            sensor: None,
            trace: context.trace.cloned(),
            correlation: context.correlation.into(),
        })
    }

    fn id(&self, item: &Value) -> Result<String, Wrong> {
        let id = self.id.text(item).ok_or_else(|| missing("id", "text or a number"))?;
        check_id(&id).map_err(|error| malformed("id", error))?;
        Ok(id)
    }

    fn route(&self, item: &Value) -> Result<Route, Wrong> {
        let wanted = "a team or an array of teams";
        let mut teams = self.team.teams(item).ok_or_else(|| missing("team", wanted))?;
        teams.iter_mut().for_each(|team| team.make_ascii_lowercase());
        Route::new(&teams).map_err(|error| malformed("team", error))
    }

    fn kind(&self, item: &Value) -> Result<String, Wrong> {
        let mut kind = self.kind.text(item).ok_or_else(|| missing("type", "text"))?;
        kind.make_ascii_lowercase();
        check_kind(&kind).map_err(|error| malformed("type", error))?;
        Ok(kind)
    }

    fn occurred_at(
        &self,
        item: &Value,
        context: Context<'_>,
    ) -> Result<touchline_core::time::Timestamp, Wrong> {
        let wanted = "RFC 3339 with an offset, or seconds, milliseconds or microseconds since 1970";
        let at = self.time.time(item).ok_or_else(|| missing("time", wanted))?;
        match at > context.now.plus(OCCURRED_AHEAD_MAX) {
            true => Err(("time", "in_future", "must not lie more than 5 minutes ahead".into())),
            false => Ok(at),
        }
    }

    fn data(&self, item: &Value) -> Result<Vec<u8>, Wrong> {
        if self.value.depth(item) > DATA_DEPTH_MAX {
            return Err(("value", "too_deep", "must not be nested deeper than 100 levels".into()));
        }
        let nothing = || ("value", "missing", "is mapped to nothing".into());
        let data = self.value.data(item).ok_or_else(nothing)?;
        match data.len() > DATA_BYTES_MAX {
            true => Err(("value", "too_large", "must be at most 64 KiB".into())),
            false => Ok(data),
        }
    }
}

fn missing(field: &'static str, wanted: &str) -> Wrong {
    (field, "missing", format!("is mapped to nothing, or to what isn't {wanted}"))
}

fn malformed(field: &'static str, error: impl std::fmt::Display) -> Wrong {
    (field, "malformed", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use touchline_core::time::Timestamp;

    fn mapping() -> ItemMapping {
        ItemMapping {
            items: "/feed/events".into(),
            team: From::parse("/club"),
            kind: From::parse("/what"),
            id: From::parse("/n"),
            time: From::parse("/at"),
            value: From::parse("/detail"),
        }
    }

    fn item() -> Value {
        json!({"n": 7, "club": "ARS", "what": "GOAL", "at": 1_782_324_000, "detail": {"min": 3}})
    }

    fn context() -> Context<'static> {
        let now = Timestamp::parse("2026-06-24T18:00:00Z").unwrap();
        Context { source: "arena", correlation: "c-1", trace: None, now }
    }

    #[test]
    fn fields_are_found_where_the_mapping_points() {
        let body = json!({"feed": {"events": [item()]}});
        let items = mapping().items(&body).unwrap().to_vec();
        let event = mapping().event(0, &items[0], context()).unwrap();
        assert_eq!((&*event.source, &*event.id, &*event.kind), ("arena", "7", "goal"));
        assert_eq!((event.route.as_str(), &event.data[..]), ("ars", &br#"{"min":3}"#[..]));
        assert_eq!(event.occurred_at, context().now);
        let single = json!({"feed": {"events": item()}});
        assert_eq!(mapping().items(&single).unwrap().len(), 1, "one item needs no array");
        for pointer in ["", "/feed/events", "/a~1b/~0c/0"] {
            let mapping = ItemMapping { items: pointer.into(), ..mapping() };
            let alone: Value = serde_json::from_slice(&mapping.alone(&item())).unwrap();
            assert_eq!(mapping.items(&alone).unwrap(), [item()], "{alone}");
        }
        let nowhere = mapping().items(&json!({})).unwrap_err();
        assert!(nowhere.detail.contains("`/feed/events`"), "{nowhere:?}");
    }

    #[test]
    fn everything_wrong_with_an_item_is_named() {
        let deep = (0..101).fold(json!(1), |inner, _| json!([inner]));
        for (field, bad, name, reason) in [
            ("n", json!(null), "id", "missing"),
            ("n", json!(""), "id", "malformed"),
            ("club", json!("Arsenal FC"), "team", "malformed"),
            ("what", json!("a goal"), "type", "malformed"),
            ("at", json!("18:00"), "time", "missing"),
            ("at", json!("2026-06-24T18:05:01Z"), "time", "in_future"),
            ("detail", deep, "value", "too_deep"),
            ("detail", json!("x".repeat(DATA_BYTES_MAX)), "value", "too_large"),
        ] {
            let mut broken = item();
            broken[field] = bad;
            let errors = mapping().event(4, &broken, context()).unwrap_err();
            let got: Vec<_> = errors.iter().map(|it| (it.index, &*it.field, it.reason)).collect();
            assert_eq!(got, [(4, name, reason)]);
        }
        assert_eq!(mapping().event(0, &json!(3), context()).unwrap_err().len(), 5);
    }
}
