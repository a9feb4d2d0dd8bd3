//! Why no upstream connection could be had, and whether another attempt is safe.

use crate::dns::CacheError;
use crate::telemetry::Flags;
use std::sync::Arc;

/// No endpoint to choose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// The cluster has no endpoint that may be used.
    #[error("no healthy upstream")]
    NoHealthyUpstream,
    /// An ORIGINAL_DST cluster without a (usable) original destination.
    #[error("no original destination")]
    NoDestination,
    /// A dynamic forward proxy cluster cannot tell where the host is.
    #[error(transparent)]
    Unresolved(CacheError),
    /// A dynamic forward proxy cluster is not told whose address it is to find.
    #[error("no host")]
    NoHost,
    /// `drop_overloads` of the endpoint assignment.
    #[error("dropped by the load assignment")]
    Dropped,
}

/// The circuit breaker that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Connections,
    Pending,
    Requests,
    Retries,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error(transparent)]
    Pick(#[from] PickError),
    /// A circuit breaker is open. Nothing was sent.
    #[error("circuit breaker open: {0:?}")]
    Overflow(Limit),
    /// The overload manager lets no connection be made. Nothing was sent.
    #[error("overloaded: no new connection")]
    Shed,
    /// Nothing was sent.
    #[error("{message}")]
    Connect { message: Arc<str>, timeout: bool },
    /// The handshake failed. Nothing was sent.
    #[error("{message}")]
    Tls { message: Arc<str> },
}

impl UpstreamError {
    /// Flag of a connection that failed for it.
    pub fn flags(&self) -> Flags {
        match self {
            Self::Pick(PickError::Dropped) | Self::Overflow(_) => Flags::UPSTREAM_OVERFLOW,
            // As Envoy: that the attempts came to nothing is all that is told.
            Self::Shed => Flags::default(),
            Self::Pick(_) => Flags::NO_HEALTHY_UPSTREAM,
            Self::Connect { .. } | Self::Tls { .. } => Flags::UPSTREAM_CONNECTION_FAILURE,
        }
    }

    /// Whether another attempt may find it otherwise, with no more said than this.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Tls { .. } | Self::Shed => true,
            // No endpoint, or a limit: another attempt finds the same.
            Self::Pick(_) | Self::Overflow(_) => false,
        }
    }

    /// Why there was no connection.
    pub fn transport_failure(&self) -> Option<Arc<str>> {
        match self {
            Self::Connect { message, .. } | Self::Tls { message } => Some(message.clone()),
            _ => None,
        }
    }
}
