//! A frame's head, and everything that can be wrong with it.
//!
//! [`decode`] looks at as many bytes of a head as have arrived and refuses at the first that can't
//! stand there, in the order in which they come: RFC 6455 (5.2) puts the opcode first, then mask
//! bit and length, then the key. So a frame that declares 2^63-1 bytes is refused when its length
//! has come in, with nothing kept for it.

use super::close::CloseCode;
use super::parser::FrameLimits;
use crate::limits::{CLIENT_HEAD_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX};

/// What kind of frame it is (RFC 6455, 5.2); the reserved ones never get this far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A head that has been judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    pub(super) is_final: bool,
    /// Within the limits already.
    pub(super) payload_bytes: usize,
    pub(super) mask: [u8; 4],
}

/// What has been kept of a message whose last fragment is still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fragments {
    pub(super) bytes: usize,
    pub(super) count: u32,
    pub(super) empty_count: u32,
}

/// What a client did that ends its connection. [`Self::close_code`] is what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set, though no extension was negotiated.
    #[error("a reserved bit is set, but no extension was agreed")]
    ReservedBit,
    /// Opcodes 3 to 7 and 11 to 15.
    #[error("a frame has a reserved opcode")]
    ReservedOpcode,
    /// A control frame in parts.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame above 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// A frame without the mask bit.
    #[error("a client's frame isn't masked")]
    Unmasked,
    /// A length that would have fitted a shorter form, or has its highest bit set.
    #[error("a frame's length isn't in its shortest form")]
    BadLength,
    /// A continuation, but nothing to continue.
    #[error("a continuation has nothing to continue")]
    OrphanContinuation,
    /// A new message within another.
    #[error("a message begins before the last one has ended")]
    InterleavedMessage,
    /// A Close of one byte, or with a code that may not stand there.
    #[error("a Close has a code that may not be sent")]
    BadCloseCode,
    /// Text or a close reason that isn't UTF-8.
    #[error("text isn't UTF-8")]
    NotUtf8,
    /// More bytes than a message may have, over all its fragments.
    #[error("a message is larger than allowed")]
    TooBig,
    /// More fragments than a message may have.
    #[error("a message has more fragments than allowed")]
    TooManyFragments,
    /// More fragments without content than a message may have.
    #[error("a message has more empty fragments than allowed")]
    TooManyEmptyFragments,
}

impl Violation {
    /// The close code that goes with it.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::InvalidData,
            Self::TooBig => CloseCode::TooBig,
            Self::TooManyFragments | Self::TooManyEmptyFragments => CloseCode::Policy,
            _ => CloseCode::Protocol,
        }
    }
}

/// Reads a head from the start of `bytes`. `None` while it is incomplete and nothing is wrong so
/// far; otherwise the head and its own length. `open` is the message that is under way, if one is.
pub(super) fn decode(
    bytes: &[u8],
    open: Option<Fragments>,
    limits: &FrameLimits,
) -> Result<Option<(Head, usize)>, Violation> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let (opcode, is_final) = first_byte(*first, open.is_some())?;
    let Some(second) = bytes.get(1) else { return Ok(None) };
    let Some((len, mask_at)) = length(*second, opcode, bytes)? else { return Ok(None) };
    let payload_bytes = admit(opcode, is_final, len, open, limits)?;
    let Some(mask) = bytes.get(mask_at..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Ok(None);
    };
    Ok(Some((Head { opcode, is_final, payload_bytes, mask: *mask }, mask_at + 4)))
}

/// RFC 6455, 5.2: FIN, RSV1 to RSV3, opcode; 5.4: what may follow what; 5.5: control frames are
/// whole.
fn first_byte(first: u8, is_open: bool) -> Result<(Opcode, bool), Violation> {
    let is_final = first & 0x80 != 0;
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBit);
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(Violation::ReservedOpcode)?;
    match opcode {
        Opcode::Continuation if !is_open => Err(Violation::OrphanContinuation),
        Opcode::Text | Opcode::Binary if is_open => Err(Violation::InterleavedMessage),
        _ if opcode.is_control() && !is_final => Err(Violation::FragmentedControl),
        _ => Ok((opcode, is_final)),
    }
}

/// RFC 6455, 5.1: clients mask; 5.2: the shortest form only, highest bit clear; 5.5: control frames
/// up to 125 bytes. Returns the length and where the key begins.
fn length(second: u8, opcode: Opcode, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    if second & 0x80 == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & 0x7f;
    if opcode.is_control() && usize::from(short) > CONTROL_PAYLOAD_BYTES_MAX {
        return Err(Violation::LongControl);
    }
    let rest = &bytes[2..];
    let (len, least, mask_at) = match short {
        126 => match rest.first_chunk() {
            Some(raw) => (u64::from(u16::from_be_bytes(*raw)), 126, 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(raw) => (u64::from_be_bytes(*raw), 0x1_0000, 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, 2),
    };
    if len < least || len >> 63 != 0 {
        return Err(Violation::BadLength);
    }
    Ok(Some((len, mask_at)))
}

/// Whether a data frame fits into its message. Control frames count for nothing here.
fn admit(
    opcode: Opcode,
    is_final: bool,
    len: u64,
    open: Option<Fragments>,
    limits: &FrameLimits,
) -> Result<usize, Violation> {
    let len = usize::try_from(len).map_err(|_| Violation::TooBig)?;
    if opcode.is_control() {
        return Ok(len);
    }
    let so_far = open.unwrap_or_default();
    if len > limits.message_bytes_max.saturating_sub(so_far.bytes) {
        return Err(Violation::TooBig);
    }
    if so_far.count >= limits.fragments_max {
        return Err(Violation::TooManyFragments);
    }
    // The last fragment ends the message, so it can't be part of a flood.
    if len == 0 && !is_final && so_far.empty_count >= limits.empty_fragments_max {
        return Err(Violation::TooManyEmptyFragments);
    }
    Ok(len)
}

const _: () = assert!(CLIENT_HEAD_BYTES_MAX == 10 + 4);

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Option<Fragments> = Some(Fragments { bytes: 60_000, count: 1, empty_count: 0 });

    fn check(bytes: &[u8], open: Option<Fragments>, want: Result<Option<usize>, Violation>) {
        let got = decode(bytes, open, &FrameLimits::default());
        assert_eq!(got.map(|head| head.map(|(_, len)| len)), want, "{bytes:02x?}");
    }

    #[test]
    fn a_head_is_refused_at_the_first_byte_that_is_wrong() {
        use Violation as V;
        for (byte, why) in [
            (0xc1, V::ReservedBit),
            (0xa1, V::ReservedBit),
            (0x91, V::ReservedBit),
            (0xc9, V::ReservedBit),
            (0x83, V::ReservedOpcode),
            (0x87, V::ReservedOpcode),
            (0x8b, V::ReservedOpcode),
            (0x8f, V::ReservedOpcode),
            (0x09, V::FragmentedControl),
            (0x08, V::FragmentedControl),
            (0x80, V::OrphanContinuation),
            (0x00, V::OrphanContinuation),
        ] {
            check(&[byte], None, Err(why));
        }
        check(&[0xc0], OPEN, Err(V::ReservedBit));
        check(&[0x81], OPEN, Err(V::InterleavedMessage));
        check(&[0x02], OPEN, Err(V::InterleavedMessage));
        check(&[0x81, 0x05], None, Err(V::Unmasked));
        check(&[0x89, 0xfe], None, Err(V::LongControl));
        check(&[0x88, 0xff], None, Err(V::LongControl));
    }

    #[test]
    fn a_length_has_one_form_and_one_limit() {
        use Violation as V;
        check(&[0x81, 0xfe, 0, 125], None, Err(V::BadLength));
        check(&[0x81, 0xfe, 0, 126], None, Ok(None));
        check(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], None, Err(V::BadLength));
        check(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], None, Ok(None));
        check(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1], None, Err(V::TooBig));
        check(&[0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255], None, Err(V::TooBig));
        check(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], None, Err(V::BadLength));
        check(&[0x80, 0xfe, 0x15, 0xa0], OPEN, Ok(None));
        check(&[0x80, 0xfe, 0x15, 0xa1], OPEN, Err(V::TooBig));
    }

    #[test]
    fn a_head_needs_all_its_bytes_and_no_more() {
        let head = [0x81, 0xfe, 1, 0, 9, 8, 7, 6, 5];
        for len in 0..8 {
            check(&head[..len], None, Ok(None));
        }
        check(&head, None, Ok(Some(8)));
        check(&[0x89, 0x80, 1, 2, 3, 4], None, Ok(Some(6)));
        let (head, _) = decode(&head, None, &FrameLimits::default()).unwrap().unwrap();
        assert_eq!((head.payload_bytes, head.mask), (256, [9, 8, 7, 6]));
        assert!(head.is_final && head.opcode == Opcode::Text);
    }

    #[test]
    fn fragments_are_counted_and_empty_ones_more_so() {
        let limits = FrameLimits::default();
        let open = |count, empty_count| Some(Fragments { bytes: 0, count, empty_count });
        let (empty, last) = ([0x00, 0x80, 0, 0, 0, 0], [0x80, 0x80, 0, 0, 0, 0]);
        check(&empty, open(1, limits.empty_fragments_max - 1), Ok(Some(6)));
        check(&empty, open(1, limits.empty_fragments_max), Err(Violation::TooManyEmptyFragments));
        check(&last, open(1, limits.empty_fragments_max), Ok(Some(6)));
        check(&last, open(limits.fragments_max - 1, 0), Ok(Some(6)));
        check(&last, open(limits.fragments_max, 0), Err(Violation::TooManyFragments));
    }
}
