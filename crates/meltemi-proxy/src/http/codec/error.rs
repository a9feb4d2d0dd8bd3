//! Why a message did not come, or not whole.

use super::http2::Reason;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The peer's bytes are no message, or one whose framing is wrong.
    #[error("{0}")]
    Malformed(Box<str>),
    /// A head beyond its limits.
    #[error("the head is too large")]
    TooLarge,
    /// The HTTP/2 stream or connection was ended with this code (RFC 9113 7).
    #[error("{0}")]
    Reset(Reason),
    /// The connection ended within a message.
    #[error("{0}")]
    Incomplete(Box<str>),
    /// The connection ended.
    #[error("{0}")]
    Ended(Box<str>),
    /// The connection ended by what the peer says of our certificate.
    #[error("{0}")]
    Verdict(&'static str),
}

impl Error {
    /// The peer's bytes are wrong, as opposed to missing.
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::TooLarge)
    }

    /// The connection ended, as opposed to one stream of it.
    pub fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Self::Incomplete(_) | Self::Ended(_) | Self::Verdict(_)
        )
    }

    /// What the peer's TLS says, when that ended the connection.
    pub fn transport_failure(&self) -> Option<&'static str> {
        match self {
            Self::Verdict(verdict) => Some(verdict),
            _ => None,
        }
    }

    /// The code with which the peer ended an HTTP/2 stream or connection.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Reset(reason) => Some(*reason),
            _ => None,
        }
    }
}
