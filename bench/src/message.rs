//! How sequence and time are found in a server's messages: `[connect.message]` of a target.
//!
//! Servers that pass on what was published, wherever they put it, need nothing here: the
//! [`Stamp`] is looked for. Others put it into a string of JSON, where its quotes are escaped
//! ([`Form::JsonEscaped`]), or encode it ([`Form::Base64`]). And some take an event apart, and send
//! a message of their own making: of those [`Message::sequence`] and [`Message::time`] say where in
//! the message's JSON the numbers stand.
//!
//! A plain stamp is the cheapest to find, a message that is parsed by far the dearest: what that
//! does to the generator shows in its share of a run (`bench/peers/README.md`).

use anyhow::{Result, ensure};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stamp::{Escaped, Plain, Spelling as _, Stamp};

/// How a server's messages are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Message {
    /// How what was published stands in a message.
    pub stamp: Form,
    /// Where the event's number stands instead, as a JSON pointer (RFC 6901).
    pub sequence: Option<String>,
    /// Where the time stands at which it was due; without it the schedule's counts.
    pub time: Option<String>,
}

/// How what was published stands in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// As it is.
    #[default]
    Plain,
    /// Within a string of JSON: a backslash before each quote.
    JsonEscaped,
    /// In base64, alone or with what is around it.
    Base64,
}

/// What was found by pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// As in [`Stamp::seq`].
    pub seq: u32,
    /// As in [`Stamp::t`].
    pub t: Option<u64>,
}

/// Base64 that may hold a stamp is as long as this at least.
const RUN_BYTES_MIN: usize = Plain::BYTES * 4 / 3;
/// Bytes of an event's end that are decoded first: the stamp stands there unless a server adds
/// something.
const TAIL_BYTES: usize = 96;
const _: () = assert!(TAIL_BYTES > Plain::BYTES + 3 + 2);

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
static STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
static URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

impl Message {
    /// What can't be meant, for whoever wrote the file. `joins`: messages carry several events.
    ///
    /// # Errors
    /// When keys contradict each other, or a pointer is none.
    pub fn check(&self, joins: bool) -> Result<()> {
        for (key, pointer) in [("sequence", &self.sequence), ("time", &self.time)] {
            let is_pointer = pointer.as_ref().is_none_or(|pointer| pointer.starts_with('/'));
            ensure!(is_pointer, "message.{key} is a JSON pointer and begins with /: \"/data/seq\"");
        }
        ensure!(
            self.time.is_none() || self.sequence.is_some(),
            "message.time needs message.sequence beside it"
        );
        ensure!(
            self.sequence.is_none() || self.stamp == Form::Plain,
            "message.stamp is of no use where message.sequence says where to look"
        );
        ensure!(
            self.sequence.is_none() || !joins,
            "message.sequence finds one event in a message: it doesn't go with `joins`"
        );
        Ok(())
    }

    /// How many bytes of a frame must be there before an event can be taken out of its middle;
    /// `None` where only whole messages can be read.
    pub fn overlap(&self) -> Option<usize> {
        match self.stamp {
            _ if self.sequence.is_some() => None,
            Form::Plain => Some(Plain::BYTES - 1),
            Form::JsonEscaped => Some(Escaped::BYTES - 1),
            Form::Base64 => None,
        }
    }

    /// Numbers where `sequence` and `time` say that they stand.
    pub fn look_up(&self, payload: &[u8]) -> Option<Found> {
        // Socket.IO and others put a word of their own before the JSON.
        let from = payload.iter().position(|byte| matches!(byte, b'{' | b'['))?;
        let json = serde_json::Deserializer::from_slice(&payload[from..]);
        let message: Value = json.into_iter().next()?.ok()?;
        let seq = number(&at(&message, self.sequence.as_ref()?)?)?;
        let t = match &self.time {
            Some(time) => Some(number(&at(&message, time)?)?),
            None => None,
        };
        Some(Found { seq: u32::try_from(seq).ok()?, t })
    }
}

impl Form {
    /// The stamp in a message, if it has one.
    #[inline]
    pub fn find(self, payload: &[u8]) -> Option<Stamp> {
        match self {
            Self::Plain => Stamp::find::<Plain>(payload),
            Self::JsonEscaped => Stamp::find::<Escaped>(payload),
            Self::Base64 => runs(payload).filter_map(decoded_stamp).last(),
        }
    }

    /// All stamps of a message, or of part of one, in order.
    pub fn all(self, payload: &[u8], mut take: impl FnMut(Stamp)) {
        match self {
            Self::Plain => Stamp::all::<Plain>(payload).for_each(take),
            Self::JsonEscaped => Stamp::all::<Escaped>(payload).for_each(take),
            Self::Base64 => {
                for run in runs(payload) {
                    let decoded = engine(run).decode(whole(run)).unwrap_or_default();
                    Stamp::all::<Plain>(&decoded).for_each(&mut take);
                }
            }
        }
    }
}

/// What `pointer` leads to. A string on the way that holds JSON is gone into.
fn at(message: &Value, pointer: &str) -> Option<Value> {
    if let Some(found) = message.pointer(pointer) {
        return Some(found.clone());
    }
    let cut = |(end, _): (usize, &str)| Some((message.pointer(&pointer[..end])?.as_str()?, end));
    let (text, end) = pointer.match_indices('/').skip(1).find_map(cut)?;
    at(&serde_json::from_str(text).ok()?, &pointer[end..])
}

/// A number as it is, or the hexadecimal digits that we publish.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::String(digits) => u64::from_str_radix(digits, 16).ok(),
        // Some runtimes know no other numbers than these.
        Value::Number(number) => number.as_u64().or_else(|| {
            let positive = number.as_f64().filter(|number| *number >= 0.0);
            positive.map(|number| number as u64)
        }),
        _ => None,
    }
}

/// Stretches that may be base64 and are long enough to hold a stamp.
fn runs(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    payload.split(move |byte| !is_digit(byte)).filter(|run| run.len() >= RUN_BYTES_MIN)
}

fn engine(run: &[u8]) -> &'static GeneralPurpose {
    let is_url_safe = run.iter().any(|byte| matches!(byte, b'-' | b'_'));
    if is_url_safe { &URL_SAFE } else { &STANDARD }
}

/// What of `run` can be decoded: four digits are three bytes, and one alone is nothing.
fn whole(run: &[u8]) -> &[u8] {
    if run.len() % 4 == 1 { &run[..run.len() - 1] } else { run }
}

/// The stamp in a stretch of base64: in its end, or else anywhere.
fn decoded_stamp(run: &[u8]) -> Option<Stamp> {
    let (run, engine) = (whole(run), engine(run));
    let mut tail = [0; TAIL_BYTES + 3];
    let from = run.len().saturating_sub(TAIL_BYTES / 3 * 4).next_multiple_of(4).min(run.len());
    if let Ok(count) = engine.decode_slice(&run[from..], &mut tail)
        && let Some(stamp) = Stamp::find::<Plain>(&tail[..count])
    {
        return Some(stamp);
    }
    Stamp::find::<Plain>(&engine.decode(run).ok()?)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;

    use super::*;

    const STAMP: Stamp = Stamp { t: 0x0123_4567_89ab_cdef, seq: 0x4000_0007, n: 9 };

    #[test]
    fn base64_is_found_whatever_stands_around_it_and_wherever_the_stamp_stands_within() {
        for pad in [0, 10, 11, 12, 300] {
            for (before, after) in [("", ""), ("x", ""), ("xy", ""), ("", &*"z".repeat(200))] {
                let inner = format!("{before}{}{after}", STAMP.data(pad));
                for text in [
                    general_purpose::STANDARD.encode(&inner),
                    general_purpose::STANDARD_NO_PAD.encode(&inner),
                    general_purpose::URL_SAFE.encode(&inner),
                ] {
                    let message = format!(r#"{{"topic":"t000","payload":"{text}","id":1}}"#);
                    let found = Form::Base64.find(message.as_bytes());
                    assert_eq!(found, Some(STAMP), "{pad} {before} {after}");
                    let (two, mut seen) = (format!("{message}\n{message}"), 0);
                    Form::Base64.all(two.as_bytes(), |stamp| seen += usize::from(stamp == STAMP));
                    assert_eq!(seen, 2);
                }
            }
        }
        assert_eq!(Form::Base64.find(STAMP.data(0).as_bytes()), None, "plain");
        assert_eq!(Form::Base64.find("A".repeat(301).as_bytes()), None);
    }

    fn pointers(sequence: &str, time: Option<&str>) -> Message {
        let (sequence, time) = (Some(sequence.into()), time.map(str::to_owned));
        Message { sequence, time, ..Message::default() }
    }

    #[test]
    fn pointers_find_numbers_and_our_digits_and_go_through_strings() {
        let found = |message: Message, text: &str| message.look_up(text.as_bytes());
        let both = Some(Found { seq: 7, t: Some(255) });
        let there = pointers("/data/seq", Some("/data/t"));
        assert_eq!(found(there.clone(), r#"{"data":{"t":255,"seq":7}}"#), both);
        assert_eq!(found(there.clone(), r#"{"data":{"seq":"00000007","t":"00ff"}}"#), both);
        assert_eq!(found(there.clone(), r#"42["x"]"#), None);
        assert_eq!(found(there.clone(), r#"{"data":{"seq":7}}"#), None, "no time");
        assert_eq!(found(there, r#"{"data":"{\u0022seq\u0022:7,\"t\":255}"}"#), both, "a string");
        let third = pointers("/1/seq", None);
        assert_eq!(found(third, r#"42["event",{"seq":7}]"#), Some(Found { seq: 7, t: None }));
        assert_eq!(found(pointers("/a", None), r#"{"a":-1}"#), None);
        assert_eq!(found(pointers("/a", None), r#"{"a":99999999999}"#), None, "none of ours");
    }

    #[test]
    fn keys_that_contradict_each_other_are_refused_by_name() {
        let refused = |message: Message, joins| message.check(joins).unwrap_err().to_string();
        assert!(refused(pointers("data.seq", None), false).contains("message.sequence"));
        let time = Message { time: Some("/t".into()), ..Message::default() };
        assert!(refused(time, false).contains("needs message.sequence"));
        assert!(refused(pointers("/seq", None), true).contains("`joins`"));
        let both = Message { stamp: Form::Base64, ..pointers("/seq", None) };
        assert!(refused(both, false).contains("message.stamp"));
        assert!(pointers("/seq", Some("/t")).check(false).is_ok());
    }
}
