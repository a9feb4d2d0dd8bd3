//! A listener's counters, under Envoy's names: `listener.NAME.*`.

use crate::telemetry::TlsInfo;
use crate::telemetry::stats::{Counter, Gauge};
use crate::tls::{StapleAction, TlsError};

/// Slots of one listener; registered when the listener is first used, not per connection.
#[derive(Clone, Copy, Debug)]
pub struct ListenerStats {
    pub total: Counter,
    pub active: Gauge,
    pub destroyed: Counter,
    pub no_chain: Counter,
    pub overflow: Counter,
    pub overload_reject: Counter,
    pub inspection_timeouts: Counter,
    pub inspection_errors: Counter,
    pub proxy_header_errors: Counter,
    handshakes: Counter,
    connection_error: Counter,
    no_certificate: Counter,
    fail_verify_no_cert: Counter,
    fail_verify_error: Counter,
    fail_verify_san: Counter,
    fail_verify_cert_hash: Counter,
    ocsp_staple_requests: Counter,
    ocsp_staple_responses: Counter,
    ocsp_staple_omitted: Counter,
    ocsp_staple_failed: Counter,
}

impl ListenerStats {
    pub fn new(name: &str) -> Self {
        let counter = |rest| Counter::scoped("listener", name, rest);
        Self {
            total: counter("downstream_cx_total"),
            active: Gauge::scoped("listener", name, "downstream_cx_active"),
            destroyed: counter("downstream_cx_destroy"),
            no_chain: counter("no_filter_chain_match"),
            overload_reject: counter("downstream_cx_overload_reject"),
            overflow: counter("downstream_global_cx_overflow"),
            inspection_timeouts: counter("downstream_pre_cx_timeout"),
            inspection_errors: counter("downstream_listener_filter_error"),
            proxy_header_errors: counter("downstream_cx_proxy_proto_error"),
            handshakes: counter("ssl.handshake"),
            connection_error: counter("ssl.connection_error"),
            no_certificate: counter("ssl.no_certificate"),
            fail_verify_no_cert: counter("ssl.fail_verify_no_cert"),
            fail_verify_error: counter("ssl.fail_verify_error"),
            fail_verify_san: counter("ssl.fail_verify_san"),
            fail_verify_cert_hash: counter("ssl.fail_verify_cert_hash"),
            ocsp_staple_requests: counter("ssl.ocsp_staple_requests"),
            ocsp_staple_responses: counter("ssl.ocsp_staple_responses"),
            ocsp_staple_omitted: counter("ssl.ocsp_staple_omitted"),
            ocsp_staple_failed: counter("ssl.ocsp_staple_failed"),
        }
    }

    pub(super) fn tls_ok(self, peer: &TlsInfo) {
        self.handshakes.inc();
        if peer.peer_hash.is_none() {
            self.no_certificate.inc();
        }
    }

    /// What was done for a client that asks for an OCSP response.
    pub(super) fn staple(self, action: Option<StapleAction>) {
        let Some(action) = action else { return };
        self.ocsp_staple_requests.inc();
        match action {
            StapleAction::Staple => self.ocsp_staple_responses.inc(),
            StapleAction::Without => self.ocsp_staple_omitted.inc(),
            StapleAction::Refuse => self.ocsp_staple_failed.inc(),
        }
    }

    pub(super) fn tls_failed(self, error: &TlsError) {
        match error {
            TlsError::WrongName => self.fail_verify_san.inc(),
            TlsError::NotPinned => self.fail_verify_cert_hash.inc(),
            TlsError::Untrusted(_) => self.fail_verify_error.inc(),
            TlsError::NoCertificate => self.fail_verify_no_cert.inc(),
            // Whose certificate is refused is counted above alone.
            _ => self.connection_error.inc(),
        }
    }
}

/// Counts a connection's end, however it comes.
pub(super) struct Active(pub ListenerStats);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.dec();
        self.0.destroyed.inc();
    }
}
