//! Tokens for SASL OAUTHBEARER, from a file that somebody else keeps fresh.
//!
//! A node asks nobody for tokens: a sidecar does, which knows the issuer (a client of OIDC, the
//! signer of Amazon MSK's IAM), and writes each into a file. librdkafka asks for one when a client
//! begins and again at four fifths of what is left of the token's life; each time the file is read
//! anew. So a token that was replaced in time is never missed, and one that wasn't is told of.
//!
//! How long a token lives is found in itself: `exp` of a JWT, or the date and the seconds of a
//! request that was signed beforehand (MSK's IAM). One that tells nothing is taken to live for
//! [`LIFE_UNKNOWN`], so that the file is read every four minutes.

mod admin;

pub(super) use admin::give;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

use super::clock::millis;
use super::options::Sasl;
use crate::limits::TOKEN_BYTES_MAX;

/// What a token lives that doesn't tell.
const LIFE_UNKNOWN: Duration = Duration::from_secs(300);

/// Where tokens come from.
#[derive(Clone)]
pub(super) struct TokenFile {
    file: PathBuf,
    /// Who we are, where the token doesn't say so.
    user: String,
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFile({})", self.file.display())
    }
}

impl TokenFile {
    /// Of a sign-in by token.
    pub fn of(sasl: Option<&Sasl>) -> Option<Self> {
        let sasl = sasl?;
        let file = sasl.token_file.clone()?;
        Some(Self { file, user: sasl.user.clone() })
    }

    /// The token that stands there, at `now_ms` since 1970.
    ///
    /// # Errors
    /// What is wrong with it, and whose turn it is.
    pub fn read(&self, now_ms: i64) -> Result<OAuthToken, String> {
        let place = self.file.display();
        let failed = |error: std::io::Error| format!("the token file {place}: {error}");
        if std::fs::metadata(&self.file).map_err(failed)?.len() > TOKEN_BYTES_MAX {
            return Err(format!("the token file {place} is too large for a token"));
        }
        let text = std::fs::read_to_string(&self.file).map_err(failed)?;
        let token = text.trim();
        if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(format!("the token file {place} holds no token, or more than one"));
        }
        let Facts { subject, until_ms } = Facts::of(token);
        let until_ms = until_ms.unwrap_or(now_ms + millis(LIFE_UNKNOWN));
        if until_ms <= now_ms {
            let ago_s = (now_ms - until_ms) / 1_000;
            return Err(format!(
                "the token in {place} has expired {ago_s} s ago: whoever writes it there has stopped"
            ));
        }
        let user = Some(self.user.clone()).filter(|user| !user.is_empty());
        let principal_name = user.or(subject).unwrap_or_else(|| "touchline".into());
        Ok(OAuthToken { token: token.to_owned(), principal_name, lifetime_ms: until_ms })
    }
}

/// What a token tells of itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    subject: Option<String>,
    until_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
}

impl Facts {
    fn of(token: &str) -> Self {
        Self::of_jwt(token).or_else(|| Self::of_signed_request(token)).unwrap_or_default()
    }

    fn of_jwt(token: &str) -> Option<Self> {
        let claims = token.split('.').nth(1)?;
        let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
        let Claims { sub, exp } = serde_json::from_slice(&claims).ok()?;
        Some(Self { subject: sub, until_ms: exp.map(|seconds| (seconds * 1_000.0) as i64) })
    }

    /// `https://kafka.eu-west-1.amazonaws.com/?...&X-Amz-Date=20261128T130000Z&X-Amz-Expires=900`
    fn of_signed_request(token: &str) -> Option<Self> {
        let url = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
        let url = String::from_utf8(url).ok()?;
        let (_, query) = url.split_once('?')?;
        let find = |key: &str| {
            query.split('&').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key))
        };
        let (_, date) = find("X-Amz-Date")?;
        let (_, seconds) = find("X-Amz-Expires")?;
        let begin = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
        let begin = begin.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        let life_ms = seconds.parse::<i64>().ok()?.checked_mul(1_000)?;
        Some(Self { subject: None, until_ms: begin.as_millisecond().checked_add(life_ms) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_870_800_000;

    fn jwt(claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.", part(r#"{"alg":"none"}"#), part(claims))
    }

    fn read(content: &str, user: &str) -> Result<OAuthToken, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, content).unwrap();
        TokenFile { file, user: user.into() }.read(NOW_MS)
    }

    #[test]
    fn a_token_tells_how_long_it_lives_and_whose_it_is() {
        let token = jwt(r#"{"sub":"node-a","exp":1795870860.5}"#);
        let found = read(&format!("{token}\n"), "").unwrap();
        assert_eq!((found.token, &*found.principal_name), (token.clone(), "node-a"));
        assert_eq!(found.lifetime_ms, 1_795_870_860_500);
        assert_eq!(read(&token, "b").unwrap().principal_name, "b", "the configuration says so");
        let url = "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect&\
                   X-Amz-Date=20261128T130000Z&X-Amz-Expires=900&X-Amz-Signature=00";
        let found = read(&URL_SAFE_NO_PAD.encode(url), "").unwrap();
        assert_eq!(found.lifetime_ms, NOW_MS + 900_000);
        let found = read("opaque-token", "").unwrap();
        assert_eq!((found.lifetime_ms, &*found.principal_name), (NOW_MS + 300_000, "touchline"));
    }

    #[test]
    fn a_token_that_is_of_no_use_is_told_of_with_its_file_and_never_with_its_content() {
        let old = jwt(r#"{"sub":"node-a","exp":1795870799}"#);
        for (content, says) in [
            (old.as_str(), "has expired 1 s ago"),
            ("", "holds no token"),
            ("one\ntwo", "holds no token, or more than one"),
            (&"x".repeat(1 << 20), "too large"),
        ] {
            let error = read(content, "").err().unwrap();
            assert!(error.contains(says) && error.contains("token"), "{error}");
            assert!(content.is_empty() || !error.contains(content), "{error}");
        }
        let missing = TokenFile { file: "/no/such/token".into(), user: String::new() };
        assert!(missing.read(NOW_MS).err().unwrap().contains("/no/such/token"));
    }
}
