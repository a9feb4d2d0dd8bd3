//! Certificates for the two-hop scenario: the shape of a mesh's (P-256, a SPIFFE id as URI
//! name, both TLS roles), one leaf for both ends.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};

/// The identity that both hops carry and expect.
const SPIFFE_ID: &str = "spiffe://cluster.local/ns/default/sa/bench";

/// Writes `ca.pem`, `leaf.pem` and `leaf.key`.
pub(crate) fn write(directory: &Path) -> Result<()> {
    let mut ca = CertificateParams::default();
    ca.distinguished_name
        .push(DnType::OrganizationName, "bench");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;

    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![
        SanType::URI(SPIFFE_ID.try_into()?),
        SanType::DnsName("localhost".try_into()?),
    ];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let leaf = leaf.signed_by(&key, &ca)?;

    std::fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("leaf.pem", leaf.pem()),
        ("leaf.key", key.serialize_pem()),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}
