//! Takes a WebSocket's texts for binary messages, before the crate below sees them.
//!
//! That crate checks each text and, where it is no UTF-8, throws it away with its bytes. A post
//! that can't be read is to be parked as it came, and a JSON parser checks what it reads anyway: so
//! each text's opcode is rewritten on its way in, and nothing else is touched.

const OPCODE: u8 = 0x0f;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// Two bytes, a length of eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;

/// Where in the frames a connection is.
#[derive(Debug, Default)]
pub(super) struct AsBinary {
    head: [u8; HEAD_BYTES_MAX],
    /// Of the head that comes.
    seen: usize,
    /// Of the payload, what is still to come.
    payload: u64,
}

impl AsBinary {
    /// Goes over the bytes that have come next.
    pub fn rewrite(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                self.payload -= passed as u64;
                bytes = &mut bytes[passed..];
                continue;
            }
            if self.seen == 0 && bytes[0] & OPCODE == TEXT {
                bytes[0] ^= TEXT ^ BINARY;
            }
            self.head[self.seen] = bytes[0];
            self.seen += 1;
            if let Some(payload) = payload_of(&self.head[..self.seen]) {
                (self.payload, self.seen) = (payload, 0);
            }
            bytes = &mut bytes[1..];
        }
    }
}

/// How long the payload is behind a whole head (RFC 6455, 5.2).
fn payload_of(head: &[u8]) -> Option<u64> {
    let [_, second, rest @ ..] = head else { return None };
    let (extra, mask) = match second & 0x7f {
        126 => (2, second >> 7),
        127 => (8, second >> 7),
        _ => (0, second >> 7),
    };
    if rest.len() < extra + 4 * usize::from(mask) {
        return None;
    }
    let length = match extra {
        0 => u64::from(second & 0x7f),
        _ => rest[..extra].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        let mask = if masked { 0x80 } else { 0 };
        match payload.len() {
            it @ 0..126 => frame.push(mask | it as u8),
            it @ 126..65_536 => {
                frame.push(mask | 126);
                frame.extend((it as u16).to_be_bytes());
            }
            it => {
                frame.push(mask | 127);
                frame.extend((it as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([0x81; 4]);
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn texts_become_binary_wherever_they_are_cut_and_nothing_else_changes() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536];
        let (mut given, mut want) = (Vec::new(), Vec::new());
        for (first, then) in [(0x81, 0x82), (0x01, 0x02), (0x80, 0x80), (0x82, 0x82), (0x89, 0x89)]
        {
            for (length, masked) in lengths.into_iter().flat_map(|it| [(it, false), (it, true)]) {
                // A payload that looks like heads.
                given.extend(frame(first, masked, &vec![0x81; length]));
                want.extend(frame(then, masked, &vec![0x81; length]));
            }
        }
        for step in [1, 2, 3, 7, 1_000, usize::MAX] {
            let (mut frames, mut bytes) = (AsBinary::default(), given.clone());
            bytes.chunks_mut(step).for_each(|chunk| frames.rewrite(chunk));
            assert!(bytes == want, "in steps of {step}");
        }
    }
}
