//! Error codes (RFC 9113 7).

use std::fmt;

/// Why a stream or a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reason(pub u32);

impl Reason {
    pub const NO_ERROR: Self = Self(0);
    pub const PROTOCOL_ERROR: Self = Self(1);
    pub const INTERNAL_ERROR: Self = Self(2);
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    pub const STREAM_CLOSED: Self = Self(5);
    pub const FRAME_SIZE_ERROR: Self = Self(6);
    pub const REFUSED_STREAM: Self = Self(7);
    pub const CANCEL: Self = Self(8);
    pub const COMPRESSION_ERROR: Self = Self(9);
    pub const ENHANCE_YOUR_CALM: Self = Self(11);
}

const NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {}", self.0),
        }
    }
}

/// The peer broke a rule that concerns the connection: it ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub reason: Reason,
    pub why: &'static str,
}

impl Broken {
    pub const fn protocol(why: &'static str) -> Self {
        Self {
            reason: Reason::PROTOCOL_ERROR,
            why,
        }
    }

    pub const fn size(why: &'static str) -> Self {
        Self {
            reason: Reason::FRAME_SIZE_ERROR,
            why,
        }
    }

    pub const fn flow(why: &'static str) -> Self {
        Self {
            reason: Reason::FLOW_CONTROL_ERROR,
            why,
        }
    }

    pub const fn flood(why: &'static str) -> Self {
        Self {
            reason: Reason::ENHANCE_YOUR_CALM,
            why,
        }
    }
}
