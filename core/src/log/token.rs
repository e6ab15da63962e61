//! Positions and marks as clients carry them: opaque, URL-safe ASCII that holds the epoch (R2).
//!
//! A token is base64url without padding of: a kind-and-version byte, the epoch (8 bytes, little
//! endian), then LEB128 numbers: lane and sequence of a position; the count of lanes and the next
//! sequence of each of a mark. One spelling for each value: a token that isn't the one we would
//! write is refused, so that nobody can grow state from variants.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Epoch, Lane, Mark, Position};
use crate::limits::{LANES_MAX, MARK_TEXT_BYTES_MAX, SEQ_MAX};

const POSITION_V1: u8 = 0x11;
const MARK_V1: u8 = 0x21;

/// A token that we can't have given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no token of this server")]
pub struct TokenError;

/// The token of `position` in `epoch`.
pub fn encode_position(epoch: Epoch, position: Position) -> String {
    let mut raw = head(POSITION_V1, epoch);
    put_varint(&mut raw, u64::from(position.lane.0));
    put_varint(&mut raw, position.seq);
    URL_SAFE_NO_PAD.encode(raw)
}

/// Reads what [`encode_position`] wrote.
pub fn decode_position(token: &str) -> Result<(Epoch, Position), TokenError> {
    let raw = raw(token)?;
    let (epoch, mut rest) = split_head(&raw, POSITION_V1)?;
    let lane = lane(take_varint(&mut rest)?)?;
    let position = Position { lane, seq: seq(take_varint(&mut rest)?)? };
    rest.is_empty().then_some((epoch, position)).ok_or(TokenError)
}

/// The token of `mark`.
pub fn encode_mark(mark: &Mark) -> String {
    let mut raw = head(MARK_V1, mark.epoch);
    put_varint(&mut raw, mark.next.len() as u64);
    for next in &mark.next {
        put_varint(&mut raw, *next);
    }
    URL_SAFE_NO_PAD.encode(raw)
}

/// Reads what [`encode_mark`] wrote.
pub fn decode_mark(token: &str) -> Result<Mark, TokenError> {
    let raw = raw(token)?;
    let (epoch, mut rest) = split_head(&raw, MARK_V1)?;
    let lanes = usize::try_from(take_varint(&mut rest)?).map_err(|_| TokenError)?;
    if !(1..=LANES_MAX).contains(&lanes) {
        return Err(TokenError);
    }
    let mut next = Vec::with_capacity(lanes);
    for _ in 0..lanes {
        next.push(seq(take_varint(&mut rest)?)?);
    }
    rest.is_empty().then_some(Mark { epoch, next: next.into() }).ok_or(TokenError)
}

fn head(kind: u8, epoch: Epoch) -> Vec<u8> {
    let mut raw = Vec::with_capacity(24);
    raw.push(kind);
    raw.extend_from_slice(&epoch.0.to_le_bytes());
    raw
}

fn raw(token: &str) -> Result<Vec<u8>, TokenError> {
    if token.len() > MARK_TEXT_BYTES_MAX {
        return Err(TokenError);
    }
    URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError)
}

fn split_head(raw: &[u8], kind: u8) -> Result<(Epoch, &[u8]), TokenError> {
    let (head, rest) = raw.split_at_checked(9).ok_or(TokenError)?;
    let epoch = u64::from_le_bytes(head[1..].try_into().map_err(|_| TokenError)?);
    if head[0] == kind { Ok((Epoch(epoch), rest)) } else { Err(TokenError) }
}

fn lane(number: u64) -> Result<Lane, TokenError> {
    match u16::try_from(number) {
        Ok(lane) if usize::from(lane) < LANES_MAX => Ok(Lane(lane)),
        _ => Err(TokenError),
    }
}

fn seq(number: u64) -> Result<u64, TokenError> {
    (number <= SEQ_MAX).then_some(number).ok_or(TokenError)
}

fn put_varint(raw: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        raw.push(number as u8 | 0x80);
        number >>= 7;
    }
    raw.push(number as u8);
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, TokenError> {
    let mut number = 0u64;
    for shift in (0..49).step_by(7) {
        let (byte, tail) = rest.split_first().ok_or(TokenError)?;
        *rest = tail;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let padded = *byte == 0 && shift > 0;
            return if padded { Err(TokenError) } else { Ok(number) };
        }
    }
    Err(TokenError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_has_one_spelling(epoch: u64, lane in 0..256u16, seq in 0..=SEQ_MAX) {
            let position = Position { lane: Lane(lane), seq };
            let token = encode_position(Epoch(epoch), position);
            prop_assert_eq!(decode_position(&token), Ok((Epoch(epoch), position)));
            prop_assert_eq!(decode_mark(&token), Err(TokenError));
        }

        #[test]
        fn any_text_is_refused_or_is_what_we_would_write(token in "[A-Za-z0-9_-]{0,40}") {
            if let Ok((epoch, position)) = decode_position(&token) {
                prop_assert_eq!(encode_position(epoch, position), token.clone());
            }
            if let Ok(mark) = decode_mark(&token) {
                prop_assert_eq!(encode_mark(&mark), token);
            }
        }
    }

    #[test]
    fn a_mark_of_256_lanes_fits_a_url() {
        let mark = Mark { epoch: Epoch(u64::MAX), next: vec![(1 << 35) - 1; LANES_MAX].into() };
        let token = encode_mark(&mark);
        assert!(token.len() <= 2048, "{}", token.len());
        assert_eq!(decode_mark(&token), Ok(mark));
        let largest = Mark { epoch: Epoch(1), next: vec![SEQ_MAX; LANES_MAX].into() };
        assert!(encode_mark(&largest).len() <= MARK_TEXT_BYTES_MAX);
    }
}
