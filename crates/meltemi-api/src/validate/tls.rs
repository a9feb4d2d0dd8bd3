//! Names of cipher suites and of key exchange groups.

use super::report::Report;
use crate::FieldPath;

/// Suites that Istio accepts: TLS 1.2 by OpenSSL's names.
const CIPHER_SUITES: [&str; 14] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-SHA",
    "AES128-SHA",
];

/// Key exchange groups that Istio accepts, by BoringSSL's names.
const CURVES: [&str; 7] = [
    "P-224",
    "P-256",
    "P-384",
    "P-521",
    "X25519",
    "CECPQ2",
    "X25519MLKEM768",
];

/// Whether a list of cipher suites may have this: a suite, or several of the same rank
/// (`[A|B]`), with BoringSSL's signs.
pub fn is_cipher_suite(text: &str) -> bool {
    let name = bare(text);
    name == "ALL" || name.split('|').all(|one| CIPHER_SUITES.contains(&one))
}

/// Whether a list of key exchange groups may have this.
pub fn is_curve(name: &str) -> bool {
    CURVES.contains(&name)
}

fn bare(suite: &str) -> &str {
    suite
        .trim_start_matches(['+', '-', '!', '['])
        .trim_end_matches(']')
}

pub(super) fn cipher_suites(suites: &[String], at: &FieldPath, report: &mut Report) {
    for (index, text) in suites.iter().enumerate() {
        let at = at.index(index);
        if !is_cipher_suite(text) {
            let message = format!("{text:?} is not a known cipher suite and is left out");
            report.warning(&at, message, crate::did_you_mean(bare(text), CIPHER_SUITES));
        } else if suites[..index].contains(text) {
            report.warning(&at, format!("{text:?} is there twice"), "remove one");
        }
    }
}

pub(super) fn curves(curves: &[String], at: &FieldPath, report: &mut Report) {
    for (index, curve) in curves.iter().enumerate() {
        let at = at.index(index);
        if !is_curve(curve) {
            let message = format!("{curve:?} is not a known curve and is left out");
            report.warning(&at, message, crate::did_you_mean(curve, CURVES));
        } else if curves[..index].contains(curve) {
            report.warning(&at, format!("{curve:?} is there twice"), "remove one");
        }
    }
}
