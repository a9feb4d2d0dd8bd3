//! Protocol versions, cipher suites and key exchange groups by Envoy's (OpenSSL's) names.

use crate::model::{CommonTls, TlsVersion};
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, SupportedProtocolVersion, version};
use std::sync::{Arc, OnceLock};

/// OpenSSL's name and the suite of TLS 1.2. TLS 1.3's suites are not configurable (as with
/// BoringSSL in Envoy) and always on.
const KNOWN: &[(&str, CipherSuite)] = &[
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Names that Envoy accepts and that are left out here, because they lack forward secrecy
/// or authenticated encryption. A list is what may be used at most: leaving one out is
/// safe, and istiod sends two of them by default.
const NEVER_USED: &[&str] = &[
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "DES-CBC3-SHA",
];

fn shared_default() -> Arc<CryptoProvider> {
    static DEFAULT: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    DEFAULT
        .get_or_init(|| Arc::new(ordered(default_provider())))
        .clone()
}

/// In the order in which BoringSSL, and so Envoy, offers suites on machines that compute AES in
/// hardware: AES-128 first, whose ten rounds cost less than the fourteen of AES-256, and whose
/// SHA-256 less than SHA-384. A server takes the first of the client's.
fn ordered(mut provider: CryptoProvider) -> CryptoProvider {
    provider.cipher_suites.sort_by_key(|suite| {
        let short = matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        );
        (suite.tls13().is_none(), !short)
    });
    provider
}

/// BoringSSL's names, the short and the long one, and the key exchange group.
const GROUPS: &[([&str; 2], &dyn SupportedKxGroup)] = &[
    (["X25519", "x25519"], kx_group::X25519),
    (["P-256", "prime256v1"], kx_group::SECP256R1),
    (["P-384", "secp384r1"], kx_group::SECP384R1),
    (
        ["X25519MLKEM768", "X25519MLKEM768"],
        kx_group::X25519MLKEM768,
    ),
];

/// Groups that BoringSSL knows, or knew, and that are left out here, as suites are.
const GROUPS_NEVER_USED: &[&str] = &[
    "P-224",
    "secp224r1",
    "P-521",
    "secp521r1",
    "CECPQ2",
    "X25519Kyber768Draft00",
];

/// Key exchange groups in the order of the context's list.
fn groups(common: &CommonTls) -> Result<Vec<&'static dyn SupportedKxGroup>, String> {
    let mut chosen = Vec::new();
    // A name may stand for a list, as BoringSSL takes it.
    for name in common.curves.iter().flat_map(|names| names.split(':')) {
        if let Some((_, group)) = GROUPS.iter().find(|(known, _)| known.contains(&name)) {
            chosen.push(*group);
        } else if !GROUPS_NEVER_USED.contains(&name) {
            let known: Vec<_> = GROUPS.iter().map(|([known, _], _)| *known).collect();
            return Err(format!(
                "ecdh_curves: `{name}` is unknown; supported are {}",
                known.join(", ")
            ));
        }
    }
    match chosen.is_empty() {
        true => Err(format!(
            "ecdh_curves: none of {} is supported",
            common.curves.join(", ")
        )),
        false => Ok(chosen),
    }
}

/// The provider that the context allows.
///
/// # Errors
/// A suite or a group that nobody knows, or a list of which nothing is left.
pub(super) fn provider(common: &CommonTls) -> Result<Arc<CryptoProvider>, String> {
    if common.cipher_suites.is_empty() && common.curves.is_empty() {
        return Ok(shared_default());
    }
    let mut provider = ordered(default_provider());
    if !common.curves.is_empty() {
        provider.kx_groups = groups(common)?;
    }
    if !common.cipher_suites.is_empty() {
        let chosen = suites(common)?;
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some());
        let available = |suite: CipherSuite| {
            ALL_CIPHER_SUITES
                .iter()
                .find(|known| known.suite() == suite)
                .copied()
        };
        provider
            .cipher_suites
            .extend(chosen.into_iter().filter_map(available));
    }
    Ok(Arc::new(provider))
}

/// Suites of TLS 1.2 in the order of the context's list.
fn suites(common: &CommonTls) -> Result<Vec<CipherSuite>, String> {
    let mut chosen = Vec::new();
    // `[A|B]` is a group of equal preference.
    let names = common
        .cipher_suites
        .iter()
        .flat_map(|name| name.trim_matches(['[', ']']).split('|'));
    for name in names {
        if let Some((_, suite)) = KNOWN.iter().find(|(known, _)| *known == name) {
            chosen.push(*suite);
        } else if !NEVER_USED.contains(&name) {
            let known: Vec<_> = KNOWN.iter().map(|(known, _)| *known).collect();
            return Err(format!(
                "cipher_suites: `{name}` is unknown; supported are {}",
                known.join(", ")
            ));
        }
    }
    if chosen.is_empty() && common.max_version == TlsVersion::V1_2 {
        return Err(format!(
            "cipher_suites: none of {} is supported (they lack forward secrecy)",
            common.cipher_suites.join(", ")
        ));
    }
    Ok(chosen)
}

pub(super) fn versions(
    common: &CommonTls,
) -> Result<&'static [&'static SupportedProtocolVersion], String> {
    static V1_2: &[&SupportedProtocolVersion] = &[&version::TLS12];
    static BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    static V1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];
    match (common.min_version, common.max_version) {
        (TlsVersion::V1_2, TlsVersion::V1_2) => Ok(V1_2),
        (TlsVersion::V1_2, TlsVersion::V1_3) => Ok(BOTH),
        (TlsVersion::V1_3, TlsVersion::V1_3) => Ok(V1_3),
        (TlsVersion::V1_3, TlsVersion::V1_2) => Err(
            "tls_params: tls_minimum_protocol_version is above tls_maximum_protocol_version".into(),
        ),
    }
}

/// The suites of TLS 1.3.
const OF_1_3: [(&str, CipherSuite); 3] = [
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
];

fn negotiable() -> impl Iterator<Item = &'static (&'static str, CipherSuite)> {
    KNOWN.iter().chain(&OF_1_3)
}

/// `%DOWNSTREAM_TLS_CIPHER%`: OpenSSL's name of a negotiated suite.
pub(super) fn name(suite: CipherSuite) -> &'static str {
    let found = negotiable().find(|(_, known)| *known == suite);
    found.map_or("unknown", |(name, _)| name)
}

/// The number (IANA's) of a suite by that name.
pub(crate) fn number(name: &str) -> Option<u16> {
    let found = negotiable().find(|(known, _)| *known == name);
    found.map(|(_, suite)| u16::from(*suite))
}
