//! Why a TLS handshake failed.

use super::verify::NotPinned;
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use std::io;
use std::time::Duration;

/// A failed handshake. Nothing of the application was sent: another attempt is safe.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("TLS_error: secret is not supplied by SDS")]
    NoSecret,
    #[error("TLS handshake timeout after {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("TLS_error: the peer showed no certificate")]
    NoCertificate,
    #[error("TLS_error: the peer's certificate has none of the expected names")]
    WrongName,
    #[error(
        "TLS_error: neither the peer's certificate nor its key is one of those that are pinned"
    )]
    NotPinned,
    #[error("TLS_error: the peer's certificate is not trusted: {0}")]
    Untrusted(String),
    #[error("TLS_error: the peer spoke no TLS")]
    NotTls,
    #[error("TLS_error: {0}")]
    Protocol(String),
    #[error("TLS handshake: {0}")]
    Io(io::Error),
}

/// rustls' error within one of a stream.
pub(super) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        match tls_error(&error) {
            Some(tls) => Self::from(tls),
            None => TlsError::Io(error),
        }
    }
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => TlsError::NoCertificate,
            Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
                TlsError::WrongName
            }
            Error::InvalidCertificate(CertificateError::Other(OtherError(reason)))
                if reason.is::<NotPinned>() =>
            {
                TlsError::NotPinned
            }
            Error::InvalidCertificate(reason) => TlsError::Untrusted(reason.to_string()),
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                TlsError::Protocol("the peer requires a client certificate".into())
            }
            Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => TlsError::NotTls,
            other => TlsError::Protocol(other.to_string()),
        }
    }
}

/// What a peer's alert says of our certificate, when that ended the connection. In TLS 1.3 it
/// comes once the handshake is over for us.
pub(crate) fn verdict(error: &io::Error) -> Option<&'static str> {
    use AlertDescription as Alert;
    let Some(Error::AlertReceived(alert)) = error.get_ref()?.downcast_ref::<Error>() else {
        return None;
    };
    Some(match alert {
        Alert::CertificateExpired => "TLS_error: the peer finds our certificate expired",
        Alert::CertificateRevoked => "TLS_error: the peer finds our certificate revoked",
        Alert::CertificateRequired => "TLS_error: the peer requires a client certificate",
        Alert::UnknownCA => "TLS_error: the peer does not know who issued our certificate",
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateUnknown
        | Alert::AccessDenied => "TLS_error: the peer does not accept our certificate",
        _ => return None,
    })
}
