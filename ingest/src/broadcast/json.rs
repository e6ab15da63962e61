//! A body's JSON as a flat list of nodes, and where each event's `data` lies in the bytes as they
//! came.
//!
//! Two parsers read every body and both must accept it. simd-json reads a copy (it changes its
//! input) and gives the values that are judged. serde_json reads the original and gives the slice
//! of each `data`, which is forwarded byte for byte. What only one of them takes is refused, so
//! that no client is ever sent JSON that some parser won't read.
//!
//! # Shape of the tape
//! simd-json writes nodes in document order. An object or array node says how many nodes lie inside
//! it; the members of an object are a key node and the nodes of its value. [`Value`] is a view of
//! one value's nodes.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use simd_json::{Node, Tape};

use crate::problem::{Code, Problem};

/// One value: its own node and all that lie inside it.
#[derive(Clone, Copy, Debug)]
pub struct Value<'t, 'i>(&'t [Node<'i>]);

impl<'t, 'i> Value<'t, 'i> {
    /// The whole document.
    pub fn of(tape: &'t Tape<'i>) -> Self {
        Self(&tape.0)
    }

    /// The text, if it is one.
    pub fn as_str(self) -> Option<&'i str> {
        match self.0.first() {
            Some(Node::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        matches!(self.0.first(), Some(Node::Object { .. }))
    }

    /// The elements, if it is an array.
    pub fn elements(self) -> Option<impl Iterator<Item = Self>> {
        let Some(Node::Array { .. }) = self.0.first() else { return None };
        let mut rest = &self.0[1..];
        Some(std::iter::from_fn(move || take_value(&mut rest)))
    }

    /// The members in their order, repeated keys included, if it is an object.
    pub fn members(self) -> Option<impl Iterator<Item = (&'i str, Self)>> {
        let Some(Node::Object { .. }) = self.0.first() else { return None };
        let mut rest = &self.0[1..];
        Some(std::iter::from_fn(move || {
            let key = take_value(&mut rest)?.as_str()?;
            Some((key, take_value(&mut rest)?))
        }))
    }

    /// How many brackets are open at its deepest place: 0 for a scalar, 1 for `{}`.
    pub fn depth(self) -> usize {
        let mut deepest = 0;
        let mut ends: Vec<usize> = Vec::new();
        for (n, node) in self.0.iter().enumerate() {
            while ends.last().is_some_and(|end| *end <= n) {
                ends.pop();
            }
            if let Node::Object { count, .. } | Node::Array { count, .. } = node {
                ends.push(n + 1 + count);
                deepest = deepest.max(ends.len());
            }
        }
        deepest
    }
}

fn take_value<'t, 'i>(rest: &mut &'t [Node<'i>]) -> Option<Value<'t, 'i>> {
    let width = match rest.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => 1 + count,
        Node::String(_) | Node::Static(_) => 1,
    };
    let (value, after) = rest.split_at_checked(width)?;
    *rest = after;
    Some(Value(value))
}

/// Parses `copy` in place.
pub fn tape(copy: &mut [u8]) -> Result<Tape<'_>, Problem> {
    simd_json::to_tape(copy).map_err(|error| bad_json(&error.to_string()))
}

#[derive(Deserialize)]
struct OnlyData<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The slices of `raw` that hold each item's `data`, in order. Every item is known to be an object
/// with one `data`.
pub fn data_slices(raw: &[u8], array: bool) -> Result<Vec<&[u8]>, Problem> {
    let read = || -> serde_json::Result<Vec<&[u8]>> {
        let items: Vec<OnlyData<'_>> =
            if array { serde_json::from_slice(raw)? } else { vec![serde_json::from_slice(raw)?] };
        for item in &items {
            // A raw value is only skimmed: escapes and the range of numbers are judged here.
            serde_json::from_str::<Sound>(item.data.get())?;
        }
        Ok(items.into_iter().map(|item| item.data.get().as_bytes()).collect())
    };
    read().map_err(|error| bad_json(&error.to_string()))
}

/// Any value, read to the last escape and digit, and dropped.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self, A::Error> {
        while elements.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// The refusal of a body that is no JSON.
pub fn bad_json(why: &str) -> Problem {
    let why: String = why.chars().filter(|c| !c.is_control()).take(160).collect();
    Problem::new(Code::BadJson, format!("the body is not JSON that every client could read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(json: &str, read: impl FnOnce(Value<'_, '_>) -> T) -> T {
        let mut copy = json.as_bytes().to_vec();
        read(Value::of(&tape(&mut copy).unwrap()))
    }

    #[test]
    fn members_come_in_order_with_their_repeats_and_whatever_lies_inside() {
        let json = r#"{"a":{"x":[1,{"y":null}]},"b":[],"a":"t","c":{}}"#;
        check(json, |root| {
            let keys: Vec<_> = root.members().unwrap().map(|(key, _)| key).collect();
            assert_eq!(keys, ["a", "b", "a", "c"]);
            let values: Vec<_> = root.members().unwrap().map(|(_, value)| value).collect();
            assert_eq!(values[1].elements().unwrap().count(), 0);
            assert_eq!(values[2].as_str(), Some("t"));
            assert!(values[3].is_object() && values[0].is_object());
        });
        check(r#"[1,[2,[3]],"x"]"#, |root| assert_eq!(root.elements().unwrap().count(), 3));
    }

    #[test]
    fn depth_counts_open_brackets() {
        for (json, depth) in [
            ("1", 0),
            ("{}", 1),
            (r#"{"a":[],"b":[]}"#, 2),
            (r#"{"a":[{"b":1}],"c":{}}"#, 3),
            (r#"[[],[[]],[]]"#, 3),
        ] {
            assert_eq!(check(json, |value| value.depth()), depth, "{json}");
        }
    }

    #[test]
    fn data_is_cut_out_of_the_bytes_as_they_came() {
        let raw =
            br#"[{"id":"1","data":{ "a" : 1.10 }},{"d\u0061ta":{"\u00e9":"}"},"x":[{"data":0}]}]"#;
        let slices = data_slices(raw, true).unwrap();
        assert_eq!(slices, [&br#"{ "a" : 1.10 }"#[..], br#"{"\u00e9":"}"}"#]);
    }
}
