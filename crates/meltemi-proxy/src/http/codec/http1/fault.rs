//! Why a message was not received, or not sent.

use crate::http::codec::Error;
use std::io;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// No HTTP/1.
    #[error("{0}")]
    Syntax(&'static str),
    /// HTTP/1 that others on the way may read otherwise: where a message ends is in doubt.
    #[error("{0}")]
    Framing(&'static str),
    /// A head, a line or trailers beyond their limits.
    #[error("the head is too large")]
    TooLarge,
    /// The peer closed within a message.
    #[error("the connection ended within a message")]
    Cut,
    /// What was to be sent broke off, or is not as long as was said.
    #[error("{0}")]
    Body(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Fault {
    /// The status that tells a client what is wrong with its bytes; `None` when they are not
    /// what failed.
    pub fn status_line(&self) -> Option<&'static str> {
        match self {
            Self::Syntax(_) | Self::Framing(_) => Some("400 Bad Request"),
            Self::TooLarge => Some("431 Request Header Fields Too Large"),
            Self::Cut | Self::Body(_) | Self::Io(_) => None,
        }
    }

    /// What is wrong with the framing, if that is it.
    pub fn framing(&self) -> Option<&'static str> {
        match self {
            Self::Framing(reason) => Some(reason),
            _ => None,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax(reason) | Fault::Framing(reason) => Self::Malformed(reason.into()),
            Fault::TooLarge => Self::TooLarge,
            Fault::Cut => Self::Incomplete(fault.to_string().into()),
            Fault::Io(ref error) => match crate::tls::verdict(error) {
                Some(verdict) => Self::Verdict(verdict),
                None => Self::Ended(fault.to_string().into()),
            },
            Fault::Body(_) => Self::Ended(fault.to_string().into()),
        }
    }
}
