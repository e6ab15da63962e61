//! What the bench writes into an event's `data`, and how it finds it again in a frame for a few
//! nanoseconds.
//!
//! A [`Stamp`] carries the time at which the event should have been sent (`t`, nanoseconds of
//! `CLOCK_MONOTONIC`), its number within its team (`seq`) and within the run (`n`), each in
//! hexadecimal of fixed width. Touchline forwards `data` byte for byte at the end of its JSON, so
//! all of it stands at a fixed distance from the frame's end. Where another server adds something
//! behind it, the markers are searched for. Its fields stand in the order of their names, because
//! JSON that is read and written again (a sensor's value) often comes out so.

/// One event's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it should have been sent, nanoseconds.
    pub t: u64,
    /// Its number within its team, from 0.
    pub seq: u32,
    /// Its number within the run, from 0.
    pub n: u32,
}

const N: &[u8] = br#""n":""#;
const SEQ: &[u8] = br#"","seq":""#;
const T: &[u8] = br#"","t":""#;
const N_AT: usize = N.len();
const SEQ_AT: usize = N_AT + 8 + SEQ.len();
const T_AT: usize = SEQ_AT + 8 + T.len();
/// From the first marker to the last digit.
pub const STAMP_BYTES: usize = T_AT + 16;
/// The quote and the two braces that end a Touchline event.
const END_BYTES: usize = 3;

impl Stamp {
    /// The event's `data`, `pad` bytes longer than it need be (0, or at least 10).
    pub fn data(&self, pad: usize) -> String {
        let filler = match pad {
            0 => String::new(),
            pad => format!(r#""fill":"{}","#, "x".repeat(pad.saturating_sub(10))),
        };
        let Self { t, seq, n } = self;
        format!(r#"{{{filler}"n":"{n:08x}","seq":"{seq:08x}","t":"{t:016x}"}}"#)
    }

    /// The stamp in a frame's payload, if it has one.
    pub fn find(payload: &[u8]) -> Option<Self> {
        let at = payload.len().checked_sub(STAMP_BYTES + END_BYTES)?;
        Self::read(&payload[at..]).or_else(|| Self::search(payload))
    }

    /// All stamps of a payload that may carry several events, in order.
    pub fn all(payload: &[u8]) -> impl Iterator<Item = Self> {
        let mut at = 0;
        std::iter::from_fn(move || {
            while at + STAMP_BYTES <= payload.len() {
                let stamp = if payload[at] == b'"' { Self::read(&payload[at..]) } else { None };
                at += if stamp.is_some() { STAMP_BYTES } else { 1 };
                if stamp.is_some() {
                    return stamp;
                }
            }
            None
        })
    }

    fn search(payload: &[u8]) -> Option<Self> {
        let last = payload.len().checked_sub(STAMP_BYTES)?;
        (0..=last).rev().find_map(|at| Self::read(&payload[at..]))
    }

    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<STAMP_BYTES>()?;
        if !bytes.starts_with(N) || &bytes[SEQ_AT - SEQ.len()..SEQ_AT] != SEQ {
            return None;
        }
        let t = hex8(&bytes[T_AT..])? << 32 | hex8(&bytes[T_AT + 8..])?;
        Some(Self { t, seq: hex8(&bytes[SEQ_AT..])? as u32, n: hex8(&bytes[N_AT..])? as u32 })
    }
}

/// Eight hexadecimal digits in lower case, all at once: each byte becomes its nibble, then pairs,
/// quads and halves are folded together. What is no digit isn't told from one; the markers around
/// it are what is checked.
#[inline]
fn hex8(bytes: &[u8]) -> Option<u64> {
    let word = u64::from_be_bytes(*bytes.first_chunk::<8>()?);
    let letters = word >> 6 & 0x0101_0101_0101_0101;
    let nibbles = (word & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    let pairs = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((quads | quads >> 16) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_at_the_end_and_anywhere_else() {
        for stamp in [
            Stamp { t: 0x0123_4567_89ab_cdef, seq: 0xdead_beef, n: 7 },
            Stamp { t: u64::MAX, seq: 0, n: u32::MAX },
        ] {
            for pad in [0, 10, 200] {
                let event = format!(r#"{{"op":"event","data":{}}}"#, stamp.data(pad));
                assert_eq!(Stamp::find(event.as_bytes()), Some(stamp), "at the end");
                let other = format!(r#"{{"d":{},"after":[1,2]}}"#, stamp.data(pad));
                assert_eq!(Stamp::find(other.as_bytes()), Some(stamp), "anywhere");
                serde_json::from_str::<serde_json::Value>(&event).unwrap();
            }
        }
    }

    #[test]
    fn several_events_of_one_message_are_all_found() {
        let stamps = [1, 2, 3].map(|n| Stamp { t: 9, seq: n, n });
        let text = stamps.map(|stamp| format!(r#"{{"d":{}}}"#, stamp.data(20))).join("\n");
        assert_eq!(Stamp::all(text.as_bytes()).collect::<Vec<_>>(), stamps);
        assert_eq!(Stamp::all(b"{}").count(), 0);
    }

    #[test]
    fn what_has_no_stamp_gives_none() {
        for text in ["", "{}", r#"{"op":"mark","mark":"abc"}"#, &"x".repeat(500)] {
            assert_eq!(Stamp::find(text.as_bytes()), None);
        }
    }

    #[test]
    fn padding_has_the_length_that_was_asked_for() {
        let stamp = Stamp { t: 1, seq: 2, n: 3 };
        assert_eq!(stamp.data(100).len(), stamp.data(0).len() + 100);
    }
}
