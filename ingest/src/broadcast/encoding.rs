//! Bytes as text, as signatures and secrets are written.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig as Config};

/// How a signature's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hex, of either case.
    Hex,
    /// Base64, padded or not.
    Base64,
    /// Base64 of the alphabet that is safe in URLs, padded or not.
    Base64Url,
}

const LENIENT: Config =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const ANY_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const ANY_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

impl Encoding {
    /// All of them, with their names in the configuration.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Hex, "hex"), (Self::Base64, "base64"), (Self::Base64Url, "base64url")];

    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => from_hex(text),
            Self::Base64 => ANY_STANDARD.decode(text).ok(),
            Self::Base64Url => ANY_URL_SAFE.decode(text).ok(),
        }
    }

    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE.encode(bytes),
        }
    }
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(high)? * 16 + digit(low)?).ok();
    pairs.iter().map(byte).collect()
}

pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    ANY_STANDARD.decode(text).or_else(|_| ANY_URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        for (encoding, name) in Encoding::ALL {
            for bytes in [&b""[..], b"\xff\xfe\xfb", b"\x00\x10\x20\x30"] {
                let text = encoding.encode(bytes);
                assert_eq!(encoding.decode(&text).as_deref(), Some(bytes), "{name} {text}");
            }
            assert_eq!(encoding.decode("g!"), None, "{name}");
        }
        assert_eq!(Encoding::Hex.decode("FFfe").as_deref(), Some(&b"\xff\xfe"[..]));
        assert_eq!(Encoding::Hex.decode("abc"), None);
        assert_eq!(Encoding::Base64.decode("//4").as_deref(), Some(&b"\xff\xfe"[..]));
    }
}
