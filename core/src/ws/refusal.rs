//! Every answer on the stream port that isn't a 101, as one table.
//!
//! A [`Refusal`] is what a request got instead of a connection. Each ends the connection: what
//! follows a refused head is of unknown length and could be taken for a second request by one side
//! only.

use std::fmt::Write as _;

use super::close::CloseCode;

/// Why a request didn't become a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not a request by RFC 9112, or one that two readers could read in two ways.
    Malformed,
    /// `Host` is missing or named twice.
    BadHost,
    /// A body, `Transfer-Encoding`, or two lengths, where none belongs.
    BadFraming,
    /// Another HTTP version than 1.1.
    BadVersion,
    /// Another method than GET.
    BadMethod,
    /// A path that isn't served here.
    NotFound,
    /// The URI is longer than [`URI_BYTES_MAX`](crate::limits::URI_BYTES_MAX).
    LongUri,
    /// More bytes or headers than a head may have.
    LargeHead,
    /// `Upgrade: websocket` is missing.
    NoUpgrade,
    /// `Connection: Upgrade` is missing.
    NoConnectionUpgrade,
    /// Another version of WebSocket than 13.
    BadWebSocketVersion,
    /// `Sec-WebSocket-Key` is missing, named twice, or no 16 bytes in base64.
    BadKey,
    /// A page that may not connect.
    BadOrigin,
    /// The head wasn't complete in time. Found by the shard, which has the clock.
    Late,
    /// One address has as many connections, or opens them as fast, as it may. Found by the shard.
    AddressFull,
    /// There is no room for another connection. Found by the shard.
    Full,
    /// The server is being stopped. Found by the shard.
    Draining,
    /// The host, or the process's control group, is short of memory. Found by the shard.
    NoMemory,
    /// A trusted proxy didn't say, or not in time, or not so that it can be understood, whose
    /// connection it passes on. Found by the shard and by the API port; closed without an answer:
    /// whoever doesn't speak as we agreed doesn't understand HTTP either.
    BadProxyHeader,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalRow {
    /// Why.
    pub refusal: Refusal,
    /// Value of the metric label `reason`.
    pub label: &'static str,
    /// Status and reason phrase.
    pub status: &'static str,
    /// Headers that belong to it, each ended by CRLF.
    headers: &'static str,
    /// A sentence for whoever sees it.
    pub sentence: &'static str,
}

const fn row(
    refusal: Refusal,
    label: &'static str,
    status: &'static str,
    headers: &'static str,
    sentence: &'static str,
) -> RefusalRow {
    RefusalRow { refusal, label, status, headers, sentence }
}

impl Refusal {
    /// The table, in the order of the enum.
    pub const ALL: [RefusalRow; 19] = {
        use Refusal as R;
        [
            row(R::Malformed, "malformed", "400 Bad Request", "", "This is no HTTP request."),
            row(R::BadHost, "bad_host", "400 Bad Request", "", "Send one Host header."),
            row(R::BadFraming, "bad_framing", "400 Bad Request", "", "Send no body here."),
            row(R::BadVersion, "bad_version", "400 Bad Request", "", "Speak HTTP/1.1."),
            row(
                R::BadMethod,
                "bad_method",
                "405 Method Not Allowed",
                "Allow: GET\r\n",
                "Only GET is served here.",
            ),
            row(
                R::NotFound,
                "not_found",
                "404 Not Found",
                "",
                "The stream is at /v1/stream; everything else is on the API port.",
            ),
            row(
                R::LongUri,
                "long_uri",
                "414 URI Too Long",
                "",
                "Connect with a short URL and send the rest as a subscribe message.",
            ),
            row(
                R::LargeHead,
                "large_head",
                "431 Request Header Fields Too Large",
                "",
                "Send at most 8 KiB of head and 64 headers.",
            ),
            row(
                R::NoUpgrade,
                "no_upgrade",
                "426 Upgrade Required",
                "Upgrade: websocket\r\n",
                "This address speaks WebSocket.",
            ),
            row(
                R::NoConnectionUpgrade,
                "no_connection_upgrade",
                "400 Bad Request",
                "",
                "Upgrade needs `Connection: Upgrade`; a proxy may have removed it.",
            ),
            row(
                R::BadWebSocketVersion,
                "bad_websocket_version",
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "Speak WebSocket version 13.",
            ),
            row(
                R::BadKey,
                "bad_key",
                "400 Bad Request",
                "",
                "Send one Sec-WebSocket-Key of 16 bytes in base64.",
            ),
            row(
                R::BadOrigin,
                "bad_origin",
                "403 Forbidden",
                "",
                "Pages of this origin may not connect; the operator can allow it.",
            ),
            row(R::Late, "late", "408 Request Timeout", "", "The request's head took too long."),
            row(
                R::AddressFull,
                "address_full",
                "429 Too Many Requests",
                "",
                "Too many connections from this address.",
            ),
            row(R::Full, "full", "503 Service Unavailable", "", "No room for more connections."),
            row(R::Draining, "draining", "503 Service Unavailable", "", "This host is stopping."),
            row(
                R::NoMemory,
                "no_memory",
                "503 Service Unavailable",
                "",
                "This host is short of memory; others may have some.",
            ),
            row(
                R::BadProxyHeader,
                "bad_proxy_header",
                "400 Bad Request",
                "",
                "A proxy must send a PROXY header of version 2 first.",
            ),
        ]
    };

    /// Where it stands in [`Self::ALL`]: for counters by reason.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its row of the table.
    pub fn row(self) -> &'static RefusalRow {
        const ROWS: &[RefusalRow] = &Refusal::ALL;
        &ROWS[self.index()]
    }

    /// The close code that says the same to a connection that exists already, where there is one.
    pub const fn close_code(self) -> Option<CloseCode> {
        match self {
            Self::Full | Self::NoMemory => Some(CloseCode::TryLater),
            Self::AddressFull => Some(CloseCode::Limit),
            Self::Draining => Some(CloseCode::Restart),
            _ => None,
        }
    }

    /// The whole response. `retry_after_s` goes into `Retry-After` of a 429 or 503.
    pub fn response(self, retry_after_s: u32) -> Vec<u8> {
        let row = self.row();
        let mut headers = String::from(row.headers);
        if row.status.starts_with("429") || row.status.starts_with("503") {
            let _ = write!(headers, "Retry-After: {retry_after_s}\r\n");
        }
        response(row.status, &headers, row.sentence)
    }
}

/// The answer to `GET /healthz`: this shard accepts and answers.
pub fn healthz_response() -> Vec<u8> {
    response("200 OK", "Cache-Control: no-store\r\n", "ok")
}

fn response(status: &str, headers: &str, sentence: &str) -> Vec<u8> {
    let length = sentence.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n{sentence}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_refusal_in_order() {
        for (index, row) in Refusal::ALL.iter().enumerate() {
            assert_eq!(row.refusal.index(), index, "{}", row.label);
            assert_eq!(row.refusal.row(), row);
        }
        let mut labels: Vec<_> = Refusal::ALL.iter().map(|row| row.label).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Refusal::ALL.len(), "labels tell refusals apart");
    }

    #[test]
    fn every_refusal_closes_and_is_a_whole_response() {
        for row in Refusal::ALL {
            let bytes = row.refusal.response(7);
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut response = httparse::Response::new(&mut headers);
            let head = response.parse(&bytes).unwrap().unwrap();
            let of = |name: &str| {
                let header = response.headers.iter().find(|header| header.name == name);
                header.map(|header| std::str::from_utf8(header.value).unwrap())
            };
            let status: u16 = row.status[..3].parse().unwrap();
            assert_eq!(response.code, Some(status));
            assert_eq!(of("Connection"), Some("close"));
            assert_eq!(of("Content-Length"), Some(&*(bytes.len() - head).to_string()));
            assert_eq!(of("Retry-After"), matches!(status, 429 | 503).then_some("7"));
            assert_eq!(of("Upgrade"), (status == 426).then_some("websocket"));
            assert_eq!(of("Allow"), (status == 405).then_some("GET"));
        }
        assert!(healthz_response().starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}
