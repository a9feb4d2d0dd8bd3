//! Filters that are not implemented: refused, never left out where they decide on traffic.

use super::Error;

/// Filters that decide whether traffic may pass.
const POLICIES: &[&str] = &[
    "rbac",
    "ext_authz",
    "jwt_authn",
    "ratelimit",
    "local_ratelimit",
];

/// Whether a filter of this type may never be left out.
pub fn is_policy(kind: &str) -> bool {
    POLICIES
        .iter()
        .any(|policy| kind.contains(&format!(".{policy}.")))
}

/// The error for a filter that is not implemented.
pub fn filter(name: &str, kind: &str) -> Error {
    if is_policy(kind) {
        return Error::new(format!(
            "policy filter {name:?} ({kind}) is not supported yet: refusing the listener rather \
             than letting traffic pass unchecked"
        ));
    }
    Error::new(format!("filter {name:?} ({kind}) is not supported"))
}
