//! Keys shared with partners, in the spellings in which partners hand them out.
//!
//! A secret is never printed: not by `Debug`, not in an error.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::encoding::{from_base64, from_hex};
use crate::limits::{SECRET_KEY_BYTES_MAX, SECRET_KEY_BYTES_MIN};

/// How Standard Webhooks' secrets begin.
pub const SECRET_PREFIX: &str = "whsec_";

/// A key shared with one partner.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// How a secret is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretEncoding {
    /// `whsec_` and base64, as Standard Webhooks say.
    #[default]
    Whsec,
    /// The text's own bytes are the key.
    Text,
    /// Hex.
    Hex,
    /// Base64, of either alphabet, padded or not.
    Base64,
}

/// Why a text is no secret. None of the text is repeated. Completes the sentence "the secret ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It doesn't begin as secrets do.
    #[error("must begin with whsec_")]
    Prefix,
    /// What follows isn't base64.
    #[error("must be base64 after whsec_, padded with = where needed")]
    Base64,
    /// It is not in the encoding that is configured.
    #[error("must be written as `secret_encoding` says: {0}")]
    Encoding(&'static str),
    /// The key is too short to be safe, or absurdly long.
    #[error("must hold a key of 16 to 128 bytes (24 to 172 characters of base64)")]
    Length,
}

impl SecretEncoding {
    /// All of them, with their names in the configuration.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Whsec, "whsec"),
        (Self::Text, "text"),
        (Self::Hex, "hex"),
        (Self::Base64, "base64"),
    ];
}

impl Secret {
    /// Reads `whsec_<base64>`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        Self::decode(text, SecretEncoding::Whsec)
    }

    /// Reads a secret that is written in `encoding`.
    pub fn decode(text: &str, encoding: SecretEncoding) -> Result<Self, SecretError> {
        let text = text.trim();
        let key = match encoding {
            SecretEncoding::Whsec => {
                let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError::Prefix)?;
                STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?
            }
            SecretEncoding::Text => text.as_bytes().to_vec(),
            SecretEncoding::Hex => from_hex(text).ok_or(SecretError::Encoding("hex"))?,
            SecretEncoding::Base64 => from_base64(text).ok_or(SecretError::Encoding("base64"))?,
        };
        if !(SECRET_KEY_BYTES_MIN..=SECRET_KEY_BYTES_MAX).contains(&key.len()) {
            return Err(SecretError::Length);
        }
        Ok(Self(key.into()))
    }

    /// The key itself, for whoever signs or verifies.
    pub(super) fn key(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_key_however_it_is_written() {
        let key = b"a key of 19 bytes!!";
        let spelled = [
            (SecretEncoding::Text, "a key of 19 bytes!!".to_owned()),
            (SecretEncoding::Whsec, format!("whsec_{}", STANDARD.encode(key))),
            (SecretEncoding::Base64, STANDARD.encode(key)),
            (SecretEncoding::Base64, STANDARD.encode(key).trim_end_matches('=').to_owned()),
            (SecretEncoding::Hex, key.iter().map(|byte| format!("{byte:02X}")).collect()),
        ];
        for (encoding, text) in spelled {
            assert_eq!(Secret::decode(&text, encoding).unwrap().key(), key, "{encoding:?}");
        }
    }

    #[test]
    fn a_bad_secret_is_refused_without_being_shown() {
        for (encoding, text) in [
            (SecretEncoding::Text, "too short"),
            (SecretEncoding::Hex, "zz112233445566778899aabbccddeeff"),
            (SecretEncoding::Hex, "112233445566778899aabbccddeeff0"),
            (SecretEncoding::Base64, "%%%%%%%%%%%%%%%%%%%%%%%%"),
            (SecretEncoding::Whsec, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ] {
            let error = Secret::decode(text, encoding).unwrap_err().to_string();
            assert!(error.starts_with("must ") && !error.contains(text), "{error}");
        }
    }
}
