//! What TLS settings name: cipher suites, key exchange groups, pinned certificates and keys.

use super::report::Report;
use crate::FieldPath;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Suites that Istio accepts: TLS 1.2 by OpenSSL's names. Those after the sixth lack forward
/// secrecy or authenticated encryption, and our proxy does not speak them (its `tls::suites`).
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

/// Key exchange groups that Istio accepts, by BoringSSL's names. Those after the fifth no proxy
/// of today speaks.
const CURVES: [&str; 7] = [
    "X25519MLKEM768",
    "X25519",
    "P-256",
    "P-384",
    "P-521",
    "P-224",
    "CECPQ2",
];

/// The suites that every proxy speaks.
pub const COMMON_CIPHER_SUITES: &[&str] = CIPHER_SUITES.split_at(6).0;
/// The groups that Envoy speaks.
pub const ENVOY_CURVES: &[&str] = CURVES.split_at(5).0;
/// The groups that every proxy speaks: ours does not P-521.
pub const COMMON_CURVES: &[&str] = CURVES.split_at(4).0;

/// What a list of cipher suites comes to, most preferred first; several of the same rank in one
/// item (`[A|B]`). The signs are BoringSSL's: `+A` moves to the end, `-A` takes away, `!A` for
/// good; `ALL` is every suite that Istio accepts. Names that nobody knows count for nothing.
pub fn allowed_cipher_suites(list: &[String]) -> Vec<String> {
    let mut ranks: Vec<Vec<&str>> = Vec::new();
    let mut banned: Vec<&str> = Vec::new();
    for text in list.iter().filter(|text| is_cipher_suite(text)) {
        let (sign, name) = match text.strip_prefix(['+', '-', '!']) {
            Some(rest) => (text.as_bytes()[0], rest),
            None => (b' ', text.as_str()),
        };
        let names: Vec<&str> = match bare(name) {
            "ALL" => CIPHER_SUITES.to_vec(),
            several => several.split('|').collect(),
        };
        let known = |ranks: &[Vec<&str>], name: &&str| ranks.iter().flatten().any(|n| n == name);
        let add: Vec<&str> = match sign {
            b'+' => names.into_iter().filter(|n| known(&ranks, n)).collect(),
            b' ' => names
                .into_iter()
                .filter(|n| !known(&ranks, n) && !banned.contains(n))
                .collect(),
            sign => {
                remove(&mut ranks, &names);
                if sign == b'!' {
                    banned.extend(names);
                }
                continue;
            }
        };
        remove(&mut ranks, &add);
        match name.starts_with('[') {
            true => ranks.push(add),
            false => ranks.extend(add.into_iter().map(|name| vec![name])),
        }
    }
    ranks.retain(|rank| !rank.is_empty());
    let written = |rank: Vec<&str>| match rank[..] {
        [one] => one.to_owned(),
        _ => format!("[{}]", rank.join("|")),
    };
    ranks.into_iter().map(written).collect()
}

fn remove(ranks: &mut [Vec<&str>], names: &[&str]) {
    for rank in ranks {
        rank.retain(|name| !names.contains(name));
    }
}

/// The key exchange groups of a list that Envoy speaks, each once.
pub fn allowed_curves(list: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in list {
        if ENVOY_CURVES.contains(&name.as_str()) && !kept.contains(name) {
            kept.push(name.clone());
        }
    }
    kept
}

/// Whether a list of cipher suites may have this: a suite, or several of the same rank
/// (`[A|B]`), with BoringSSL's signs.
fn is_cipher_suite(text: &str) -> bool {
    let name = bare(text);
    name == "ALL" || name.split('|').all(|one| CIPHER_SUITES.contains(&one))
}

fn bare(suite: &str) -> &str {
    suite
        .trim_start_matches(['+', '-', '!', '['])
        .trim_end_matches(']')
}

/// What the whole mesh is to keep to.
pub(super) fn mesh_cipher_suites(suites: &[String], at: &FieldPath, report: &mut Report) {
    cipher_suites(suites, at, report);
    let allowed = allowed_cipher_suites(suites);
    let common = |rank: &String| COMMON_CIPHER_SUITES.iter().any(|name| rank.contains(name));
    if !suites.is_empty() && !allowed.iter().any(common) {
        let message = "has no suite that every proxy speaks: TLS 1.2 is not spoken where none is";
        let fix = format!("name one of {}", COMMON_CIPHER_SUITES.join(", "));
        report.warning(at, message, fix);
    }
}

/// What the whole mesh is to keep to.
pub(super) fn mesh_curves(names: &[String], at: &FieldPath, report: &mut Report) {
    curves(names, at, report);
    let common = |name: &String| COMMON_CURVES.contains(&name.as_str());
    if !names.is_empty() && !names.iter().any(common) {
        let message = "has no group that every proxy speaks: TLS of gateways and to hosts outside the mesh fails where none is";
        let fix = format!("name one of {}", COMMON_CURVES.join(", "));
        report.warning(at, message, fix);
    }
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
        if !CURVES.contains(&curve.as_str()) {
            let message = format!("{curve:?} is not a known curve and is left out");
            report.warning(&at, message, crate::did_you_mean(curve, CURVES));
        } else if curves[..index].contains(curve) {
            report.warning(&at, format!("{curve:?} is there twice"), "remove one");
        }
    }
}

/// SHA-256 hashes of certificates in hex: 64 digits, or pairs of digits with colons between, as
/// Envoy takes them.
pub(super) fn certificate_hashes(hashes: &[String], at: &FieldPath, report: &mut Report) {
    let is_hash = |hash: &String| {
        let plain = match hash.len() {
            95 => hash
                .split(':')
                .all(|pair| pair.len() == 2)
                .then(|| hash.replace(':', "")),
            _ => Some(hash.clone()),
        };
        plain.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|d| d.is_ascii_hexdigit()))
    };
    let fix = "write it as `openssl x509 -fingerprint -sha256` does: 64 digits, or with colons";
    all(hashes, is_hash, "hex", fix, at, report);
}

/// SHA-256 hashes of public keys (SPKI) in base64.
pub(super) fn key_hashes(hashes: &[String], at: &FieldPath, report: &mut Report) {
    let is_hash = |hash: &String| STANDARD.decode(hash).is_ok_and(|hash| hash.len() == 32);
    let fix = "write the 32 bytes in base64: 44 characters";
    all(hashes, is_hash, "base64", fix, at, report);
}

fn all(
    hashes: &[String],
    is_hash: impl Fn(&String) -> bool,
    form: &str,
    fix: &str,
    at: &FieldPath,
    report: &mut Report,
) {
    for (index, hash) in hashes.iter().enumerate() {
        if !is_hash(hash) {
            let message = format!("{hash:?} is not a SHA-256 hash in {form}");
            report.error(&at.index(index), message, fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &[&str]) -> Vec<String> {
        allowed_cipher_suites(&list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn lists_of_suites_come_to_what_boringssl_makes_of_them() {
        assert_eq!(
            allowed(&["AES128-SHA", "AES256-SHA", "AES128-SHA", "nonsense"]),
            ["AES128-SHA", "AES256-SHA"]
        );
        assert_eq!(
            allowed(&[
                "AES128-SHA",
                "AES256-SHA",
                "+AES128-SHA",
                "+AES128-GCM-SHA256"
            ]),
            ["AES256-SHA", "AES128-SHA"]
        );
        assert_eq!(allowed(&["AES128-SHA", "-AES128-SHA"]), [""; 0]);
        assert_eq!(
            allowed(&["AES128-SHA", "-AES128-SHA", "AES128-SHA"]),
            ["AES128-SHA"]
        );
        assert_eq!(allowed(&["!AES128-SHA", "AES128-SHA"]), [""; 0]);
        assert_eq!(
            allowed(&["[AES128-SHA|AES256-SHA]", "-AES128-SHA"]),
            ["AES256-SHA"]
        );
        assert_eq!(
            allowed(&["[AES128-SHA|AES256-SHA]"]),
            ["[AES128-SHA|AES256-SHA]"]
        );
        let all = allowed(&["!AES128-SHA", "ALL"]);
        assert_eq!(all, CIPHER_SUITES.split_last().unwrap().1);
        assert_eq!(allowed(&["nonsense"]), [""; 0]);
    }

    #[test]
    fn hashes_have_the_two_forms_that_envoy_takes() {
        let hex = "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a";
        let pairs: Vec<_> = (0..32).map(|i| &hex[2 * i..2 * i + 2]).collect();
        let problems = |hash: &str| {
            let mut report = Report::default();
            certificate_hashes(&[hash.to_owned()], &FieldPath::root(), &mut report);
            report.0.len()
        };
        assert_eq!(problems(hex), 0);
        assert_eq!(problems(&hex.to_uppercase()), 0);
        assert_eq!(problems(&pairs.join(":")), 0);
        assert_eq!(problems(&format!(":{hex}")), 1);
        assert_eq!(problems(&hex[2..]), 1);
        assert_eq!(problems(&pairs.join("-")), 1);
        assert_eq!(problems(&format!("{}:{}", &hex[..2], &hex[2..])), 1);
    }
}
