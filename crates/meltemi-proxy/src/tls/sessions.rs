//! Sessions that a client may resume.

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sessions kept for resumption.
const SESSIONS: usize = 1024;

/// Sessions of a client whose own certificate ends at `end` (seconds since 1970). After that
/// none is resumed: a server ends such a connection without a word, and of a full handshake it
/// says what is wrong.
pub(super) fn resumption(end: Option<i64>) -> Resumption {
    let end = end.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.max(0) as u64));
    Resumption::store(Arc::new(Sessions {
        kept: ClientSessionMemoryCache::new(SESSIONS),
        end,
    }))
}

#[derive(Debug)]
struct Sessions {
    kept: ClientSessionMemoryCache,
    end: Option<SystemTime>,
}

impl Sessions {
    fn may_resume(&self) -> bool {
        self.end.is_none_or(|end| SystemTime::now() < end)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.kept.set_tls12_session(server, value);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let session = self.kept.tls12_session(server);
        session.filter(|_| self.may_resume())
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.kept.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.kept.insert_tls13_ticket(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.kept.take_tls13_ticket(server);
        ticket.filter(|_| self.may_resume())
    }
}
