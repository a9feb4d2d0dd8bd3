//! What TLS tells of a connection's ends.

use super::render::text;
use super::time;
use crate::model::{Side, TlsPart};
use crate::telemetry::StreamInfo;
use crate::tls::certificate as read;

/// False when it is not known: nothing was written. What is rarely asked for is read out of the
/// certificate here.
pub(super) fn write(out: &mut String, side: Side, part: &TlsPart, info: &StreamInfo) -> bool {
    let tls = match side {
        Side::Downstream => info.connection.tls.as_ref(),
        Side::Upstream => info.upstream_tls.as_deref(),
    };
    let Some(tls) = tls else {
        return false;
    };
    let leaf = tls.peer_chain.first().map(|leaf| &**leaf);
    let value = match part {
        TlsPart::Version => return text(out, Some(tls.version)),
        TlsPart::Cipher => return text(out, Some(tls.cipher)),
        TlsPart::LocalUriSan => return text(out, tls.local_uri.as_deref()),
        TlsPart::PeerUriSan => return text(out, tls.peer_uri.as_deref()),
        TlsPart::PeerSubject => return text(out, tls.peer_subject.as_deref()),
        TlsPart::PeerFingerprint => return text(out, tls.peer_hash.as_deref()),
        TlsPart::PeerFingerprint1 => leaf.map(read::fingerprint_1),
        TlsPart::PeerDnsSan => Some(tls.peer_dns.join(",")),
        TlsPart::PeerIpSan => leaf.map(read::ip_names),
        TlsPart::PeerEmailSan => leaf.map(read::email_names),
        TlsPart::PeerIssuer => leaf.and_then(read::issuer),
        TlsPart::PeerSerial => leaf.and_then(read::serial),
        TlsPart::PeerCertificate => leaf.map(read::pem),
        TlsPart::PeerStart(format) | TlsPart::PeerEnd(format) => {
            let Some((start, end)) = leaf.and_then(read::validity) else {
                return false;
            };
            let at = if matches!(part, TlsPart::PeerStart(_)) {
                start
            } else {
                end
            };
            time::write(out, format, at);
            return true;
        }
    };
    text(out, value.as_deref().filter(|value| !value.is_empty()))
}
