//! Why a message did not come, or not whole.

use std::io;

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
    Reset(h2::Reason),
    /// The connection ended within a message.
    #[error("{0}")]
    Incomplete(Box<str>),
    /// The connection ended.
    #[error("{0}")]
    Ended(Box<str>),
}

impl Error {
    /// The peer's bytes are wrong, as opposed to missing.
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::TooLarge)
    }

    /// The code with which the peer ended an HTTP/2 stream or connection.
    pub fn reason(&self) -> Option<h2::Reason> {
        match self {
            Self::Reset(reason) => Some(*reason),
            _ => None,
        }
    }
}

/// The first in an error's chain that is a `T`.
fn find<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.into_iter().find_map(|error| error.downcast_ref())
}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        if let Some(reason) = find::<h2::Error>(&error).and_then(h2::Error::reason) {
            return Self::Reset(reason);
        }
        if error.is_parse_too_large() {
            return Self::TooLarge;
        }
        let text = error.to_string().into();
        match find::<io::Error>(&error).map(io::Error::kind) {
            Some(UnexpectedEof) => Self::Incomplete(text),
            Some(InvalidData | InvalidInput) => Self::Malformed(text),
            _ if error.is_parse() => Self::Malformed(text),
            _ if error.is_incomplete_message() => Self::Incomplete(text),
            _ => Self::Ended(text),
        }
    }
}
