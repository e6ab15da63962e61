//! The id that follows a request through its answer, every log line about it, and the log's record.
//!
//! `X-Request-Id` is taken if it is well formed, else the trace id of a W3C `traceparent`, else a
//! UUID (version 7) is made. What a caller sends is only ever taken as 1 to 128 visible ASCII
//! characters, so that it can't forge a line of a log; what doesn't fit is replaced, not refused: a
//! correlation id is no reason to lose a goal.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use touchline_core::limits::ID_BYTES_MAX;

/// Where a caller names its request, and where the answer names it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request's id, and its trace context where it came with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlation {
    id: Box<str>,
    traceparent: Option<HeaderValue>,
}

impl Correlation {
    /// The correlation of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let traceparent = headers.get(TRACEPARENT).filter(|value| trace_id(value).is_some());
        let id = headers
            .get(REQUEST_ID)
            .and_then(visible)
            .or_else(|| traceparent.and_then(trace_id))
            .map_or_else(|| uuid::Uuid::now_v7().to_string().into(), Into::into);
        Self { id, traceparent: traceparent.cloned() }
    }

    /// That of `request`: the one that a layer around us has put among its extensions, or else that
    /// of its headers. A panic or a timeout out there is then told under the same id.
    pub fn of_request<B>(request: &Request<B>) -> Self {
        let given = request.extensions().get::<Self>().cloned();
        given.unwrap_or_else(|| Self::of(request.headers()))
    }

    /// 1 to 128 visible ASCII characters.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The trace it belongs to, where it came with one: for log lines, where a caller that names
    /// its request as well would otherwise be lost to whoever looks by trace.
    pub fn trace(&self) -> Option<&str> {
        self.traceparent.as_ref().and_then(trace_id)
    }

    /// The whole `traceparent`, for what is made of the request.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_ref().and_then(|value| value.to_str().ok())
    }

    /// Names the request in its answer.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(traceparent) = &self.traceparent {
            headers.insert(TRACEPARENT, traceparent.clone());
        }
    }
}

fn visible(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let fits =
        (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(text)
}

/// The trace id of `version-traceid-parentid-flags`, all lower-case hex, neither id zero, version
/// not `ff`.
fn trace_id(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let mut parts = text.splitn(5, '-');
    let [version, trace, parent, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let whole = hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let named = trace.bytes().any(|b| b != b'0') && parent.bytes().any(|b| b != b'0');
    (known && whole && named && text.len() <= ID_BYTES_MAX).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(pairs: &[(HeaderName, &[u8])]) -> Correlation {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        }
        Correlation::of(&headers)
    }

    #[test]
    fn a_well_formed_request_id_is_taken_before_a_trace() {
        let both = of(&[(REQUEST_ID, b"abc-1"), (TRACEPARENT, TRACE.as_bytes())]);
        assert_eq!(both.id(), "abc-1");
        assert_eq!(both.trace(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(both.traceparent(), Some(TRACE));
        assert_eq!(of(&[]).trace(), None);
        let traced = of(&[(TRACEPARENT, TRACE.as_bytes())]);
        assert_eq!(traced.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let mut answer = HeaderMap::new();
        traced.stamp(&mut answer);
        assert_eq!(answer[TRACEPARENT], TRACE);
        assert_eq!(answer[REQUEST_ID], traced.id());
    }

    #[test]
    fn a_layer_around_us_has_named_the_request_already() {
        let mut request = Request::builder().header(REQUEST_ID, "sent").body(()).unwrap();
        assert_eq!(Correlation::of_request(&request).id(), "sent");
        request.extensions_mut().insert(of(&[(REQUEST_ID, b"given")]));
        assert_eq!(Correlation::of_request(&request).id(), "given");
    }

    #[test]
    fn what_is_malformed_is_replaced_by_an_id_of_our_own() {
        let long = "x".repeat(129);
        let bad: [&[u8]; 5] =
            [b"", b"two words", b"tab\there", "\u{e9}".as_bytes(), long.as_bytes()];
        for value in bad {
            assert!(uuid::Uuid::parse_str(of(&[(REQUEST_ID, value)]).id()).is_ok());
        }
        for trace in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            let made = of(&[(TRACEPARENT, trace.as_bytes())]);
            assert!(uuid::Uuid::parse_str(made.id()).is_ok(), "{trace}");
            assert_eq!(made.traceparent, None);
        }
    }
}
