//! Sessions that stay with a backend.

use super::GatewayDuration;
use crate::proto::{enumeration, message};

message! {
    /// Requests of one session go to the same endpoint (Gateway API: `SessionPersistence`).
    pub struct SessionPersistence {
        /// How long a session lasts at most.
        pub absolute_timeout: Option<GatewayDuration>,
        /// What tells sessions apart.
        #[serde(rename = "type")]
        pub kind: SessionType,
        /// For `Cookie`.
        pub cookie: Option<SessionCookie>,
        /// For `Header`.
        pub header: Option<SessionHeader>,
    }

    /// The cookie of a session (Gateway API: `CookieConfig`).
    pub struct SessionCookie {
        /// Name.
        pub name: String,
        /// Path; `/` when empty.
        pub path: String,
        /// How long the client keeps it.
        pub lifetime_type: CookieLifetime,
    }

    /// The header of a session (Gateway API: `HeaderConfig`).
    pub struct SessionHeader {
        /// Name.
        pub name: String,
    }
}

enumeration! {
    /// What tells sessions apart.
    pub enum SessionType {
        /// A cookie.
        Cookie = "Cookie",
        /// A header.
        Header = "Header",
    }

    /// How long a client keeps a session's cookie.
    pub enum CookieLifetime {
        /// Until it ends.
        Session = "Session",
        /// Until the absolute timeout.
        Permanent = "Permanent",
    }
}
