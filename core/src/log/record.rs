//! An event as bytes: what journal and spool write between their own heads and checksums.
//!
//! Little endian; a version byte first. Short texts carry a `u16` length, `data` a `u32`. The codec
//! is strict: what [`decode`] accepts, [`encode`] would have written, so a record that passes its
//! checksum but not this is damage.

use bytes::{Buf, BufMut, Bytes};

use crate::event::{Event, Lang, Route, SensorKey, Stream, Supersedes};
use crate::limits::{DATA_BYTES_MAX, ID_BYTES_MAX, KIND_BYTES_MAX, NAME_BYTES_MAX};
use crate::time::Timestamp;

const VERSION: u8 = 1;
const HAS_LANG: u8 = 1;
const HAS_SUPERSEDES: u8 = 2;
const HAS_SENSOR: u8 = 4;
const HAS_SENSOR_SEQUENCE: u8 = 8;

/// Bytes that are no record of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version.
    #[error("record version {0} is not known to this build")]
    Version(u8),
    /// A field is missing, too long or out of its grammar.
    #[error("record is malformed at {0}")]
    Malformed(&'static str),
}

/// Appends `event`, received at `received_at`, to `out`.
pub fn encode(event: &Event, received_at: Timestamp, out: &mut Vec<u8>) {
    let mut flags = 0;
    flags |= if event.lang.is_some() { HAS_LANG } else { 0 };
    flags |= if event.supersedes.is_some() { HAS_SUPERSEDES } else { 0 };
    if let Some(sensor) = &event.sensor {
        flags |= HAS_SENSOR | if sensor.sequence.is_some() { HAS_SENSOR_SEQUENCE } else { 0 };
    }
    out.put_slice(&[VERSION, event.stream as u8, flags]);
    out.put_i64_le(received_at.0);
    out.put_i64_le(event.occurred_at.0);
    for text in
        [&*event.source, &*event.id, event.route.as_str(), &*event.kind, &*event.correlation]
    {
        put_text(out, text);
    }
    if let Some(lang) = event.lang {
        put_text(out, lang.as_str());
    }
    if let Some(supersedes) = &event.supersedes {
        put_text(out, &supersedes.source);
        put_text(out, &supersedes.id);
        out.put_u32_le(supersedes.rev);
    }
    if let Some(sensor) = &event.sensor {
        put_text(out, &sensor.key);
        if let Some(sequence) = sensor.sequence {
            out.put_u64_le(sequence);
        }
    }
    out.put_u32_le(u32::try_from(event.data.len()).unwrap_or(u32::MAX));
    out.put_slice(&event.data);
}

/// Reads what [`encode`] wrote. `data` is a slice of `raw`: no copy.
pub fn decode(mut raw: Bytes) -> Result<(Event, Timestamp), RecordError> {
    use RecordError::Malformed;
    need(&raw, 19, "head")?;
    let (version, stream, flags) = (raw.get_u8(), raw.get_u8(), raw.get_u8());
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let stream = Stream::ALL.get(usize::from(stream)).copied().ok_or(Malformed("stream"))?;
    let received_at = Timestamp(raw.get_i64_le());
    let occurred_at = Timestamp(raw.get_i64_le());
    let source = take_text(&mut raw, NAME_BYTES_MAX, "source")?;
    let id = take_text(&mut raw, ID_BYTES_MAX, "id")?;
    let route = take_text(&mut raw, 9 * NAME_BYTES_MAX, "route")?;
    let kind = take_text(&mut raw, KIND_BYTES_MAX, "type")?;
    let correlation = take_text(&mut raw, ID_BYTES_MAX, "correlation")?;
    let lang = match flags & HAS_LANG {
        0 => None,
        _ => Some(Lang::new(&take_text(&mut raw, 8, "lang")?).map_err(|_| Malformed("lang"))?),
    };
    let supersedes = match flags & HAS_SUPERSEDES {
        0 => None,
        _ => Some(take_supersedes(&mut raw)?),
    };
    let sensor = match flags & HAS_SENSOR {
        0 => None,
        _ => Some(take_sensor(&mut raw, flags)?),
    };
    need(&raw, 4, "data")?;
    let len = raw.get_u32_le() as usize;
    if len > DATA_BYTES_MAX || len != raw.len() {
        return Err(Malformed("data"));
    }
    let route = Route::parse(&route).map_err(|_| Malformed("route"))?;
    let data = raw;
    let event = Event {
        stream,
        source,
        id,
        route,
        kind,
        occurred_at,
        data,
        lang,
        supersedes,
        sensor,
        trace: None,
        correlation,
    };
    Ok((event, received_at))
}

fn take_supersedes(raw: &mut Bytes) -> Result<Supersedes, RecordError> {
    let source = take_text(raw, NAME_BYTES_MAX, "supersedes")?;
    let id = take_text(raw, ID_BYTES_MAX, "supersedes")?;
    need(raw, 4, "supersedes")?;
    Ok(Supersedes { source, id, rev: raw.get_u32_le() })
}

fn take_sensor(raw: &mut Bytes, flags: u8) -> Result<SensorKey, RecordError> {
    let key = take_text(raw, ID_BYTES_MAX, "key")?;
    if flags & HAS_SENSOR_SEQUENCE == 0 {
        return Ok(SensorKey { key, sequence: None });
    }
    need(raw, 8, "sequence")?;
    Ok(SensorKey { key, sequence: Some(raw.get_u64_le()) })
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u16_le(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn take_text(raw: &mut Bytes, max: usize, field: &'static str) -> Result<Box<str>, RecordError> {
    need(raw, 2, field)?;
    let len = usize::from(raw.get_u16_le());
    need(raw, len, field)?;
    if len > max {
        return Err(RecordError::Malformed(field));
    }
    let text = raw.split_to(len);
    std::str::from_utf8(&text).map(Into::into).map_err(|_| RecordError::Malformed(field))
}

fn need(raw: &Bytes, len: usize, field: &'static str) -> Result<(), RecordError> {
    if raw.len() >= len { Ok(()) } else { Err(RecordError::Malformed(field)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            stream: Stream::Update,
            source: "skyline".into(),
            id: "m1-goal-1".into(),
            route: Route::parse("ars+che").unwrap(),
            kind: "goal".into(),
            occurred_at: Timestamp(1_000_001),
            data: Bytes::from_static(br#"{"minute":12}"#),
            lang: Some(Lang::new("es").unwrap()),
            supersedes: Some(Supersedes { source: "skyline".into(), id: "m1".into(), rev: 3 }),
            sensor: Some(SensorKey { key: "wind".into(), sequence: Some(9) }),
            trace: None,
            correlation: "abc".into(),
        }
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let mut plain = event();
        plain.lang = None;
        plain.supersedes = None;
        plain.sensor = None;
        for event in [event(), plain] {
            let mut raw = Vec::new();
            encode(&event, Timestamp(7), &mut raw);
            assert_eq!(decode(raw.into()), Ok((event, Timestamp(7))));
        }
    }

    #[test]
    fn every_cut_of_a_record_is_refused() {
        let mut raw = Vec::new();
        encode(&event(), Timestamp(7), &mut raw);
        for len in 0..raw.len() {
            assert!(decode(Bytes::copy_from_slice(&raw[..len])).is_err(), "{len} bytes");
        }
        raw.push(0);
        assert!(decode(raw.into()).is_err(), "trailing bytes");
    }
}
