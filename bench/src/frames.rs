//! The client's view of WebSocket frames: heads are read, payloads are handed on as they are.
//!
//! It trusts the server a little: lengths are checked against a bound, but UTF-8 and fragments are
//! not. The conformance suite judges those; here every nanosecond is multiplied by millions of
//! deliveries.

/// What a server may send in one frame; more means that the stream is out of step. Servers that
/// join events send all that waits for a client in one (nats-server: up to 64 MiB).
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// `0x1` text, `0x8` close, `0x9` ping, ...
    pub opcode: u8,
    /// Where it begins.
    pub at: usize,
    /// Where the payload begins.
    pub payload_at: usize,
    /// Where the next frame begins.
    pub end: usize,
}

/// A stream that holds no frames (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfStep;

/// The head of the frame that begins at `at`, of which the end may yet have to come; `None` while
/// not even the head is whole.
#[inline]
pub fn head(bytes: &[u8], at: usize) -> Result<Option<Head>, OutOfStep> {
    let Some(&[first, second]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
        return Ok(None);
    };
    let (len, head_bytes) = match second {
        0..=125 => (u64::from(second), 2),
        126 => match bytes.get(at + 2..).and_then(|rest| rest.first_chunk()) {
            Some(len) => (u64::from(u16::from_be_bytes(*len)), 4),
            None => return Ok(None),
        },
        127 => match bytes.get(at + 2..).and_then(|rest| rest.first_chunk()) {
            Some(len) => (u64::from_be_bytes(*len), 10),
            None => return Ok(None),
        },
        _ => return Err(OutOfStep), // servers don't mask
    };
    if len > PAYLOAD_BYTES_MAX || first & 0x70 != 0 {
        return Err(OutOfStep);
    }
    let payload_at = at + head_bytes;
    let end = payload_at + len as usize;
    Ok(Some(Head { opcode: first & 0xf, at, payload_at, end }))
}

/// Whether `part` stands in `message`. Messages that are looked into are those of a connection's
/// beginning, and short.
pub fn holds(message: &[u8], part: &str) -> bool {
    message.windows(part.len()).any(|window| window == part.as_bytes())
}

/// A masked text frame; the mask is zero, so the payload stays as it is.
pub fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            // What clients say here is written by hand: 64 KiB are never reached.
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A masked control frame, masked likewise.
pub fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(125)];
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_core::frame::text_frame;

    #[test]
    fn frames_of_every_length_are_taken_apart_where_they_were_joined() {
        let lens = [0, 1, 125, 126, 65_535, 65_536];
        let stream: Vec<u8> =
            lens.iter().flat_map(|len| text_frame(&vec![b'x'; *len]).to_vec()).collect();
        let mut at = 0;
        for len in lens {
            let frame = head(&stream, at).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.end - frame.payload_at), (1, len));
            let cut = head(&stream[..frame.payload_at], at);
            assert_eq!(cut, Ok(Some(frame)), "its payload has yet to come");
            assert_eq!(head(&stream[..frame.payload_at - 1], at), Ok(None), "part of a head");
            at = frame.end;
        }
        assert_eq!(at, stream.len());
    }

    #[test]
    fn what_is_no_server_frame_is_noticed() {
        assert_eq!(head(b"HTTP/1.1 200 OK", 0), Err(OutOfStep), "H has RSV bits");
        assert_eq!(head(&[0x81, 0x80, 0, 0, 0, 0], 0), Err(OutOfStep), "masked");
        assert_eq!(head(&[0xc1, 0], 0), Err(OutOfStep), "RSV1 without an extension");
        assert_eq!(head(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0], 0), Err(OutOfStep), "too long");
    }

    #[test]
    fn a_control_frame_is_masked_with_zeros() {
        assert_eq!(control(0xa, b"hi"), [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
    }
}
