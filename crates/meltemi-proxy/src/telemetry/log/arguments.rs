//! Operators whose arguments say which of several values is meant.

use crate::model::{
    AddressPart, End, LogOperator, Moment, PathForm, PathOf, Side, StatusForm, TlsPart,
};

/// `DOWNSTREAM_LOCAL_ADDRESS`, `UPSTREAM_REMOTE_PORT` and their kin; an address without a port can
/// be cut to its network's bits.
pub(super) fn address(
    text: &str,
    name: &str,
    argument: Option<&str>,
) -> Result<Option<LogOperator>, String> {
    const ENDS: [(&str, End); 6] = [
        ("UPSTREAM_REMOTE_", End::UpstreamRemote),
        ("UPSTREAM_LOCAL_", End::UpstreamLocal),
        ("DOWNSTREAM_REMOTE_", End::Remote),
        ("DOWNSTREAM_LOCAL_", End::Local),
        ("DOWNSTREAM_DIRECT_REMOTE_", End::DirectRemote),
        ("DOWNSTREAM_DIRECT_LOCAL_", End::DirectLocal),
    ];
    let mut ends = ENDS.iter();
    let found = ends.find_map(|(prefix, end)| Some((*end, name.strip_prefix(prefix)?)));
    let Some((end, part)) = found else {
        return Ok(None);
    };
    let part = match (part, argument) {
        ("ADDRESS", _) => AddressPart::Whole,
        ("ADDRESS_WITHOUT_PORT", None) => AddressPart::Ip,
        ("ADDRESS_WITHOUT_PORT", Some(bits)) => AddressPart::Network(
            bits.parse()
                .ok()
                .filter(|bits| *bits <= 128)
                .ok_or_else(|| format!("operator \"%{text}%\": {bits:?} is no number of bits"))?,
        ),
        ("PORT", _) => AddressPart::Port,
        _ => return Ok(None),
    };
    Ok(Some(LogOperator::Address(end, part)))
}

/// `DOWNSTREAM_TLS_VERSION`, `UPSTREAM_PEER_ISSUER` and their kin. The argument is a time format.
pub(super) fn tls(name: &str, argument: &str) -> Option<LogOperator> {
    let (side, part) = match name.strip_prefix("UPSTREAM_") {
        Some(part) => (Side::Upstream, part),
        None => (Side::Downstream, name.strip_prefix("DOWNSTREAM_")?),
    };
    let part = match part {
        "TLS_VERSION" => TlsPart::Version,
        "TLS_CIPHER" => TlsPart::Cipher,
        // What we show to upstreams is not kept.
        "LOCAL_URI_SAN" if side == Side::Downstream => TlsPart::LocalUriSan,
        "PEER_URI_SAN" => TlsPart::PeerUriSan,
        "PEER_DNS_SAN" => TlsPart::PeerDnsSan,
        "PEER_IP_SAN" => TlsPart::PeerIpSan,
        "PEER_EMAIL_SAN" => TlsPart::PeerEmailSan,
        "PEER_SUBJECT" => TlsPart::PeerSubject,
        "PEER_ISSUER" => TlsPart::PeerIssuer,
        "PEER_SERIAL" => TlsPart::PeerSerial,
        "PEER_FINGERPRINT_256" => TlsPart::PeerFingerprint,
        "PEER_FINGERPRINT_1" => TlsPart::PeerFingerprint1,
        "PEER_CERT" => TlsPart::PeerCertificate,
        "PEER_CERT_V_START" => TlsPart::PeerStart(argument.into()),
        "PEER_CERT_V_END" => TlsPart::PeerEnd(argument.into()),
        _ => return None,
    };
    Some(LogOperator::Tls(side, part))
}

/// `START:END:UNIT`.
pub(super) fn between(text: &str, argument: &str) -> Result<LogOperator, String> {
    let wrong = |what: &str| {
        format!(
            "operator \"%{text}%\": {what:?} is not supported; times are DS_RX_BEG, DS_RX_END, \
             US_RX_BEG, US_RX_END and DS_TX_END, units ms, us and ns"
        )
    };
    let moment = |name: &str| {
        Ok(match name {
            "DS_RX_BEG" => Moment::RequestBegan,
            "DS_RX_END" => Moment::RequestEnded,
            "US_RX_BEG" => Moment::UpstreamBegan,
            "US_RX_END" => Moment::UpstreamEnded,
            "DS_TX_END" => Moment::Ended,
            other => return Err(wrong(other)),
        })
    };
    let mut parts = argument.split(':');
    let mut next = || parts.next().unwrap_or("");
    let (from, to) = (moment(next())?, moment(next())?);
    let unit = match next() {
        "ms" => 1_000,
        "us" => 1_000_000,
        "ns" => 1_000_000_000,
        other => return Err(wrong(other)),
    };
    match parts.next() {
        None => Ok(LogOperator::Between(from, to, unit)),
        Some(rest) => Err(wrong(rest)),
    }
}

/// `WQ` or `NQ`, then `ORIG`, `PATH` or `ORIG_OR_PATH`.
pub(super) fn path(text: &str, argument: &str) -> Result<LogOperator, String> {
    let (query, of) = argument.split_once(':').unwrap_or((argument, ""));
    let query = match query {
        "" | "WQ" => Some(true),
        "NQ" => Some(false),
        _ => None,
    };
    let of = match of {
        "" | "ORIG_OR_PATH" => Some(PathOf::OriginalOrSent),
        "ORIG" => Some(PathOf::Original),
        "PATH" => Some(PathOf::Sent),
        _ => None,
    };
    match (query, of) {
        (Some(query), Some(of)) => Ok(LogOperator::Path(PathForm { query, of })),
        _ => Err(format!(
            "operator \"%{text}%\": use WQ or NQ, then ORIG, PATH or ORIG_OR_PATH"
        )),
    }
}

pub(super) fn grpc_status(text: &str, argument: &str) -> Result<LogOperator, String> {
    Ok(LogOperator::GrpcStatus(match argument {
        "" | "CAMEL_STRING" => StatusForm::Camel,
        "SNAKE_STRING" => StatusForm::Snake,
        "NUMBER" => StatusForm::Number,
        _ => {
            return Err(format!(
                "operator \"%{text}%\": use CAMEL_STRING, SNAKE_STRING or NUMBER"
            ));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_parts_of_addresses() {
        let address = |name| address("", name, None).unwrap();
        let local = LogOperator::Address(End::Local, AddressPart::Whole);
        assert_eq!(address("DOWNSTREAM_LOCAL_ADDRESS"), Some(local));
        let port = LogOperator::Address(End::DirectRemote, AddressPart::Port);
        assert_eq!(address("DOWNSTREAM_DIRECT_REMOTE_PORT"), Some(port));
        assert_eq!(address("DOWNSTREAM_LOCAL_SUBJECT"), None);
        let issuer = LogOperator::Tls(Side::Upstream, TlsPart::PeerIssuer);
        assert_eq!(tls("UPSTREAM_PEER_ISSUER", ""), Some(issuer));
        assert_eq!(tls("UPSTREAM_LOCAL_URI_SAN", ""), None);
    }

    #[test]
    fn what_arguments_cannot_be_is_said() {
        assert!(between("x", "DS_RX_BEG:DS_TX_END:ms").is_ok());
        for argument in [
            "",
            "DS_RX_BEG",
            "US_TX_BEG:DS_TX_END:ms",
            "DS_RX_BEG:DS_TX_END:s",
        ] {
            let error = between("x", argument).unwrap_err();
            assert!(error.contains("DS_RX_END"), "{argument}: {error}");
        }
        assert!(path("x", "NQ:ORIG").is_ok());
        assert!(path("x", "QQ").unwrap_err().contains("NQ"));
        assert!(grpc_status("x", "HEX").unwrap_err().contains("NUMBER"));
    }
}
