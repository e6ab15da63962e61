//! How connections end.

use std::fmt;
use std::io;

/// A connection that ended without a Close (RFC 6455, 7.4.1).
pub const WITHOUT_CLOSE: u16 = 1006;

/// How a connection ended, or came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this close code (1006: without any).
    Closed(u16),
    /// The kernel said so.
    Failed(io::ErrorKind),
    /// The upgrade was answered with something else than 101: the first line of it.
    Declined(String),
    /// The 101 accepts another key than ours (RFC 6455, 4.1): whoever answers speaks no WebSocket.
    WrongAccept,
}

impl Ended {
    /// As a close code.
    pub fn code(&self) -> u16 {
        match self {
            Self::Closed(code) => *code,
            Self::Failed(_) => WITHOUT_CLOSE,
            Self::Declined(_) | Self::WrongAccept => 1002,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(WITHOUT_CLOSE) => f.write_str("the server hung up before it followed"),
            Self::Closed(code) => write!(f, "the server closed it with {code}"),
            Self::Failed(io::ErrorKind::ConnectionRefused) => {
                f.write_str("connection refused: nobody listens there")
            }
            Self::Failed(kind) => write!(f, "{kind}"),
            Self::Declined(line) => write!(f, "the upgrade was answered with {line:?}"),
            Self::WrongAccept => f.write_str(
                "Sec-WebSocket-Accept is missing or wrong in the 101: that is no WebSocket server",
            ),
        }
    }
}
