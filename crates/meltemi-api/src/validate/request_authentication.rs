//! RequestAuthentication.

use serde_json::Value;

use super::attachment::Attachment;
use super::names::{is_simple_header, url_scheme};
use super::report::Report;
use crate::FieldPath;
use crate::security::{JwtRule, RequestAuthentication};

/// Most rules of one object.
const MAX_RULES: usize = 4096;
/// Most further claims that are lists in one text.
const MAX_CLAIMS: usize = 64;
/// Longest address of keys.
const MAX_URI: usize = 2048;

pub(super) fn validate(spec: &RequestAuthentication, at: &FieldPath, report: &mut Report) {
    Attachment {
        selector: spec.selector.as_ref(),
        target_ref: spec.target_ref.as_ref(),
        target_refs: &spec.target_refs,
    }
    .check(at, report);
    let at = at.field("jwtRules");
    report.at_most_items(&at, spec.jwt_rules.len(), MAX_RULES);
    for (index, one) in spec.jwt_rules.iter().enumerate() {
        rule(one, &at.index(index), report);
    }
}

fn rule(rule: &JwtRule, at: &FieldPath, report: &mut Report) {
    let uri = rule.jwks_uri.as_deref();
    match rule.issuer.as_deref() {
        Some("") => report.error(&at.field("issuer"), "is empty", "name the issuer"),
        None if uri.is_none() => report.error(
            at,
            "names neither issuer nor jwksUri",
            "name the issuer of the tokens",
        ),
        _ => {}
    }
    if let Some(uri) = uri {
        jwks_uri(uri, &at.field("jwksUri"), report);
        if !rule.jwks.is_empty() {
            report.error(at, "has both jwks and jwksUri", "keep one of them");
        }
    }
    if !rule.jwks.is_empty() {
        jwks(&rule.jwks, &at.field("jwks"), report);
    }
    for (name, list) in [
        ("audiences", &rule.audiences),
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
        ("spaceDelimitedClaims", &rule.space_delimited_claims),
    ] {
        for (index, value) in list.iter().enumerate() {
            report.required(&at.field(name).index(index), value, "name it, or remove it");
        }
    }
    let claims = at.field("spaceDelimitedClaims");
    report.at_most_items(&claims, rule.space_delimited_claims.len(), MAX_CLAIMS);
    for (index, header) in rule.from_headers.iter().enumerate() {
        let at = at.field("fromHeaders").index(index).field("name");
        report.required(&at, &header.name, "name the header");
    }
    for (index, output) in rule.output_claim_to_headers.iter().enumerate() {
        let at = at.field("outputClaimToHeaders").index(index);
        report.required(&at.field("claim"), &output.claim, "name the claim");
        if !is_simple_header(&output.header) {
            report.error(
                &at.field("header"),
                format!("{:?} is not a header name", output.header),
                "use letters, digits, '-' and '_'",
            );
        }
    }
    report.duration(&at.field("timeout"), rule.timeout);
}

fn jwks_uri(uri: &str, at: &FieldPath, report: &mut Report) {
    report.at_most(at, uri, MAX_URI);
    if !matches!(url_scheme(uri), Ok(Some("http" | "https"))) {
        let message = format!("{uri:?} is not an address of keys");
        report.error(at, message, "write an http:// or https:// URL");
    }
}

/// A JWK set (RFC 7517, section 5), or one key.
fn jwks(text: &str, at: &FieldPath, report: &mut Report) {
    let wrong = |message: String| (message, "write a JSON Web Key Set, {\"keys\": [...]}");
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            let (message, remedy) = wrong(format!("is not JSON: {error}"));
            return report.error(at, message, remedy);
        }
    };
    let one = std::slice::from_ref(&value);
    let keys = match value.get("keys") {
        Some(Value::Array(keys)) => keys.as_slice(),
        None if value.get("kty").is_some() => one,
        _ => {
            let (message, remedy) = wrong("has no list of keys".into());
            return report.error(at, message, remedy);
        }
    };
    for (index, key) in keys.iter().enumerate() {
        let kind = key.get("kty").and_then(Value::as_str);
        let needed: &[&str] = match kind {
            Some("RSA") => &["n", "e"],
            Some("EC") => &["crv", "x", "y"],
            Some("OKP") => &["crv", "x"],
            Some("oct") => &["k"],
            _ => {
                let message = format!("key {index} is of no known type (kty)");
                report.error(at, message, "use RSA, EC, OKP or oct");
                continue;
            }
        };
        for name in needed {
            if key.get(name).and_then(Value::as_str).is_none() {
                let message = format!("key {index} lacks {name:?}");
                report.error(at, message, "copy the key whole");
            }
        }
        if kind != Some("oct") && key.get("d").is_some() {
            report.warning(
                at,
                format!("key {index} is a private key"),
                "write the public part only, and replace the key: it is no secret any more",
            );
        }
    }
}
