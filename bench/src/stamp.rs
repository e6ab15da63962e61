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

/// What stands around the numbers. Each spelling is compiled on its own: the plain one is looked
/// for by millions a second.
pub trait Spelling {
    /// Before `n`.
    const N: &'static [u8];
    /// Between `n` and `seq`.
    const SEQ: &'static [u8];
    /// Between `seq` and `t`.
    const T: &'static [u8];
    /// Where `n` begins.
    const N_AT: usize = Self::N.len();
    /// Where `seq` begins.
    const SEQ_AT: usize = Self::N_AT + 8 + Self::SEQ.len();
    /// Where `t` begins.
    const T_AT: usize = Self::SEQ_AT + 8 + Self::T.len();
    /// From the first marker to the last digit.
    const BYTES: usize = Self::T_AT + 16;
}

/// As it was published.
pub struct Plain;

impl Spelling for Plain {
    const N: &'static [u8] = br#""n":""#;
    const SEQ: &'static [u8] = br#"","seq":""#;
    const T: &'static [u8] = br#"","t":""#;
}

/// As it stands within a string of JSON.
pub struct Escaped;

impl Spelling for Escaped {
    const N: &'static [u8] = br#"\"n\":\""#;
    const SEQ: &'static [u8] = br#"\",\"seq\":\""#;
    const T: &'static [u8] = br#"\",\"t\":\""#;
}

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
    pub fn find<S: Spelling>(payload: &[u8]) -> Option<Self> {
        let at_end = payload.len().checked_sub(S::BYTES + END_BYTES);
        at_end.and_then(|at| Self::read::<S>(&payload[at..])).or_else(|| Self::search::<S>(payload))
    }

    /// All stamps of a payload that may carry several events, in order.
    pub fn all<S: Spelling>(payload: &[u8]) -> impl Iterator<Item = Self> {
        let mut at = 0;
        std::iter::from_fn(move || {
            while at + S::BYTES <= payload.len() {
                let is_marker = payload[at] == S::N[0];
                let stamp = if is_marker { Self::read::<S>(&payload[at..]) } else { None };
                at += if stamp.is_some() { S::BYTES } else { 1 };
                if stamp.is_some() {
                    return stamp;
                }
            }
            None
        })
    }

    fn search<S: Spelling>(payload: &[u8]) -> Option<Self> {
        let last = payload.len().checked_sub(S::BYTES)?;
        (0..=last).rev().find_map(|at| Self::read::<S>(&payload[at..]))
    }

    #[inline]
    fn read<S: Spelling>(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < S::BYTES || !bytes.starts_with(S::N) {
            return None;
        }
        if &bytes[S::SEQ_AT - S::SEQ.len()..S::SEQ_AT] != S::SEQ {
            return None;
        }
        let t = hex8(&bytes[S::T_AT..])? << 32 | hex8(&bytes[S::T_AT + 8..])?;
        Some(Self { t, seq: hex8(&bytes[S::SEQ_AT..])? as u32, n: hex8(&bytes[S::N_AT..])? as u32 })
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
                assert_eq!(Stamp::find::<Plain>(event.as_bytes()), Some(stamp), "at the end");
                let other = format!(r#"{{"d":{},"after":[1,2]}}"#, stamp.data(pad));
                assert_eq!(Stamp::find::<Plain>(other.as_bytes()), Some(stamp), "anywhere");
                serde_json::from_str::<serde_json::Value>(&event).unwrap();
            }
        }
    }

    #[test]
    fn several_events_of_one_message_are_all_found() {
        let stamps = [1, 2, 3].map(|n| Stamp { t: 9, seq: n, n });
        let text = stamps.map(|stamp| format!(r#"{{"d":{}}}"#, stamp.data(20))).join("\n");
        assert_eq!(Stamp::all::<Plain>(text.as_bytes()).collect::<Vec<_>>(), stamps);
        assert_eq!(Stamp::all::<Plain>(b"{}").count(), 0);
    }

    #[test]
    fn a_stamp_within_a_string_of_json_is_found_and_a_plain_one_is_not_taken_for_it() {
        let stamp = Stamp { t: 0x0123_4567_89ab_cdef, seq: 0xdead_beef, n: 7 };
        for pad in [0, 200] {
            let text = serde_json::to_string(&serde_json::json!({ "body": stamp.data(pad) }));
            let text = text.unwrap();
            assert_eq!(Stamp::find::<Escaped>(text.as_bytes()), Some(stamp), "{text}");
            let both = format!("[{text},{text}]");
            assert_eq!(Stamp::all::<Escaped>(both.as_bytes()).count(), 2);
            assert_eq!(Stamp::find::<Plain>(text.as_bytes()), None);
            assert_eq!(Stamp::find::<Escaped>(stamp.data(pad).as_bytes()), None);
        }
    }

    #[test]
    fn what_has_no_stamp_gives_none() {
        for text in ["", "{}", r#"{"op":"mark","mark":"abc"}"#, &"x".repeat(500)] {
            assert_eq!(Stamp::find::<Plain>(text.as_bytes()), None);
        }
    }

    #[test]
    fn padding_has_the_length_that_was_asked_for() {
        let stamp = Stamp { t: 1, seq: 2, n: 3 };
        assert_eq!(stamp.data(100).len(), stamp.data(0).len() + 100);
    }
}
