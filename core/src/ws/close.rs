//! The one table of close codes, and the control frames a server sends.
//!
//! Server, client, documentation and metrics all take their codes from [`CloseCode::ALL`]. 1000 to
//! 1015 mean what RFC 6455 (7.4.1) and its registry say. Ours follow a rule a client can apply
//! without knowing them: 4000 to 4499, reconnect and resume; 4500 to 4999, don't come back
//! unchanged.

use std::fmt;

use bytes::Bytes;

use crate::frame::frame;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;

/// What a client should do after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComeBack {
    /// Stay away: the same client would only be closed again.
    No,
    /// Reconnect with backoff and resume.
    Resume,
    /// Reconnect after a wait spread at random (5 to 30 s, or what `reconnect` said) and resume.
    Later,
}

impl ComeBack {
    /// What stands in the documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Resume => "yes, and resume",
            Self::Later => "later, and resume",
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// Done; the client wished it.
    Normal = 1000,
    /// An end point is going away: a tab was closed, a host is being stopped.
    GoingAway = 1001,
    /// RFC 6455 was broken.
    Protocol = 1002,
    /// A binary message; ours are text.
    Unsupported = 1003,
    /// Never sent: the other side's Close named no code.
    NoStatus = 1005,
    /// Never sent: the connection ended without a Close.
    Abnormal = 1006,
    /// Text that isn't UTF-8.
    InvalidData = 1007,
    /// More messages, fragments or errors than allowed.
    Policy = 1008,
    /// A message above the limit.
    TooBig = 1009,
    /// The server failed in handling this session.
    Internal = 1011,
    /// The server is being restarted.
    Restart = 1012,
    /// The server has no room at the moment.
    TryLater = 1013,
    /// The client took too long to take what it follows.
    Slow = 4008,
    /// The client stopped answering pings.
    NoPong = 4012,
    /// The request in the URL can't be understood.
    BadRequest = 4500,
    /// The client may not have what it asks for.
    Forbidden = 4501,
    /// The client didn't say who it is in time.
    NotAuthenticated = 4502,
    /// A limit of this client's account.
    Limit = 4503,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseRow {
    /// The code.
    pub code: CloseCode,
    /// Its number as text: the value of the metric label `code`.
    pub label: &'static str,
    /// Short name.
    pub name: &'static str,
    /// What happened, and whose turn it is.
    pub meaning: &'static str,
    /// What a client should do.
    pub come_back: ComeBack,
}

const fn row(
    code: CloseCode,
    label: &'static str,
    name: &'static str,
    come_back: ComeBack,
    meaning: &'static str,
) -> CloseRow {
    CloseRow { code, label, name, meaning, come_back }
}

impl CloseCode {
    /// The table, ascending by number.
    pub const ALL: [CloseRow; 18] = {
        use CloseCode as C;
        use ComeBack::{Later, No, Resume};
        [
            row(C::Normal, "1000", "normal", No, "Done: the client closed."),
            row(C::GoingAway, "1001", "going_away", Resume, "The page or the host is going away."),
            row(C::Protocol, "1002", "protocol", No, "The client broke RFC 6455."),
            row(C::Unsupported, "1003", "unsupported", No, "Messages are text, not binary."),
            row(C::NoStatus, "1005", "no_status", No, "The client's Close named no code."),
            row(
                C::Abnormal,
                "1006",
                "abnormal",
                Resume,
                "The connection ended without a Close. Treat it as 4008.",
            ),
            row(C::InvalidData, "1007", "invalid_data", No, "Text that isn't UTF-8."),
            row(
                C::Policy,
                "1008",
                "policy",
                No,
                "More messages, fragments or faulty messages than a session may send.",
            ),
            row(C::TooBig, "1009", "too_big", No, "A message above `limits.message_bytes`."),
            row(C::Internal, "1011", "internal", Resume, "The server failed; it has logged why."),
            row(C::Restart, "1012", "restart", Later, "The server is being restarted."),
            row(C::TryLater, "1013", "try_later", Later, "The server has no room just now."),
            row(
                C::Slow,
                "4008",
                "slow",
                Resume,
                "The client fell behind what it follows; come back and resume.",
            ),
            row(C::NoPong, "4012", "no_pong", Resume, "The client stopped answering pings."),
            row(
                C::BadRequest,
                "4500",
                "bad_request",
                No,
                "The URL's query can't be understood; an `error` frame before says why.",
            ),
            row(C::Forbidden, "4501", "forbidden", No, "The client may not have what it asks for."),
            row(
                C::NotAuthenticated,
                "4502",
                "not_authenticated",
                No,
                "The client didn't authenticate in time.",
            ),
            row(C::Limit, "4503", "limit", No, "A limit of the client's account or address."),
        ]
    };

    /// The code with this number, if it is in the table.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().map(|row| row.code).find(|code| code.number() == number)
    }

    /// As it goes over the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Where it stands in [`Self::ALL`]: for counters by code.
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|row| row.code == self).unwrap_or(0)
    }

    /// Its row of the table.
    pub fn row(self) -> &'static CloseRow {
        const ROWS: &[CloseRow] = &CloseCode::ALL;
        &ROWS[self.index()]
    }

    /// Whether it may stand in a Close frame (RFC 6455, 7.4.1).
    pub const fn is_sendable(self) -> bool {
        !matches!(self, Self::NoStatus | Self::Abnormal)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.row().name)
    }
}

/// Whether a peer may send `number` in a Close (RFC 6455, 7.4.2, and the registry): 1004 to 1006
/// and 1015 never stand in a frame, 1016 to 2999 belong to nobody.
pub(super) const fn may_be_received(number: u16) -> bool {
    matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A Close frame that says `code` and as much of `reason` as fits (123 bytes, whole characters).
///
/// # Panics
/// Never; in debug builds, if `code` may not be sent.
pub fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    debug_assert!(code.is_sendable(), "{code} never stands in a frame");
    let room = CONTROL_PAYLOAD_BYTES_MAX - 2;
    let reason = &reason[..reason.floor_char_boundary(room)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.number().to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    frame(0x88, &payload)
}

/// The answer to a client's Close: the same code, or none where it named none (RFC 6455, 5.5.1).
pub fn echo_close_frame(received: Option<u16>) -> Bytes {
    match received {
        Some(number) => frame(0x88, &number.to_be_bytes()),
        None => frame(0x88, &[]),
    }
}

/// A Ping frame. A payload above 125 bytes is cut.
pub fn ping_frame(payload: &[u8]) -> Bytes {
    control_frame(0x89, payload)
}

/// A Pong frame, the answer to a Ping with the same payload. A payload above 125 bytes is cut.
pub fn pong_frame(payload: &[u8]) -> Bytes {
    control_frame(0x8a, payload)
}

fn control_frame(first: u8, payload: &[u8]) -> Bytes {
    frame(first, &payload[..payload.len().min(CONTROL_PAYLOAD_BYTES_MAX)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_in_order() {
        for (index, row) in CloseCode::ALL.iter().enumerate() {
            assert_eq!(row.label, row.code.number().to_string());
            assert_eq!(row.code.index(), index);
            assert_eq!(row.code.row(), row);
            assert_eq!(CloseCode::from_number(row.code.number()), Some(row.code));
            assert!(row.meaning.ends_with('.') && !row.name.contains(' '), "{row:?}");
        }
        assert!(CloseCode::ALL.is_sorted_by_key(|row| row.code.number()));
        assert_eq!(CloseCode::from_number(1004), None);
    }

    #[test]
    fn our_own_codes_keep_the_rule_a_client_relies_on() {
        for row in CloseCode::ALL {
            match row.code.number() {
                4000..=4499 => assert_eq!(row.come_back, ComeBack::Resume, "{}", row.code),
                4500..=4999 => assert_eq!(row.come_back, ComeBack::No, "{}", row.code),
                number => assert!((1000..=1015).contains(&number)),
            }
        }
    }

    #[test]
    fn what_we_send_is_what_a_peer_may_receive() {
        for row in CloseCode::ALL {
            assert_eq!(row.code.is_sendable(), may_be_received(row.code.number()), "{}", row.code);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(&close_frame(CloseCode::Slow, "slow")[..], b"\x88\x06\x0f\xa8slow");
        let long = close_frame(CloseCode::Internal, &"é".repeat(100));
        assert_eq!(long.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }

    #[test]
    fn control_frames_stay_within_their_size() {
        assert_eq!(&ping_frame(b"a")[..], b"\x89\x01a");
        assert_eq!(pong_frame(&[b'x'; 200]).len(), 2 + CONTROL_PAYLOAD_BYTES_MAX);
        assert_eq!(&echo_close_frame(Some(1000))[..], b"\x88\x02\x03\xe8");
        assert_eq!(&echo_close_frame(None)[..], b"\x88\x00");
    }
}
