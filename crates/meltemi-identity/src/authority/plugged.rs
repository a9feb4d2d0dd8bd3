//! A CA that the operator brings along, in files as Istio's secret `cacerts`.

use std::path::{Path, PathBuf};

use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, AuthorityError, AuthorityOptions, Signing, not_after};
use crate::TrustBundle;

const CA_CERTIFICATE: &str = "ca-cert.pem";
const CA_KEY: &str = "ca-key.pem";
const ROOTS: &str = "root-cert.pem";
const CHAIN: &str = "cert-chain.pem";
/// Larger files are not read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

pub(super) fn load(
    directory: &Path,
    options: AuthorityOptions,
) -> Result<Authority, AuthorityError> {
    let path = |name: &str| directory.join(name);
    let certificates = certificates(&path(CA_CERTIFICATE))?;
    let certificate = certificates[0].clone();
    let key = key(&path(CA_KEY))?;
    check(&path(CA_CERTIFICATE), &certificate, &key)?;

    let roots =
        TrustBundle::from_pem(&read(&path(ROOTS))?).map_err(|source| AuthorityError::Roots {
            path: path(ROOTS),
            source,
        })?;
    // Below the root, in order, each once: the CA itself, what follows it in its
    // own file, and cert-chain.pem, which usually repeats both CA and root.
    let mut intermediates = certificates;
    if path(CHAIN).exists() {
        intermediates.extend(self::certificates(&path(CHAIN))?);
    }
    let mut kept: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in intermediates {
        if !roots.roots().contains(&certificate) && !kept.contains(&certificate) {
            kept.push(certificate);
        }
    }
    let end = |problem| file(&path(CA_CERTIFICATE), problem);
    let not_after = not_after(&certificate).map_err(end)?;
    let issuer = Issuer::from_ca_cert_der(&certificate, key)
        .map_err(|error| file(&path(CA_CERTIFICATE), error.to_string()))?;
    let signing = Signing {
        issuer,
        intermediates: kept,
        roots,
        not_after,
    };
    let authority = Authority::new(options, signing, None);
    authority.prove().map_err(|problem| AuthorityError::Chain {
        directory: directory.to_owned(),
        problem,
    })?;
    Ok(authority)
}

/// The certificate must be a CA's and belong to the key.
fn check(path: &Path, certificate: &[u8], key: &KeyPair) -> Result<(), AuthorityError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| file(path, error.to_string()))?;
    if !parsed.is_ca() {
        return Err(file(
            path,
            "not a CA certificate (basicConstraints CA:TRUE)".to_owned(),
        ));
    }
    let usage = parsed
        .key_usage()
        .map_err(|error| file(path, error.to_string()))?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(file(
            path,
            "its key usage does not allow to sign certificates".to_owned(),
        ));
    }
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(file(
            path,
            format!("does not belong to the key in {CA_KEY}"),
        ));
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| file(path, format!("malformed PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(file(path, "no certificate in it".to_owned()));
    }
    Ok(certificates)
}

/// PKCS #8, PKCS #1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`).
fn key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let der = PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| file(path, format!("no private key in it: {error}")))?;
    KeyPair::try_from(&der).map_err(|error| file(path, format!("unsupported key: {error}")))
}

fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let problem = |error: std::io::Error| file(path, error.to_string());
    let length = std::fs::metadata(path).map_err(problem)?.len();
    if length > MAX_FILE_BYTES {
        return Err(file(path, format!("larger than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read(path).map_err(problem)
}

fn file(path: &Path, problem: String) -> AuthorityError {
    AuthorityError::File {
        path: PathBuf::from(path),
        problem,
    }
}
