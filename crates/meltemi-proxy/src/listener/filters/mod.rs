//! Network filters before the one that consumes the connection: they let it pass, or close it.
//!
//! A filter is one file here: its configuration, how that is compiled, and what it says to a new
//! connection ([`Filter`]). One line of `network_filters!` makes it known. They see a connection
//! once its TLS handshake is done, so that policies know who it is, and before the filter behind
//! them connects anywhere.

mod connection_limit;
mod local_ratelimit;
mod rbac;
#[cfg(test)]
mod tests;

use crate::compile::any::Typed;
use crate::compile::{Cx, Result as Compiled};
use crate::telemetry::ConnectionInfo;
use connection_limit::Counted;
use std::borrow::Cow;
use std::time::Duration;

/// One kind of filter.
trait Filter: Sized {
    /// Full name of the message in `typed_config`.
    const CONFIG: &'static str;

    /// # Errors
    /// When a field that is set cannot be honoured.
    fn compile(typed: Typed, cx: &mut Cx<'_>) -> Compiled<Self>;

    /// Whether a connection may go on; and what the filter holds until it has ended.
    fn admit(&self, connection: &ConnectionInfo) -> Result<Admitted, Closed>;
}

/// What goes with a connection that was admitted, until it has ended.
pub(crate) type Admitted = Option<Counted>;

/// A connection is to be closed.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Envoy's `%CONNECTION_TERMINATION_DETAILS%`; empty: it says nothing.
    pub details: Cow<'static, str>,
    /// It is held, unread, for so long before.
    pub delay: Duration,
    /// What goes with it until then.
    #[expect(dead_code, reason = "held for its drop")]
    pub counted: Admitted,
}

macro_rules! network_filters {
    ($($name:ident($filter:ty);)*) => {
        pub enum NetworkFilter {
            $($name($filter),)*
        }

        impl NetworkFilter {
            /// `None`: no filter is configured by such a message.
            pub(crate) fn compile(typed: Typed, cx: &mut Cx<'_>) -> Option<Compiled<Self>> {
                $(if typed.type_name() == <$filter as Filter>::CONFIG {
                    return Some(<$filter as Filter>::compile(typed, cx).map(Self::$name));
                })*
                None
            }

            /// Whether a connection may go on.
            pub(crate) fn admit(&self, connection: &ConnectionInfo) -> Result<Admitted, Closed> {
                match self {
                    $(Self::$name(filter) => filter.admit(connection),)*
                }
            }
        }
    };
}

impl NetworkFilter {
    /// Whether a policy closes a connection, and what Envoy says then. What other connections
    /// there are is nothing to it.
    pub(crate) fn denies(&self, connection: &ConnectionInfo) -> Option<Cow<'static, str>> {
        let Self::Rbac(rbac) = self else { return None };
        rbac.admit(connection).err().map(|closed| closed.details)
    }
}

network_filters! {
    ConnectionLimit(connection_limit::ConnectionLimit);
    Rbac(rbac::Rbac);
    LocalRateLimit(local_ratelimit::LocalRateLimit);
}
