//! How a partner signs, as a value: Standard Webhooks, or whatever else can be described as an HMAC
//! over some parts of a delivery.
//!
//! | partner's manner | header | over | written |
//! |---|---|---|---|
//! | Standard Webhooks | `webhook-signature: v1,<...>` | `{id}.{timestamp}.{body}` | base64 |
//! | GitHub's | `x-hub-signature-256: sha256=<...>` | `{body}` | hex |
//! | Stripe's | `stripe-signature: t=<...>,v1=<...>` | `{timestamp}.{body}` | hex |
//! | Shopify's | `x-shopify-hmac-sha256: <...>` | `{body}` | base64 |
//! | Slack's | `x-slack-signature: v0=<...>` | `v0:{timestamp}:{body}` | hex |

use std::time::Duration;

use axum::http::HeaderName;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::encoding::Encoding;
use super::signature::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, elements};
use crate::limits::{SIGNATURE_TOLERANCE, TEMPLATE_PARTS_MAX};

/// The hash in the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// For partners who have nothing better; as an HMAC it still holds.
    Sha1,
    /// What nearly everybody uses.
    Sha256,
    /// The longest.
    Sha512,
}

impl Algorithm {
    /// All of them, with their names in the configuration and in `openssl dgst`.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Sha1, "sha1"), (Self::Sha256, "sha256"), (Self::Sha512, "sha512")];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    pub(super) fn digest<'m>(
        self,
        key: &[u8],
        message: impl IntoIterator<Item = &'m [u8]>,
    ) -> Vec<u8> {
        match self {
            Self::Sha1 => mac::<Hmac<Sha1>>(key, message),
            Self::Sha256 => mac::<Hmac<Sha256>>(key, message),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, message),
        }
    }
}

fn mac<'m, M: Mac + hmac::digest::KeyInit>(
    key: &[u8],
    message: impl IntoIterator<Item = &'m [u8]>,
) -> Vec<u8> {
    // HMAC takes keys of any length; the error exists for other MACs. Nothing equals an empty one.
    let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { return Vec::new() };
    message.into_iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Where a delivery says when it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// In a header of its own.
    Header(HeaderName),
    /// In the signature's header, as `name=...`.
    Element(Box<str>),
}

/// One part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Literal(Box<str>),
    /// `{body}`
    Body,
    /// `{timestamp}`, as it was sent.
    Timestamp,
    /// `{id}`
    Id,
    /// `{header:NAME}`
    Header(HeaderName),
}

/// What is signed, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Reads `v0:{timestamp}:{body}`. The error completes the sentence "`signed` ...".
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("has a { without its }")?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
            }
            parts.push(part(name)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.into()));
        }
        if parts.len() > TEMPLATE_PARTS_MAX {
            return Err(format!("has more than {TEMPLATE_PARTS_MAX} parts"));
        }
        let template = Self(parts);
        match template.has(&Part::Body) {
            true => Ok(template),
            false => Err("must hold {body}: else anybody could send anything under it".into()),
        }
    }

    /// Its parts.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    pub(super) fn has(&self, part: &Part) -> bool {
        self.0.contains(part)
    }
}

fn part(name: &str) -> Result<Part, String> {
    match name {
        "body" => Ok(Part::Body),
        "timestamp" => Ok(Part::Timestamp),
        "id" => Ok(Part::Id),
        _ => match name.strip_prefix("header:") {
            Some(header) => header_name(header).map(Part::Header),
            None => Err(format!(
                "has {{{}}}, where {{body}}, {{timestamp}}, {{id}} and {{header:NAME}} are known",
                name.escape_debug()
            )),
        },
    }
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("names \"{}\", which is no header", name.escape_debug()))
}

/// How a partner signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Where signatures stand.
    pub header: HeaderName,
    /// The hash.
    pub algorithm: Algorithm,
    /// How signatures are written.
    pub encoding: Encoding,
    /// What stands before each.
    pub prefix: Box<str>,
    /// Which of the header's `name=...` are signatures; `None`: all of it is.
    pub element: Option<Box<str>>,
    /// What is signed.
    pub signed: Template,
    /// Where the time stands. `None`: age is not judged.
    pub time: Option<TimeSource>,
    /// How far that may lie from our clock, either way.
    pub tolerance: Duration,
    /// Where the delivery's own name stands.
    pub id_header: Option<HeaderName>,
}

/// A scheme as it stands in the configuration.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is the key of its name")]
pub struct SchemeText<'t> {
    pub signature_header: &'t str,
    pub signature_algorithm: Algorithm,
    pub signature_encoding: Encoding,
    pub signature_prefix: &'t str,
    pub signature_element: Option<&'t str>,
    pub signed: &'t str,
    pub timestamp_header: Option<&'t str>,
    pub timestamp_element: Option<&'t str>,
    pub tolerance: Duration,
    pub id_header: Option<&'t str>,
}

impl Default for SchemeText<'_> {
    fn default() -> Self {
        Self {
            signature_header: "",
            signature_algorithm: Algorithm::Sha256,
            signature_encoding: Encoding::Hex,
            signature_prefix: "",
            signature_element: None,
            signed: "{body}",
            timestamp_header: None,
            timestamp_element: None,
            tolerance: SIGNATURE_TOLERANCE,
            id_header: None,
        }
    }
}

impl Scheme {
    /// Standard Webhooks.
    pub fn standard() -> Self {
        let dot = || Part::Literal(".".into());
        let signed = Template(vec![Part::Id, dot(), Part::Timestamp, dot(), Part::Body]);
        Self {
            header: HeaderName::from_static(WEBHOOK_SIGNATURE),
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Base64,
            prefix: "v1,".into(),
            element: None,
            signed,
            time: Some(TimeSource::Header(HeaderName::from_static(WEBHOOK_TIMESTAMP))),
            tolerance: SIGNATURE_TOLERANCE,
            id_header: Some(HeaderName::from_static(WEBHOOK_ID)),
        }
    }

    /// A scheme as it is described. The error is a sentence that names the key.
    pub fn new(text: &SchemeText<'_>) -> Result<Self, String> {
        let named =
            |key: &str, name: &str| header_name(name).map_err(|why| format!("`{key}` {why}"));
        let optional =
            |key: &str, name: Option<&str>| name.map(|name| named(key, name)).transpose();
        if text.signature_header.is_empty() {
            return Err("`signature_header` is missing: it tells where signatures stand".into());
        }
        let signed = Template::parse(text.signed).map_err(|why| format!("`signed` {why}"))?;
        let time_header = optional("timestamp_header", text.timestamp_header)?;
        let time = match (time_header, text.timestamp_element) {
            (Some(_), Some(_)) => {
                return Err("`timestamp_header` and `timestamp_element` exclude each other".into());
            }
            (Some(header), None) => Some(TimeSource::Header(header)),
            (None, element) => element.map(|name| TimeSource::Element(name.into())),
        };
        let scheme = Self {
            header: named("signature_header", text.signature_header)?,
            algorithm: text.signature_algorithm,
            encoding: text.signature_encoding,
            prefix: text.signature_prefix.into(),
            element: text.signature_element.map(Into::into),
            signed,
            time,
            tolerance: text.tolerance,
            id_header: optional("id_header", text.id_header)?,
        };
        scheme.check().map(|()| scheme)
    }

    fn check(&self) -> Result<(), String> {
        let signs_time = self.signed.has(&Part::Timestamp)
            || matches!(&self.time, Some(TimeSource::Header(name))
                if self.signed.has(&Part::Header(name.clone())));
        if self.time.is_some() && !signs_time {
            return Err("`signed` lacks {timestamp}: a time that isn't signed can be changed by \
                        anybody; sign it, or leave `timestamp_header` and `timestamp_element` out"
                .into());
        }
        if self.time.is_none() && signs_time {
            return Err("`signed` has {timestamp}, but neither `timestamp_header` nor \
                        `timestamp_element` tells where it stands"
                .into());
        }
        if self.id_header.is_none() && self.signed.has(&Part::Id) {
            return Err("`signed` has {id}, but no `id_header` tells where it stands".into());
        }
        Ok(())
    }

    /// Whether it is the one of Standard Webhooks, whatever its tolerance.
    pub fn is_standard(&self) -> bool {
        *self == Self { tolerance: self.tolerance, ..Self::standard() }
    }

    /// The signatures in `header`; what is written otherwise is passed over.
    pub(super) fn signatures(&self, header: &str) -> impl Iterator<Item = Vec<u8>> {
        let words: Vec<&str> = match &self.element {
            Some(element) => {
                elements(header).filter(|(name, _)| *name == &**element).map(|it| it.1).collect()
            }
            // What the prefix itself holds parts nothing: Standard Webhooks have a comma in each
            // word, and `HMAC-SHA256 <...>` a space.
            None => {
                let parts = |c: char| matches!(c, ',' | ' ' | '\t') && !self.prefix.contains(c);
                header.split(parts).map(|word| word.trim_matches([',', ' ', '\t'])).collect()
            }
        };
        let decode = |word: &str| {
            let encoded = word.strip_prefix(&*self.prefix)?;
            self.encoding.decode(encoded).filter(|bytes| !bytes.is_empty())
        };
        words.into_iter().filter_map(decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: SchemeText<'_>) -> String {
        Scheme::new(&text).unwrap_err()
    }

    fn body_only() -> SchemeText<'static> {
        SchemeText { signature_header: "x-signature", ..SchemeText::default() }
    }

    #[test]
    fn the_tables_are_in_the_order_of_their_numbers() {
        for (n, (algorithm, name)) in Algorithm::ALL.into_iter().enumerate() {
            assert_eq!((algorithm as usize, algorithm.as_str()), (n, name));
        }
    }

    #[test]
    fn a_template_is_its_parts_in_order() {
        let template = Template::parse("v0:{timestamp}:{header:X-Host}{body}.").unwrap();
        let host = Part::Header(HeaderName::from_static("x-host"));
        let literal = |text: &str| Part::Literal(text.into());
        let parts = [literal("v0:"), Part::Timestamp, literal(":"), host, Part::Body, literal(".")];
        assert_eq!(template.parts(), parts);
        assert!(Scheme::standard().is_standard());
    }

    #[test]
    fn several_signatures_are_told_apart_whatever_their_prefix_holds() {
        let found = |prefix: &'static str, header: &str| {
            let text = SchemeText { signature_prefix: prefix, ..body_only() };
            Scheme::new(&text).unwrap().signatures(header).collect::<Vec<_>>()
        };
        let both = [vec![1], vec![2]];
        assert_eq!(found("", "01,02"), both);
        assert_eq!(found("", "01 , 02, zz"), both, "what is written otherwise is passed over");
        assert_eq!(found("sha256=", "sha256=01 sha1=05 sha256=02"), both);
        assert_eq!(found("v1,", "v1,01 v1,02 v2,03"), both);
        assert_eq!(found("HMAC ", "HMAC 01, HMAC 02"), both);
        assert_eq!(found("v1=", "v1=,v1"), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_would_let_anybody_in_is_refused_by_name() {
        for (text, want) in [
            (SchemeText::default(), "`signature_header` is missing"),
            (SchemeText { signature_header: "x y", ..body_only() }, "which is no header"),
            (SchemeText { signed: "{timestamp}", ..body_only() }, "must hold {body}"),
            (SchemeText { signed: "{body}{", ..body_only() }, "without its }"),
            (SchemeText { signed: "{bdoy}", ..body_only() }, "{bdoy}"),
            (SchemeText { signed: "{id}{body}", ..body_only() }, "no `id_header`"),
            (SchemeText { signed: "{timestamp}{body}", ..body_only() }, "tells where it stands"),
            (SchemeText { timestamp_header: Some("x-at"), ..body_only() }, "lacks {timestamp}"),
            (
                SchemeText {
                    timestamp_header: Some("x-at"),
                    timestamp_element: Some("t"),
                    signed: "{timestamp}{body}",
                    ..body_only()
                },
                "exclude each other",
            ),
        ] {
            let error = refusal(text);
            assert!(error.contains(want), "{error}");
        }
        let signed = "{header:x-at}{body}";
        let by_name = SchemeText { timestamp_header: Some("X-At"), signed, ..body_only() };
        assert!(Scheme::new(&by_name).is_ok());
    }
}
