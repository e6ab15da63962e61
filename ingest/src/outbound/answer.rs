//! What the head of an answer says, and what an error does, in words that give no key away.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use touchline_core::time::Timestamp;

use super::shown;

/// The kind of its content, in small letters and without parameters; empty if it names none.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// What `Retry-After` asks for: seconds, or a date, which is compared to the answer's own `Date` so
/// that our clock doesn't matter, else to `now`.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = http_date(text)?;
    let date = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(http_date);
    let micros = then.0.saturating_sub(date.unwrap_or(now).0);
    Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

/// What is said of a redirect, which nobody follows.
pub(crate) fn redirected(response: &Response) -> String {
    let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("");
    let status = other_status(response.status());
    format!("{status} to \"{}\": write its real url", place(to))
}

/// What is said of a status that isn't the one that is wanted.
pub(crate) fn other_status(status: StatusCode) -> String {
    format!("it answers {status}")
}

/// Where a redirect leads, for people: what follows the path may hold a key.
fn place(location: &str) -> String {
    match location.starts_with('/') && !location.starts_with("//") {
        true => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
        false => shown(location),
    }
}

/// An error with all that caused it. The address is left out: its query may hold a key.
pub(crate) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        why = format!("{why}: {deeper}");
        cause = deeper.source();
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date_by_the_others_clock() {
        let asked = |after: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            date.map(|date| headers.insert(DATE, date.parse().unwrap()));
            retry_after(&headers, Timestamp(784_111_777_000_000))
        };
        assert_eq!(asked("120", None), Some(120 * S));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT", None), Some(60 * S));
        let date = Some("Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT", date), Some(30 * S));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(Duration::ZERO));
        assert_eq!(asked("later", None), None);
        assert_eq!(retry_after(&HeaderMap::new(), Timestamp(0)), None);
    }

    #[test]
    fn a_kind_of_content_is_told_without_its_parameters() {
        for (said, kind) in [
            ("application/json", "application/json"),
            ("Text/Event-Stream; charset=utf-8", "text/event-stream"),
            (" application/problem+json ;a=b", "application/problem+json"),
            ("", ""),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, said.parse().unwrap())]);
            assert_eq!(content_type(&headers), kind);
        }
        assert_eq!(content_type(&HeaderMap::new()), "");
    }

    #[test]
    fn where_a_redirect_leads_is_told_without_what_may_be_a_key() {
        for to in ["//jo:K3Y@a.example", "https://a.example/s?K3Y", "/s?token=K3Y", "/s#K3Y", "K3Y"]
        {
            assert!(!place(to).contains("K3Y"), "{to}");
        }
        assert_eq!(place("/elsewhere?token=K3Y"), "/elsewhere");
    }
}
