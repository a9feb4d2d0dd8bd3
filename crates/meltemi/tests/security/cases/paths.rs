//! Targets that lead to `/admin`, which is refused, or only look so.

use crate::case::Case;

const TARGETS: &[(&str, &str)] = &[
    ("as it is", "/admin"),
    ("two slashes", "//admin"),
    ("a dot segment", "/./admin"),
    ("two dots", "/x/../admin"),
    ("encoded dots", "/x/%2e%2e/admin"),
    ("encoded dots, once more encoded", "/x/%252e%252e/admin"),
    ("an encoded slash", "/x/..%2fadmin"),
    ("an encoded slash at the beginning", "/%2Fadmin"),
    ("an encoded backslash", "/x/..%5cadmin"),
    ("a backslash", "/x\\..\\admin"),
    ("an encoded letter", "/%61dmin"),
    ("upper case", "/ADMIN"),
    ("parameters of a segment", "/x/..;y/admin"),
    ("parameters after the name", "/admin;x"),
    ("a fragment", "/#/admin"),
    ("an encoded NUL", "/%00/../admin"),
    ("more dots than segments", "/../../admin"),
    ("a query that climbs", "/?/../admin"),
    ("an incomplete escape", "/%6/../admin"),
    ("UTF-8, longer than needed", "/x/%c0%ae%c0%ae/admin"),
];

pub fn cases() -> Vec<Case> {
    let case = |(name, target): &(&'static str, &str)| {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        Case::http1(name, bytes)
    };
    TARGETS.iter().map(case).collect()
}
