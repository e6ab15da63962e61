//! Who signed these bytes, and when.
//!
//! A [`Claim`] is what a delivery's headers say by the partner's [`Scheme`]: read, not yet
//! believed. A sender may sign with several secrets while it rotates them, and we may hold several
//! for the same reason: any pair that matches will do. What is verified are the bytes as they came;
//! the parser that follows changes its input.
//!
//! # Invariants
//! - Comparison takes the same time wherever two signatures differ.
//! - Nothing that decides is left unsigned: a time that isn't part of the message counts for
//!   nothing, and no scheme is without one over the body (see [`Scheme::new`]).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use subtle::ConstantTimeEq;
use touchline_core::limits::ID_BYTES_MAX;
use touchline_core::time::Timestamp;

use super::encoding::Encoding;
use super::scheme::{Algorithm, Part, Scheme, TimeSource};
use super::secret::Secret;
use crate::limits::{SIGNATURES_MAX, TIME_TEXT_BYTES_MAX};
use crate::problem::{Code, Problem};

/// Names the delivery. Signed and logged; it alone suppresses nothing (R15).
pub const WEBHOOK_ID: &str = "webhook-id";
/// Unix seconds at which the delivery was signed.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// `v1,<base64>`, several separated by spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// What a sender of Standard Webhooks puts into `webhook-signature`. `timestamp_s` are Unix
/// seconds, as in `webhook-timestamp`.
pub fn sign(secret: &Secret, id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let timestamp = timestamp_s.to_string();
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let digest = Algorithm::Sha256.digest(secret.key(), message);
    format!("v1,{}", Encoding::Base64.encode(&digest))
}

/// The headers of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it calls itself, where the partner names deliveries: visible ASCII.
    pub id: Option<Box<str>>,
    signed_at: Option<Timestamp>,
    /// What was signed, but for the body.
    message: Vec<Piece>,
    signatures: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Body,
}

impl Claim {
    /// Reads the headers.
    pub fn of(headers: &HeaderMap, scheme: &Scheme) -> Result<Self, Problem> {
        let id = id_of(headers, scheme)?;
        let signature = header(headers, &scheme.header)?;
        let time = match &scheme.time {
            None => None,
            Some(TimeSource::Header(name)) => Some((name.as_str(), header(headers, name)?)),
            Some(TimeSource::Element(name)) => {
                let text = elements(signature).find(|(own, _)| *own == &**name);
                let text = text.ok_or_else(|| missing(&scheme.header, "has no time in it"))?.1;
                Some((scheme.header.as_str(), text))
            }
        };
        let signed_at = match time {
            None => None,
            Some((name, text)) => Some(read_time(text).ok_or_else(|| {
                let what = "must hold Unix seconds or milliseconds, or RFC 3339";
                Problem::new(Code::SignatureMissing, format!("{name} {what}"))
            })?),
        };
        let piece = |part: &Part| {
            Ok(match part {
                Part::Body => Piece::Body,
                Part::Literal(text) => Piece::Text(text.clone()),
                Part::Timestamp => Piece::Text(time.map_or("", |(_, text)| text).into()),
                Part::Id => Piece::Text(id.unwrap_or_default().into()),
                Part::Header(name) => Piece::Text(header(headers, name)?.into()),
            })
        };
        let message = scheme.signed.parts().iter().map(piece).collect::<Result<_, Problem>>()?;
        let signatures = scheme.signatures(signature).take(SIGNATURES_MAX).collect();
        Ok(Self { id: id.map(Into::into), signed_at, message, signatures })
    }

    /// Checks that one of `secrets` signed `body`, and not too far from `now`.
    pub fn verify(
        &self,
        scheme: &Scheme,
        secrets: &[Secret],
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Problem> {
        let mut matched = subtle::Choice::from(0);
        for secret in secrets {
            let pieces = self.message.iter().map(|piece| match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Body => body,
            });
            let want = scheme.algorithm.digest(secret.key(), pieces);
            for signature in &self.signatures {
                matched |= want.ct_eq(signature);
            }
        }
        if !bool::from(matched) {
            let detail = format!(
                "no signature in {} matches a secret of this partner: check the secret, and that \
                 the bytes sent are the bytes signed",
                scheme.header
            );
            return Err(Problem::new(Code::SignatureInvalid, detail));
        }
        self.check_age(scheme.tolerance, now)
    }

    fn check_age(&self, tolerance: Duration, now: Timestamp) -> Result<(), Problem> {
        let Some(signed_at) = self.signed_at else { return Ok(()) };
        let off_s = signed_at.0.abs_diff(now.0) / 1_000_000;
        if off_s <= tolerance.as_secs() {
            return Ok(());
        }
        let detail = format!("it was signed {off_s} s away from this server's clock");
        Err(Problem::new(Code::TimestampOutOfTolerance, detail))
    }
}

/// `name=value` pairs, separated by commas.
pub(super) fn elements(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let pair = |text| str::split_once(text, '=').map(|(name, value)| (name.trim(), value.trim()));
    header.split(',').filter_map(pair)
}

/// Whether a number is seconds or milliseconds its size tells: seconds as large lie beyond the
/// year 5000.
fn read_time(text: &str) -> Option<Timestamp> {
    if text.len() > TIME_TEXT_BYTES_MAX {
        return None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Timestamp::parse(text);
    }
    let number: i64 = text.parse().ok()?;
    let factor = if number < 100_000_000_000 { 1_000_000 } else { 1_000 };
    number.checked_mul(factor).map(Timestamp)
}

fn id_of<'h>(headers: &'h HeaderMap, scheme: &Scheme) -> Result<Option<&'h str>, Problem> {
    let Some(name) = &scheme.id_header else { return Ok(None) };
    if !headers.contains_key(name) && !scheme.signed.has(&Part::Id) {
        return Ok(None);
    }
    let id = header(headers, name)?;
    if id.len() > ID_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(missing(name, "must be 1 to 128 visible ASCII characters"));
    }
    Ok(Some(id))
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| missing(name, "is missing"))?;
    if values.next().is_some() {
        return Err(missing(name, "stands there twice"));
    }
    match HeaderValue::to_str(value) {
        Ok("") => Err(missing(name, "is empty")),
        Ok(text) => Ok(text),
        Err(_) => Err(missing(name, "must be ASCII")),
    }
}

fn missing(name: &HeaderName, what: &str) -> Problem {
    Problem::new(Code::SignatureMissing, format!("{name} {what}"))
}

#[cfg(test)]
mod tests;
