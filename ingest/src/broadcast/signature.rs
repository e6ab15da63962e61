//! Standard Webhooks: who signed these bytes, and when.
//!
//! A sender signs `<webhook-id>.<webhook-timestamp>.<raw body>` with HMAC-SHA256 and puts
//! `v1,<base64>` into `webhook-signature`; several stand there, separated by spaces, while it
//! rotates its secret. We may hold several secrets for the same reason, and any pair that matches
//! will do. What is verified are the bytes as they came: the parser that follows changes its input.
//!
//! # Invariants
//! - Comparison takes the same time wherever two signatures differ.
//! - A secret is never printed: not by `Debug`, not in an error.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use touchline_core::limits::ID_BYTES_MAX;
use touchline_core::time::Timestamp;

use crate::limits::{
    SECRET_KEY_BYTES_MAX, SECRET_KEY_BYTES_MIN, SIGNATURE_TOLERANCE, SIGNATURES_MAX,
};
use crate::problem::{Code, Problem};

/// Names the delivery. Signed and logged; it alone suppresses nothing (R15).
pub const WEBHOOK_ID: &str = "webhook-id";
/// Unix seconds at which the delivery was signed.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// `v1,<base64>`, several separated by spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// A key shared with one partner, written `whsec_<base64>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// Why a text is no secret. None of the text is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It doesn't begin as secrets do.
    #[error("a secret must begin with whsec_")]
    Prefix,
    /// What follows isn't base64.
    #[error("what follows whsec_ must be base64, padded with = where needed")]
    Base64,
    /// The key is too short to be safe, or absurdly long.
    #[error("a secret's key must have 16 to 128 bytes (24 to 172 characters of base64)")]
    Length,
}

impl Secret {
    /// Reads `whsec_<base64>`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or(SecretError::Prefix)?;
        let key = STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?;
        if !(SECRET_KEY_BYTES_MIN..=SECRET_KEY_BYTES_MAX).contains(&key.len()) {
            return Err(SecretError::Length);
        }
        Ok(Self(key.into()))
    }

    fn digest(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        // HMAC takes keys of any length; the error exists for other MACs.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 32] };
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a sender puts into `webhook-signature`. `timestamp_s` are Unix seconds, as in
/// `webhook-timestamp`.
pub fn sign(secret: &Secret, id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let digest = secret.digest(id, &timestamp_s.to_string(), body);
    format!("v1,{}", STANDARD.encode(digest))
}

/// The three headers of a delivery, read but not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// `webhook-id`: visible ASCII.
    pub id: Box<str>,
    timestamp: Box<str>,
    signatures: Vec<[u8; 32]>,
}

impl Claim {
    /// Reads the headers.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let id = header(headers, WEBHOOK_ID)?;
        if id.len() > ID_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(missing(WEBHOOK_ID, "must be 1 to 128 visible ASCII characters"));
        }
        let timestamp = header(headers, WEBHOOK_TIMESTAMP)?;
        if timestamp.len() > 12 || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(missing(WEBHOOK_TIMESTAMP, "must be Unix seconds"));
        }
        let signatures = header(headers, WEBHOOK_SIGNATURE)?
            .split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix("v1,"))
            .filter_map(|encoded| STANDARD.decode(encoded).ok()?.try_into().ok())
            .take(SIGNATURES_MAX)
            .collect();
        Ok(Self { id: id.into(), timestamp: timestamp.into(), signatures })
    }

    /// Checks that one of `secrets` signed `body`, at most five minutes from `now`.
    pub fn verify(&self, secrets: &[Secret], body: &[u8], now: Timestamp) -> Result<(), Problem> {
        let mut matched = subtle::Choice::from(0);
        for secret in secrets {
            let want = secret.digest(&self.id, &self.timestamp, body);
            for signature in &self.signatures {
                matched |= want.ct_eq(signature);
            }
        }
        if !bool::from(matched) {
            let detail = "none of the v1 signatures matches a secret of this partner: check the \
                          secret, and that the bytes sent are the bytes signed";
            return Err(Problem::new(Code::SignatureInvalid, detail));
        }
        self.check_age(now)
    }

    fn check_age(&self, now: Timestamp) -> Result<(), Problem> {
        let signed_s: i64 = self.timestamp.parse().unwrap_or(i64::MAX);
        let off = Duration::from_secs(signed_s.abs_diff(now.0.div_euclid(1_000_000)));
        if off <= SIGNATURE_TOLERANCE {
            return Ok(());
        }
        let detail =
            format!("webhook-timestamp is {} s away from this server's clock", off.as_secs());
        Err(Problem::new(Code::TimestampOutOfTolerance, detail))
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Problem> {
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

fn missing(name: &str, what: &str) -> Problem {
    Problem::new(Code::SignatureMissing, format!("{name} {what}"))
}
