//! Who may send webhooks: partners and their secrets, as values.
//!
//! [`Sources`] is built from the configuration, whole or not at all, and can be swapped while
//! requests run: a request sees one set from beginning to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use touchline_core::event::{NameError, check_source};

use super::mapped::ItemMapping;
use super::schema::Schema;
use super::scheme::Scheme;
use super::secret::{Secret, SecretError};
use crate::limits::{
    EVENTS_BURST, EVENTS_PER_S, PARTNER_REQUESTS_MAX, PARTNERS_MAX, ROUTES_MAX, SECRETS_MAX,
};

/// One partner: the last part of its webhook's path, and the `source` of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    name: Box<str>,
    secrets: Vec<Secret>,
    /// How it signs. Default: Standard Webhooks.
    pub scheme: Scheme,
    /// Where the fields of its events stand. Default: in our own shape.
    pub mapping: Option<ItemMapping>,
    /// What its items must be like besides. Default: nothing.
    pub schema: Option<Arc<Schema>>,
    /// Events a second, over a while. Default 40,000.
    pub events_per_s: u32,
    /// Events at once after silence; at least a full body's 1,000. Default 80,000.
    pub events_burst: u32,
    /// Different routes within half an hour to an hour (R23). Default 4,096.
    pub routes_max: usize,
    /// Signed requests under way at once. Default 256.
    pub requests_max: usize,
}

/// Why the configured partners can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourcesError {
    /// The partner's name is no source.
    #[error("sources.broadcast.{0}: a partner's name {1}")]
    Name(String, NameError),
    /// It has no secret, so nothing could ever verify.
    #[error("sources.broadcast.{0} has no secret: give it one by secrets_file or secrets")]
    NoSecret(String),
    /// It has more secrets than a rotation needs.
    #[error(
        "sources.broadcast.{0} has more than {SECRETS_MAX} secrets: remove those no longer used"
    )]
    TooManySecrets(String),
    /// One of its secrets is none.
    #[error("sources.broadcast.{0}: secret {1} {2}")]
    Secret(String, usize, SecretError),
    /// Two partners of one name.
    #[error("sources.broadcast.{0} stands there twice")]
    Twice(String),
    /// More partners than one node takes.
    #[error("there are more than {PARTNERS_MAX} partners under sources.broadcast")]
    TooManyPartners,
}

impl Partner {
    /// A partner with these secrets, each `whsec_<base64>`, and the default limits.
    pub fn new<S: AsRef<str>>(name: &str, secrets: &[S]) -> Result<Self, SourcesError> {
        let parse = |(n, text): (usize, &S)| {
            Secret::parse(text.as_ref())
                .map_err(|error| SourcesError::Secret(name.into(), n + 1, error))
        };
        Self::with_secrets(name, secrets.iter().enumerate().map(parse).collect::<Result<_, _>>()?)
    }

    /// The same with secrets that are read already.
    pub fn with_secrets(name: &str, secrets: Vec<Secret>) -> Result<Self, SourcesError> {
        let partner = Self::without_secrets(name)?;
        match secrets.len() {
            0 => Err(SourcesError::NoSecret(name.into())),
            1..=SECRETS_MAX => Ok(Self { secrets, ..partner }),
            _ => Err(SourcesError::TooManySecrets(name.into())),
        }
    }

    /// A partner that is polled: nobody can send webhooks in its name.
    pub fn without_secrets(name: &str) -> Result<Self, SourcesError> {
        check_source(name).map_err(|error| SourcesError::Name(name.into(), error))?;
        Ok(Self {
            name: name.into(),
            secrets: Vec::new(),
            scheme: Scheme::standard(),
            mapping: None,
            schema: None,
            events_per_s: EVENTS_PER_S,
            events_burst: EVENTS_BURST,
            routes_max: ROUTES_MAX,
            requests_max: PARTNER_REQUESTS_MAX,
        })
    }

    /// A partner whose secrets stand in a file's `text`, one a line; empty lines and lines that
    /// begin with `#` don't count.
    pub fn from_secrets_file(name: &str, text: &str) -> Result<Self, SourcesError> {
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        Self::new(name, &lines)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Any of them verifies.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}

/// All partners of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    partners: BTreeMap<Box<str>, Partner>,
}

impl Sources {
    /// A set of partners, each name once.
    pub fn new(partners: impl IntoIterator<Item = Partner>) -> Result<Self, SourcesError> {
        let mut all = BTreeMap::new();
        for partner in partners {
            if let Some(twin) = all.insert(partner.name.clone(), partner) {
                return Err(SourcesError::Twice(twin.name.into()));
            }
            if all.len() > PARTNERS_MAX {
                return Err(SourcesError::TooManyPartners);
            }
        }
        Ok(Self { partners: all })
    }

    /// By name, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Partner> {
        self.partners.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_secrets_file_holds_one_secret_a_line() {
        let text = format!("# old\n{GOOD}\r\n\n  {GOOD}  \n");
        assert_eq!(Partner::from_secrets_file("skyline", &text).unwrap().secrets().len(), 2);
    }

    #[test]
    fn partners_that_could_never_work_are_refused_without_showing_a_secret() {
        let many = vec![GOOD; SECRETS_MAX + 1];
        let cases: [(&str, Vec<&str>, &str); 7] = [
            ("Sky Line", vec![GOOD], "name must be"),
            ("skyline", vec![], "has no secret"),
            ("skyline", many, "more than 8"),
            ("skyline", vec![GOOD, "MfKQ9r8G"], "secret 2 must begin"),
            ("skyline", vec!["whsec_%%%"], "must be base64 after"),
            ("skyline", vec!["whsec_c2hvcnQ="], "16 to 128 bytes"),
            ("skyline", vec!["whsec_"], "16 to 128 bytes"),
        ];
        for (name, secrets, want) in cases {
            let error = Partner::new(name, &secrets).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
            assert!(
                secrets
                    .iter()
                    .all(|secret| !error.contains(&secret[6.min(secret.len())..])
                        || secret.len() <= 6),
                "{error}"
            );
        }
        let twin = || Partner::new("skyline", &[GOOD]).unwrap();
        assert_eq!(Sources::new([twin(), twin()]), Err(SourcesError::Twice("skyline".into())));
        assert!(!format!("{:?}", twin()).contains("MfKQ"));
    }
}
