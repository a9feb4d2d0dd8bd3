//! CONNECT and upgrades: once the upstream has accepted, the exchange's bodies are the bytes of
//! another protocol, both ways, over HTTP/1 and HTTP/2 alike.
//!
//! Nothing that a client sends behind its request reaches the upstream before that
//! (CVE-2021-32715 and its kin).

use super::stats::HttpStats;
use super::timeouts::Watchdog;
use crate::model::{Action, HttpManager};
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::rc::Rc;

/// Token of a CONNECT, which is no upgrade but configured like one.
pub(crate) const CONNECT: &[u8] = b"connect";

/// Whether an upgrade to `token` is configured; the route decides before the manager.
pub(crate) fn is_enabled(manager: &HttpManager, route: &Action, token: &HeaderValue) -> bool {
    let own = match route {
        Action::Forward(forward) => &*forward.upgrades,
        _ => &[],
    };
    match own.iter().find(|(name, _)| **name == *token) {
        Some((_, enabled)) => *enabled,
        None => manager.upgrades.iter().any(|name| **name == *token),
    }
}

/// Whether an answer of this status switches to what the request asked for.
pub(crate) fn is_accepted(token: Option<&HeaderValue>, status: StatusCode) -> bool {
    match token.map(HeaderValue::as_bytes) {
        None => false,
        Some(CONNECT) => status.is_success(),
        Some(_) => status == StatusCode::SWITCHING_PROTOCOLS,
    }
}

/// Makes a head one that accepts: it has no length, and says of the connection what an
/// upgrade of HTTP/1.1 says.
pub(crate) fn accept(token: &HeaderValue, status: StatusCode, headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, token.clone());
    }
}

/// Counts a tunnel while it lives.
pub(crate) struct Tunnel(Rc<HttpStats>);

impl Tunnel {
    pub fn new(stats: Rc<HttpStats>) -> Self {
        stats.cx_upgrades_total.inc();
        stats.cx_upgrades_active.inc();
        Self(stats)
    }

    /// What limits it: silence, and the time that any stream may take.
    pub fn limits(watchdog: Watchdog) -> Watchdog {
        Watchdog {
            idle: watchdog.idle,
            max_stream: watchdog.max_stream,
            ..Watchdog::default()
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.cx_upgrades_active.dec();
    }
}
