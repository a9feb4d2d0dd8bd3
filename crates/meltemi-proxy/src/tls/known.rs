//! Chains that were verified before, so that a peer that comes back costs one signature less.
//!
//! Whether a chain leads to a root is a matter of its bytes alone, and a changed trust bundle
//! makes another verifier, with nothing remembered. What time changes is looked at each time:
//! every certificate of the chain must be within its validity. Revocation lists end, too, so a
//! verifier with lists remembers nothing. That the peer holds the key is verified always.

use rustls_pki_types::{CertificateDer, UnixTime};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Leaves a verifier remembers: a workload's peers. Only verified chains come in, so a stranger
/// cannot push others out.
const KNOWN: usize = 256;

/// What a verifier found good.
#[derive(Debug, Default)]
pub(super) struct KnownChains {
    /// By the leaf's bytes: a hash would let a collision borrow a verdict.
    by_leaf: Mutex<HashMap<Box<[u8]>, Chain>>,
}

#[derive(Debug)]
struct Chain {
    intermediates: Vec<CertificateDer<'static>>,
    /// When all of its certificates are valid, in seconds since 1970.
    valid: RangeInclusive<i64>,
}

impl KnownChains {
    /// True for a chain that was found good and is within its validity.
    pub fn contains(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let known = self.by_leaf.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(leaf.as_ref()).is_some_and(|chain| {
            chain.intermediates == intermediates && chain.valid.contains(&seconds(now))
        })
    }

    /// Remembers a chain that was verified just now.
    pub fn insert(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
        let Some(valid) = validity(leaf, intermediates) else {
            return;
        };
        let chain = Chain {
            intermediates: intermediates
                .iter()
                .map(|der| der.clone().into_owned())
                .collect(),
            valid,
        };
        let mut known = self.by_leaf.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(leaf.as_ref().into(), chain);
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// When all of the certificates are valid.
fn validity(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Option<RangeInclusive<i64>> {
    let (mut from, mut until) = (i64::MIN, i64::MAX);
    for certificate in std::iter::once(leaf).chain(intermediates) {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        from = from.max(parsed.validity().not_before.timestamp());
        until = until.min(parsed.validity().not_after.timestamp());
    }
    Some(from..=until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use std::time::Duration;

    fn certificate(from: i32, until: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn year(year: i32) -> UnixTime {
        let time = date_time_ymd(year, 6, 1).unix_timestamp();
        UnixTime::since_unix_epoch(Duration::from_secs(time.unsigned_abs()))
    }

    #[test]
    fn a_chain_is_known_by_all_its_bytes_and_within_the_validity_of_each() {
        let leaf = certificate(2000, 2030);
        let between = certificate(2010, 2020);
        let known = KnownChains::default();
        let chain = std::slice::from_ref(&between);
        assert!(!known.contains(&leaf, chain, year(2015)));
        known.insert(&leaf, chain);
        assert!(known.contains(&leaf, chain, year(2015)));
        assert!(!known.contains(&leaf, chain, year(2005)));
        assert!(!known.contains(&leaf, chain, year(2025)));
        assert!(!known.contains(&leaf, &[], year(2015)));
        assert!(!known.contains(&between, &[], year(2015)));
    }

    #[test]
    fn no_more_than_a_bound_is_kept() {
        let known = KnownChains::default();
        let params = CertificateParams::default();
        let key = KeyPair::generate().unwrap();
        for number in 0..KNOWN + 10 {
            let mut params = params.clone();
            params.serial_number = Some(rcgen::SerialNumber::from(number as u64));
            let leaf = params.self_signed(&key).unwrap();
            known.insert(leaf.der(), &[]);
            assert!(known.contains(leaf.der(), &[], year(2020)));
        }
        assert!(known.by_leaf.lock().unwrap().len() <= KNOWN);
    }
}
