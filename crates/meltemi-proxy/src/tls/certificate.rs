//! What is rarely asked of a certificate (DER), read out of it each time.

use super::identity::{San, any_name};
use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    Some(X509Certificate::from_der(der).ok()?.1)
}

/// RFC 2253.
pub(crate) fn issuer(der: &[u8]) -> Option<String> {
    Some(distinguished(parse(der)?.issuer()))
}

/// Lower-case hex, two digits a byte.
pub(crate) fn serial(der: &[u8]) -> Option<String> {
    let certificate = parse(der)?;
    let bytes = certificate.raw_serial();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(hex(&bytes[zeros..]))
}

/// SHA-1 in lower-case hex: a name for the certificate, no protection.
pub(crate) fn fingerprint_1(der: &[u8]) -> String {
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// From when until when it is valid.
pub(crate) fn validity(der: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let certificate = parse(der)?;
    let validity = certificate.validity();
    let at = |seconds: i64| {
        let since = Duration::from_secs(seconds.try_into().ok()?);
        UNIX_EPOCH.checked_add(since)
    };
    Some((
        at(validity.not_before.timestamp())?,
        at(validity.not_after.timestamp())?,
    ))
}

/// Joined by commas.
pub(crate) fn ip_names(der: &[u8]) -> String {
    names(der, |name| match name {
        San::Ip(ip) => Some(ip.to_string()),
        _ => None,
    })
}

/// Joined by commas.
pub(crate) fn email_names(der: &[u8]) -> String {
    names(der, |name| match name {
        San::Email(email) => Some(email.to_owned()),
        _ => None,
    })
}

fn names(der: &[u8], choose: impl Fn(San<'_>) -> Option<String>) -> String {
    let mut all = Vec::new();
    any_name(&CertificateDer::from(der), |name| {
        all.extend(choose(name));
        false
    });
    all.join(",")
}

/// RFC 2253: the last relative name first, special characters escaped.
pub(super) fn distinguished(name: &X509Name<'_>) -> String {
    let mut parts = Vec::new();
    for set in name.iter() {
        let mut text = String::new();
        for attribute in set.iter() {
            if !text.is_empty() {
                text.push('+');
            }
            let registry = x509_parser::objects::oid_registry();
            match x509_parser::objects::oid2abbrev(attribute.attr_type(), registry) {
                Ok(name) => text.push_str(name),
                Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
            }
            text.push('=');
            let value = attribute.as_str().unwrap_or_default();
            for (index, character) in value.char_indices() {
                let edge = index == 0 && matches!(character, ' ' | '#')
                    || index + 1 == value.len() && character == ' ';
                if edge || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
                    text.push('\\');
                }
                text.push(character);
            }
        }
        parts.push(text);
    }
    parts.reverse();
    parts.join(",")
}

/// URL-encoded PEM, as Envoy writes it: all but unreserved characters escaped.
pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::with_capacity(text.len() + text.len() / 16 + 96);
    out.push_str("-----BEGIN%20CERTIFICATE-----%0A");
    for (index, byte) in text.bytes().enumerate() {
        if index > 0 && index % 64 == 0 {
            out.push_str("%0A");
        }
        match byte {
            b'+' => out.push_str("%2B"),
            b'/' => out.push_str("%2F"),
            b'=' => out.push_str("%3D"),
            byte => out.push(char::from(byte)),
        }
    }
    out.push_str("%0A-----END%20CERTIFICATE-----%0A");
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_old_fingerprint_is_sha_1() {
        let of_abc = "a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(super::fingerprint_1(b"abc"), of_abc);
    }
}
