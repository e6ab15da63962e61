//! Refusals as RFC 9457 `application/problem+json`.
//!
//! [`Code`] is the one table: what a client may branch on (`code`, and `type`, which is the same as
//! a URN), the status it travels under, what it means, and the value of the metric label `reason`.
//! A [`Problem`] is a code with what is particular to one request: a sentence for a person, the bad
//! items, when to come back.

use std::borrow::Cow;
use std::fmt;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What a request was refused for. Stable: names may be added, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Code {
    /// No partner of that name is configured.
    UnknownPartner,
    /// Webhooks are POSTed.
    MethodNotAllowed,
    /// The body is not `application/json`, or is compressed.
    UnsupportedType,
    /// The body is larger than it may be.
    BodyTooLarge,
    /// The body took too long to arrive.
    BodyTimeout,
    /// The body ended before its declared length.
    BodyIncomplete,
    /// A header of the signature is missing or malformed.
    SignatureMissing,
    /// No signature matches any of the partner's secrets.
    SignatureInvalid,
    /// The signature's time is too far from our clock.
    TimestampOutOfTolerance,
    /// The body is not JSON.
    BadJson,
    /// The body holds no events, or more than it may.
    BadCount,
    /// Some items are malformed; `errors` names each.
    InvalidEvents,
    /// Some items happen more than five minutes ahead of our clock.
    InFuture,
    /// Some items carry an id that was used before for other content.
    IdReused,
    /// Brokers refuse some items as they are.
    LogRefused,
    /// The partner sends more events a second than agreed.
    RateLimited,
    /// The partner has more requests under way than agreed.
    TooManyRequests,
    /// The partner uses more different routes than one may.
    TooManyRoutes,
    /// The dedupe window is full.
    DedupeFull,
    /// More bytes are in flight than may be.
    Overloaded,
    /// The log is behind.
    LogBusy,
    /// No broker of the log answers or takes anything.
    LogUnreachable,
    /// The log's disk is full.
    LogFull,
    /// The log is read-only until a restart.
    LogReadOnly,
    /// It is not known whether the events are durable.
    LogUnknown,
    /// The server is going away.
    Closing,
}

/// Code, name, status and meaning.
type Row = (Code, &'static str, u16, &'static str);

impl Code {
    /// All of them, in the order of their numbers.
    #[rustfmt::skip]
    pub const ALL: [Row; 26] = [
        (Self::UnknownPartner, "unknown_partner", 404, "No partner of that name is configured."),
        (Self::MethodNotAllowed, "method_not_allowed", 405, "Webhooks are POSTed."),
        (Self::UnsupportedType, "unsupported_type", 415, "The body must be application/json, not compressed."),
        (Self::BodyTooLarge, "body_too_large", 413, "The body is larger than 1 MiB."),
        (Self::BodyTimeout, "body_timeout", 408, "The body took too long to arrive."),
        (Self::BodyIncomplete, "body_incomplete", 400, "The body ended before its declared length."),
        (Self::SignatureMissing, "signature_missing", 401, "A header of the signature is missing or malformed."),
        (Self::SignatureInvalid, "signature_invalid", 401, "No signature matches a secret of this partner."),
        (Self::TimestampOutOfTolerance, "timestamp_out_of_tolerance", 401, "The signature's time is too far off this server's clock."),
        (Self::BadJson, "bad_json", 400, "The body is not JSON."),
        (Self::BadCount, "bad_count", 422, "A body holds 1 to 1,000 events."),
        (Self::InvalidEvents, "invalid_events", 422, "Some events are malformed; none was taken."),
        (Self::InFuture, "in_future", 422, "Some events lie more than 5 minutes ahead; none was taken."),
        (Self::IdReused, "id_reused", 422, "Some ids were used before for other content; no event was taken."),
        (Self::LogRefused, "log_refused", 422, "The log's brokers refuse some events as they are; the others were taken."),
        (Self::RateLimited, "rate_limited", 429, "More events a second than this partner may send."),
        (Self::TooManyRequests, "too_many_requests", 429, "More requests at once than this partner may send."),
        (Self::TooManyRoutes, "too_many_routes", 429, "More different sets of teams than this partner may use."),
        (Self::DedupeFull, "dedupe_full", 429, "The dedupe window is full."),
        (Self::Overloaded, "overloaded", 503, "Too many webhooks are in flight."),
        (Self::LogBusy, "log_busy", 503, "The log is behind."),
        (Self::LogUnreachable, "log_unreachable", 503, "No broker of the log answers or takes anything."),
        (Self::LogFull, "log_full", 503, "The log's disk is full."),
        (Self::LogReadOnly, "log_read_only", 503, "The log is read-only until a restart."),
        (Self::LogUnknown, "log_unknown", 503, "It is not known whether the events are durable; send them again."),
        (Self::Closing, "closing", 503, "The server is going away."),
    ];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    const fn row(self) -> &'static Row {
        &Self::ALL[self as usize]
    }

    /// The name that stands in `code`, in `type` and in the metric label `reason`.
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The status it travels under.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().2).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What it means, for a person.
    pub const fn title(self) -> &'static str {
        self.row().3
    }
}

/// One thing wrong with one item of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemError {
    /// Which item, from 0; 0 also when the body is a single event.
    pub index: usize,
    /// Which of its fields; empty for the item as a whole.
    pub field: String,
    /// Stable: `missing`, `unknown_field`, `duplicate_field`, `wrong_type`, `malformed`,
    /// `too_large`, `too_deep`, `in_future`, `id_reused`, `log_refused`, `schema`.
    pub reason: &'static str,
    /// What would be right, for a person: follows upon the field.
    pub detail: Cow<'static, str>,
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {}: ", self.index)?;
        if !self.field.is_empty() {
            write!(f, "{} ", self.field)?;
        }
        write!(f, "{} ({})", self.detail, self.reason)
    }
}

/// A refusal on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// What is particular to this request.
    pub detail: String,
    /// The bad items, where items are to blame.
    pub errors: Vec<ItemError>,
    /// When to come back, in seconds; for 429 and 503.
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// A refusal that coming back won't change.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after_s: None }
    }

    /// A refusal of these items.
    pub fn of_items(code: Code, errors: Vec<ItemError>) -> Self {
        let rest = match code {
            Code::LogRefused => "what else the body holds was taken",
            _ => "nothing of the body was taken",
        };
        let detail = format!("{} error(s); {rest}", errors.len());
        Self { code, detail, errors, retry_after_s: None }
    }

    /// A refusal that asks to come back in `seconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// The answer, naming the request it belongs to.
    pub fn respond(&self, correlation: &str) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'static str,
            status: u16,
            code: &'static str,
            detail: &'a str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [ItemError],
        }
        let body = Json(Body {
            r#type: format!("urn:touchline:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            request_id: correlation,
            errors: &self.errors,
        });
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_codes_is_in_the_order_of_their_numbers() {
        for (n, (code, name, status, title)) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, n, "{name}");
            assert_eq!(Code::ALL.iter().filter(|row| row.1 == name).count(), 1, "{name} is unique");
            assert!((400..600).contains(&status) && title.ends_with('.'), "{name}");
        }
    }
}
