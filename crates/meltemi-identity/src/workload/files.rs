//! A certificate from files.

use std::path::Path;

use rcgen::KeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{CertificateError, WorkloadIdentity, assemble};
use crate::TrustBundle;

/// Larger files are not read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

pub(super) fn load(
    certificate: &Path,
    key: &Path,
    roots: &Path,
) -> Result<WorkloadIdentity, CertificateError> {
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(certificate, &error))?;
    let der = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unusable(key, &error))?;
    let key = KeyPair::try_from(&der).map_err(|error| unusable(key, &error))?;
    assemble(chain, &key, self::roots(roots)?, 1)
}

/// A trust bundle.
pub(super) fn roots(path: &Path) -> Result<TrustBundle, CertificateError> {
    TrustBundle::from_pem(&read(path)?).map_err(|error| unusable(path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let length = std::fs::metadata(path)
        .map_err(|error| unusable(path, &error))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(unusable(
            path,
            &format!("larger than {MAX_FILE_BYTES} bytes"),
        ));
    }
    std::fs::read(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, problem: &dyn std::fmt::Display) -> CertificateError {
    CertificateError::Unusable(format!("{}: {problem}", path.display()))
}
