//! What became of the requests for certificates since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters; Istio's names are `citadel_server_*`.
#[derive(Debug, Default)]
pub struct Tally {
    /// Of every kind (`csr_count`).
    pub requests: Count,
    /// Nobody knew the caller (`authentication_failure_count`).
    pub unauthenticated: Count,
    /// The request could not be used (`csr_parsing_err_count`).
    pub unusable: Count,
    /// The CA would not or could not sign (`csr_sign_err_count`).
    pub not_signed: Count,
    /// `success_cert_issuance_count`.
    pub issued: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
